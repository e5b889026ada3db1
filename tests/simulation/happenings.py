"""What befalls the simulated machine, as a list that is made from a seed before anything is played: so that it can be cut.

`plan_of(seed, hours, troubles)` makes the list; `Troubles` says how often what happens; the nemesis (`nemesis_of`) turns on a
random subset of all faults, by seed. `day.py` plays a list. A happening is plain data, so that a kept story is a small JSON file.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from aios.entropy import SeededEntropy
from aios.events.codec import encode_json
from aios.testing.machine import STATE_DIR

UNITS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "web.service": (0.9, ("db.service",)),
    "db.service": (0.8, ()),
    "agent:coder": (0.6, ()),
    "cache.service": (1.0, ()),
}
"""Service -> how often a restart heals it, and what it needs."""
KINDS = (
    "idempotent",
    "checked",
    "never",
    "slow",
    "hang",
    "die",
    "ask",
    "look",
    "alarm",
    "unset",
    "halt",
    "suggest",
    "many",
    "nobody",
    "which",
    "one",
    "hours",
    "lean",
    "twice",
    "edit",
    "rewrite",
    "left",
    "right",
    "first",
    "then",
    "pulse",
)
FEW = frozenset(("many", "twice", "left", "right", "first", "then", "pulse"))
"""Of these there are only two subjects, so that several events meet."""
GARBAGE: Sequence[bytes] = (b"not json\n", b'{"type": "run.healed"}\n', b'{"no": "type"}\n', b"\xff\xfe\n", b"[" * 200 + b"\n")
STATE = "/state/"
JOURNAL = "/events/"


@dataclass(frozen=True, slots=True)
class Happening:
    """At so many seconds after the beginning, do this (a method of `day.Day`) with these."""

    at: float
    do: str
    args: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"at": self.at, "do": self.do, **self.args}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Happening:
        rest = dict(raw)
        return cls(float(rest.pop("at")), str(rest.pop("do")), rest)


@dataclass(frozen=True, slots=True)
class Troubles:
    """How much befalls the machine: mean seconds between two of a kind (0: never), and chances."""

    work_s: float = 60.0
    falls_s: float = 900.0
    answers_s: float = 400.0
    garbage: float = 0.05
    repeats: float = 0.1
    subjects: float = 40.0
    """Of each kind of work: few of them meet often, and their guards hold."""
    kinds: tuple[str, ...] = KINDS
    """Of work."""
    kill_daemon_s: float = 600.0
    kill_at_call_s: float = 900.0
    power_cut_s: float = 2400.0
    disk_fails_s: float = 1200.0
    disk_full_s: float = 0.0
    disk_slow_s: float = 0.0
    leap_s: float = 0.0
    hands_s: float = 600.0
    """Kills of hands, of launchers and of acts."""
    acts_s: float = 900.0
    """Acts that hang, are slow, detach, lie or are told twice; looks that hang."""
    bus_s: float = 0.0
    people_s: float = 0.0
    """People who answer twice, cancel, pause, take back, and try again."""
    rots: bool = False
    """At each death of the daemon one byte of each part of the journal is another one."""
    kill_at: tuple[int, ...] = ()
    """Whoever makes one of these changing calls below the state folder dies there; counted from the first start."""
    fails_at: tuple[int, int] = (0, 0)
    """At this call below the state folder, be it one that only looks, and at the two after it: this errno."""


FAULTS: Mapping[str, tuple[str, ...]] = {
    "kills": ("kill_daemon_s", "kill_at_call_s"),
    "power": ("power_cut_s",),
    "disk": ("disk_fails_s", "disk_full_s", "disk_slow_s"),
    "clock": ("leap_s",),
    "hands": ("hands_s",),
    "acts": ("acts_s",),
    "bus": ("bus_s",),
    "people": ("people_s",),
    "lines": ("garbage", "repeats"),
}
"""Families of faults, as the nemesis and `--faults` name them -> the fields of `Troubles` that they turn on."""

HARSH: Sequence[tuple[str, Any]] = (
    ("concurrency", 3),
    ("concurrency", 1),
    ("storm", {"share": 0.3, "at_least": 2}),
    ("trust", {}),
    ("depends_on", {"agent:coder": ["cache.service"]}),
    ("window", [{"name": "changeover", "acts": "never", "cron": "*/20 * * * *", "for": "3m", "timezone": "UTC"}]),
)
"""Settings that hold back, and take away: `trust` without a word is that of the product, by which what never heals is demoted."""

EVERY_FAULT = Troubles(disk_full_s=1800.0, disk_slow_s=1500.0, leap_s=1200.0, bus_s=900.0, people_s=500.0)
CALM = Troubles(**{name: 0.0 for names in FAULTS.values() for name in names})
"""Work, falling services and people, and nothing that goes wrong."""


def only(faults: Sequence[str], troubles: Troubles = EVERY_FAULT) -> Troubles:
    """These families of faults and no others."""
    off = {name: 0.0 for family, names in FAULTS.items() if family not in faults for name in names}
    return replace(troubles, **off)


def nemesis_of(seed: int, pace: float = 1.0, faults: Sequence[str] = tuple(FAULTS)) -> Troubles:
    """A random subset of the faults, and how thick they come. `pace` 2 means half as much of everything, work too."""
    chance = SeededEntropy(seed ^ 0x0E5E515)
    chosen = [family for family in faults if chance.uniform(0.0, 1.0) < 0.5] or list(faults)
    troubles = only(chosen)
    timed = {field.name: getattr(troubles, field.name) for field in fields(troubles) if field.name.endswith("_s")}
    thick = {name: mean * pace * chance.uniform(0.5, 2.0) for name, mean in timed.items()}
    return replace(troubles, subjects=4.0 + 40.0 * int(chance.uniform(0.0, 2.0)), **thick)


def settings_of(seed: int) -> Mapping[str, Any]:
    """The nemesis chooses settings, too: each of these by itself, in half of all days; the others are those of `assembly`."""
    chance = SeededEntropy(seed ^ 0x5E771465)
    chosen = [(name, value) for name, value in HARSH if chance.uniform(0.0, 1.0) < 0.5]
    return dict(chosen)


def faults_of(troubles: Troubles) -> list[str]:
    """Which families are on."""
    return [family for family, names in FAULTS.items() if any(getattr(troubles, name) for name in names)]


def plan_of(seed: int, hours: float, troubles: Troubles) -> tuple[Happening, ...]:
    """The whole list, in order of time. Each kind has chance of its own, so that one does not move when another is changed."""
    maker = _Maker(seed, troubles)
    plan: list[Happening] = [Happening(0.0, "kill_at_call", {"nth": nth}) for nth in troubles.kill_at]
    first, error = troubles.fails_at
    if first:
        fault = {"kind": "every", "first": first, "last": first + 2, "path": f"{STATE_DIR}/", "error": error}
        if not error:
            fault["keep"] = 1  # a write that puts down so much and says so
        plan.append(Happening(0.0, "disk_fails", fault))
    kinds: Sequence[tuple[float, Callable[[SeededEntropy], Iterator[tuple[str, Mapping[str, Any]]]]]] = (
        (troubles.work_s, maker.work),
        (troubles.falls_s, maker.falls),
        (troubles.answers_s, maker.answers),
        (troubles.kill_daemon_s, maker.kills),
        (troubles.kill_at_call_s, maker.kills_at_call),
        (troubles.power_cut_s, maker.power_cuts),
        (troubles.disk_fails_s, maker.disk_fails),
        (troubles.disk_full_s, maker.disk_full),
        (troubles.disk_slow_s, maker.disk_slow),
        (troubles.leap_s, maker.leaps),
        (troubles.hands_s, maker.hands),
        (troubles.acts_s, maker.acts),
        (troubles.bus_s, maker.bus),
        (troubles.people_s, maker.people),
    )
    for number, (mean_s, make) in enumerate(kinds):
        chance = SeededEntropy(seed * 31 + number)
        at = _later(chance, 0.0, mean_s)
        while mean_s > 0.0 and at < hours * 3600.0:
            plan += [Happening(round(at, 3), do, args) for do, args in make(chance)]
            at = _later(chance, at, mean_s)
    return tuple(sorted(plan, key=lambda happening: happening.at))


def _later(chance: SeededEntropy, at: float, mean_s: float) -> float:
    return at + chance.uniform(0.0, 2.0 * mean_s)


Made = Iterator[tuple[str, Mapping[str, Any]]]


class _Maker:
    """One method a kind: what happens at one moment."""

    def __init__(self, seed: int, troubles: Troubles) -> None:
        self._seed = seed
        self._troubles = troubles
        self._lines = 0
        self._written: list[str] = []

    def work(self, chance: SeededEntropy) -> Made:
        """Another program appends a line or a few; sometimes garbage between them, sometimes what it said before."""
        for _ in range(1 + int(chance.uniform(0.0, 3.0))):
            if chance.uniform(0.0, 1.0) < self._troubles.garbage:
                yield "append", {"line": _pick(chance, GARBAGE).decode("latin-1")}
            if self._written and chance.uniform(0.0, 1.0) < self._troubles.repeats:
                yield "append", {"line": _pick(chance, self._written)}
            else:
                yield "append", self._new_line(chance)

    def _new_line(self, chance: SeededEntropy) -> Mapping[str, Any]:
        number, kind = self._lines, _pick(chance, self._troubles.kinds)
        self._lines += 1
        event = {
            "id": f"line-{self._seed}-{number}",
            "type": "resource.cpu_spike" if kind == "alarm" else f"work.{kind}",
            "subject": f"job:{kind}-{int(chance.uniform(0.0, 2.0 if kind in FEW else self._troubles.subjects))}",
            "data": {"tag": f"t{number}", "used": 0.99, "unit": _pick(chance, ("cache.service", "db.service"))},
        }
        line = encode_json(event).decode() + "\n"
        self._written = [*self._written[-20:], line]
        return {"line": line, "id": event["id"]}

    def falls(self, chance: SeededEntropy) -> Made:
        yield ("hang" if chance.uniform(0.0, 1.0) < 0.1 else "fall"), {"unit": _pick(chance, tuple(UNITS))}

    def answers(self, chance: SeededEntropy) -> Made:
        yield "answer", {"which": round(chance.uniform(0.0, 1.0), 3), "yes": chance.uniform(0.0, 1.0) < 0.7}

    def kills(self, chance: SeededEntropy) -> Made:
        """Mostly kill -9; now and then it is told to stop, and ends in order."""
        yield ("stop_daemon" if chance.uniform(0.0, 1.0) < 0.3 else "kill_daemon"), {}
        if self._troubles.rots:
            yield "rot", {"where": round(chance.uniform(0.0, 1.0), 6)}

    def kills_at_call(self, chance: SeededEntropy) -> Made:
        yield "kill_at_call", {"nth": 1 + int(chance.uniform(0.0, 30.0))}

    def power_cuts(self, _chance: SeededEntropy) -> Made:
        yield "power_cut", {}

    def disk_fails(self, chance: SeededEntropy) -> Made:
        first = 1 + int(chance.uniform(0.0, 10.0))
        last = first + int(chance.uniform(0.0, 6.0))
        torn = int(chance.uniform(0.0, 200.0))
        kind, what = _pick(
            chance,
            (
                ("fdatasync", {"error": errno.EIO, "path": JOURNAL}),
                ("fsync", {"error": errno.EIO, "path": STATE}),
                ("write", {"error": errno.ENOSPC, "path": STATE}),
                ("write", {"keep": torn, "path": JOURNAL}),
                ("fsync_dir", {"error": errno.EIO, "path": STATE}),
                ("rename", {"error": errno.EIO, "path": STATE}),
                ("open", {"error": errno.EMFILE, "path": f"{STATE}runs/"}),
            ),
        )
        yield "disk_fails", {"kind": kind, "first": first, "last": last, **what}

    def disk_full(self, chance: SeededEntropy) -> Made:
        yield "disk_full", {"room": int(chance.uniform(0.0, 200_000.0)), "for_s": round(chance.uniform(10.0, 300.0), 1)}

    def disk_slow(self, chance: SeededEntropy) -> Made:
        yield "disk_slow", {"sync_s": round(chance.uniform(0.01, 0.5), 3), "for_s": round(chance.uniform(10.0, 120.0), 1)}

    def leaps(self, chance: SeededEntropy) -> Made:
        yield "leap", {"seconds": round(chance.uniform(-7200.0, 7200.0), 1)}

    def hands(self, chance: SeededEntropy) -> Made:
        kind = _pick(chance, ("hands_dies", "hands_dies_at_fork", "launcher_dies", "launcher_dies_in_act", "body_dies"))
        if kind == "hands_dies":
            yield kind, {}
        else:
            yield "mishap", {"kind": kind, "nth": 1 + int(chance.uniform(0.0, 6.0))}

    def acts(self, chance: SeededEntropy) -> Made:
        kinds = ("body_hangs", "body_is_slow", "body_detaches", "body_lies", "told_again", "look_hangs")
        seconds = round(chance.uniform(0.5, 8.0), 2)
        yield "mishap", {"kind": _pick(chance, kinds), "nth": 1 + int(chance.uniform(0.0, 3.0)), "seconds": seconds}

    def bus(self, chance: SeededEntropy) -> Made:
        if chance.uniform(0.0, 1.0) < 0.5:
            yield "bus_deaf", {"for_s": round(chance.uniform(5.0, 240.0), 1)}
        else:
            yield "bus_late", {"late_s": round(chance.uniform(0.5, 15.0), 1), "for_s": round(chance.uniform(30.0, 300.0), 1)}

    def people(self, chance: SeededEntropy) -> Made:
        """Two answers at once, one that comes too late, a cancel, a pause, a silence; an ended run taken back, or tried again."""
        which = {"which": round(chance.uniform(0.0, 1.0), 3)}
        what = _pick(chance, ("two_answers", "two_answers", "cancel", "cancel", "take_back", "pause", "silence", "try_again"))
        if what == "two_answers":
            yield "answer", {**which, "yes": chance.uniform(0.0, 1.0) < 0.5}
            yield "answer", {**which, "yes": chance.uniform(0.0, 1.0) < 0.5}
        elif what == "pause":
            yield "pause", {"for_s": round(chance.uniform(5.0, 300.0), 1)}
        elif what == "silence":
            about = _pick(chance, (("job:*", ""), ("*.service", ""), ("db.service", ""), ("", "count-idempotent"), ("*", "one")))
            for_s = round(chance.uniform(20.0, 900.0), 1)
            ends_s = round(chance.uniform(0.0, 2.0 * for_s), 1)
            yield "silence", {"what": about[0], "playbook": about[1], "for_s": for_s, "ends_s": ends_s}
        elif what == "cancel":
            yield "cancel", {"nth": 1 + int(chance.uniform(0.0, 12.0))}
        else:
            yield what, which


def _pick(chance: SeededEntropy, of: Sequence[Any]) -> Any:
    return of[min(len(of) - 1, int(chance.uniform(0.0, len(of))))]
