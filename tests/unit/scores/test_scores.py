"""The score: the formulas of `docs/score.md`, what is said of it and when, and that memory stays flat."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.events.event import Draft, Event, format_time, parse_time
from aios.scores import formula
from aios.scores.book import Said
from aios.scores.formula import Score
from aios.scores.scores import DRAFTS_MAX, FORGET_AFTER_S, Scores, judge

T0 = parse_time("2026-02-24T12:00:00Z")
NGINX = "nginx.service"


class Story:
    """Events given one after the other; what `evaluate` says comes back as the journal would bring it."""

    def __init__(self, **options: Any) -> None:
        self.scores = Scores(**options)
        self.now = T0
        self.said: list[Draft] = []
        self._ids = 0

    def event(self, type: str, subject: str, **data: Any) -> Event:
        self._ids += 1
        stamp = format_time(self.now)
        return Event(f"e{self._ids}", "t", type, subject, stamp, data, stamp)

    def see(self, type: str, subject: str = NGINX, **data: Any) -> Story:
        self.scores.apply(self.event(type, subject, **data))
        return self

    def wait(self, seconds: float) -> Story:
        self.now += seconds
        return self

    def evaluate(self) -> list[Draft]:
        drafts = self.scores.evaluate(self.now)
        for draft in drafts:
            self.scores.apply(self.event(draft.type, draft.subject, **draft.data))
        self.said += drafts
        return drafts

    def dimensions(self, subject: str = NGINX) -> dict[str, float]:
        score = self.scores.score(subject, self.now)
        assert score is not None
        return dict(score.dimensions)

    def value(self, subject: str = NGINX) -> float:
        value = self.scores.value(subject, self.now)
        assert value is not None
        return value


# --- the formulas


@pytest.mark.parametrize(("good", "failed", "expected"), [(0, 0, None), (1, 0, 2.9 / 3), (0, 1, 1.9 / 3), (3, 7, 4.9 / 12)])
def test_success(good: int, failed: int, expected: float | None) -> None:
    """(s + 1.9) / (s + f + 2); no data is no dimension."""
    assert formula.success(good, failed) == pytest.approx(expected)


@pytest.mark.parametrize(("used", "expected"), [(0.2, 1.0), (0.7, 1.0), (0.825, 0.5), (0.95, 0.0), (1.0, 0.0)])
def test_resources_are_the_scarcest(used: float, expected: float) -> None:
    """The least over processor, memory and disk of clamp((0.95 − used) / 0.25, 0, 1)."""
    story = Story().see("host.sampled", "host", cpu=0.1, memory=used, disk=0.1)
    assert story.dimensions("host")["resources"] == pytest.approx(expected)


def test_runs_and_probes_are_the_success() -> None:
    """Healed and cleared count for, not_healed and unknown against, each run once; a probe's answers count one by one."""
    story = Story()
    for number, end in enumerate(("healed", "cleared", "not_healed", "unknown")):
        story.see(f"run.{end}", run=f"r{number}")
    story.see("run.healed", run="r2").see("run.rolled_back", run="r2")
    assert story.dimensions()["success"] == pytest.approx(3.9 / 6)
    story.see("probe.sampled", ok=58, failed=2, p95_ms=10.0)
    assert story.dimensions()["success"] == pytest.approx((60 + 1.9) / (64 + 2))


def test_the_window_is_fifteen_minutes() -> None:
    """What is older no longer counts, and then there is no success to speak of."""
    story = Story().see("run.not_healed", run="r").wait(14 * 60)
    assert "success" in story.dimensions()
    story.wait(2 * 60)
    assert "success" not in story.dimensions()


def test_latency_is_measured_against_the_target_of_the_settings() -> None:
    """min(1, target / p95)."""
    story = Story(targets_ms={NGINX: 50.0}).see("probe.sampled", ok=60, failed=0, p95_ms=200.0)
    assert story.dimensions()["latency"] == pytest.approx(0.25)


