"""The reference pages and the shell completion are made from the code, and stand as they would be made now."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aios.cli import docs
from aios.cli.completion import words_of
from aios.cli.main import build_parser
from aios.events.catalogue import CATALOGUE
from aios.journal.dialects import TABLE
from aios.places import checkout
from aios.playbooks import run_table
from aios.settings import load
from aios.settings.fields import variables
from aios.skills.catalogue import load_catalogue
from tests.acceptance.cli_kit import aios


@pytest.mark.parametrize("page", docs.PAGES)
def test_a_page_is_as_the_code_would_make_it(page: str) -> None:
    """`python -m aios.cli.docs` makes them anew."""
    home = checkout()
    assert home is not None
    standing = (Path(home) / "docs" / page).read_text(encoding="utf-8")
    assert standing == docs.PAGES[page](), f"docs/{page} is stale: run python -m aios.cli.docs"


def test_every_setting_variable_type_skill_and_command_is_documented() -> None:
    """Nothing is left out of the pages."""
    settings, commands, events, skills, imports, runs = (make() for make in docs.PAGES.values())
    assert all(f"`{name}`" in settings for name in variables())
    assert all(f"### `{name}`" in events for name in CATALOGUE)
    assert all(f"### `{name}`" in skills for name in load_catalogue())
    assert all(f"| `{name}` | `{meaning.type}` |" in imports for name, meaning in TABLE.items())
    assert all(f"| `{name}` |" in runs for name in run_table.MEANINGS)
    assert {status for status, _ in run_table.TABLE} | set(run_table.TABLE.values()) == set(run_table.MEANINGS)
    assert all(f"## `aios {' '.join(words)}`" in commands for words, _ in docs.commands(build_parser(), ()))


def test_every_setting_has_help() -> None:
    """One sentence each; so has every section."""
    for path, model, _ in [((), docs.Settings, False), *docs.sections(docs.Settings, ())]:
        assert docs.first_line(model).endswith((".", ":")), path
        for name, field in model.model_fields.items():
            assert field.description, (path, name)
            assert field.description.endswith("."), (path, name)


def test_the_example_of_the_settings_page_is_good(tmp_path: Path) -> None:
    """What the page shows can be used."""
    text = docs.settings_markdown().split("```toml\n")[1].split("```")[0]
    (tmp_path / "aios.toml").write_text(text)
    settings = load(str(tmp_path / "aios.toml"), {})
    assert settings.service[0].subject == settings.probe[0].about == "web.service"


# --- completion -------------------------------------------------------------------------------------------------------

COMMON = ("--help", "--data", "--settings", "--json")
ASK = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_aios
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(script: Path, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", str(script), *words], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["aios", "stat"], ["status"]),
        (["aios", "runs", ""], ["answer", "approve", "cancel", "deny", "list", "retry", "rollback", "show", *COMMON]),
        (["aios", "runs", "ap"], ["approve"]),
        (["aios", "runs", "list", "--wai"], ["--waiting"]),
        (["aios", "--json", "runs", "ap"], ["approve"]),
        (["aios", "events", "--severity", "err"], ["error"]),
        (["aios", "events", "--sever"], ["--severity"]),
        (["aios", "completion", "z"], ["zsh"]),
        (["aios", "skill", "show", "--js"], ["--json"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bash_completes_words_options_and_values(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    """The real bash reads the real script."""
    script = tmp_path / "aios.bash"
    script.write_text(aios("completion", "bash").out)
    assert sorted(complete(script, *words)) == sorted(offered)


def test_a_folder_is_completed_after_data(tmp_path: Path) -> None:
    """Files, not words."""
    script = tmp_path / "aios.bash"
    script.write_text(aios("completion", "bash").out)
    assert complete(script, "aios", "--data", str(tmp_path / "aios")) == [str(script)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_told_every_command(shell: str) -> None:
    """No word is missing, and no quote is left open by a help text."""
    script = aios("completion", shell).out
    for word in words_of(build_parser(), ()):
        assert word.word.removeprefix("--") in script
    assert script.replace("'\\''", "").count("'") % 2 == 0
