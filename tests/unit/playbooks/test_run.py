"""A run is a table machine: what it does follows from what is durable, whatever happens and whenever it is cut off."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.errors import MachineError
from aios.events.calls import ROLLBACK_MORE_MAX_S, SAVING_S, SkillResult, SkillSpec, Touches
from aios.events.event import Event, format_time
from aios.playbooks.model import Check, Keep, Playbook, Retry, Rung, Step, Truth
from aios.playbooks.run import CRASH_RERUNS_MAX, Run
from aios.playbooks.run_opening import opening
from aios.playbooks.run_table import ROLLBACK
from aios.playbooks.run_words import (
    Act,
    Answered,
    Ask,
    Cancelled,
    Checked,
    CutOff,
    Env,
    Look,
    OpenFallback,
    Over,
    RungEnded,
    Say,
    StepEnded,
    TakeBack,
    Wait,
)

T0 = 1_000_000.0
EVENT = Event("e1", "test", "service.down", "web.service", format_time(T0), {"failures": 2}, format_time(T0), "error")


@dataclass(frozen=True)
class Always:
    """A template without expressions."""

    source: Any

    def render(self, variables: Mapping[str, Any]) -> Any:
        return self.source

    def part(self, name: str) -> Always:
        return Always(self.source[name])


@dataclass(frozen=True)
class When:
    source: str
    test: Callable[[Mapping[str, Any]], bool | None]

    def evaluate(self, variables: Mapping[str, Any]) -> Truth:
        return Truth(self.test(variables), self.source)


def spec(name: str, kind: Any, rerun: Any = "idempotent") -> SkillSpec:
    def touches(params: Mapping[str, Any]) -> Touches:
        return Touches(tuple(params.get("files", ())), (params["unit"],) if "unit" in params else ())

    return SkillSpec(name, kind, name, {}, dict, touches, rerun)


SKILLS = {
    s.name: s
    for s in (
        spec("read_logs", "observe"),
        replace(spec("run_command", "observe"), only_looks=lambda params, env: False),
        spec("restart_service", "act"),
        spec("pay", "act", "never_retry"),
        spec("count", "act", "check_before_retry"),
        spec("service_check", "verify"),
        spec("notify", "act"),
        spec("rollback", "act"),
    )
}
LOOK = Step("logs", "observe", "read_logs", Always({}))
ACT = Step("restart", "act", "restart_service", Always({"unit": "web.service"}))
CHECK = Check("service_check", Always({"unit": "web.service"}), hold_s=10.0)


def playbook(*steps: Step, **changes: Any) -> Playbook:
    fields: dict[str, Any] = {"steps": steps or (LOOK, ACT), "verify": (CHECK,), **changes}
    return Playbook("mend", "h1", "mend.yaml", "", ("service.down",), None, {}, **fields)


@dataclass
class Story:
    """Drives one run and keeps its events; each answer of the outside is what the test says."""

    playbook: Playbook
    results: dict[str, list[SkillResult]] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    now: float = T0
    mode: str = "auto"
    env: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    run: Run = field(default_factory=lambda: Run("?"))
    acts: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    """What checks tell beside their verdict."""
    opened: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draft = opening(
            event=EVENT,
            playbook=self.playbook,
            mode=self.mode,
            resources=["web.service"],
            incident="i1",
            priority=2,
            **self.opened,
        )
        self.run = Run(draft.id, incident="i1")
        self._fold((draft,))

    def _fold(self, drafts: Any) -> None:
        for draft in drafts:
            self.events.append((draft.type, dict(draft.data)))
            self.times.append(self.now)
            self.run.fold(draft.type, draft.data, self.now)

    def replayed(self) -> Run:
        again = Run(self.run.id, incident="i1")
        for (kind, data), at in zip(self.events, self.times, strict=True):
            again.fold(kind, data, at)
        return again

    def ask(self) -> Any:
        env = Env(now=self.now, playbook=self.playbook, skills=SKILLS, chance=0.0, **self.env)
        return self.run.next(env)

    def tell(self, happening: Any) -> None:
        env = Env(now=self.now, playbook=self.playbook, skills=SKILLS, chance=0.0, **self.env)
        self._fold(self.run.advance(happening, env))

    def until(self, kind: type) -> Any:
        """Go on until this kind of command comes; answer all others from the script."""
        for _ in range(200):
            command = self.ask()
            if isinstance(command, kind):
                return command
            self.obey(command)
        raise AssertionError(f"no {kind.__name__} in 200 rounds: {self.types}")

    def obey(self, command: Any) -> None:
        match command:
            case Say(drafts):
                self._fold(drafts)
            case Look(call):
                self.tell(StepEnded(call.step, call.attempt, self._result(call.step), 1.0))
            case Ask(phase, _):
                verdict = self.verdicts.pop(0) if self.verdicts else "not_well"
                self.tell(Checked(phase, verdict, ({"verdict": verdict, **self.seen},), 1.0))
            case Act(call, _):
                assert any(k == "run.step_intended" and d["step"] == call.step for k, d in self.events)
                self.acts.append(call.step)
                self.tell(StepEnded(call.step, call.attempt, self._result(call.step), 1.0))
            case Wait(until, _):
                self.now = max(self.now, until)
            case OpenFallback(_, run):
                self.tell(RungEnded(False, run, "it did not help"))
            case Over():
                raise AssertionError(f"over too early: {self.types}")

    def _result(self, step: str) -> SkillResult:
        waiting = self.results.get(step)
        return waiting.pop(0) if waiting else SkillResult(ok=True)

    @property
    def types(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def end(self) -> str:
        self.until(Over)
        return self.run.status


def test_a_run_that_acts_and_is_well_after_is_healed() -> None:
    story = Story(playbook(), verdicts=["not_well", "well"])
    assert story.end() == "healed"
    assert story.acts == ["restart"]
    assert story.types[-1] == "run.healed"


def test_a_symptom_that_is_gone_before_the_first_act_is_cleared_and_nothing_is_touched() -> None:
    story = Story(playbook(), verdicts=["well"])
    assert story.end() == "cleared"
    assert story.acts == []


def test_no_data_before_the_act_is_no_reason_not_to_act() -> None:
    assert Story(playbook(), verdicts=["no_data", "well"]).end() == "healed"


@pytest.mark.parametrize(("verdict", "outcome"), [("not_well", "not_healed"), ("no_data", "unknown")])
def test_what_is_not_proven_well_is_rolled_back_and_a_person_is_called(verdict: str, outcome: str) -> None:
    """No data is unknown, never healed; both are rolled back, always."""
    story = Story(playbook(), verdicts=["not_well", verdict])
    assert story.end() == "escalated"
    assert story.run.outcome == outcome
    order = [t for t in story.types if t in (f"run.{outcome}", "run.rolled_back", "run.rung_done", "run.escalated")]
    assert order == [f"run.{outcome}", "run.rolled_back", "run.rung_done", "run.escalated"]
    assert story.acts == ["restart", ROLLBACK, "rung0"]


def test_a_failed_act_is_tried_again_with_growing_waits_and_looked_at_anew() -> None:
    step = Step("restart", "act", "restart_service", Always({"unit": "web.service"}), retry=Retry(3, 2.0, 2.0))
    broken = SkillResult(ok=False, error="refused")
    story = Story(
        playbook(LOOK, step), verdicts=["not_well", "not_well", "not_well", "well"], results={"restart": [broken, broken]}
    )
    assert story.end() == "healed"
    assert story.acts == ["restart"] * 3
    assert story.types.count("run.waiting") == 2
    assert sum(1 for k, d in story.events if k == "run.step_done" and d["step"] == "logs") == 3


def test_an_act_that_fails_for_good_ends_the_run_and_is_taken_back() -> None:
    story = Story(playbook(), verdicts=["not_well"], results={"restart": [SkillResult(ok=False, error="no")]})
    assert story.end() == "escalated"
    assert "step restart failed: no" in story.run.why


def test_a_rollback_that_fails_is_tried_thrice_and_then_said() -> None:
    bad = SkillResult(ok=False, error="disk")
    story = Story(playbook(), verdicts=["not_well", "not_well"], results={ROLLBACK: [bad] * 9})
    assert story.end() == "escalated"
    assert story.acts.count(ROLLBACK) == 3
    told = next(d for k, d in story.events if k == "run.rolled_back")
    assert told["ok"] is False
    assert told["error"] == "disk"
    warned = f"NOT all taken back: aios runs rollback {story.run.id[:8]}"
    message = next(d for k, d in story.events if k == "run.step_intended" and d["skill"] == "notify")["params"]["message"]
    assert warned in message, "who is called has to know"
    assert warned in next(d for k, d in story.events if k == "run.escalated")["why"]


def test_a_rollback_that_asks_is_not_tried_again_until_a_person_forces_it() -> None:
    """Somebody else changed one of its files: a second try by itself would only ask again."""
    asks = SkillResult(ok=False, result={"conflicts": ["/etc/x"]}, error="changed by somebody else since our act: /etc/x")
    story = Story(playbook(), verdicts=["not_well", "not_well"], results={ROLLBACK: [asks, SkillResult(ok=True)]})
    assert story.end() == "escalated"
    assert story.acts.count(ROLLBACK) == 1
    told = next(d for k, d in story.events if k == "run.rolled_back")
    assert (told["ok"], "changed by somebody else" in told["error"]) == (False, True)
    story.tell(TakeBack("ann", force=True))
    story.end()
    intended = [d for k, d in story.events if k == "run.step_intended" and d["step"] == ROLLBACK]
    assert [d["params"].get("force", False) for d in intended] == [False, True]
    assert [d["ok"] for k, d in story.events if k == "run.rolled_back"] == [False, True]


def test_what_takes_long_to_save_or_to_put_back_is_waited_for() -> None:
    """The launcher holds an act to its own time, which begins once its files are saved; we only see that a launcher ends."""
    plain = Story(playbook()).until(Act)
    saved = Story(playbook(Step("restart", "act", "restart_service", Always({"files": ["/etc/x"]})))).until(Act)
    assert saved.deadline_s >= plain.deadline_s + SAVING_S
    assert saved.call.timeout_s == plain.call.timeout_s
    story = Story(playbook(), verdicts=["not_well", "not_well"])
    while (act := story.until(Act)).call.step != ROLLBACK:
        story.acts.append(act.call.step)
        story.tell(StepEnded(act.call.step, act.call.attempt, SkillResult(ok=False, error="no"), 1.0))
    assert act.deadline_s >= act.call.timeout_s + ROLLBACK_MORE_MAX_S


def test_attempts_that_a_person_asks_for_count_anew() -> None:
    bad = SkillResult(ok=False, error="disk")
    story = Story(playbook(), verdicts=["not_well", "not_well"], results={ROLLBACK: [bad] * 3 + [SkillResult(ok=True)]})
    assert story.end() == "escalated"
    story.tell(TakeBack("ann"))
    story.end()
    assert story.acts.count(ROLLBACK) == 4
    assert [d["ok"] for k, d in story.events if k == "run.rolled_back"] == [False, True]


@pytest.mark.parametrize("mode", ["observe", "shadow", "suggest"])
def test_a_mode_that_may_not_act_never_acts(mode: str) -> None:
    story = Story(playbook(), mode=mode, verdicts=["not_well", "not_well"])
    assert story.end() == ("suggested" if mode == "suggest" else "observed")
    assert story.acts == []
    would = story.events[-1][1]["would"]
    assert [w["step"] for w in would] == ["restart"]


def test_the_settings_can_only_lower_the_mode() -> None:
    story = Story(playbook(mode="auto"), env={"mode_max": "observe"}, verdicts=["not_well", "not_well"])
    assert story.end() == "observed"


def test_approve_asks_before_the_first_act_and_looks_again_after_the_yes() -> None:
    story = Story(playbook(), mode="approve", verdicts=["not_well", "not_well", "well"])
    story.until(Wait)
    assert story.types[-2:] == ["approval.requested", "run.waiting"]
    assert story.acts == []
    story.tell(Answered(True, "ann"))
    assert story.end() == "healed"
    assert story.acts == ["restart"]


def test_a_yes_is_for_what_was_asked_and_for_nothing_else() -> None:
    """After the wait the acts differ from those approved: it asks again."""
    asked = {"unit": "web.service"}
    step = Step("restart", "act", "restart_service", Always(asked))
    story = Story(playbook(LOOK, step), mode="approve", verdicts=["not_well"] * 3)
    story.until(Wait)
    asked["unit"] = "db.service"
    story.tell(Answered(True, "ann"))
    story.until(Wait)
    assert story.types.count("approval.requested") == 2
    assert story.acts == []


def test_no_answer_is_no_and_calls_a_person() -> None:
    story = Story(playbook(on_failure=(Rung("fallback", "other"),)), mode="approve", verdicts=["not_well"])
    assert story.end() == "escalated"
    assert "approval.expired" in story.types
    assert "fallback" not in [d.get("what") for k, d in story.events if k == "run.rung_done"]


CHECKED = Step("config", "observe", "run_command", Always({"argv": ["check"]}))
MEND = Step("mend", "act", "count", Always({}), condition=When("config failed", lambda v: _exit_code(v)))


def _exit_code(variables: Mapping[str, Any]) -> bool | None:
    seen = variables["steps"].get("config", {}).get("result", {}).get("exit_code")
    return None if seen is None else seen != 0


def test_a_look_that_goes_through_hands_is_asked_for_like_an_act() -> None:
    """A program that the settings do not list is no mere look: one yes is for it and for what may follow of it."""
    story = Story(playbook(CHECKED, MEND, ACT), mode="approve", verdicts=["not_well", "not_well", "well"])
    story.results["config"] = [SkillResult(ok=True, result={"exit_code": 1})]
    story.until(Wait)
    asked = next(d for k, d in story.events if k == "approval.requested")
    assert [a["step"] for a in asked["acts"]] == ["config", "mend", "restart"]
    story.tell(Answered(True, "ann"))
    assert story.end() == "healed"
    assert story.types.count("approval.requested") == 1
    assert story.acts == ["config", "mend", "restart"]


def test_what_depends_on_a_look_that_a_dry_run_left_out_is_proposed_as_far_as_can_be_said() -> None:
    story = Story(playbook(CHECKED, MEND, ACT), mode="suggest", verdicts=["not_well", "not_well"])
    assert story.end() == "suggested"
    assert [w["step"] for w in story.events[-1][1]["would"]] == ["config", "mend", "restart"]
    assert "if" in story.events[-1][1]["would"][1]


def test_a_cancelled_run_takes_back_what_it_did_and_calls_nobody() -> None:
    story = Story(playbook(ACT, Step("two", "act", "restart_service", Always({"unit": "db.service"}))), verdicts=["not_well"])
    story.until(Act)
    story.obey(story.ask())
    story.tell(Cancelled("ann"))
    story.until(Over)
    assert story.acts == ["restart", ROLLBACK]
    assert "run.escalated" not in story.types


def test_the_ladder_goes_on_until_a_rung_heals() -> None:
    rungs = (Rung("fallback", "other"), Rung("notify", "help"))
    story = Story(playbook(on_failure=rungs), verdicts=["not_well", "not_well"])
    fallback = story.until(OpenFallback)
    assert fallback.playbook == "other"
    story.tell(RungEnded(True, fallback.run, ""))
    assert story.end() == "rolled_back"
    assert "run.escalated" not in story.types


def test_a_notify_that_kills_whoever_carries_it_out_is_given_up() -> None:
    """A poisonous rung does not hold the ladder for ever, and its delay is waited for once."""
    story = Story(
        playbook(on_failure=(Rung("notify", "poison", after_s=60.0), Rung("notify", "last"))), verdicts=["not_well"] * 2
    )
    tries = 0
    while (command := story.ask()) != Over():
        if isinstance(command, Act) and command.call.step == "rung0":
            tries += 1
            story.tell(CutOff("rung0", command.call.attempt, voided=False))
        else:
            story.obey(command)
    assert tries == 1 + CRASH_RERUNS_MAX
    assert [d["error"] for k, d in story.events if k == "run.rung_done"] == ["a crash cut it off each time", ""]
    assert [d["waits_for"] for k, d in story.events if k == "run.waiting"] == ["ladder"]


def test_a_rung_that_was_carried_out_is_not_done_over_when_the_word_of_it_was_lost() -> None:
    """A crash between the end of a notify and the word that its rung is done: the next thing said is just that."""
    story = Story(playbook(on_failure=(Rung("notify", "help"),)), verdicts=["not_well"] * 2)
    command = story.until(Act)
    while command.call.step != "rung0":
        story.obey(command)
        command = story.until(Act)
    env = Env(now=story.now, playbook=story.playbook, skills=SKILLS)
    story._fold(story.run.advance(StepEnded("rung0", 1, SkillResult(ok=True), 1.0), env)[:1])
    assert story.run.rung == 0
    assert story.end() == "escalated"
    assert story.acts.count("rung0") == 0


def test_the_next_best_playbook_is_the_fallback_of_one_that_names_none() -> None:
    story = Story(playbook(), verdicts=["not_well", "not_well"], opened={"next_best": "second"})
    assert story.until(OpenFallback).playbook == "second"


def crash(story: Story, voided: bool = False) -> None:
    act = story.until(Act)
    if not voided:
        story.acts.append(act.call.step)
    story.tell(CutOff(act.call.step, act.call.attempt, voided))


def test_an_idempotent_act_that_a_crash_cut_off_runs_again() -> None:
    story = Story(playbook(), verdicts=["not_well", "well"])
    crash(story)
    assert story.end() == "healed"
    assert story.acts == ["restart", "restart"]


def test_an_act_that_crashes_us_each_time_is_given_up() -> None:
    story = Story(playbook(), verdicts=["not_well"])
    for _ in range(4):
        crash(story)
    assert story.end() == "escalated"
    assert story.acts.count("restart") == 4


def test_a_never_retry_act_that_a_crash_cut_off_is_verified_and_never_run_again() -> None:
    step = Step("pay", "act", "pay", Always({}))
    well = Story(playbook(step), verdicts=["not_well", "well"])
    crash(well)
    assert well.end() == "healed"
    ill = Story(playbook(step), verdicts=["not_well", "not_well"])
    crash(ill)
    assert ill.end() == "escalated"
    assert ill.acts.count("pay") == well.acts.count("pay") == 1
    assert "must not run twice" in ill.run.why


def test_a_check_before_retry_act_looks_before_it_runs_again() -> None:
    story = Story(playbook(Step("count", "act", "count", Always({}))), verdicts=["not_well", "well"])
    crash(story)
    assert story.until(Act).call.env["recheck"] is True
    assert story.end() == "healed"


def test_an_act_that_was_cut_off_at_its_timeout_looks_before_it_runs_again() -> None:
    """Killed at its timeout, or from outside: it may have had its effect as well as after a crash."""
    step = Step("count", "act", "count", Always({}), retry=Retry(attempts=3, backoff_s=1.0))
    late = SkillResult(False, {"cut_off": True}, error="it did not end within 30 s and was killed")
    story = Story(playbook(step), verdicts=["not_well", "not_well", "well"], results={"count": [late]})
    first = story.until(Act)
    assert first.call.env["recheck"] is False
    story.obey(first)
    assert story.until(Act).call.env["recheck"] is True
    assert story.end() == "healed"


def test_a_voided_attempt_counts_as_nothing() -> None:
    """It never began: no try is used up, and it is not among what is rolled back."""
    story = Story(playbook(Step("pay", "act", "pay", Always({}))), verdicts=["not_well", "not_well", "well"])
    crash(story, voided=True)
    assert story.end() == "healed"
    assert story.acts == ["pay"]
    assert [a["attempt"] for a in story.run.acts] == [2]


def test_an_act_that_can_never_begin_is_given_up_after_a_while() -> None:
    story = Story(playbook(), verdicts=["not_well"] * 20)
    for _ in range(13):
        crash(story, voided=True)
    assert story.end() == "escalated"
    assert story.acts == ["rung0"]
    assert "could not be begun" in story.run.why
    assert story.now > T0 + 60


def test_a_replay_forgets_after_a_rollbacks_wait_what_the_run_forgot() -> None:
    """A wait of a run that failed ends as any other does: what was looked at before it is old, in this life and in the next."""
    story = Story(playbook(), verdicts=["not_well", "not_well"])
    story.until(Act)
    story.obey(story.ask())
    crash(story, voided=True)
    wait = story.until(Wait)
    assert "logs" in story.run.results
    story.now = wait.until
    story.run.wake()
    story.until(Act)
    assert "logs" not in story.run.results
    assert story.replayed() == story.run


def test_an_old_attempts_result_is_not_taken() -> None:
    story = Story(playbook(), verdicts=["not_well", "well"])
    act = story.until(Act)
    before = len(story.events)
    story.tell(StepEnded(act.call.step, act.call.attempt + 1, SkillResult(ok=True), 0.0))
    assert len(story.events) == before


def test_pausing_holds_back_the_next_act_of_an_open_run() -> None:
    story = Story(playbook(), verdicts=["not_well"], env={"paused": True})
    assert story.until(Wait).waits_for == "resume"
    story.env["paused"] = False
    story.now += 3601
    story.verdicts = ["not_well", "well"]
    assert story.end() == "healed"


def test_what_is_protected_is_not_touched() -> None:
    story = Story(playbook(), verdicts=["not_well"], env={"protected": lambda r: "web.service" if "web.service" in r else ""})
    assert story.end() == "escalated"
    assert "protected" in story.run.why
    assert "restart" not in story.acts


def test_a_condition_that_cannot_say_does_not_act() -> None:
    step = Step("restart", "act", "restart_service", Always({}), condition=When("steps.x.result.y", lambda v: None))
    story = Story(playbook(step))
    assert story.end() == "escalated"
    assert story.run.outcome == "unknown"
    assert "restart" not in story.acts


def test_a_step_whose_if_says_no_is_skipped() -> None:
    step = Step("restart", "act", "restart_service", Always({}), condition=When("false", lambda v: False))
    story = Story(playbook(LOOK, step), verdicts=["well"])
    assert story.end() == "cleared"


def test_a_skill_that_is_gone_ends_the_run_unknown() -> None:
    story = Story(playbook(Step("x", "act", "gone", Always({}))))
    assert story.end() == "escalated"
    assert "is not there any more" in story.run.why


def test_a_person_may_take_an_ended_run_back() -> None:
    story = Story(playbook(), verdicts=["not_well", "well"])
    assert story.end() == "healed"
    story.run.rollback_asked = "ann"
    assert story.end() == "healed"
    told = next(d for k, d in story.events if k == "run.rolled_back")
    assert told["by"] == "ann"
    assert story.acts == ["restart", ROLLBACK]


def test_a_pair_that_the_table_does_not_know_is_an_error() -> None:
    story = Story(playbook(), verdicts=["well"])
    story.end()
    with pytest.raises(MachineError, match=r"run\.healed while cleared"):
        story.run.fold("run.healed", {"run": story.run.id}, T0)


@given(st.integers(0, 2**32))
def test_a_run_folded_again_stands_where_it_stood_whatever_happened(seed: int) -> None:
    """At every point: asking twice says the same, and the replayed run is the run. It always ends."""
    chance = random.Random(seed)
    steps = [LOOK, Step("count", "act", "count", Always({}), retry=Retry(2, 1.0)), ACT, Step("pay", "act", "pay", Always({}))]
    chance.shuffle(steps)
    mode = chance.choice(["auto", "auto", "approve", "suggest"])
    story = Story(playbook(*steps[: chance.randint(1, 4)], on_failure=(Rung("fallback", "other"),)), mode=mode)
    for _ in range(400):
        command = story.ask()
        assert story.ask() == command, f"seed {seed}"
        again = story.replayed()
        if story.run.wait is None and again.wait is not None:
            again.wake()
        assert again == story.run, f"seed {seed}"
        if isinstance(command, Over):
            break
        if chance.random() < 0.02:
            story.tell(Cancelled("ann"))
            continue
        match command:
            case Act(call, _) if chance.random() < 0.3:
                story.tell(CutOff(call.step, call.attempt, chance.random() < 0.3))
            case Act(call, _) | Look(call):
                story.tell(StepEnded(call.step, call.attempt, SkillResult(ok=chance.random() < 0.7), 1.0))
            case Ask(phase, _):
                story.tell(Checked(phase, chance.choice(["well", "not_well", "no_data"]), (), 1.0))
            case Wait(_, "approval") if chance.random() < 0.7:
                story.tell(Answered(chance.random() < 0.8, "ann"))
            case OpenFallback(_, run):
                story.tell(RungEnded(chance.random() < 0.5, run, ""))
            case _:
                story.obey(command)
    else:
        raise AssertionError(f"no end in 400 rounds, seed {seed}: {story.types[-20:]}")
    intended = {d["attempt"] for k, d in story.events if k == "run.step_intended" and d["skill"] == "pay"}
    voided = {d["attempt"] for k, d in story.events if k == "run.step_done" and d.get("voided") and d["skill"] == "pay"}
    assert len(intended - voided) <= 1, f"seed {seed}"


def test_the_call_says_what_verify_saw_last_and_what_to_type() -> None:
    """Whoever is woken need not look it up: the evidence, the copies of its files, the commands."""
    story = Story(
        playbook(keep=Keep(("/srv/web.conf",))),
        verdicts=["not_well", "not_well"],
        seen={"skill": "http_check", "error": "http://127.0.0.1/: connection refused"},
    )
    story.end()
    why = next(data["why"] for kind, data in story.events if kind == "run.not_healed")
    assert why == "not well after all steps: http_check: http://127.0.0.1/: connection refused"
    message = next(d["params"]["message"] for k, d in story.events if k == "run.step_intended" and d["skill"] == "notify")
    short = story.run.id[:8]
    assert "connection refused" in message
    assert f"aios runs retry {short}" in message
    assert "aios keep diff web.service" in message


def test_every_call_says_which_files_are_not_as_when_it_was_last_well() -> None:
    """A spoiled file is the likeliest cause, so who is woken reads of it at once, however they are called."""
    said = "2 files are not as when it was last well: /srv/a, /srv/b (aios keep diff web.service)"
    story = Story(playbook(keep=Keep(("/srv",))), verdicts=["not_well", "not_well"])
    story.run.since_good(["/srv/a", "/srv/b"], 2)
    story.end()
    message = next(d["params"]["message"] for k, d in story.events if k == "run.step_intended" and d["skill"] == "notify")
    assert said in message
    assert message.count("keep diff") == 1
    assert next(d["why"] for k, d in story.events if k == "run.escalated").endswith(said)
    asking = Story(playbook(keep=Keep(("/srv",))), mode="approve", verdicts=["not_well"])
    asking.run.since_good(["/srv/a"] * 4, 4)
    asking.until(Wait)
    requested = next(d for k, d in asking.events if k == "approval.requested")
    assert requested["differs"].startswith("4 files are not as when it was last well: /srv/a, /srv/a, /srv/a, … (")