def test_without_a_target_latency_is_measured_against_the_median_of_seven_days() -> None:
    """A service that has always been slow is well; one that becomes slower than it was is not."""
    story = Story()
    for _ in range(3 * 24):
        story.see("probe.sampled", ok=60, failed=0, p95_ms=200.0).wait(3600)
    story.wait(-3600).wait(1000)
    story.see("probe.sampled", ok=60, failed=0, p95_ms=800.0)
    assert story.dimensions()["latency"] == pytest.approx(0.25, rel=0.06)
    usual = story.scores.explain(NGINX, story.now)["figures"]["target_ms"]
    assert usual == pytest.approx(200.0, rel=0.06)


def test_the_median_forgets_what_is_older_than_seven_days() -> None:
    story = Story().see("probe.sampled", ok=1, failed=0, p95_ms=1000.0)
    for _ in range(8):
        story.wait(86_400).see("probe.sampled", ok=1, failed=0, p95_ms=10.0)
    assert story.scores.explain(NGINX, story.now)["figures"]["target_ms"] == pytest.approx(10.0, rel=0.06)


def test_stability_halves_with_each_second_fall_of_the_last_hour() -> None:
    """0.5^(falls / 2)."""
    story = Story()
    for _ in range(4):
        story.see("service.down").wait(60).see("service.up").wait(60)
    assert story.dimensions()["stability"] == pytest.approx(0.25)
    story.wait(3700)
    assert story.dimensions()["stability"] == 1.0


def test_a_level_told_again_is_no_second_fall_but_each_mishap_counts() -> None:
    """Sensors say levels again after blind time; that does not make a service less stable. An agent's errors each count."""
    story = Story()
    for _ in range(5):
        story.see("service.down").see("agent.error", "agent:coder")
    assert story.dimensions()["stability"] == pytest.approx(0.5**0.5)
    assert story.dimensions("agent:coder")["stability"] == pytest.approx(0.5**2.5)


def test_an_illness_that_stands_for_longer_than_an_hour_still_counts() -> None:
    """What is down since yesterday is not stable because nothing happened since."""
    story = Story().see("service.down").wait(20_000)
    assert story.dimensions()["stability"] == pytest.approx(0.5**0.5)
    story.see("service.up")
    assert story.dimensions()["stability"] == 1.0


def test_a_resource_alarm_of_an_unknown_kind_is_closed_by_its_normal() -> None:
    story = Story().see("resource.gpu_hot", "host").wait(4000)
    assert story.dimensions("host")["stability"] < 1
    story.see("resource.gpu_normal", "host")
    assert story.dimensions("host")["stability"] == 1.0


def test_a_full_disk_is_a_resource_as_long_as_it_is_full() -> None:
    """`disk:` subjects have their own share; it holds while the alarm stands and fades with the window when it is over."""
    story = Story().see("resource.disk_full", "disk:/var", used=0.95).wait(5000)
    assert story.dimensions("disk:/var")["resources"] == 0.0
    story.see("resource.disk_normal", "disk:/var", used=0.5)
    assert story.dimensions("disk:/var")["resources"] == 1.0
    story.wait(1000)
    assert "resources" not in story.dimensions("disk:/var")


def test_a_dimension_without_data_is_left_out_and_the_weights_are_scaled_up() -> None:
    """A subject with success and stability alone: (0.4 a + 0.2 b) / 0.6."""
    story = Story().see("service.down").see("run.healed", run="r")
    assert story.dimensions().keys() == {"success", "stability"}
    assert story.value() == pytest.approx((0.4 * 2.9 / 3 + 0.2 * 0.5**0.5) / 0.6)


def test_the_system_is_half_its_worst_subject_and_half_the_mean() -> None:
    story = Story().see("service.up", "a").see("service.up", "b")
    for _ in range(4):
        story.see("agent.error", "agent:c")
    assert story.value("agent:c") == 0.25
    assert story.value("system") == pytest.approx(0.5 * 0.25 + 0.5 * (2.25 / 3))


def test_nobody_knows_the_score_of_what_was_never_seen() -> None:
    """No data is unknown, not well."""
    story = Story()
    assert story.scores.score(NGINX, T0) is None
    assert story.scores.value("system", T0) is None
    assert story.scores.explain(NGINX, T0)["score"] is None


def test_other_weights_are_data() -> None:
    weights = {"success": 1.0, "latency": 0.0, "stability": 0.0, "resources": 0.0}
    story = Story(weights=weights).see("agent.error").see("run.healed", run="r")
    assert story.value() == pytest.approx(2.9 / 3)


