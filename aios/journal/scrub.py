"""Closed parts are read anew, some each hour, so that damage is heard of before somebody asks for what it took.

`tending` calls it. A part that is damaged stays an open symptom (`journal.damaged`, about `journal:PART`) over every restart,
until it is read whole again, is gone, or a person has said that it is known (`aios journal verify --known`): that is a small file
beside the parts, and only further damage is told then. Half a line that a crash left was never acknowledged, and is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from aios.disk import read_all, write_small
from aios.events.codec import BadLine, decode, decode_hostile, encode_json, was_whole
from aios.events.event import Draft
from aios.journal.archive import DamagedBlock, OpenPart, list_archives, open_part
from aios.journal.index import lines_of
from aios.journal.parts import Part, list_parts
from aios.ports import Files

EACH_BYTES = 256 << 20
"""Of files at a time: half a second of CPU, and some days until the largest journal was read once."""
PREFIX = "journal:"
KNOWN = "known-damage.json"
_KNOWN_BYTES_MAX = 1 << 20
PLACES_MAX = 1000


class Scrub:
    """Goes round through the closed parts. `events` is their folder."""

    def __init__(self, files: Files, events: str) -> None:
        self._files = files
        self._events = events
        self._last = Part("", 0)

    def some(self, ill: Collection[str]) -> list[Draft]:
        """What became of some more parts, those first that are known to be ill (subjects). Raises OSError."""
        parts = closed_parts(self._files, self._events)
        told = [_sound(subject, "it is gone") for subject in ill if subject not in {_subject(part) for part in parts}]
        known, room = load_known(self._files, self._events), EACH_BYTES
        for part in self._in_turn(parts, ill):
            if room <= 0:
                break
            places, size = damage_of(self._files, self._events, part)
            room -= size
            self._last = part if _subject(part) not in ill else self._last
            fresh = sorted(set(places) - set(known.get(part.name, ())))
            if fresh and _subject(part) not in ill:
                data = {"part": part.name, "places": len(places), "offset": fresh[0]}
                told.append(Draft(type="journal.damaged", subject=_subject(part), data=data))
            elif not fresh and _subject(part) in ill:
                told.append(_sound(_subject(part), "a person knows it" if places else "it is read whole again"))
        return told

    def _in_turn(self, parts: list[Part], ill: Collection[str]) -> list[Part]:
        others = [part for part in parts if _subject(part) not in ill]
        following = [part for part in others if part > self._last]
        return [*(part for part in parts if _subject(part) in ill), *following, *others[: len(others) - len(following)]]


def closed_parts(files: Files, events: str) -> list[Part]:
    """All but the one that is written now. Raises OSError."""
    return sorted({*list_parts(files, events)[:-1], *list_archives(files, events)})


def damage_of(files: Files, events: str, part: Part) -> tuple[list[int], int]:
    """Where in the raw part something cannot be read any more (at most `PLACES_MAX`), and how many bytes were read."""
    try:
        opened = open_part(files, events, part)
    except FileNotFoundError:
        return [], 0  # removed since it was listed
    try:
        places = [place for number in range(len(opened.index)) for place in _of_block(opened, number)]
        return places[:PLACES_MAX], opened.index.file_size
    finally:
        opened.close()


def _of_block(opened: OpenPart, number: int) -> Iterator[int]:
    columns = opened.index.columns
    offset = columns["offset"][number]
    try:
        raw = opened.block(number)
    except DamagedBlock:
        yield offset
        return
    if not columns["bad"][number]:
        return
    for line in lines_of(raw, 0):
        if not _reads(line) and was_whole(line):
            yield offset
        offset += len(line) + 1


def _reads(line: bytes) -> bool:
    try:
        return bool(decode(line))
    except BadLine:
        return False


def _subject(part: Part) -> str:
    return PREFIX + part.name.removesuffix(".jsonl")


def _sound(subject: str, why: str) -> Draft:
    return Draft(type="journal.sound", subject=subject, data={"part": subject.removeprefix(PREFIX) + ".jsonl", "why": why})


# --- what a person knows ----------------------------------------------------------------------------------------------


def load_known(files: Files, events: str) -> Mapping[str, list[int]]:
    """Part -> places. Nothing where the file is missing or cannot be believed: then all is told anew."""
    try:
        raw = decode_hostile(read_all(files, f"{events}/{KNOWN}", _KNOWN_BYTES_MAX), bytes_max=_KNOWN_BYTES_MAX)
    except (OSError, BadLine):
        return {}
    if type(raw) is not dict:
        return {}
    return {name: [one for one in places if type(one) is int] for name, places in raw.items() if type(places) is list}


def know_all(files: Files, events: str) -> dict[str, list[int]]:
    """All damage that there is now is known from here on. Raises OSError."""
    found = {part.name: damage_of(files, events, part)[0] for part in closed_parts(files, events)}
    known = {name: places for name, places in found.items() if places}
    write_small(files, f"{events}/{KNOWN}", encode_json(known))
    return known
