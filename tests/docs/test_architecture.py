"""The page for whoever changes AIOS is true: floors, rooms and files are those that are checked and that are there."""

from __future__ import annotations

import configparser
import re

from tests.docs.files import sentences
from tests.docs.pages import HOME, text_of

PAGE = "docs/architecture.md"


def floors_of_the_page() -> dict[int, set[str]]:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", text_of(PAGE), re.MULTILINE)
    return {
        int(floor): {name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", rooms)} for floor, rooms in rows
    }


def test_the_floors_of_the_page_are_those_that_are_checked() -> None:
    """The table is the contract: each floor, from the ground up, with each of its rooms."""
    contracts = configparser.ConfigParser()
    contracts.read(HOME / ".importlinter")
    layers = contracts["importlinter:contract:floors"]["layers"].strip().splitlines()
    checked = {floor: set(re.split(r" *[|:] *", layer)) for floor, layer in enumerate(reversed(layers))}
    assert floors_of_the_page() == checked


def test_every_room_of_the_page_is_there_and_every_room_is_on_the_page() -> None:
    rooms = {path.name.removesuffix(".py") for path in (HOME / "aios").iterdir() if path.suffix == ".py" or path.is_dir()}
    on_the_page = set().union(*floors_of_the_page().values())
    assert on_the_page == rooms - {"__init__", "__main__", "__pycache__"}


def test_every_file_that_the_page_names_is_there() -> None:
    """Below the checkout, `aios/`, or one of its rooms."""
    named = set(re.findall(r"`([a-z_/]+\.py)`", text_of(PAGE)))
    assert named
    folders = (HOME, HOME / "aios", *(path for path in (HOME / "aios").iterdir() if path.is_dir()), HOME / "tests" / "simulation")
    assert [name for name in sorted(named) if not any((folder / name).exists() for folder in folders)] == []


def test_every_file_says_first_what_it_is() -> None:
    """In one sentence or two that fit a line of `make files`."""
    assert [file for file, sentence in sentences() if not sentence] == []
    assert [file for file, sentence in sentences() if len(sentence) > 170] == []
