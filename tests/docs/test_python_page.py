"""`docs/python.md`: every tool of `aios playbook` has its function there, and what the page shows runs."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.cli_kit import NOON, daemon, event, write_journal
from tests.docs.pages import HOME, blocks, text_of

PAGE = "docs/python.md"
ROWS = [re.findall(r"`([^`]+)`", cell) for cell in re.findall(r"^\| (.+?) \| .+ \|$", text_of(PAGE), re.MULTILINE)]
NAMES = sorted(set(re.findall(r"`(aios(?:\.\w+)+)`", text_of(PAGE))))
VERBS = re.findall(r"^## `aios playbook (\w+)`$", text_of("docs/commands.md"), re.MULTILINE)


def test_every_tool_of_the_command_line_has_its_function_on_the_page() -> None:
    """A verb that is new has to be written there, with the function behind it."""
    named = {words.split()[0] for row in ROWS for words in row}
    assert set(VERBS) == named


@pytest.mark.parametrize("name", NAMES)
def test_every_name_on_the_page_can_be_imported_and_says_what_it_is(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    assert inspect.getdoc(found)


def test_what_the_page_shows_runs(tmp_path: Path) -> None:
    """From a first version to what the journal says of it; then the word to a living daemon."""
    alone, asks = blocks(PAGE, "python")
    data = tmp_path / "data"
    (tmp_path / "playbooks").mkdir()
    write_journal(data, event("service.down", "shop.service", NOON - 60, "e1", failures=1))
    said = run(alone.text, tmp_path)
    assert "shop-down" in said
    assert "ok" in said
    assert (tmp_path / "playbooks" / "shop-down.yaml").read_text().startswith("# yaml-language-server:")
    assert said.endswith("AIOS playbook 0\n")
    with daemon(data, {"playbook_disable": lambda args: {"playbook": args["name"], "by": "ann"}}):
        assert run(asks.text, tmp_path) == "{'playbook': 'shop-down', 'by': 'ann'}\n"


def run(text: str, folder: Path) -> str:
    """In an interpreter of its own, as a reader would."""
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env={"PYTHONPATH": str(HOME)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
