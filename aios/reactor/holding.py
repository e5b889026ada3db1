"""Guards that look at more than their own playbook: silences, windows, dependencies, storms, and how many runs at once.

`decide.py` asks before a run opens, the daemon's `Env` (`held_before_act`) before its first act, the pump before a fallback: pure
functions of the world. `HeldOn` is the pump's: what is held until something other than time ends it, so that it is offered
again just then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.events.durations import format_duration
from aios.events.event import SYSTEM, Draft, format_time
from aios.playbooks.guards import Held, opens_s
from aios.playbooks.maintenance import WindowSet
from aios.playbooks.model import Playbook
from aios.playbooks.run import Run
from aios.playbooks.trust import Rule
from aios.world import Holding, World

STORM_LOOKS_MAX = 50
"""So many runs look while a storm lasts: evidence enough. What comes on top is held without a run."""
STORM_CALM = 0.5
"""A storm is over when less than this part of the share that began it is ill: so it does not come and go."""
DEPENDS_CALL_S = 600.0
"""When what something depends on has been ill for so long, a person should know what waits for it."""
DEPENDS_AGAIN_S = DEPENDS_CALL_S / 2 + 5.0
"""What is held because something else is ill is looked at again so often, though nobody said that it is well.

Twice until the call, and never just when an incident closes, after ten quiet minutes: a moment more, and a person would be called
again each time.
"""
KEY_CHARS_MAX = 100
SUBJECTS_TOLD = 20
MACHINE = "machine"
"""Names the places that all playbooks share."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force besides the playbooks."""

    mode_max: str
    acts_per_hour: int
    protected: frozenset[str]
    concurrency: int = 0
    """Runs that may act, open at once on the whole machine; 0: as many as there are slots and room."""
    windows: WindowSet = field(default_factory=WindowSet)
    needs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Subject -> those that it depends on, by the settings."""
    storm_share: float = 0.0
    """The share of the watched subjects that makes a storm; 0: none ever does."""
    storm_at_least: int = 5
    trust: Rule = field(default_factory=Rule)


Opening = Mapping[tuple[str, str], Mapping[str, Any]]
"""Runs that are decided and not folded yet: (playbook, subject) -> the event each answers."""


# --- before a run opens, and before its first act ---------------------------------------------------------------------


def held_now(playbook: Playbook, subject: str, world: World, rules: Rules, now: float) -> Held | None:
    """What lets nobody act just now: a silence, a window, something ill that this depends on."""
    silence = world.guards.silences.of(playbook.name, subject, now) if world.guards.silences.by_id else None
    if silence is not None:
        reason = f": {silence.reason}" if silence.reason else ""
        why = f"{silence.what} is silenced by {silence.by}{reason}"
        return Held("silence", silence.until, why[:500], on=silence.id)
    for windows in (playbook.guard.windows, rules.windows):
        if windows:
            until, why = windows.closed_until(now)
            if why:
                return Held("window", until, why)
    return _waits_for_the_ill(playbook, subject, world, rules, now) if world.ill else None


def held_before_act(playbook: Playbook, run: Run, world: World, rules: Rules, opening: Opening, now: float) -> Held | None:
    """What keeps a run from its first act just now: as above, a storm, or that others have taken the places since it waited."""
    if held := storm_holds(world) or held_now(playbook, run.subject, world, rules, now):
        return held
    if playbook.guard.concurrency is None and not rules.concurrency:
        return None
    return crowded(playbook, run.trigger, world, opening, rules, but=run.id)


def storm_holds(world: World) -> Held | None:
    """What a storm says to a run before its first act, and to an event when enough runs look already."""
    storm = world.guards.storm
    if storm is None or storm.lifted_by:
        return None
    why = f"{storm.ill} of {storm.known} watched subjects fell ill together: in a storm nothing is done"
    return Held("storm", 0.0, why, on="storm")


def _waits_for_the_ill(playbook: Playbook, subject: str, world: World, rules: Rules, now: float) -> Held | None:
    ill = next((one for one in _needs(playbook, subject, world, rules) if one in world.ill and one != subject), "")
    if not ill or _leans_on(ill, subject, world, rules):
        return None  # of two that need each other, none waits for the other
    since = min(world.symptoms[ill, kind].since for kind in world.ill[ill])
    why = f"{subject} depends on {ill}, which has been ill for {max(0.0, now - since):.0f} s"
    return Held("depends_on", now + DEPENDS_AGAIN_S, why, calls=now - since >= DEPENDS_CALL_S, on=ill)


def _needs(playbook: Playbook, subject: str, world: World, rules: Rules) -> Iterator[str]:
    yield from playbook.guard.depends_on
    yield from sorted(rules.needs.get(subject, ()))
    yield from (one for one in world.ill if world.relations.suffers(subject, of=one))


def _leans_on(subject: str, other: str, world: World, rules: Rules) -> bool:
    return other in rules.needs.get(subject, ()) or world.relations.suffers(subject, of=other)


# --- how many at once -------------------------------------------------------------------------------------------------


def crowded(
    playbook: Playbook, trigger: Mapping[str, Any], world: World, opening: Opening, rules: Rules, but: str = ""
) -> Held | None:
    """Whether as many runs are open (`but` this one) as may be: of this playbook (for its field's value), or on the machine."""
    own = playbook.guard.concurrency
    if own is not None:
        place = place_of(playbook, trigger)
        count = taken(place, playbook, world, opening, but)
        if count >= own.at_most:
            runs = "1 run" if count == 1 else f"{count} runs"
            return Held("concurrency", 0.0, f"{runs} of {place} open, and its concurrency is {own.at_most}", on=place)
    if rules.concurrency:
        count = taken(MACHINE, None, world, opening, but)
        if count >= rules.concurrency:
            return Held("concurrency", 0.0, f"{count} runs open on this machine, its concurrency", on=MACHINE)
    return None


def place_of(playbook: Playbook, trigger: Mapping[str, Any]) -> str:
    """Names the places that a run shares with others: its playbook, and the value of its field where one is named."""
    own = playbook.guard.concurrency
    if own is None or not own.by:
        return playbook.name
    value: Any = trigger
    for name in own.by.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return f"{playbook.name} {own.by} {value if value is not None else 'missing'!s:.{KEY_CHARS_MAX}}"


def taken(place: str, playbook: Playbook | None, world: World, opening: Opening, but: str = "") -> int:
    """How many runs that may act hold such a place; `playbook` is None for the machine's.

    A decision about an event goes by what the runs have said. A run that is about to act (`but` this one) goes by what they do.
    """
    mine = [run for run in world.runs.values() if run.id != but and (playbook is None or run.playbook == playbook.name)]
    placed = [run for run in mine if holds_place(run, _stands_still(run) if but else run.rests)]
    count = sum(1 for run in placed if playbook is None or place_of(playbook, run.trigger) == place)
    coming = [(pair, event) for pair, event in opening.items() if pair not in world.open_pairs]
    return count + sum(
        1 for (name, _), event in coming if playbook is None or (name == playbook.name and place_of(playbook, event) == place)
    )


def _stands_still(run: Run) -> str:
    """What it waits for just now: of those that were woken together, none may act as if it were alone."""
    return run.wait["for"] if run.wait is not None else ""


def holds_place(run: Run, waits: str) -> bool:
    """Who may act, but not who waits before its first act (for a guard, which may need the place to end; for a person, who may
    take a day) or on its ladder (what it did is taken back; its fallback has a place of its own). What could not begin for want
    of room or of hands is brought again in a moment, and keeps its place.
    """
    left = waits in ("rung", "ladder") or (waits not in ("", "hands") and not run.acted)
    return not left and (bool(run.by) or run.mode in ("approve", "auto"))


# --- storms -----------------------------------------------------------------------------------------------------------


def storm_news(world: World, rules: Rules) -> Draft | None:
    """The event that a storm began or is over; None where nothing changed."""
    storm, watched = world.guards.storm, world.relations.watched
    if not watched or (storm is None and len(world.ill) < rules.storm_at_least):
        return None  # nobody knows yet who there is: just started
    ill = sorted(subject for subject in world.ill if subject in watched)
    share = rules.storm_share
    told: dict[str, Any] = {"ill": len(ill), "known": len(watched)}
    if storm is None and share and len(ill) >= rules.storm_at_least and len(ill) > share * len(watched):
        why = (
            f"a storm: {len(ill)} of {len(watched)} watched subjects are ill ({', '.join(ill[:3])}, …): nothing is done until it "
            "is over, or you say aios resume"
        )
        return Draft(type="reactor.storm_began", subject=SYSTEM, data={**told, "subjects": ill[:SUBJECTS_TOLD], "why": why})
    calm = len(ill) < rules.storm_at_least or len(ill) <= share * STORM_CALM * len(watched)
    if storm is not None and (calm or not share):
        return Draft(type="reactor.storm_over", subject=SYSTEM, data=told)
    return None


# --- what is held until something ends --------------------------------------------------------------------------------

Key = tuple[str, str]


@dataclass(slots=True)
class HeldOn:
    """What is held, by what it waits for; oldest first. Entries that the world holds no more are dropped when met."""

    groups: dict[tuple[str, str], dict[Key, None]] = field(default_factory=dict)

    def add(self, key: Key, holding: Holding) -> None:
        if holding.on:
            self.groups.setdefault((holding.guard, holding.on), {})[key] = None

    def free(self, world: World, room: Callable[[str, str], int | None], offered: Mapping[str, Key]) -> list[Key]:
        """Those to be offered now. `room(guard, on)` is how many: None for all, 0 while it lasts."""
        found: list[Key] = []
        waiting = set(offered.values())
        for group, keys in list(self.groups.items()):
            left = room(*group)
            if left is not None:
                left -= sum(1 for key in waiting if key in keys)
            if left is None or left > 0:
                found.extend(self._oldest(group, keys, left, world, waiting))
                if not keys:
                    del self.groups[group]
        return found

    def _oldest(
        self, group: tuple[str, str], keys: dict[Key, None], count: int | None, world: World, waiting: set[Key]
    ) -> list[Key]:
        """So many that still wait for this (None: all) and are not offered yet."""
        found: list[Key] = []
        stale = []
        for key in keys:
            if count is not None and len(found) >= count:
                break
            holding = world.held.get(key)
            if holding is None or (holding.guard, holding.on) != group:
                stale.append(key)
            elif key not in waiting:
                found.append(key)
        for key in stale:
            del keys[key]
        return found


def room_for(guard: str, on: str, world: World, rules: Rules, opening: Opening, playbooks: Mapping[str, Playbook]) -> int | None:
    """How many of those that wait for this may be offered: None: all; 0: none yet."""
    if guard == "concurrency":
        return _free_places(on, world, rules, opening, playbooks)
    if guard == "depends_on":
        lasts = on in world.ill
    elif guard == "silence":
        lasts = on in world.guards.silences.by_id
    elif guard == "paused":
        lasts = world.paused is not None
    else:
        lasts = guard == "storm" and world.guards.storming
    return 0 if lasts else None


def _free_places(on: str, world: World, rules: Rules, opening: Opening, playbooks: Mapping[str, Playbook]) -> int | None:
    if on == MACHINE:
        return max(0, rules.concurrency - taken(MACHINE, None, world, opening)) if rules.concurrency else None
    playbook = playbooks.get(on.partition(" ")[0])
    own = playbook.guard.concurrency if playbook is not None else None
    return max(0, own.at_most - taken(on, playbook, world, opening)) if own is not None else None


# --- for who asks -----------------------------------------------------------------------------------------------------

STATES_MAX = 100


def guards_in_force(playbook: Playbook, world: World, rules: Rules, now: float) -> list[str]:
    """What holds this playbook back, or would, a sentence each: its own guards, then what is so just now."""
    guard, book = playbook.guard, world.guards
    said = [f"cooldown {format_duration(guard.cooldown_s)}"]
    if guard.limit is not None:
        longest = format_duration(max(guard.open_max_s, opens_s(guard)))
        opened = f"then open for {format_duration(opens_s(guard))}, at most {longest}"
        said.append(f"limit {guard.limit[0]} in {format_duration(guard.limit[1])}, {opened}")
    if guard.concurrency is not None:
        said.append(f"concurrency {guard.concurrency.at_most}" + (f" by {guard.concurrency.by}" if guard.concurrency.by else ""))
    if guard.depends_on:
        said.append(f"depends on {', '.join(guard.depends_on)}")
    for windows in (guard.windows, rules.windows):
        if windows:
            until, why = windows.closed_until(now)
            now_said = f"now: {why}" + (f", until {format_time(until)}" if until else "") if why else "now: open"
            said.append(f"windows: {', '.join(one.text for one in (*windows.only, *windows.never))} ({now_said})")
    said += [
        f"silenced by {s.by} until {format_time(s.until)}: {s.what}"
        for s in book.silences.in_force(now)
        if s.playbook in ("", playbook.name)
    ]
    if (storm := storm_holds(world)) is not None:
        said.append(storm.why)
    return [*said, *_of_subjects(playbook, world, now)][:STATES_MAX]


def _of_subjects(playbook: Playbook, world: World, now: float) -> Iterator[str]:
    for name, subject in list(world.guards.pairs):
        if name == playbook.name and (held := world.guards.verdict(playbook, subject, now)) is not None:
            yield f"{subject}: {held.guard} until {format_time(held.until)}"
