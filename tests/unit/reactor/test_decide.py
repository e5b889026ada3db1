"""One decision about one matched event: pure, so every law of it is one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from aios.events.calls import SkillSpec, Touches
from aios.events.event import Event, Position, format_time
from aios.playbooks.load import load
from aios.playbooks.model import CannotSay, Playbook
from aios.playbooks.run_opening import WRITTEN_BYTES_MAX, run_id, unfit
from aios.reactor.decide import CONSIDERED_MAX, Decision, InFlight, decide, resources_of
from aios.reactor.holding import Rules
from aios.scores.scores import Scores
from aios.testing.bodies import specs
from aios.testing.loop import START_OF_TIME
from aios.world import World

NOW = START_OF_TIME
AT = Position("2026-02-24", 1, 0)
SKILLS: Mapping[str, SkillSpec] = specs()
RULES = Rules("auto", 30, frozenset())


def event(subject: str = "web.service", **data: Any) -> Event:
    return Event("e1", "t", "service.down", subject, format_time(NOW), data, format_time(NOW), "error")


def playbook(name: str, more: str = "", act: str = "restart_service, with: {unit: web.service}") -> Playbook:
    text = f"playbook: {name}\ndescription: d\non: {{type: service.down}}\nsteps: [{{id: a, act: {act}}}]\n"
    return load(text + "verify: [{service_check: {unit: web.service}}]\n" + more, f"{name}.yaml", SKILLS)


def decided(matches: Sequence[Playbook], of: Event | None = None, rules: Rules = RULES, world: World | None = None) -> Decision:
    world = world or World(Scores())
    return decide(of or event(), AT, matches, world, rules, SKILLS, NOW, in_flight=InFlight())


def test_a_run_is_named_by_event_and_playbook_so_that_a_replay_opens_no_second_one() -> None:
    first, second = decided([playbook("a")]), decided([playbook("a")])
    assert first.drafts[0].id == second.drafts[0].id == run_id("e1", "a")


def test_the_mode_in_force_is_the_lesser_of_the_playbooks_and_the_settings() -> None:
    for mode, mode_max, in_force in (("auto", "suggest", "suggest"), ("shadow", "auto", "shadow"), ("auto", "auto", "auto")):
        rules = Rules(mode_max, 30, frozenset())
        assert decided([playbook("a", f"mode: {mode}\n")], rules=rules).drafts[0].data["mode"] == in_force


def test_whoever_says_no_is_passed_over_and_explained() -> None:
    """`when` false, switched off: the next best runs, and the decision says why the better one did not."""
    off, no, yes = playbook("off"), playbook("no", "when: event.data.n > 5\n"), playbook("yes")
    world = World(Scores())
    world.disabled.add("off")
    decision = decided([off, no, yes], event(n=1), world=world)
    assert decision.playbook == "yes"
    said = {one["playbook"]: one["said"] for one in decision.drafts[0].data["considered"]}
    assert said["off"] == "switched off"
    assert said["no"].endswith("is false")
    assert decided([no], event(n=1)).verdict == "no_match"


def test_a_score_that_nobody_knows_is_no_yes() -> None:
    decision = decided([playbook("a", "when: score < 0.9\n")])
    assert decision.verdict == "cannot_say"
    assert decision.drafts[0].correlationid == ""


def test_what_only_looks_is_held_by_no_guard() -> None:
    """Paused or protected: looking goes on."""
    world = World(Scores())
    world.paused = {"by": "ann", "until": "", "reason": "an upgrade"}
    rules = Rules("auto", 30, frozenset({"web.service"}))
    assert decided([playbook("a", "mode: observe\n")], rules=rules, world=world).verdict == "opened"
    held = decided([playbook("a")], rules=rules, world=world)
    assert (held.verdict, held.drafts[0].data["why"]) == ("held", "acts are paused by ann: an upgrade")


def test_a_run_locks_its_subject_and_all_that_its_acts_touch() -> None:
    both = playbook("a", act="restart_service, with: {unit: db.service}")
    assert resources_of(both, event(), SKILLS, NOW) == ["db.service", "web.service"]
    by_event = playbook("a", act='restart_service, with: {unit: "${event.data.unit}"}')
    assert resources_of(by_event, event(unit="x.service"), SKILLS, NOW) == ["web.service", "x.service"]
    assert resources_of(by_event, event(), SKILLS, NOW) == ["web.service"]


def test_explaining_is_bounded() -> None:
    """A thousand playbooks that match one event do not make its decision too long to be written down."""
    many = [playbook(f"p{n}") for n in range(CONSIDERED_MAX + 20)]
    assert len(decided(many).drafts[0].data["considered"]) == CONSIDERED_MAX


@pytest.mark.parametrize("length", [WRITTEN_BYTES_MAX // 2, WRITTEN_BYTES_MAX + 1])
def test_what_a_line_cannot_hold_is_said_before_it_is_written(length: int) -> None:
    opened = decided([playbook("a")], event(text="x" * length)).drafts[0]
    assert bool(unfit(opened)) is (length > WRITTEN_BYTES_MAX)


def test_an_outsiders_skill_that_fails_rises_to_the_pump() -> None:
    """Which makes a dead letter of the event; only what a skill may say by contract is taken here."""

    def broken(_params: Mapping[str, Any]) -> Touches:
        raise RuntimeError("odd")

    def refuses(_params: Mapping[str, Any]) -> dict[str, Any]:
        raise CannotSay("not now")

    good = SKILLS["restart_service"]
    for check, touches, rises in ((good.check, broken, True), (refuses, good.touches, False)):
        skills = {**SKILLS, "restart_service": SkillSpec("restart_service", "act", "", {}, check, touches)}
        if rises:
            with pytest.raises(RuntimeError, match="odd"):
                resources_of(playbook("a"), event(), skills, NOW)
        else:
            assert resources_of(playbook("a"), event(), skills, NOW) == ["web.service"]