# --- what is said


def types(drafts: list[Draft], subject: str = NGINX) -> list[str]:
    return [draft.type for draft in drafts if draft.subject == subject]


def test_a_score_is_told_when_it_moved_and_at_most_once_a_minute() -> None:
    """`score.updated` for a move of 0.05 or another set of dimensions."""
    story = Story().see("probe.sampled", ok=60, failed=0, p95_ms=10)
    assert types(story.evaluate()) == ["score.updated"]
    assert types(story.evaluate()) == []
    story.wait(5).see("service.down")
    assert types(story.evaluate()) == []
    story.wait(56)
    (draft,) = [draft for draft in story.evaluate() if draft.subject == NGINX]
    assert draft.data["before"] > draft.data["score"] + 0.04
    story.wait(60).see("probe.sampled", ok=60, failed=0, p95_ms=10)
    assert types(story.evaluate()) == []


def test_a_set_of_dimensions_that_changed_is_told() -> None:
    story = Story().see("service.up")
    story.evaluate()
    story.wait(61).see("probe.sampled", ok=60, failed=0, p95_ms=10)
    (draft,) = [draft for draft in story.evaluate() if draft.subject == NGINX]
    assert [*draft.data["dimensions"]] == ["success", "latency", "stability"]


def test_degraded_and_recovered_have_a_gap_between_them() -> None:
    """Degraded below 0.5; recovered only from 0.6 on, and it says for how long it was low."""
    said = Said(value=1.0, dimensions=("stability",), at=0.0)
    told: list[str] = []
    for second, value in enumerate([0.55, 0.49, 0.51, 0.49, 0.59, 0.6, 0.55, 0.49]):
        said, drafts, _ = judge(said, Score(NGINX, value, {"stability": value}), float(second))
        told += [f"{second} {draft.type}" for draft in drafts if draft.type != "score.updated"]
    assert told == ["1 score.degraded", "5 score.recovered", "7 score.degraded"]


def test_a_degraded_score_that_falls_on_is_said_once_more_because_only_that_is_p0() -> None:
    """`system` below 0.3 is P0; it may get there long after it fell below 0.5."""
    said = Said(value=0.8, dimensions=("worst", "mean"), at=0.0)
    told = []
    for step, value in enumerate([0.45, 0.31, 0.29, 0.32, 0.28, 0.45, 0.2]):
        said, drafts, _ = judge(said, Score("system", value, {"worst": value, "mean": value}), step * 100.0)
        told += [(value, draft.severity) for draft in drafts if draft.type == "score.degraded"]
    assert told == [(0.45, "error"), (0.29, "critical"), (0.2, "critical")]


def test_a_whole_life_of_a_service_is_told() -> None:
    """It falls, is degraded, is healed, recovers, and the journal brings all of that back."""
    story = Story(targets_ms={NGINX: 100.0}).see("probe.sampled", ok=60, failed=0, p95_ms=20)
    story.evaluate()
    for _ in range(12):
        story.wait(60).see("service.down").see("probe.sampled", ok=0, failed=60, p95_ms=0)
        story.evaluate()
    assert "score.degraded" in types(story.said)
    assert "score.degraded" in types(story.said, "system")
    story.see("service.up").see("run.healed", run="r")
    for _ in range(80):
        story.wait(60).see("probe.sampled", ok=60, failed=0, p95_ms=20)
        story.evaluate()
    assert types(story.said).count("score.degraded") - types(story.said).count("score.recovered") in (0, 1)
    assert types(story.said)[-1] in ("score.recovered", "score.updated")
    assert types(story.said).count("score.recovered") == 1
    recovered = next(draft for draft in story.said if draft.type == "score.recovered" and draft.subject == NGINX)
    assert 60 < recovered.data["degraded_s"] < 3600


def test_what_was_said_but_is_not_durable_yet_is_not_said_twice_and_not_in_a_checkpoint() -> None:
    """A crash between saying and writing must not swallow `score.degraded`."""
    story = Story()
    for _ in range(6):
        story.see("agent.error")
    said = story.scores.evaluate(story.now)
    assert "score.degraded" in types(said)
    assert story.scores.evaluate(story.now) == []
    after_crash = Scores.from_json(json.loads(json.dumps(story.scores.to_json())))
    assert types(after_crash.evaluate(story.now)) == types(said)


