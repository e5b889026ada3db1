"""Spoiled playbooks, a hundred thousand of them: `python -m tests.evaluation.spoiled_playbooks [COUNT] [SEED]`.

Each is a good one with some lines lost, torn, moved, or with words in the wrong places. It must be refused with an error that
names file and line, or load: no other exception, none longer than 50 ms (of CPU), and all of them in less than 64 MB. The suite
tries some thousands.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aios.errors import ConfigErrors
from aios.events.calls import SkillCatalogue
from aios.playbooks.load import load

COUNT = 100_000
SHIPPED = Path(__file__).resolve().parents[2] / "playbooks"
WORDS = (
    "${", "}", "${event.subject}", "no", "[]", "{}", "null", "1", "-1", "1e9", "steps.", "event.data.", '"', "'", ":", "- ", "\n",
    "  ", "*", "&a", "5m", "é", "$${", "any: ", "sequence: ", "count: ", "within: 5m", "!!str ", "\t", "---\n", "|", ">", "0x1",
    "{numeric: [", "99999999999999999999", "\x07", "# ", "?", "<<: ", "@", "%", "`",
)  # fmt: skip


class Tried(NamedTuple):
    """How many loaded, the longest and what it was, and everything that went wrong, with its seed and number."""

    loads: int
    longest_s: float
    longest: int
    wrong: list[str]


def spoil(good: str, chance: random.Random) -> str:
    """The same text with one to three mistakes."""
    lines = good.splitlines(keepends=True)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        line = lines[at]
        cut = chance.randrange(len(line) + 1)
        match chance.randrange(7):
            case 0:
                lines[at] = ""
            case 1:
                lines[at] = line[:cut] + chance.choice(WORDS) + line[cut:]
            case 2:
                lines[at] = line[:cut] + line[cut + chance.randrange(1, 6) :]
            case 3:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], line
            case 4:
                lines[at] = chance.choice(["  ", " ", "\t", ""]) + line
            case 5:
                lines[at] = line * chance.choice([2, 2, 50])
            case _:
                lines[at] = line.replace(":", chance.choice([": ", ":", ": [", ": {", ": |\n   "]), 1)
    return "".join(lines)


def try_spoiled(good: str, count: int, seed: int, skills: SkillCatalogue) -> Tried:
    """Load so many; the same seed tries the same ones."""
    chance = random.Random(seed)
    loads, longest_s, longest, wrong = 0, 0.0, 0, []
    for number in range(count):
        text = spoil(good, chance)
        began = time.process_time()
        try:
            load(text, "p.yaml", skills)
            loads += 1
        except ConfigErrors as several:
            if said := _unclear(several):
                wrong.append(f"seed {seed}, number {number}: {said}\n{text}")
        except Exception as error:
            wrong.append(f"seed {seed}, number {number}: {type(error).__name__}: {error}\n{text}")
        took = time.process_time() - began
        if took > longest_s:
            longest_s, longest = took, number
    return Tried(loads, longest_s, longest, wrong)


def _unclear(several: ConfigErrors) -> str:
    """What is missing in the errors; empty when each can be shown, with its file and line."""
    if not several.errors:
        return "refused without an error"
    for error in several.errors:
        if error.path != "p.yaml" or error.line < 1 or not error.message:
            return f"an error without its place: {error}"
    return ""


def main(words: Sequence[str]) -> int:
    from aios.skills.catalogue import load_catalogue

    count, seed = (int(word) for word in (*words, *(str(COUNT), "1")[len(words) :]))
    skills = load_catalogue()
    goods = [path.read_text() for path in sorted(SHIPPED.glob("*.yaml"))]
    for good in goods:
        load(good, "p.yaml", skills)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried = [try_spoiled(good, count // len(goods), seed + n, skills) for n, good in enumerate(goods)]
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    figures: dict[str, Any] = {
        "tried": count // len(goods) * len(goods),
        "loaded": sum(one.loads for one in tried),
        "longest_ms": round(max(one.longest_s for one in tried) * 1000, 1),
        "grown_mb": round(grown_mb, 1),
        "wrong": [said for one in tried for said in one.wrong][:20],
    }
    print(json.dumps(figures, indent=2))
    return 0 if not figures["wrong"] and figures["longest_ms"] <= 50 and grown_mb <= 64 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
