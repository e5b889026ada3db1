"""Cuts a story that breaks a law down to the happenings that matter, and keeps it as a small JSON file.

Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002): take away ever smaller pieces
of the list, and keep what still breaks the same law. `kept/` holds such stories; `test_kept.py` plays each of them for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aios.events.codec import decode_json, encode_json
from tests.simulation.bugs import planted
from tests.simulation.day import History
from tests.simulation.happenings import Happening
from tests.simulation.harness import broken_laws, play

VERSION = 1


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that a replay needs. `law` is what it breaks (with `bug` planted), or broke; `sentence` says why it is kept."""

    seed: int
    hours: float
    quiet_s: float
    plan: tuple[Happening, ...]
    bug: str = ""
    law: str = ""
    sentence: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        head = {
            "version": VERSION,
            "sentence": self.sentence,
            "law": self.law,
            "bug": self.bug,
            "seed": self.seed,
            "hours": self.hours,
            "quiet_s": self.quiet_s,
            **({"settings": self.settings} if self.settings else {}),
        }
        lines = [f"  {encode_json(key).decode()}: {encode_json(value).decode()}" for key, value in head.items()]
        plan = ",\n".join(f"    {encode_json(happening.to_json()).decode()}" for happening in self.plan)
        return ("{\n" + ",\n".join([*lines, f'  "happenings": [\n{plan}\n  ]']) + "\n}\n").encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Story:
        raw = decode_json(text)
        if raw["version"] != VERSION:
            raise ValueError(f"a story of version {raw['version']}; this program reads {VERSION}")
        plan = tuple(map(Happening.from_json, raw["happenings"]))
        told = (raw["seed"], raw["hours"], raw["quiet_s"], plan, raw["bug"], raw["law"], raw["sentence"])
        return cls(*told, raw.get("settings", {}))


def history_of(story: Story) -> History:
    """Play it, with its bug planted if it has one."""
    with planted(story.bug):
        return play(story.seed, story.plan, story.hours, quiet_s=story.quiet_s, settings=story.settings)


def broken_by(story: Story) -> set[str]:
    """The names of the laws that it breaks."""
    return {broken.law for broken in broken_laws(history_of(story))}


def shrink(story: Story, say: Callable[[str], None] = lambda _text: None) -> Story | None:
    """The smallest story that is found in which the same law breaks; None where none does."""
    found = broken_laws(history_of(story))
    if not found:
        return None
    law = story.law if story.law in {broken.law for broken in found} else found[0].law
    story = replace(story, law=law)

    def breaks(plan: Sequence[Happening]) -> bool:
        return law in broken_by(replace(story, plan=tuple(plan)))

    plan = list(story.plan)
    size = max(1, len(plan) // 2)
    while True:
        plan = _without_pieces(plan, size, breaks)
        say(f"{len(plan)} happenings are left")
        if size == 1:
            break
        size = max(1, min(size // 2, len(plan) // 2))
    small = _shortest(replace(story, plan=tuple(plan)), lambda one: law in broken_by(one))
    sentence = next(broken for broken in broken_laws(history_of(small)) if broken.law == law)
    return replace(small, sentence=story.sentence or str(sentence))


def _without_pieces(plan: list[Happening], size: int, breaks: Callable[[Sequence[Happening]], bool]) -> list[Happening]:
    """Every piece of this size is tried without, from the end; until a round takes nothing more, where the pieces are single."""
    while True:
        before, start = len(plan), max(0, len(plan) - size)
        while True:
            without = plan[:start] + plan[start + size :]
            if len(without) < len(plan) and breaks(without):
                plan = without
            if start == 0:
                break
            start = max(0, start - size)
        if size > 1 or len(plan) == before:
            return plan


def _shortest(story: Story, breaks: Callable[[Story], bool]) -> Story:
    """Hours after the last happening that break nothing more are cut off."""
    last = max((happening.at for happening in story.plan), default=0.0)
    short = replace(story, hours=round(last / 3600.0 + 0.02, 3))
    return short if short.hours < story.hours and breaks(short) else story