def test_a_replay_gives_the_same_scores_and_does_not_say_again_what_was_said() -> None:
    """Folded from events: from the start or from a checkpoint in the middle, the state is the same."""
    whole, events = Scores(), []
    now = T0
    for minute in range(300):
        now += 60
        stamp = format_time(now)
        sick = 100 < minute < 160
        seen = [
            Event(f"p{minute}", "t", "probe.sampled", NGINX, stamp, {"ok": 0 if sick else 9, "failed": 9, "p95_ms": 5.0}, stamp),
            Event(f"r{minute}", "t", "run.healed", NGINX, stamp, {"run": f"r{minute // 2}"}, stamp),
        ]
        for event in seen:
            whole.apply(event)
        told = [Event("s", "t", d.type, d.subject, stamp, d.data, stamp) for d in whole.evaluate(now)]
        for event in told:
            whole.apply(event)
        events += [*seen, *told]
    again = Scores()
    for index, event in enumerate(events):
        if index == len(events) // 2:
            again = Scores.from_json(json.loads(json.dumps(again.to_json())))
        again.apply(event)
    assert again.to_json() == whole.to_json()
    assert again.evaluate(now) == []


def test_explain_gives_the_figures_behind_a_score() -> None:
    story = Story(targets_ms={NGINX: 50.0}).see("service.down").see("probe.sampled", ok=9, failed=1, p95_ms=100.0)
    why = story.scores.explain(NGINX, story.now)
    assert json.loads(json.dumps(why)) == why
    assert why["figures"]["good"] == 9
    assert why["figures"]["falls"] == 1
    assert why["dimensions"]["latency"] == {"value": 0.5, "weight": 0.25}
    assert why["dimensions"]["resources"] is None
    assert [*why["ill_since"]] == ["service.down"]
    whole = story.see("service.up", "b").scores.explain("system", story.now)
    assert whole["lowest"][0]["subject"] == NGINX
    assert whole["subjects"] == 2


# --- what is hostile, and what is much


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("probe.sampled", {"ok": "many", "failed": None, "p95_ms": []}),
        ("probe.sampled", {"ok": 5, "failed": -3, "p95_ms": float("nan")}),
        ("probe.sampled", {"ok": 2**62, "failed": True, "p95_ms": -1}),
        ("probe.sampled", {}),
        ("host.sampled", {"cpu": float("inf"), "memory": 0.1, "disk": 0.1}),
        ("host.sampled", {"cpu": "1", "memory": 0.1}),
        ("host.sampled", {"cpu": 1e300, "memory": -5, "disk": 0.1}),
        ("resource.disk_full", {"used": {"a": 1}}),
        ("resource.", {}),
        ("run.healed", {"run": ["x"]}),
        ("score.updated", {"score": "low"}),
    ],
)
@pytest.mark.parametrize("subject", ["host", "disk:/", "x" * 100_000, "", "system"])
def test_whatever_a_program_says_the_score_is_none_or_within_bounds(type: str, subject: str, data: dict[str, Any]) -> None:
    story = Story().see(type, subject, **data)
    story.evaluate()
    value = story.scores.value(subject, story.now)
    assert value is None or 0 <= value <= 1


def test_invented_subjects_are_bounded() -> None:
    """Of more subjects than the limit, the one silent longest goes; a living one stays."""
    story = Story(subjects_max=50)
    for number in range(500):
        story.wait(1).see("host.sampled", "host", cpu=0.1, memory=0.1, disk=0.1).see("agent.error", f"agent:{number}")
    story.evaluate()
    assert len(story.scores.subjects(story.now)) == 50
    assert story.scores.value("host", story.now) == 1.0
    assert len(story.scores.to_json()["subjects"]) == 50
    assert story.scores.explain("system", story.now)["subjects"] == 50


def test_many_subjects_are_told_in_portions() -> None:
    story = Story()
    for number in range(DRAFTS_MAX + 100):
        story.see("service.up", f"s{number}.service")
    first, second = story.evaluate(), story.evaluate()
    assert len(first) <= DRAFTS_MAX + 2
    assert len(second) >= 100
    assert len({draft.subject for draft in first + second}) == DRAFTS_MAX + 101


