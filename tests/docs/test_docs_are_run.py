"""Docs are run: what a page tells its reader to type is understood, what it links is there, what it shows works."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.cli.exits import MEANINGS
from aios.cli.main import build_parser
from aios.cli.parser import UsageError
from aios.control.client import lives
from aios.events.catalogue import CATALOGUE, is_own
from aios.playbooks.lint import lint
from aios.playbooks.load import load_many
from aios.playbooks.trial import try_playbook
from aios.settings import load
from aios.skills.catalogue import load_catalogue
from tests.docs.pages import HOME, PAGES, Block, anchors, blocks, commands, links, text_of

SHELL = [block for page in PAGES for block in blocks(page, "sh")]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


# --- what the reader types --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [block for block in SHELL if block.page != "docs/commands.md"], ids=named)
def test_a_block_of_shell_is_shell(block: Block) -> None:
    """Bash reads it without complaint. (Examples of `--help` have remarks without a #; their commands are tried below.)"""
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", SHELL, ids=named)
def test_every_aios_command_on_a_page_is_one(block: Block) -> None:
    """The real parser takes it."""
    for words in commands(block.text, "aios"):
        assert _what_is_wrong(words) == "", words
        assert hasattr(build_parser(words).parse_args(words), "action"), words


@pytest.mark.parametrize("page", PAGES)
def test_every_aios_command_in_a_sentence_is_one(page: str) -> None:
    """`aios NOUN VERB` in backquotes names what there is; placeholders in capitals may be anything."""
    for text in re.findall(r"`(aios [^`\n|…]+)`", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)):
        words = text.split()[1:]
        if not words[0].islower():
            continue
        wrong = _what_is_wrong(_filled(words))
        assert "are required" in wrong or not wrong, f"{page}: {text}: {wrong}"


def _what_is_wrong(words: list[str]) -> str:
    try:
        build_parser(words).parse_args(words)
    except UsageError as error:
        return str(error)
    return ""


def _filled(words: list[str]) -> list[str]:
    """Values for placeholders that have to be more than a word."""
    return ["2026-02-24" if word == "DAY" else "1" if word == "N" else word.strip('"') for word in words]


def test_every_make_target_on_a_page_is_one() -> None:
    """In blocks and in sentences."""
    targets = set(re.findall(r"^([a-z]+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z]+)\b", text_of(page), re.MULTILINE):
            assert target in targets, f"{page}: make {target}"


def test_the_files_that_the_install_copies_are_there() -> None:
    """README and the page on systemd name files of the checkout."""
    for page in ("README.md", "docs/systemd.md"):
        for words in (words for block in blocks(page, "sh") for words in commands(block.text, "install")):
            for word in words:
                if "/" in word and not word.startswith("/"):
                    assert (HOME / word).is_file(), f"{page}: {word}"
    assert (HOME / "requirements.lock").is_file()


# --- what a page shows ------------------------------------------------------------------------------------------------


def test_the_playbook_of_the_readme_is_without_a_finding_and_passes_its_tests() -> None:
    """A reader copies it."""
    skills = load_catalogue()
    (text,) = [block.text for block in blocks("README.md", "yaml")]
    loaded = load_many({"web.yaml": text}, skills)
    assert lint(loaded, skills) == []
    results = [try_playbook(loaded.playbooks[0], test, skills) for test in loaded.playbooks[0].tests]
    assert results
    assert [result.differences for result in results if not result.ok] == []


@pytest.mark.parametrize(
    "block", [b for page in ("README.md", "docs/playbooks.md", "docs/settings.md") for b in blocks(page, "toml")], ids=named
)
def test_settings_on_a_page_can_be_used(tmp_path: Path, block: Block) -> None:
    """As they stand."""
    (tmp_path / "aios.toml").write_text(block.text)
    load(str(tmp_path / "aios.toml"), {})


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `make run` starts, on a folder of its own; the environment in which its user types."""
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "AIOS_DATA": str(tmp_path / "data"), "LANG": "C.UTF-8"}
    more = {"AIOS_MODE_MAX": "suggest", "AIOS_SYSTEMD_ENABLED": "false", "AIOS_HOST_ENABLED": "false"}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "aios.cli.main", "run"], env=env | more, stdout=log, stderr=log)
    try:
        while not lives(str(tmp_path / "data" / "control.sock")):
            assert process.poll() is None, (tmp_path / "log").read_text()
        yield env
    finally:
        process.terminate()
        process.wait(30)


def test_the_first_commands_of_the_readme_work_as_they_stand(watching: dict[str, str]) -> None:
    """In the order in which they stand there, typed into bash; 1 says that something is ill or proposed."""
    (block,) = [block for block in blocks("README.md", "sh") if "activate" in block.text]
    lines = [line for line in block.text.splitlines() if "activate" not in line]
    assert len(lines) >= 6
    for line in lines:
        done = subprocess.run(["bash", "-c", line], env=watching, capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 1), (line, done)
        assert done.stdout.strip(), (line, done)
        assert not done.stderr, (line, done)


# --- nothing is left out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To a file or folder of the project, and to a heading that it has."""
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (HOME / page).parent / path if path else HOME / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(HOME))), f"{page}: {link}"


def test_every_page_is_in_the_index() -> None:
    """And the README leads to every one."""
    for page in PAGES:
        name = page.removeprefix("docs/")
        if page.startswith("docs/") and name != "index.md":
            assert name in links("docs/index.md"), page
            assert page in links("README.md"), page


def test_every_exit_code_says_what_to_do() -> None:
    """The operator's table and the code have the same."""
    table = text_of("docs/operations.md").partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(MEANINGS)


def test_every_alarm_of_our_own_says_what_to_do() -> None:
    """What AIOS says of itself with severity error or critical stands in the operator's table; what stands there, there is."""
    table = text_of("docs/operations.md").partition("## When it calls")[2].partition("\n## ")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    told = {name for cell in first for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", cell)}
    loud = {name for name, kind in CATALOGUE.items() if is_own(name) and kind.severity in ("error", "critical")}
    loud -= {"run.not_healed", "run.unknown"}  # what follows of them calls: run.escalated
    assert told <= set(CATALOGUE)
    assert loud - told == set()
