"""One execution of one playbook for one event: a table machine, folded from its own events.

The reactor calls three things, always in this order:

- `advance(happening, env)` turns what happened outside into drafts of events; it changes nothing.
- `fold(type, data, at)` is called for each of the run's events once it is durable; it alone changes the run. A restart
  folds the same events again and stands where it stood.
- `next(env)` says what is to be done now, from what was folded: a command for the outside, or events to say first.

So an act's command can only follow its intent, and the intent is on disk, by construction. Who runs commands, holds slots and
watches the clock is the reactor; what may be done to whom is in `env`, looked at again before each act. The states are a table
(`run_table`), happenings and commands are values (`run_words`), what is folded stands in `run_state`, the beginning in
`run_opening`; this file holds `advance` and `next`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aios.backoff import delay_s
from aios.events.calls import ROLLBACK_MORE_MAX_S, SAVING_S, SkillCall, SkillResult, Touches
from aios.events.event import Draft, format_time, parse_time
from aios.playbooks.model import ASK, CannotSay, Check, Mode, Playbook, Question, Rung, Step, lesser_mode, variables
from aios.playbooks.run_opening import digest, fits, in_short, run_id
from aios.playbooks.run_state import RunState
from aios.playbooks.run_table import BETWEEN, FAILED, ROLLBACK, RUN_SHOWN, RUNG, SYMPTOM, VERIFY
from aios.playbooks.run_words import (
    Act,
    Answered,
    Ask,
    Cancelled,
    CheckCall,
    Checked,
    Command,
    CutOff,
    Env,
    Happening,
    Look,
    OpenFallback,
    Over,
    RungEnded,
    Say,
    StepEnded,
    TakeBack,
    Wait,
)

QUESTION_MAX, EVIDENCE_MAX = 2000, 10
"""Characters of a question, and results shown with it."""
CRASH_RERUNS_MAX = 3
"""An act that a crash cut off is started again at most so often, beyond its own retries: a poisonous act must not loop."""
ROLLBACK_ATTEMPTS_MAX = 3
ROLLBACK_S, ROLLBACK_CEILING_S = 60.0, 600.0
"""How long one rollback may take for each attempt that it takes back, and in all; a further one goes on where it stood. The
launcher sees how many bytes were saved, and gives it longer for them, at most `ROLLBACK_MORE_MAX_S`."""
VOIDS_MAX = 12
"""An act that cannot even begin (no room for its snapshot, hands away) is brought again so often, waiting longer each time."""
VOID_WAIT_S, VOID_WAIT_CEILING_S = 0.2, 60.0
RESUME_LOOK_S = 3600.0
"""A run that waits for `aios resume`, or for a guard without a time, looks again so often by itself."""
WATCH_FIRST_S = 30.0
"""A run in shadow looks again after so long, then each time twice as late."""
ACT_GRACE_S = 5.0
"""How much longer than its own timeout the daemon waits for a launcher, which enforces that timeout itself."""


@dataclass(slots=True)
class Run(RunState):
    """A run: what is folded of it, and what follows. See the head of this file."""

    # --- what a happening means ---

    def advance(self, happening: Happening, env: Env) -> tuple[Draft, ...]:
        """The events that tell of it. Happenings of an attempt that is no longer open are old news, and give none."""
        match happening:
            case StepEnded():
                return self._on_step_ended(happening, env)
            case CutOff():
                return self._on_cut_off(happening, env)
            case Checked():
                return self._on_checked(happening, env)
            case Answered():
                return self._on_answered(happening)
            case Cancelled(by, why):
                return () if self.closed or self.cancelled else (self._draft("run.cancelled", by=by, why=why),)
            case TakeBack(by, force):
                return (self._draft("run.rollback_asked", by=by, force=force),) if self.ended and self.acted else ()
            case RungEnded(healed, opened, error):
                return (
                    self._draft("run.rung_done", rung=self.rung, what="fallback", run_opened=opened, healed=healed, error=error),
                )

    def _on_step_ended(self, ended: StepEnded, env: Env) -> tuple[Draft, ...]:
        if self.in_flight is None:
            step = self._step(env.playbook, ended.step)
            return (self._step_event(ended, step.skill, step.kind),) if step and not self.closed else ()
        if (ended.step, ended.attempt) != (self.in_flight["step"], self.in_flight["attempt"]):
            return ()
        done = self._step_event(ended, self.in_flight["skill"], "act")
        if ended.step == ROLLBACK and ended.result.ok:
            return done, self._rolled_back_event(ended.result)
        if ended.step.startswith(RUNG) and not self.closed:  # closed before it: the line that told of its end was damaged
            return done, self._draft(
                "run.rung_done", rung=self.rung, what="notify", run_opened="", healed=False, error=ended.result.error
            )
        return (done,)

    def _on_cut_off(self, cut: CutOff, _env: Env) -> tuple[Draft, ...]:
        if self.in_flight is None or (cut.step, cut.attempt) != (self.in_flight["step"], self.in_flight["attempt"]):
            return ()
        error = cut.why or ("voided before it began" if cut.voided else "a crash cut it off")
        flag = {"voided": True} if cut.voided else {"died": True}
        result = SkillResult(ok=False, error=error)
        return (self._step_event(StepEnded(cut.step, cut.attempt, result, 0.0), self.in_flight["skill"], "act", **flag),)

    def _on_checked(self, checked: Checked, env: Env) -> tuple[Draft, ...]:
        if self.status not in BETWEEN:
            return ()  # it was cancelled while it asked: the answer decides nothing any more
        result = SkillResult(ok=True, result={"verdict": checked.verdict}, evidence=checked.proof)
        told = self._step_event(StepEnded(checked.phase, 1, result, checked.ms), "verify", "verify")
        if checked.phase == SYMPTOM:
            if checked.verdict == "well" and env.watch_s and self._mode(env) == "shadow":
                return told, self._looked_event("well", env)  # it has gone by itself, now or while it was watched
            if checked.verdict == "well":
                return told, self._draft("run.cleared", ms=self._ms(env.now))
            return (told,)
        return told, self._verdict_event(checked, env)

    def _verdict_event(self, checked: Checked, env: Env) -> Draft:
        proof = list(checked.proof)
        if self._dry(env) and not self.acted:
            watches = self._watches_on(checked.verdict, env)
            return self._waiting_event("watch", watches, "") if watches else self._looked_event(checked.verdict, env)
        if checked.verdict == "well":
            if not self.acted:
                return self._draft("run.cleared", ms=self._ms(env.now))
            return self._draft("run.healed", ms=self._ms(env.now), proof=proof, acts=[a["step"] for a in self.acts])
        if checked.verdict == "no_data":
            return self._draft("run.unknown", why="verify could not say whether it is well")
        cut_off = next((s.id for s in env.playbook.steps if self._must_not_rerun(s, env)), "")
        why = f"not well, and step {cut_off} must not run twice" if cut_off else "not well after all steps"
        seen = _last_seen(proof)
        return self._draft("run.not_healed", why=f"{why}: {seen}" if seen else why, proof=proof)

    def _on_answered(self, answer: Answered) -> tuple[Draft, ...]:
        if self.asked is None:
            return ()
        if answer.yes and "choices" not in self.asked:
            return (self._draft("approval.given", plan=self.asked["plan"], by=answer.by, reason=answer.reason),)
        if answer.yes:
            if answer.choice not in self.asked["choices"]:
                return ()
            said = {"step": self.asked["step"], "choice": answer.choice, "by": answer.by, "reason": answer.reason}
            return (self._draft("approval.given", plan=self.asked["plan"], **said),)
        if answer.by:
            return (self._draft("approval.denied", by=answer.by, reason=answer.reason),)
        return (self._draft("approval.expired"),)

    # --- what is to be done ---

    def next(self, env: Env) -> Command:
        """From what is folded alone; asking twice gives the same answer."""
        if self.in_flight is not None:
            return self._act_in_flight(env)
        if self.closed:
            return self._take_back(env) if self.rollback_asked else Over()
        if self.wait is not None and (waiting := self._still_waits(env)) is not None:
            return waiting
        if self.must_wait and self.voids[self.must_wait] <= VOIDS_MAX:
            return Say((self._waiting_event("hands", env.now + self._void_wait_s(env), self.must_wait),))
        if self.status in FAILED:
            return self._take_back(env)
        if self.status == "rolled_back":
            return self._climb(env)
        return self._go_on(env)

    def _void_wait_s(self, env: Env) -> float:
        n = self.voids[self.must_wait]
        return delay_s(n, base_s=VOID_WAIT_S, factor=2.0, ceiling_s=VOID_WAIT_CEILING_S, chance=env.chance)

    def _still_waits(self, env: Env) -> Command | None:
        assert self.wait is not None
        if self.denied and self.wait["for"] == "approval":
            return self._give_up("unknown", f"not allowed: {self.denied}")
        until = parse_time(self.wait["until"])
        if self.wait["for"] == "rung":
            fallback = self._fallback(env)
            return OpenFallback(fallback, run_id(self.event, fallback, self.again)) if fallback else None
        if self.wait["for"] == "approval" and self.asked is None:
            return None  # answered: go on
        if env.now < until:
            return Wait(until, self.wait["for"])
        if self.wait["for"] == "approval":
            return Say((self._draft("approval.expired"),))
        return None

    def _go_on(self, env: Env) -> Command:
        if not env.playbook.steps:
            return self._give_up("unknown", env.playbook.description)  # no playbook is without steps: its text is gone
        if self.wait is not None:
            self.wake()
        for step in env.playbook.steps:
            if self._must_not_rerun(step, env):
                break  # verified, and then a person is asked
            command = self._step_command(step, env)
            if command is not None:
                return command
        return self._finish(env)

    def _step_command(self, step: Step, env: Env) -> Command | None:
        """None when this step is over."""
        if step.id in self.passed:
            return None
        known = self.results.get(step.id)
        if known is not None and not known.get("died"):
            return self._after_result(step, known, env)
        if step.condition is not None:
            truth = step.condition.evaluate(self._variables(env))
            if truth.value is None:
                if self._stood_in_for(env):
                    return Say((self._skip(step, {"would": {**self._as_far_as_can_be_said(step, env), "if": truth.why}}),))
                return self._give_up("unknown", f"step {step.id}: its `if` cannot say: {truth.why}")
            if not truth.value:
                return Say((self._skip(step, {}),))
        if step.question is not None:
            return self._question(step, step.question, env)
        try:
            params = env.skills[step.skill].check(step.params.render(self._variables(env)))
        except CannotSay as error:
            if self._stood_in_for(env):
                return Say((self._skip(step, {"would": self._as_far_as_can_be_said(step, env)}),))
            return self._give_up("unknown", f"step {step.id}: {error}")
        except KeyError:
            return self._give_up("unknown", f"step {step.id}: skill {step.skill} is not there any more")
        except ValueError as error:
            return self._give_up("unknown", f"step {step.id}: {error}")
        if self._only_looks(step, params, env):
            return Look(self._call(step.id, 1, step.skill, step.kind, params, step.timeout_s, Touches(), env))
        return self._before_act(step, params, env)

    def _stood_in_for(self, env: Env) -> bool:
        """Whether a dry run has left a step out: what depends on it cannot be said, and that is nobody's fault."""
        return self._dry(env) and any(r.get("skipped") and "would" in (r.get("result") or {}) for r in self.results.values())

    def _as_far_as_can_be_said(self, step: Step, env: Env) -> dict[str, Any]:
        """An act of the plan, with the parameters that it has now."""
        try:
            params: Any = env.skills[step.skill].check(step.params.render(self._variables(env)))
        except (CannotSay, KeyError, ValueError) as error:
            params = {"cannot_say_yet": str(error)}
        return {"step": step.id, "skill": step.skill, "params": params}

    def _only_looks(self, step: Step, params: Mapping[str, Any], env: Env) -> bool:
        spec = env.skills.get(step.skill)
        return step.kind != "act" and (spec is None or spec.only_looks is None or spec.only_looks(params, env.call_env))

    def _after_result(self, step: Step, known: Mapping[str, Any], env: Env) -> Command | None:
        if known["kind"] != "act" or known["ok"] or known.get("skipped"):
            return None
        failed = max(1, self.tries.get(step.id, 1))
        if failed < step.retry.attempts and "human_check" not in (known.get("next") or ()):
            wait = delay_s(
                failed,
                base_s=step.retry.backoff_s,
                factor=step.retry.factor,
                ceiling_s=step.retry.ceiling_s,
                chance=env.chance,
            )
            return Say((self._waiting_event("retry", env.now + wait, step.id),))
        return self._give_up("not_healed", f"step {step.id} failed: {known.get('error') or 'no reason given'}")

    def _must_not_rerun(self, step: Step, env: Env) -> bool:
        """Whether a crash cut this act off and its re-run class (or a count of crashes) forbids another try."""
        if not (self.results.get(step.id) or {}).get("died"):
            return False
        spec = env.skills.get(step.skill)
        return spec is None or spec.rerun == "never_retry" or self.crashes.get(step.id, 0) > CRASH_RERUNS_MAX

    def _before_act(self, step: Step, params: dict[str, Any], env: Env) -> Command:
        spec = env.skills[step.skill]
        touches = spec.touches(params)
        if self.voids.get(step.id, 0) > VOIDS_MAX:
            return self._give_up("unknown", f"step {step.id} could not be begun")
        if env.playbook.verify and not self.symptom:
            return self._ask(SYMPTOM, env)
        if self._dry(env):
            would = {"step": step.id, "skill": step.skill, "params": params}
            if spec.dry_text is not None:
                would["says"] = spec.dry_text(params)
            return Say((self._skip(step, {"would": would}),))
        if why := env.protected(touches.resources()):
            return self._give_up("unknown", f"step {step.id} may not touch {why}: it is protected")
        if env.paused or env.disabled:
            what = "acts are paused" if env.paused else "its playbook was switched off"
            if env.disabled:
                return self._give_up("unknown", what)
            until = min(env.now + RESUME_LOOK_S, env.resumes_at or env.now + RESUME_LOOK_S)
            return Say((self._waiting_event("resume", until, step.id),))
        if not self.acted and not self.by and (held := env.held_now()) is not None:
            until = min(env.now + RESUME_LOOK_S, held.until or env.now + RESUME_LOOK_S)
            waiting = self._waiting_event("guard", until, step.id)
            return Say((waiting._replace(data={**waiting.data, "on": held.guard, "why": held.why}),))
        if env.acts_again_at > env.now and not self.acted:
            return Say((self._waiting_event("act_limit", env.acts_again_at, step.id),))
        if self._mode(env) == "approve" and self.approved.get(step.id) != digest([step.skill, params]):
            return self._request(env)
        if not fits(params):
            return self._give_up("unknown", f"step {step.id}: its parameters are too long to be written down before the act")
        recheck = spec.rerun == "check_before_retry" and step.id in self.unsure
        return Say((self._intend(step.id, step.skill, params, touches, recheck=recheck),))

    def _question(self, step: Step, question: Question, env: Env) -> Command:
        """Ask a person which way; what they chose is the step's result, and stands however long the run waits afterwards."""
        if (answer := self.chosen.get(step.id)) is not None:
            return Say((self._step_event(StepEnded(step.id, 1, SkillResult(ok=True, result=answer), 0.0), ASK, ASK),))
        if env.playbook.verify and not self.symptom and not self.acted:
            return self._ask(SYMPTOM, env)
        try:
            text = str(question.text.render(self._variables(env)))[:QUESTION_MAX]
        except CannotSay as error:
            if self._stood_in_for(env):
                return Say(
                    (self._skip(step, {"would": {"step": step.id, "skill": ASK, "params": {"cannot_say_yet": str(error)}}}),)
                )
            return self._give_up("unknown", f"step {step.id}: {error}")
        choices = dict(question.choices)
        if self._dry(env):
            return Say(
                (self._skip(step, {"would": {"step": step.id, "skill": ASK, "params": {"question": text, "choices": choices}}}),)
            )
        until = env.now + (question.expires_s or self._answer_s(env))
        said = {"step": step.id, "question": text, "choices": choices, **self._evidence()}
        asked = self._draft("approval.requested", acts=[], plan=digest([text, choices]), until=format_time(until), **said)
        return Say((asked, self._waiting_event("approval", until, step.id)))

    def _answer_s(self, env: Env) -> float:
        return env.approval_expires_s if env.playbook.answer_s is None else env.playbook.answer_s

    def _evidence(self) -> dict[str, Any]:
        """What was seen so far, in short: whoever is asked shall not have to look for it."""
        seen = [(step, r) for step, r in self.results.items() if r["kind"] != ASK and not r.get("skipped")]
        said = {"evidence": [{"step": step, "said": in_short(r)} for step, r in seen[-EVIDENCE_MAX:]]}
        return {**said, "differs": self.differs} if self.differs else said

    def _request(self, env: Env) -> Command:
        acts = self.plan(env)
        if not fits(acts):
            return self._give_up("unknown", "what it would ask for is too long to be written down")
        until = env.now + self._answer_s(env)
        asked = self._draft("approval.requested", acts=acts, plan=digest(acts), until=format_time(until), **self._evidence())
        return Say((asked, self._waiting_event("approval", until, acts[0]["step"] if acts else "")))

    def plan(self, env: Env) -> list[dict[str, Any]]:
        """The acts that would follow, as far as can be said now; what goes through hands is an act, whatever it is called."""
        acts = []
        for step in env.playbook.steps:
            if step.id in self.results and not self.results[step.id].get("died"):
                continue
            if step.condition is not None and step.condition.evaluate(self._variables(env)).value is False:
                continue
            if step.question is not None or step.id in self.passed:
                continue
            act = self._as_far_as_can_be_said(step, env)
            if step.kind == "act" or not self._only_looks(step, act["params"], env):
                acts.append(act)
        return acts

    def _finish(self, env: Env) -> Command:
        if env.playbook.verify:
            return self._ask(VERIFY, env)
        if self.acted:
            return self._give_up("unknown", "the playbook has no verify, so nobody can say whether it is well")
        return Say((self._looked_event("no_data", env),))

    def _act_in_flight(self, env: Env) -> Command:
        assert self.in_flight is not None
        flight = self.in_flight
        spec = env.skills.get(flight["skill"])
        step = self._step(env.playbook, flight["step"])
        timeout_s = step.timeout_s if step else (spec.timeout_s if spec else ROLLBACK_S)
        if flight["step"] == ROLLBACK:
            timeout_s = min(ROLLBACK_S * len(flight["params"]["attempts"]), ROLLBACK_CEILING_S)
        touches = Touches(tuple(flight["files"]), tuple(flight["units"]), tuple(flight.get("settings", ())))
        call_env = {
            **env.call_env,
            "playbook": self.playbook,
            "subject": self.subject,
            "recheck": flight["recheck"],
            "approved": flight["step"] in self.approved,
        }
        call = self._call(
            flight["step"], flight["attempt"], flight["skill"], "act", flight["params"], timeout_s, touches, env, call_env
        )
        call = replace(call, limits=step.limits.to_json() if step else {})
        more_s = ROLLBACK_MORE_MAX_S if flight["step"] == ROLLBACK else SAVING_S if touches.files else 0.0
        return Act(call, timeout_s + more_s + ACT_GRACE_S)

    def _take_back(self, env: Env) -> Command:
        known = self.results.get(ROLLBACK)
        folders = [f"runs/{self.id}/{act['step']}.{act['attempt']}" for act in reversed(self.acts)]
        if not folders:
            return Say((self._draft("run.rolled_back", ok=True, proof=[], error="", by=self.rollback_asked),))
        attempt = self.attempts.get(ROLLBACK, 0) + 1
        asks = bool(((known or {}).get("result") or {}).get("conflicts"))
        last = self._rollback_last() + self.voids.get(ROLLBACK, 0)
        if asks or attempt > last or self.voids.get(ROLLBACK, 0) > VOIDS_MAX:
            error = (known or {}).get("error") or "the rollback could not be carried out"
            stolen = {"conflicts": (known or {})["result"]["conflicts"]} if asks else {}
            return Say((self._draft("run.rolled_back", ok=False, proof=[], error=error, by=self.rollback_asked, **stolen),))
        params = {"attempts": folders} | ({"force": True} if self.rollback_forced else {})
        return Say((self._intend(ROLLBACK, "rollback", params, Touches(), by=self.rollback_asked),))

    def _rollback_last(self) -> int:
        """The number of the last rollback attempt that is made by itself."""
        return self.rollback_base + ROLLBACK_ATTEMPTS_MAX + min(self.crashes.get(ROLLBACK, 0), CRASH_RERUNS_MAX)

    def _climb(self, env: Env) -> Command:
        rungs = self.rungs(env)
        if self.rung >= len(rungs):
            why = "; ".join(filter(None, (self.why, self._left_changed(), self.differs)))
            return Say((self._draft("run.escalated", why=why, asked=[f"{r.what}: {r.value}" for r in rungs]),))
        rung, step = rungs[self.rung], f"{RUNG}{self.rung}"
        if rung.after_s and self.rung_awaited < self.rung:
            return Say((self._waiting_event("ladder", env.now + rung.after_s, step),))
        if rung.what == "fallback":
            return Say((self._waiting_event("rung", env.now + 86400.0, ""),))
        if (over := self._told_already(step)) is not None:
            return Say((self._draft("run.rung_done", rung=self.rung, what="notify", run_opened="", healed=False, error=over),))
        kept = f"its files: aios keep diff {self.subject}" if env.playbook.keep is not None else ""
        short = self.id[:RUN_SHOWN]
        cures = (
            self._left_changed(),
            f"aios runs show {short}",
            f"when it is mended: aios runs retry {short}",
            self.differs or kept,
        )
        message = f"{rung.value} ({self.playbook} on {self.subject}: {self.why})  {'; '.join(filter(None, cures))}"
        return Say((self._intend(step, "notify", {"message": message, "level": "critical"}, Touches()),))

    def _left_changed(self) -> str:
        """What a person has to know first, where the last rollback did not do all of it."""
        known = self.results.get(ROLLBACK)
        if not known or known.get("ok"):
            return ""
        return f"what it did is NOT all taken back: aios runs rollback {self.id[:RUN_SHOWN]}"

    def _told_already(self, step: str) -> str | None:
        """How this notify ended, where it is not to be begun (again); None: it is."""
        known = self.results.get(step) or {}
        if known and not known.get("died"):
            return str(known.get("error") or "")  # a crash came between its end and the word that the rung is done
        if self.crashes.get(step, 0) > CRASH_RERUNS_MAX:
            return "a crash cut it off each time"
        return "could not be begun" if self.voids.get(step, 0) > VOIDS_MAX else None

    def rungs(self, env: Env) -> tuple[Rung, ...]:
        """The playbook's ladder; without a fallback of its own the next best playbook is one; somebody is always told.

        No answer is no, so a question that nobody answered is only told again, as often and as late as the playbook says.
        """
        if self.by or (self.denied and not self.unanswered):  # a person said no, or stands by: nothing else in their place
            return (Rung("notify", "needs a person"),)
        rungs = env.playbook.on_failure
        if self.denied:
            rungs = tuple(rung for rung in rungs if rung.what == "notify")
        elif self.next_best and not any(r.what == "fallback" for r in rungs):
            rungs = (Rung("fallback", self.next_best), *rungs)
        if not any(r.what == "notify" for r in rungs):
            rungs = (*rungs, Rung("notify", "needs a person"))
        return rungs

    def _fallback(self, env: Env) -> str:
        rungs = self.rungs(env)
        return rungs[self.rung].value if self.rung < len(rungs) and rungs[self.rung].what == "fallback" else ""

    # --- small things ---

    def _mode(self, env: Env) -> Mode:
        if self.by:
            return "approve"  # a person turned a suggestion into this run: that is a yes to those acts, and to no others
        return lesser_mode(env.mode_max, self.mode)

    def _dry(self, env: Env) -> bool:
        return self._mode(env) in ("observe", "shadow", "suggest")

    def _looked_event(self, verdict: str, env: Env) -> Draft:
        would = [r["result"]["would"] for r in self.results.values() if r.get("skipped") and "would" in (r.get("result") or {})]
        kind = "run.suggested" if self._mode(env) == "suggest" and would else "run.observed"
        if self._mode(env) != "shadow":
            return self._draft(kind, would=would, verdict=verdict)
        watched_s = round(env.now - self.opened_at, 3)
        return self._draft(kind, would=would, verdict=verdict, watched_s=watched_s, by_itself=verdict == "well")

    def _watches_on(self, verdict: str, env: Env) -> float:
        """Until when a run in shadow waits before it looks again whether the symptom went by itself; 0.0: it has seen enough."""
        ends = self.opened_at + env.watch_s
        if self._mode(env) != "shadow" or verdict == "well" or env.now >= ends:
            return 0.0
        return min(ends, env.now + max(WATCH_FIRST_S, env.now - self.opened_at))  # twice as long each time

    def _ask(self, phase: str, env: Env) -> Command:
        try:
            checks = tuple(self._check_call(phase, n, check, env) for n, check in enumerate(env.playbook.verify))
        except CannotSay as error:
            return self._give_up("unknown", f"verify: {error}")
        except (KeyError, ValueError) as error:
            return self._give_up("unknown", f"verify: {error}")
        return Ask(phase, checks)

    def _check_call(self, phase: str, n: int, check: Check, env: Env) -> CheckCall:
        params = env.skills[check.skill].check(check.params.render(self._variables(env)))
        call = self._call(f"{phase}{n}", 1, check.skill, "verify", params, check.timeout_s, Touches(), env)
        if phase == SYMPTOM:
            return CheckCall(call, 0.0, 0.0, check.every_s)
        watches = self.acted or self._mode(env) == "shadow"  # shadow: does the symptom go by itself?
        return CheckCall(call, check.hold_s if watches else 0.0, check.within_s if watches else 0.0, check.every_s)

    def _call(
        self,
        step: str,
        attempt: int,
        skill: str,
        kind: Any,
        params: Mapping[str, Any],
        timeout_s: float,
        touches: Touches,
        env: Env,
        call_env: Mapping[str, Any] | None = None,
    ) -> SkillCall:
        return SkillCall(
            run=self.id,
            step=step,
            attempt=attempt,
            skill=skill,
            kind=kind,
            params=params,
            timeout_s=timeout_s,
            touches=touches,
            folder=f"runs/{self.id}/{step}.{attempt}",
            env=env.call_env if call_env is None else call_env,
        )

    def _variables(self, env: Env) -> dict[str, Any]:
        steps = {k: {"ok": bool(r["ok"]), "result": r.get("result") or {}} for k, r in self.results.items()}
        return variables(self.trigger, now=env.now, score=env.score, system_score=env.system_score, steps=steps)

    def _step(self, playbook: Playbook, step_id: str) -> Step | None:
        return next((step for step in playbook.steps if step.id == step_id), None)

    def _ms(self, now: float) -> float:
        return round((now - self.opened_at) * 1000.0, 3)

    def _draft(self, event_type: str, **data: Any) -> Draft:
        return Draft(
            type=event_type,
            subject=self.subject,
            data={"run": self.id, "playbook": self.playbook, **data},
            causationid=self.id,
            correlationid=self.incident,
        )

    def _step_event(self, ended: StepEnded, skill: str, kind: str, **flags: bool) -> Draft:
        body = ended.result.to_json()
        return self._draft(
            "run.step_done",
            step=ended.step,
            attempt=ended.attempt,
            skill=skill,
            kind=kind,
            ms=round(ended.ms, 3),
            **body,
            **flags,
        )

    def _skip(self, step: Step, result: Mapping[str, Any]) -> Draft:
        ended = StepEnded(step.id, 0, SkillResult(ok=True, result=result), 0.0)
        return self._step_event(ended, step.skill, step.kind, skipped=True)

    def _intend(
        self, step: str, skill: str, params: Mapping[str, Any], touches: Touches, recheck: bool = False, by: str = ""
    ) -> Draft:
        return self._draft(
            "run.step_intended",
            step=step,
            attempt=self.attempts.get(step, 0) + 1,
            skill=skill,
            params=dict(params),
            files=list(touches.files),
            units=list(touches.units),
            settings=list(touches.settings),
            recheck=recheck,
            by=by,
        )

    def _waiting_event(self, waits_for: str, until: float, step: str) -> Draft:
        return self._draft("run.waiting", waits_for=waits_for, until=format_time(until), step=step)

    def _give_up(self, outcome: Literal["unknown", "not_healed"], why: str) -> Say:
        data: dict[str, Any] = {"why": why}
        if outcome == "not_healed":
            data["proof"] = []
        return Say((self._draft(f"run.{outcome}", **data),))

    def _rolled_back_event(self, result: SkillResult) -> Draft:
        proof: Sequence[Any] = result.result.get("proof") or []
        unsaved = {"unsaved": list(result.result["unsaved"])} if result.result.get("unsaved") else {}
        return self._draft(
            "run.rolled_back", ok=result.ok, proof=list(proof), error=result.error, by=self.rollback_asked, **unsaved
        )


SEEN_CHARS_MAX = 200


def _last_seen(proof: Sequence[Mapping[str, Any]]) -> str:
    """What the first check that was not well saw at its last look: `http_check: connection refused`."""
    bad = next((one for one in proof if one.get("verdict") != "well"), None)
    if bad is None:
        return ""
    seen = bad.get("seen")
    facts = " ".join(f"{name}={value}" for name, value in seen.items()) if isinstance(seen, Mapping) else ""
    said = str(bad.get("error") or facts)
    return f"{bad.get('skill', 'verify')}: {said}"[:SEEN_CHARS_MAX] if said else ""
