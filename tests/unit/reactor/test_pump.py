"""What becomes of a durable event: matched, decided once, held and offered again, spilled and read again, or a dead letter."""

from __future__ import annotations

import asyncio

import pytest

from aios.events.event import format_time
from aios.reactor import pump
from tests.unit.reactor.rig import Rig, play, playbook


def test_a_matched_event_opens_a_run_that_heals() -> None:
    """The loop, once round: seen, matched, acted, proven."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        event = await rig.emit()
        healed = await rig.until_event("run.healed")
        assert healed.data["acts"] == ["act"]
        assert rig.acts == ["job:1 by mender"]
        assert rig.verdicts(event) == ["run.opened"]

    play(story, playbook("mender"))


def test_a_further_match_joins_the_open_run_a_waiting_one_too() -> None:
    """One run for a playbook and subject, however often it is said meanwhile."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("approval.requested")
        again = await rig.emit()
        await rig.until(lambda: rig.verdicts(again))
        assert rig.verdicts(again) == ["joined"]
        assert len(rig.events("run.opened")) == 1

    play(story, playbook("asker", mode="approve"))


def test_two_matches_in_one_batch_open_one_run_in_one_incident() -> None:
    """What is decided and not folded yet is known to the next decision."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await asyncio.gather(rig.emit(id="a"), rig.emit(id="b"), rig.emit(id="c"))
        await rig.until_event("run.healed")
        assert (rig.verdicts("a"), rig.verdicts("b"), rig.verdicts("c")) == (["run.opened"], ["joined"], ["joined"])
        assert {e.correlationid for e in rig.events("run.opened", "reactor.decided", "run.healed")} == {"a"}

    play(story, playbook("mender"))


def test_held_by_a_cooldown_it_is_offered_again_once_at_its_time() -> None:
    """Held keeps the symptom: at T it is decided once more, and further events meanwhile are coalesced into it."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.healed")
        held = await rig.falls_ill()
        more = await rig.emit()
        await rig.until_event("run.healed", count=2, within_s=200.0)
        assert rig.verdicts(held) == ["held", "run.opened"]
        assert rig.verdicts(more) == ["coalesced"]
        opened = rig.events("run.opened")
        assert opened[1].taken - rig.events("run.healed")[0].taken == pytest.approx(60.0, abs=1.0)
        assert rig.daemon.world.held == {}

    play(story, playbook("mender", guard="{cooldown: 60s, limit: none}"))


def test_what_got_well_meanwhile_is_not_offered_again() -> None:
    """Only if it still stands: a closing event ends what was held."""

    async def story(rig: Rig) -> None:
        rig.ill.add("a.service")
        await rig.emit("service.down", "a.service")
        await rig.until_event("run.healed")
        await rig.emit("service.up", "a.service")
        held = await rig.falls_ill("a.service", type="service.down")
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        assert ("a.service", "service.down") in rig.daemon.world.symptoms
        await rig.emit("service.up", "a.service")
        assert ("a.service", "service.down") not in rig.daemon.world.symptoms
        await asyncio.sleep(100.0)
        assert rig.verdicts(held) == ["held"]
        assert rig.daemon.world.held == {}

    play(story, playbook("mender", "service.down", guard="{cooldown: 60s, limit: none}"))


def test_held_survives_a_restart_and_comes_back_at_its_time() -> None:
    """T is wall time: a restart neither loses nor hastens it."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.healed")
        held = await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        await rig.restart()
        await asyncio.sleep(30.0)
        assert rig.verdicts(held) == ["held"]
        await rig.until_event("run.healed", count=2, within_s=200.0)
        assert rig.verdicts(held) == ["held", "run.opened"]

    play(story, playbook("mender", guard="{cooldown: 60s, limit: none}"))


def test_what_was_held_and_cannot_be_said_any_more_holds_nothing_up() -> None:
    """Offered again, its `when` cannot say: that is its end, and the next event of this kind is decided anew."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit(data={"n": 1})
        await rig.until_event("run.healed")
        held = await rig.falls_ill(data={"n": 1, "until": format_time(rig.clock.now() + 30.0)})
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        await rig.until(lambda: rig.verdicts(held) == ["held", "cannot_say"], within_s=200.0)
        rig.ill.add("job:1")
        after = await rig.emit(data={"n": 1})
        await rig.until_event("run.healed", count=2)
        assert rig.verdicts(after) == ["run.opened"]

    when = 'when: "!has(event.data.until) || now < timestamp(event.data.until) || event.data.nothing == 1"'
    play(story, playbook("mender", guard="{cooldown: 60s, limit: none}", head=when))


