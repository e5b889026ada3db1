"""A random day: playbooks, settings and a history, all from a seed; lived by the real daemon in virtual time, and backtested.

`drawn` makes it, `lived` plays it (with deaths of the daemon where it is told to) and leaves its journal, `backtested` plays that
journal; both give `Told`: what was decided about each event, in order. Ids that chance made are no part of it.

Whatever guards count in seconds ends 5 s off the grid of 10 s on which things happen, so that a restart, which costs less, moves
nothing over an edge.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from aios.backtest import play as playing
from aios.backtest.ledger import Ledger
from aios.events.calls import SkillCatalogue, SkillSpec
from aios.events.event import Event
from aios.playbooks.load import load_many
from aios.testing.bodies import specs
from aios.testing.machine import STATE_DIR
from tests.simulation import assembly
from tests.unit.reactor.rig import Rig, play

GRID_S = 10.0
UNITS = ("a.service", "b.service", "c.service", "d.service", "e.service")
SUBJECTS = (*UNITS, "job:1", "job:2")
ILL, WELL, MISHAP = "resource.memory_high", "resource.memory_normal", "agent.error"
ODD = ("work.odd", "work.fixed", "work.beat")
DECIDED = ("reactor.decided", "run.opened", "reactor.called", "reactor.storm_began", "reactor.storm_over", "reactor.correlated")
AFTER_S, MOMENT_S = 400.0, 2.0


class Ill(set[str]):
    """Who is ill; some no act makes well."""

    stubborn: frozenset[str] = frozenset()

    def discard(self, one: str) -> None:
        if one not in self.stubborn:
            super().discard(one)


@dataclass(frozen=True)
class Happening:
    at_s: float
    kind: str
    about: dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    seed: int
    texts: tuple[str, ...]
    settings: dict[str, Any]
    happenings: tuple[Happening, ...]
    stubborn: frozenset[str]


@dataclass
class Told:
    """`of` each event what was decided, one after the other; what came of none of them; `order` of each subject's runs."""

    of: dict[str, list[str]] = field(default_factory=dict)
    machine: list[str] = field(default_factory=list)
    order: dict[str, list[str]] = field(default_factory=dict)


# --- drawing ----------------------------------------------------------------------------------------------------------


def drawn(seed: int, *, silences: bool = True) -> Drawn:
    """`silences`: whether playbooks may wait for something that stays away. Time down is no silence, so that a day with a death
    in it is another day to them."""
    chance = Random(seed)
    texts = tuple(_playbook(chance, n, silences) for n in range(chance.randint(2, 7)))
    stubborn = frozenset(one for one in SUBJECTS if chance.random() < 0.3)
    happenings = tuple(_happening(chance, n, len(texts)) for n in range(chance.randint(30, 80)))
    return Drawn(seed, texts, _settings(chance), happenings, stubborn)


def _playbook(chance: Random, n: int, silences: bool) -> str:
    mode = chance.choice(("auto", "auto", "auto", "approve", "suggest", "observe", "shadow"))
    lines = [f"playbook: p{n}", "description: One of many.", f"on: {_on(chance, silences)}"]
    lines += [f"mode: {mode}", f"guard: {_guard(chance)}"]
    if chance.random() < 0.3:
        lines.append(f"priority: {chance.randint(1, 3)}")
    if chance.random() < 0.25:
        lines.append(f"when: {chance.choice(('score < 0.9', 'system_score > 0.5', 'has(event.data.n) && event.data.n > 3'))}")
    hold = chance.choice(("0s", "0s", "1s"))
    of = '{of: "${event.subject}"}'
    lines += ["steps:", f"  - {{id: look, observe: fact, with: {of}}}", f"  - {{id: act, act: mend, with: {of}}}"]
    lines += ["verify:", f'  - ill_check: {{of: "${{event.subject}}", within: 1s, hold: {hold}}}']
    if n and chance.random() < 0.3:
        lines.append(f"on_failure: [{{fallback: p{chance.randrange(n)}}}, {{notify: still ill}}]")
    return "\n".join(lines) + "\n"


def _on(chance: Random, silences: bool) -> str:
    by = chance.choice(("", ", by: subject", ", by: data.cluster"))
    within, count = chance.choice(("25s", "45s", "95s")), chance.randint(2, 3)
    late = chance.choice(("", ", lateness: 1s", ", lateness: 3s"))
    simple = (
        f"{{type: {ILL}}}",
        f"{{type: {ILL}, match: {{subject: [a.service, b.service, c.service]}}}}",
        f"{{type: [{ILL}, {MISHAP}], match: {{subject: [{{suffix: .service}}]}}}}",
        f"{{type: {MISHAP}}}",
        "{type: work.odd, match: {data: {n: [{numeric: ['>=', 4]}]}}}",
    )
    several = (
        f"{{type: {chance.choice((ILL, MISHAP, 'work.odd'))}, count: {count} in {within}{by}{late}}}",
        f"{{all: [{{type: work.odd}}, {{type: work.fixed}}], within: {within}{by}{late}}}",
        f"{{sequence: [{{type: work.odd}}, {{type: {ILL}}}], within: {within}{late}}}",
        f"{{any: [{{type: work.fixed, count: 2 in {within}}}, {{type: {MISHAP}}}]{by}}}",
    )
    if silences:
        several += (
            f"{{sequence: [{{type: {ILL}}}, {{absence: {{type: {WELL}}}}}], within: {within}{late}}}",
            f"{{absence: {{type: work.beat}}, within: {chance.choice(('95s', '185s'))}}}",
        )
    return chance.choice(simple if chance.random() < 0.6 else several)