def test_memory_is_flat_over_weeks() -> None:
    """A subject that is probed each minute for three weeks takes no more than after one day."""
    story = Story()
    sizes = []
    for day in range(21):
        for minute in range(0, 1440, 5):
            story.see("probe.sampled", ok=60, failed=0, p95_ms=10.0 + (minute % 97))
            if minute % 100 == 0:
                story.see("service.down").see("service.up")
            story.wait(300)
        if day >= 8:
            sizes.append(len(json.dumps(story.scores.to_json())))
    assert max(sizes) < 6_000
    assert max(sizes) < 1.2 * min(sizes)


def test_a_well_subject_that_fell_silent_is_forgotten_in_the_end() -> None:
    story = Story().see("service.up", "gone.service").see("service.down", "ill.service").wait(FORGET_AFTER_S + 60)
    story.see("service.up", "here.service")
    story.evaluate()
    assert {score.subject for score in story.scores.subjects(story.now)} == {"ill.service", "here.service"}


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["service.down", "service.up", "agent.error", "probe.sampled", "run.healed", "run.unknown", "x.y"]),
            st.sampled_from(["a", "b", "c", "d"]),
            st.sampled_from([0.0, 1.0, 70.0, 1000.0, -200.0, 90_000.0]),
        ),
        max_size=60,
    )
)
@settings(max_examples=100)
def test_the_system_agrees_with_its_subjects_whatever_happens(steps: list[tuple[str, str, float]]) -> None:
    """The running sum and the remembered worst are what one would find by looking at every subject."""
    story = Story(subjects_max=3)
    for number, (type, subject, wait) in enumerate(steps):
        story.wait(wait).see(type, subject, ok=number, failed=3, p95_ms=1.0 + number, run=f"r{number}")
        if number % 3 == 0:
            story.evaluate()
    system, subjects = story.scores.score("system", story.now), story.scores.subjects(story.now)
    if system is not None and not any(wait < 0 for _, _, wait in steps):
        values = [score.value for score in subjects]
        assert system.value == pytest.approx(0.5 * min(values) + 0.5 * sum(values) / len(values), abs=1e-9)
    assert all(0 <= score.value <= 1 for score in subjects)


def test_an_unknown_version_of_the_state_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        Scores.from_json({"version": 99})


@pytest.mark.parametrize("seed", range(30))
def test_a_score_is_reckoned_again_only_when_time_can_have_changed_it_and_tells_the_same(seed: int) -> None:
    """Days of random events and evaluations: what is told is what scores that are all reckoned anew each minute would tell."""
    chance = random.Random(seed)
    lazy, eager = Scores(), Scores()
    now, subjects = 1_771_891_200.0, ["web.service", "disk:/", "host", "url:a", "agent:x"]
    for _ in range(400):
        now += chance.choice((0.5, 20.0, 61.0, 400.0, 4000.0, 30_000.0, -200.0))
        moment = format_time(now)
        kind, data = chance.choice(
            (
                ("service.down", {}),
                ("service.up", {}),
                ("resource.disk_full", {"used": chance.random()}),
                ("resource.disk_normal", {"used": chance.random()}),
                ("probe.sampled", {"ok": 3, "failed": chance.choice((0, 3)), "p95_ms": chance.choice((5.0, 80.0))}),
                ("host.sampled", {"cpu": chance.random(), "memory": 0.5, "disk": 0.5}),
                ("run.healed", {"run": f"r{chance.random()}"}),
                ("run.not_healed", {"run": f"r{chance.random()}"}),
            )
        )
        event = Event("e", "test", kind, chance.choice(subjects), moment, data, moment)
        told = []
        for scores in (lazy, eager):
            scores.apply(event)
            if scores is eager and now // 60 != scores._minute:
                scores._dirty = dict.fromkeys(scores._books)
            told.append(scores.evaluate(now))
            for draft in told[-1]:
                scores.apply(Event("o", "test", draft.type, draft.subject, moment, draft.data, moment))
        # The whole is a sum of the same numbers in another order, so its last digit may differ.
        in_order = [sorted((d for d in drafts if d.subject != "system"), key=lambda d: (d.subject, d.type)) for drafts in told]
        assert in_order[0] == in_order[1], f"seed {seed}"