def test_paused_holds_until_resume_and_offers_then() -> None:
    """`aios pause` stops every act, `aios resume` offers all that it held."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.do("pause", reason="work on the roof")
        held = await rig.emit()
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        await asyncio.sleep(3600.0)
        assert rig.acts == []
        await rig.do("resume")
        await rig.until_event("run.healed")
        assert rig.verdicts(held) == ["held", "run.opened"]

    play(story, playbook("mender"))


def test_a_pause_with_an_end_offers_at_its_end() -> None:
    """`aios pause --for 10m` needs nobody to come back."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.do("pause", **{"for": "10m"})
        began = rig.loop.time()
        await rig.emit()
        await rig.until_event("run.healed", within_s=700.0)
        assert 600.0 <= rig.loop.time() - began < 605.0

    play(story, playbook("mender"))


def test_the_breaker_opens_calls_a_person_once_and_closes_at_resume() -> None:
    """limit: 2 in 1h; the third time a person is called, once an incident; `aios resume` is that person's answer."""

    async def story(rig: Rig) -> None:
        for n in (1, 2):
            await rig.falls_ill()
            await rig.until_event("run.healed", count=n)
        held = await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        await rig.emit()
        await rig.until_event("daemon.act_done")
        assert [e.data["guard"] for e in rig.events("reactor.called")] == ["breaker"]
        (guard,) = (await rig.do("status"))["guards"]
        assert (guard["guard"], guard["playbook"], guard["resume"]) == ("breaker", "mender", True)
        await rig.do("resume")
        await rig.until_event("run.healed", count=3)
        assert (await rig.do("status"))["guards"] == []
        assert rig.verdicts(held) == ["held", "run.opened"]

    play(story, playbook("mender", guard="{cooldown: 0s, limit: 2 in 1h}"))


def test_protected_subjects_are_held_and_a_person_is_called() -> None:
    """No run may touch sshd: a person hears of it, once."""

    async def story(rig: Rig) -> None:
        one = await rig.emit("service.down", "sshd.service")
        two = await rig.emit("service.down", "mine.service")
        await rig.until(lambda: rig.verdicts(one) == rig.verdicts(two) == ["held"])
        assert len(rig.events("reactor.called")) == 2
        assert rig.events("run.opened") == []

    play(story, playbook("mender", "service.down"), protected=["mine.service"])


def test_protection_that_the_settings_lifted_is_offered_at_the_next_start() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("mine.service")
        held = await rig.emit("service.down", "mine.service")
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        rig.settings["protected"] = []
        await rig.restart()
        await rig.until_event("run.healed")

    play(story, playbook("mender", "service.down"), protected=["mine.service"])