def _guard(chance: Random) -> str:
    said = [
        f"cooldown: {chance.choice(('0s', '0s', '25s', '65s', '185s'))}",
        f"limit: {chance.choice(('none', 'none', '1 in 65s', '2 in 245s', '3 in 605s'))}",
    ]
    if chance.random() < 0.2 and "none" not in said[1]:
        said.append("breaker: {open: 35s, ceiling: 145s}")
    if chance.random() < 0.25:
        said.append(f"concurrency: {chance.choice(('1', '2', '{at_most: 1, by: data.cluster}'))}")
    if chance.random() < 0.25:
        said.append(f"depends_on: [{', '.join(chance.sample(UNITS, chance.randint(1, 2)))}]")
    if chance.random() < 0.15:
        said.append(f'windows: {{{chance.choice(("only", "never"))}: [{{cron: "*/5 * * * *", for: 2m5s, timezone: UTC}}]}}')
    return "{" + ", ".join(said) + "}"


def _settings(chance: Random) -> dict[str, Any]:
    settings: dict[str, Any] = {"settle": chance.choice(("5s", "35s"))}
    several: tuple[tuple[str, Any], ...] = (
        ("acts_per_hour", chance.choice((3, 8, 20))),
        ("concurrency", chance.randint(1, 3)),
        ("depends_on", {"a.service": ["e.service"], "job:1": ["b.service", "c.service"]}),
        ("storm", {"share": chance.choice((0.25, 0.45)), "at_least": 2}),
        ("mode_max", chance.choice(("suggest", "approve"))),
        ("protected", [chance.choice(UNITS)]),
        ("slots", chance.choice((2, 3))),
        ("trust", {"runs": 3, "lost": 0.9}),
        ("score", {"window": "65s"}),
        ("window", [{"name": "quiet", "cron": "*/7 * * * *", "for": "1m5s", "timezone": "UTC"}]),
    )
    settings |= {name: value for name, value in several if chance.random() < 0.25}
    return settings


def _happening(chance: Random, n: int, playbooks: int) -> Happening:
    after_s = GRID_S * chance.choice((0, 0, 1, 1, 2, 3, 6, 12))
    subject = chance.choice(SUBJECTS)
    roll = chance.random()
    if roll < 0.55:
        kind = chance.choice((ILL, ILL, ILL, MISHAP, *ODD))
        data: dict[str, Any] = {"n": chance.randint(1, 6)}
        if chance.random() < 0.6:
            data["cluster"] = chance.choice(("eu", "us"))
        return Happening(after_s, "event", {"type": kind, "subject": subject, "data": data, "id": f"e{n}"})
    if roll < 0.78:
        return Happening(after_s, "event", {"type": WELL, "subject": subject, "data": {}, "id": f"e{n}"})
    if roll < 0.84:
        one, other = chance.sample(UNITS, 2)
        return Happening(after_s, "relate", {"subject": one, "needs": (other,) if chance.random() < 0.7 else ()})
    if roll < 0.88:
        return Happening(after_s, "ask", {"verb": "silence", "what": chance.choice(("job:*", subject)), "for": "95s"})
    if roll < 0.91:
        return Happening(after_s, "ask", {"verb": "pause", "reason": "", "for": "65s"})
    if roll < 0.94:
        return Happening(after_s, "ask", {"verb": "resume"})
    if roll < 0.97:
        verb = chance.choice(("playbook_disable", "playbook_enable"))
        return Happening(after_s, "ask", {"verb": verb, "name": f"p{chance.randrange(playbooks)}"})
    return Happening(after_s, "approve", {})


# --- living -----------------------------------------------------------------------------------------------------------