def test_an_act_that_brings_its_own_symptom_back_is_cut_as_a_loop() -> None:
    """What is seen on the subject while a run acts and within its settle time is the run's own doing: a person is called."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.healed")
        rig.ill.add("job:1")
        await asyncio.sleep(5.0)
        soon = await rig.emit()
        await rig.until(lambda: rig.verdicts(soon) == ["held"])
        assert [e.data["guard"] for e in rig.events("reactor.called")] == ["loop"]
        await asyncio.sleep(60.0)
        await rig.do("resume")
        await rig.until_event("run.healed", count=2)

    play(story, playbook("mender"))


def test_after_the_settle_time_it_is_news() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.healed")
        rig.ill.add("job:1")
        await asyncio.sleep(10.1)
        later = await rig.emit()
        await rig.until_event("run.healed", count=2)
        assert rig.verdicts(later) == ["run.opened"]

    play(story, playbook("mender"))


def test_dependents_of_what_a_run_acts_on_are_its_doing_too() -> None:
    """Restarting db makes web fail for a moment: that is attributed to the run on db, and its lineage goes on with it."""

    async def story(rig: Rig) -> None:
        rig.machine.units.add("db.service")
        rig.machine.units.add("web.service", needs=("db.service",))
        rig.ill.add("db.service")
        await rig.emit("service.down", "db.service")
        await rig.until_event("run.healed")
        rig.ill.add("web.service")
        await rig.emit("service.down", "web.service")
        opened = await rig.until_event("run.opened", subject="web.service")
        assert opened.data["lineage"] == [["mender", "db.service"]]

    play(story, playbook("mender", "service.down"))


def test_dependents_are_known_again_after_a_restart() -> None:
    """The daemon died within the settle time: what suffers from the run is still its doing."""

    async def story(rig: Rig) -> None:
        rig.machine.units.add("db.service")
        rig.machine.units.add("web.service", needs=("db.service",))
        rig.ill.add("db.service")
        await rig.emit("service.down", "db.service")
        await rig.until_event("run.healed")
        await rig.restart()
        await asyncio.sleep(0.5)
        await rig.emit("service.down", "web.service")
        opened = await rig.until_event("run.opened", subject="web.service")
        assert opened.data["lineage"] == [["mender", "db.service"]]

    play(story, playbook("mender", "service.down"))


def test_an_event_that_names_a_run_as_its_cause_is_cut_as_a_loop() -> None:
    """`causationid` may name a run: what it caused never opens a run of the same playbook on the same subject."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.healed")
        await asyncio.sleep(100.0)
        own = await rig.emit(causationid=rig.run_of("mender").id)
        await rig.until(lambda: rig.verdicts(own) == ["held"])
        assert rig.events("reactor.called")[0].data["guard"] == "loop"

    play(story, playbook("mender"))


def test_a_playbook_for_escalations_does_not_answer_its_own() -> None:
    """It names `run.escalated` exactly, fails itself, escalates, and does not go round."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.escalated", count=2)
        await asyncio.sleep(300.0)
        assert len(rig.events("run.opened")) == 2
        assert [e.data["guard"] for e in rig.events("reactor.decided")][-1] == "loop"
        assert not rig.events("reactor.called"), "its run has called about this a moment ago: once is enough"

    play(story, playbook("first"), playbook("last", "run.escalated"))


def test_own_types_reach_a_playbook_that_names_them_and_no_wildcard() -> None:
    """Bookkeeping does not feed itself."""

    async def story(rig: Rig) -> None:
        await rig.emit("timer.due", "host", data={"timer": "nightly", "planned": format_time(rig.clock.now())})
        await rig.until_event("run.opened")
        await asyncio.sleep(5.0)
        assert [e.data["playbook"] for e in rig.events("run.opened")] == ["exact"]

    play(story, playbook("exact", "timer.due"), playbook("wild", '"timer.*"'), playbook("all", '"run.*"'))


def test_an_own_type_that_was_named_is_decided_after_a_crash() -> None:
    """It was durable and undecided when the daemon died."""

    async def story(rig: Rig) -> None:
        rig.daemon.reactor._pumping = True  # it dies before it comes to deciding
        await rig.emit("timer.due", "host", data={"timer": "nightly", "planned": format_time(rig.clock.now())})
        await rig.restart()
        await rig.until_event("run.opened")

    play(story, playbook("exact", "timer.due"))


def test_when_cannot_say_it_is_explained_and_not_run() -> None:
    """An expression without a value is no yes."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        event = await rig.emit(data={})
        await rig.until(lambda: rig.verdicts(event) == ["cannot_say"])
        assert "cannot say" in rig.events("reactor.decided")[0].data["why"]
        assert rig.events("run.opened") == []

    play(story, playbook("mender", head="when: event.data.load > 3"))


def test_the_best_playbook_runs_and_the_next_best_is_its_fallback() -> None:
    """Priority first, then specificity; what does not heal goes on with the next."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        first = await rig.until_event("run.opened")
        second = await rig.until_event("run.opened", count=2)
        assert (first.data["playbook"], second.data["playbook"]) == ("best", "next")
        assert [c["playbook"] for c in first.data["considered"]] == ["best", "next", "worst"]
        assert second.data["parent"] == first.data["run"]
        await rig.until_event("run.escalated", count=2)

    play(
        story,
        playbook("worst", '"work.*"'),
        playbook("next", "work.broken"),
        playbook("best", '"work.*"', head="priority: 5"),
    )


def test_an_event_too_deep_for_a_run_becomes_a_dead_letter() -> None:
    """It fits a line of the journal, the run's opening that repeats it does not: kept with its reason, and nothing dies of it."""

    async def story(rig: Rig) -> None:
        deep: object = 1
        for _ in range(28):
            deep = {"a": deep}
        event = await rig.emit(data={"deep": deep})
        letter = await rig.until_event("scheduler.dead_letter")
        assert letter.data["event"] == event
        assert "deeply" in letter.data["reason"]
        rig.ill.add("job:2")
        await rig.emit(subject="job:2")
        await rig.until_event("run.healed")
        await rig.restart()
        assert rig.verdicts(event) == ["scheduler.dead_letter"]

    play(story, playbook("mender"))


def test_an_event_too_long_for_a_run_becomes_a_dead_letter_that_can_be_retried() -> None:
    """60 kB are a line, but no line beside all that a run's opening says. A person's retry is a new decision."""

    async def story(rig: Rig) -> None:
        event = await rig.emit(data={"text": "x" * 60_000})
        letter = await rig.until_event("scheduler.dead_letter")
        (shown,) = (await rig.do("dead_letters"))["dead_letters"]
        assert shown["letter"] == letter.data["letter"]
        await rig.do("dead_retry", letter=shown["letter"])
        await rig.until(lambda: rig.verdicts(event) == ["scheduler.dead_letter"] * 2)
        assert len((await rig.do("dead_letters"))["dead_letters"]) == 1

    play(story, playbook("mender"))


def test_a_skill_that_fails_while_it_is_asked_what_it_touches_kills_one_event_and_no_daemon() -> None:
    """Outsiders' code may fail in any way. Once it is mended, a retry finds the event, also after a restart."""

    async def story(rig: Rig) -> None:
        from aios.events.calls import SkillSpec, Touches

        def broken(_params: object) -> Touches:
            raise RuntimeError("its author never tried it")

        skills = rig.daemon.reactor.skills
        good: SkillSpec = skills["mend"]
        skills["mend"] = SkillSpec("mend", "act", "", {}, good.check, broken)  # type: ignore[index]
        rig.ill.add("job:1")
        event = await rig.emit()
        letter = await rig.until_event("scheduler.dead_letter")
        assert "its author never tried it" in letter.data["reason"]
        await rig.restart()
        assert "no dead letter" in (await rig.ask("dead_retry", letter="nobody")).error
        await rig.do("dead_retry", letter=letter.data["letter"][:8])
        await rig.until_event("run.healed")
        assert rig.verdicts(event) == ["scheduler.dead_letter", "run.opened"]

    play(story, playbook("mender"))


def test_an_event_that_nothing_matched_is_not_decided_by_playbooks_that_came_later() -> None:
    """It was seen and nothing answered it; a restart with a new playbook does not dig it out."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        event = await rig.emit()
        await rig.until_quiet()
        rig.texts["/playbooks/new.yaml"] = playbook("new")
        await rig.restart()
        await asyncio.sleep(5.0)
        assert rig.verdicts(event) == []
        await rig.emit()
        await rig.until_event("run.healed")

    play(story, playbook("other", "other.type"))


def test_what_was_undecided_at_a_crash_is_decided_by_what_was_in_force_then() -> None:
    """The folder changed while the daemon was down: the event belongs to the playbook that was in force when it came."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        rig.daemon.reactor._pumping = True  # it dies before it comes to deciding
        await rig.emit()
        rig.texts = {"/playbooks/new.yaml": playbook("new")}
        await rig.restart()
        opened = await rig.until_event("run.opened")
        assert opened.data["playbook"] == "old"
        await rig.until_event("run.healed")
        rig.ill.add("job:2")
        await rig.emit(subject="job:2")
        assert (await rig.until_event("run.opened", count=2)).data["playbook"] == "new"

    play(story, playbook("old"))