def lived(day: Drawn, folder: Path, deaths: Iterable[int] = ()) -> tuple[Told, dict[str, SkillSpec]]:
    """The daemon dies before the happenings of these numbers, and lives again a moment later. Its journal goes to `folder`."""
    catalogue: dict[str, SkillSpec] = {}
    dying = frozenset(deaths)

    async def story(rig: Rig) -> list[Event]:
        catalogue.update({**assembly.skills(), **specs(rig.skills())})
        rig.ill = Ill()
        rig.ill.stubborn = day.stubborn
        for unit in UNITS:
            rig.machine.units.add(unit)
        await rig.start()
        started = rig.loop.time()
        at_s = GRID_S
        for n, one in enumerate(day.happenings):
            at_s += one.at_s
            if n in dying:
                await asyncio.sleep(max(0.0, started + at_s - 4.0 - rig.loop.time()))
                await rig.restart()
            await asyncio.sleep(max(0.0, started + at_s - rig.loop.time()))
            await _happens(rig, one)
        await asyncio.sleep(AFTER_S)
        for path, raw in rig.machine.disk.tree(STATE_DIR).items():
            if path.startswith((f"{STATE_DIR}/events/", f"{STATE_DIR}/blobs/")):
                out = folder / path.removeprefix(f"{STATE_DIR}/")
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(raw)
        return [event for event, _ in rig.stored()]

    events = play(story, *day.texts, seed=day.seed, started=False, **day.settings)
    return told(events), catalogue


async def _happens(rig: Rig, one: Happening) -> None:
    if one.kind == "event":
        subject = one.about["subject"]
        if one.about["type"] == WELL:
            set.discard(rig.ill, subject)
        elif one.about["type"] in (ILL, MISHAP):
            rig.ill.add(subject)
        await rig.emit(**one.about)
    elif one.kind == "relate":
        rig.machine.units.relate(**one.about)
    elif one.kind == "approve":
        for run in [run for run in rig.daemon.world.runs.values() if run.wait and run.wait["for"] == "approval"]:
            await rig.ask("approve", run=run.id)
    else:
        await rig.ask(**one.about)


# --- the past ---------------------------------------------------------------------------------------------------------


def backtested(day: Drawn, folder: Path, catalogue: SkillCatalogue) -> Told:
    """By the settings of then, whatever those of now are."""
    return decided_by_backtest(day.texts, folder, catalogue)


def decided_by_backtest(texts: Iterable[str], folder: Path, catalogue: SkillCatalogue) -> Told:
    """What the backtest of a state folder decides with these playbooks in force."""
    heard: list[Event] = []

    class Hearing(Ledger):
        def said(self, event: Event, followed: bool = False) -> None:
            heard.append(event)
            super().said(event, followed)

    loaded = load_many({f"/playbooks/{n}.yaml": text for n, text in enumerate(texts)}, catalogue)
    assert not loaded.errors, [str(error) for error in loaded.errors]
    before, playing.Ledger = playing.Ledger, Hearing  # type: ignore[misc]
    try:
        playing.backtest(folder, loaded.playbooks, skills=catalogue)
    finally:
        playing.Ledger = before  # type: ignore[misc]
    return told(heard)


# --- telling ----------------------------------------------------------------------------------------------------------


def told(events: Iterable[Event]) -> Told:
    """Only what does not hang on chance, or on when exactly a daemon died: until when a guard holds is rounded to the grid."""
    found = Told()
    names: dict[str, str] = {}
    order: list[tuple[float, str, str]] = []
    for event in events:
        if event.type not in DECIDED:
            continue
        data = event.data
        if event.type == "reactor.correlated":
            used = [names.get(one[0], one[0]) for one in data["used"]]
            name = names[event.id] = f"{data['playbook']} of {used} {event.subject}"
            found.machine.append(f"correlated {name}")
        elif event.type == "run.opened":
            trigger = names.get(data["event"], data["event"])
            word = f"opened {data['playbook']} {data['mode']} after {data['lineage']}"
            _add(found.of, trigger, word)
            moment = order[-1][0] if order and event.taken - order[-1][0] < MOMENT_S else event.taken
            order.append((moment, event.subject, f"{trigger} {data['playbook']}"))
        elif event.type == "reactor.decided":
            on = "" if data["guard"] == "silence" else data.get("on", "")
            of = [f"{one['playbook']}: {one['said']}" for one in data["considered"]]
            word = f"{data['verdict']} {data['playbook']} {data['guard']} {on} {of}"
            _add(found.of, names.get(data["event"], data["event"]), word)
        else:
            found.machine.append(f"{event.type} {event.subject} {data.get('playbook')} {data.get('guard')} {data.get('ill')}")
    for _, subject, word in sorted(order):  # of one moment, by their names: who was first there is the disk's doing
        found.order.setdefault(subject, []).append(word)
    found.machine.sort()
    return found


def _add(to: dict[str, list[str]], key: str, word: str) -> None:
    """What is held by the same guard again is one."""
    said = to.setdefault(key, [])
    if not said or said[-1] != word:
        said.append(word)


def differences(one: Told, other: Told) -> list[str]:
    """In what the two differ, the first of it."""
    found = [
        f"{part} {key}: {a.get(key)} and {b.get(key)}"
        for part, a, b in (("event", one.of, other.of), ("subject", one.order, other.order))
        for key in dict.fromkeys((*a, *b))
        if a.get(key) != b.get(key)
    ]
    if one.machine != other.machine:
        mine, theirs = Counter(one.machine), Counter(other.machine)
        found.append(f"machine: {dict(mine - theirs)} and {dict(theirs - mine)}")
    return found[:6]