def test_without_any_checkpoint_what_was_dealt_with_is_not_looked_at_again() -> None:
    """The heartbeat says up to where everything is decided, so that a replay of the whole journal stays small."""

    async def story(rig: Rig) -> None:
        for n in range(20):
            await rig.emit("nobody.cares", f"x:{n}")
        await asyncio.sleep(61.0)
        late = await rig.emit("nobody.cares", "x:late")
        rig.kill()
        assert not rig.machine.disk.exists("/state/checkpoints")  # the first comes after five minutes
        started = []
        start = pump.Reactor.start

        def spy(self: pump.Reactor, before: object = None) -> None:
            started.append(set(self.world.undecided))
            start(self, before)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pump.Reactor, "start", spy)
            await rig.start()
        assert started == [{late}]

    play(story, playbook("other", "other.type"))


def test_more_than_the_open_runs_allowed_wait_and_are_all_dealt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on, deciding waits; as runs end the next are opened."""
    monkeypatch.setattr(pump, "OPEN_RUNS_MAX", 6)

    async def story(rig: Rig) -> None:
        subjects = [f"job:{n}" for n in range(40)]
        rig.ill.update(subjects)
        most = 0

        def count(_stored: object) -> None:
            nonlocal most
            most = max(most, len(rig.daemon.world.runs))

        rig.daemon.spine.listen(count)
        await asyncio.gather(*(rig.emit(subject=s, id=f"id-{s}") for s in subjects))
        await rig.until_event("run.healed", count=40, within_s=200.0)
        assert most <= 6

    play(story, playbook("mender"))


def test_a_p0_is_decided_however_many_runs_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand questions that wait for a person do not keep the system from being saved."""
    monkeypatch.setattr(pump, "OPEN_RUNS_MAX", 3)

    async def story(rig: Rig) -> None:
        for n in range(5):
            rig.ill.add(f"job:{n}")
            await rig.emit(subject=f"job:{n}")
        await rig.until_event("approval.requested", count=3)
        rig.ill.add("system")
        await rig.emit("score.degraded", "system", data={"score": 0.1, "dimensions": {}})
        await rig.until_event("run.healed", subject="system")
        assert len(rig.events("run.opened")) == 4

    play(story, playbook("asker", mode="approve"), playbook("saver", "score.degraded"))


def test_spilled_events_that_the_journal_lost_are_said_aloud() -> None:
    """Bit rot, a part removed by hand: a dead letter says how many, and the rest goes on."""

    class Blind:
        def at(self, _position: object) -> None:
            return None

        def read(self, _after: object = None) -> list[object]:
            return []

    async def story(rig: Rig) -> None:
        reactor = rig.daemon.reactor
        reactor._pumping = True  # nothing is decided while all of them come in
        await asyncio.gather(*(rig.emit(subject=f"job:{n}", id=f"id-{n}") for n in range(150)))
        spilled = reactor.queue.spilled
        reactor.reader = Blind()  # type: ignore[assignment]
        reactor._pumping = False
        assert rig.process is not None
        rig.process.life.run(reactor._wake)
        letter = await rig.until_event("scheduler.dead_letter")
        assert letter.data["reason"].startswith(f"{spilled} spilled events")
        await rig.until(lambda: reactor.queue.spilled == len(reactor.queue) == 0)
        assert not (await rig.ask("dead_retry", letter=letter.data["letter"])).ok

    play(story, playbook("mender"), queue_max=100)


@pytest.mark.parametrize("crash", [False, True])
def test_spilled_events_come_back_and_are_decided_once(crash: bool) -> None:
    """A full queue remembers positions; after a crash with a checkpoint in between nothing is lost and nothing decided twice."""

    async def story(rig: Rig) -> None:
        reactor = rig.daemon.reactor
        subjects = [f"job:{n}" for n in range(300)]
        rig.ill.update(subjects)
        reactor._pumping = True  # nothing is decided while all of them come in
        await asyncio.gather(*(rig.emit(subject=s, id=f"id-{s}") for s in subjects))
        assert reactor.queue.spilled > 0
        await rig.in_daemon(rig.daemon._checkpoint())
        reactor._pumping = False
        assert rig.process is not None
        rig.process.life.run(reactor._wake)
        if crash:
            await rig.until_event("run.healed", count=150, within_s=400.0)
            await rig.restart()
        await rig.until_event("run.healed", count=300, within_s=800.0)
        await rig.until_quiet()
        assert [rig.verdicts(f"id-{s}") for s in subjects] == [["run.opened"]] * 300
        assert len(rig.acts) == 300

    play(story, playbook("mender"), queue_max=100)


def test_the_machine_wide_limit_holds_the_next_run_until_the_hour_has_slid() -> None:
    """Two acts an hour: the third run waits, and goes on by itself."""

    async def story(rig: Rig) -> None:
        for n in range(3):
            rig.ill.add(f"job:{n}")
            await rig.emit(subject=f"job:{n}")
            await rig.until_quiet()
        assert len(rig.acts) == 2
        assert rig.events("reactor.decided")[-1].data["guard"] == "act_limit"
        assert len(rig.events("run.opened")) == 2
        began = rig.loop.time()
        await rig.until(lambda: len(rig.acts) == 3, within_s=4000.0)
        assert rig.loop.time() - began > 3500.0

    play(story, playbook("mender"), acts_per_hour=2)


def test_a_person_is_called_once_about_what_cannot_be_healed() -> None:
    """A run that called a person holds its playbook on that subject for ten minutes, also where there is no cooldown."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.escalated")
        await asyncio.sleep(20.0)
        await rig.emit()
        decided = await rig.until_event("reactor.decided")
        assert decided.data["guard"] == "called"
        await asyncio.sleep(300.0)
        assert len(rig.events("run.escalated")) == 1
        await rig.until_event("run.escalated", count=2, within_s=700.0)

    play(story, playbook("mender"))


def test_what_was_well_meanwhile_is_a_new_trouble() -> None:
    """A person mended it and had it healed: the next fall is healed at once, though a person was called minutes ago."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.escalated")).data["run"]
        rig.mends = True
        await rig.do("retry", run=run)
        await rig.until_event("run.healed")
        await asyncio.sleep(20.0)
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.healed", count=2)

    play(story, playbook("mender"))


def test_resume_lets_it_try_again_after_a_call() -> None:
    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.escalated")
        await asyncio.sleep(20.0)
        await rig.emit()
        await rig.until_event("reactor.decided")
        rig.mends = True
        await rig.do("resume")
        await rig.until_event("run.healed")

    play(story, playbook("mender"))


def test_a_limit_of_no_acts_at_all_allows_none() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("reactor.decided")
        await asyncio.sleep(7200.0)
        assert rig.acts == []
        assert {e.data["guard"] for e in rig.events("reactor.decided")} == {"act_limit"}

    play(story, playbook("mender"), acts_per_hour=0)


# --- who depends on whom ----------------------------------------------------------------------------------------------


def test_relations_are_told_when_they_are_learnt_and_when_they_change_and_all_of_them_once_a_day() -> None:
    """A restart tells nothing that the journal knows; with the day the settings are said again, too."""

    async def story(rig: Rig) -> None:
        rig.machine.units.add("db.service")
        rig.machine.units.add("web.service", needs=("db.service",))
        await rig.start()
        first = await rig.until_event("daemon.relations_learned")
        known = {"db.service": ["web.service"]}
        assert first.data == {"afresh": True, "watched": ["db.service", "host", "web.service"], "sufferers": known}
        await rig.restart()
        rig.machine.units.relate("db.service", needs=("web.service",))
        more = await rig.until_event("daemon.relations_learned", count=2)
        assert more.data == {"afresh": False, "watched": [], "sufferers": {"web.service": ["db.service"]}}
        settings = len(rig.events("daemon.settings_loaded"))
        await asyncio.sleep(86_000.0)  # not looked at every few milliseconds
        again = await rig.until_event("daemon.relations_learned", count=3, within_s=500.0)
        assert again.data["afresh"]
        assert again.data["sufferers"] == {**known, **more.data["sufferers"]}
        assert len(rig.events("daemon.settings_loaded")) == settings + 1
        assert len(rig.events("daemon.relations_learned")) == 3

    play(story, started=False)
