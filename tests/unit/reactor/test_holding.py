"""What holds a playbook back besides its own past: silences, windows, who is ill, storms, and how many run at once.

Each is told in the decision, lives through a restart, and lets go by itself, once, when what it waits for is over.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aios.events.event import Event, format_time, parse_time
from tests.unit.reactor.rig import Rig, play, playbook


def held(rig: Rig, event: str) -> Event:
    """The decision that held this event."""
    return next(e for e in rig.events("reactor.decided") if e.data["event"] == event and e.data["verdict"] == "held")


async def ill(rig: Rig, subject: str, **attributes: Any) -> str:
    rig.ill.add(subject)
    return await rig.emit(subject=subject, **attributes)


async def falls(rig: Rig, subject: str) -> str:
    """A service dies, and its sensor says so; the id of what it said."""
    known = len(rig.events("service.down", subject=subject))
    rig.ill.add(subject)
    rig.machine.units.crash(subject)
    return (await rig.until_event("service.down", subject, known + 1)).id


def recovers(rig: Rig, subject: str) -> None:
    rig.ill.discard(subject)
    rig.machine.units.begin(subject)


def open_runs(rig: Rig) -> int:
    return len(rig.daemon.world.runs)


# --- concurrency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [False, True])
def test_so_many_runs_of_a_playbook_are_open_at_once_and_the_next_begins_when_one_ends(restarts: bool) -> None:
    async def story(rig: Rig) -> None:
        rig.busy_s = 5.0
        most = 0
        events = [await ill(rig, f"job:{n}") for n in range(6)]
        await rig.until(lambda: any("held" in rig.verdicts(event) for event in events))
        if restarts:
            await rig.restart()

        def all_ended() -> bool:
            nonlocal most
            most = max(most, open_runs(rig))
            return len(rig.events("run.healed")) == 6

        await rig.until(all_ended, within_s=120.0)
        assert most == 2
        told = held(rig, events[-1])
        assert (told.data["guard"], told.data["until"], told.data["on"]) == ("concurrency", "", "mender")
        assert "concurrency is 2" in told.data["why"]
        assert all(rig.verdicts(event) in (["run.opened"], ["held", "run.opened"]) for event in events)

    play(story, playbook("mender", guard="{cooldown: 0s, limit: none, concurrency: 2}"))


def test_concurrency_counts_each_value_of_its_field_for_itself() -> None:
    """One of cluster eu, one of cluster us; an event without the field shares a place with its like."""

    async def story(rig: Rig) -> None:
        rig.busy_s = 5.0
        events = [
            await ill(rig, f"job:{n}", data={"at": {"cluster": c}} if c else {}) for n, c in enumerate(["eu", "us", "eu", ""])
        ]
        await rig.until(lambda: all(rig.verdicts(event) for event in events))
        assert [rig.verdicts(event)[0] for event in events] == ["run.opened", "run.opened", "held", "run.opened"]
        assert held(rig, events[2]).data["on"] == "mender data.at.cluster eu"
        await rig.until_event("run.healed", count=4)

    play(story, playbook("mender", guard="{cooldown: 0s, limit: none, concurrency: {at_most: 1, by: data.at.cluster}}"))


def test_the_machines_concurrency_is_over_all_playbooks_and_looking_takes_no_place() -> None:
    async def story(rig: Rig) -> None:
        rig.busy_s = 5.0
        await rig.emit("odd.thing", "job:9")
        first, second = await ill(rig, "job:1"), await ill(rig, "job:2", type="other.broken")
        await rig.until(lambda: rig.verdicts(second))
        assert rig.verdicts(first) == ["run.opened"]
        assert held(rig, second).data["on"] == "machine"
        await rig.until_event("run.healed", count=2)

    looker = playbook("looker", "odd.thing", mode="observe")
    play(story, playbook("mender"), playbook("other", "other.broken"), looker, concurrency=1)


def test_a_place_goes_to_the_next_when_the_one_before_it_went_away_by_itself() -> None:
    """What waited for its place is looked at in its turn; a symptom that is gone takes no place."""

    async def story(rig: Rig) -> None:
        rig.busy_s = 5.0
        subjects = [f"{name}.service" for name in ("a", "b", "c")]
        events = [await ill(rig, subject, type="service.down") for subject in subjects]
        await rig.until(lambda: all(rig.verdicts(event) for event in events))
        rig.ill.discard("b.service")
        await rig.emit("service.up", "b.service")
        await rig.until_event("run.healed", "c.service")
        assert rig.verdicts(events[1]) == ["held"]

    play(story, playbook("mender", "service.down", guard="{cooldown: 0s, limit: none, concurrency: 1}"))


@pytest.mark.parametrize("restarts", [False, True])
def test_what_waits_for_something_ill_keeps_no_place_from_what_heals_it(restarts: bool) -> None:
    """One place on the machine: the run that waits for db.service leaves it to the one that mends db.service."""

    async def story(rig: Rig) -> None:
        rig.look_s = 5.0
        await ill(rig, "web.service", type="service.down")
        await asyncio.sleep(1.0)
        event = await ill(rig, "db.service", type="service.down")
        await rig.until(lambda: rig.verdicts(event))
        assert held(rig, event).data["guard"] == "concurrency"
        await rig.until(lambda: any(e.data["waits_for"] == "guard" for e in rig.events("run.waiting")))
        if restarts:
            await rig.restart()
        await rig.until_event("run.healed", "web.service", within_s=120.0)
        assert rig.acts == ["db.service by mender", "web.service by mender"]

    play(story, playbook("mender", "service.down"), concurrency=1, depends_on={"web.service": ["db.service"]})


def test_what_waited_for_guards_goes_on_one_after_the_other() -> None:
    """Who left its place while it waited takes a free one, or waits for it."""

    async def story(rig: Rig) -> None:
        rig.look_s = rig.busy_s = 2.0
        for subject in ("a", "b"):
            await ill(rig, f"{subject}.service", type="service.down")
            await asyncio.sleep(1.0)
            await rig.emit("service.down", f"needed-by-{subject}")
            await asyncio.sleep(10.0)
        assert len([run for run in rig.daemon.world.runs.values() if run.wait]) == 2
        for subject in ("a", "b"):
            await rig.emit("service.up", f"needed-by-{subject}")
        await rig.until_event("run.healed", count=2)
        words = [e.type for e in rig.events("run.step_intended", "run.healed")]
        assert words == ["run.step_intended", "run.healed"] * 2

    mender = playbook("mender", "service.down", guard="{cooldown: 0s, limit: none, concurrency: 1}")
    only = mender.replace("{type: service.down}", "{type: service.down, match: {subject: [{suffix: .service}]}}")
    play(story, only, depends_on={"a.service": ["needed-by-a"], "b.service": ["needed-by-b"]})


@pytest.mark.parametrize("restarts", [False, True])
def test_all_that_need_a_yes_ask_at_once_and_then_act_one_after_the_other(restarts: bool) -> None:
    """A question that nobody answers for a day keeps nobody else waiting; two that were answered share the one place."""

    async def story(rig: Rig) -> None:
        rig.look_s = rig.busy_s = 2.0
        for n in (1, 2, 3):
            await ill(rig, f"job:{n}")
        await rig.until_event("approval.requested", count=3)
        if restarts:
            await rig.restart()
        for subject in ("job:3", "job:1"):
            await rig.do("approve", run=rig.run_of("asker", subject).id)
        await rig.until_event("run.healed", count=2)
        words = [e.type for e in rig.events("run.step_intended", "run.healed")]
        assert words == ["run.step_intended", "run.healed"] * 2
        assert rig.run_of("asker", "job:2").asked is not None
        assert len(rig.events("approval.requested")) == 3

    play(story, playbook("asker", mode="approve", guard="{cooldown: 0s, limit: none, concurrency: 1}"))


def test_who_waits_on_its_ladder_keeps_no_place_and_its_fallback_takes_one() -> None:
    """A rung of an hour holds nobody else up; the fallback waits for whoever has the place by then."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        await ill(rig, "job:1")
        await rig.until(lambda: any(e.data["waits_for"] == "ladder" for e in rig.events("run.waiting")))
        rig.mends, rig.busy_s = True, 8.0
        await asyncio.sleep(3595.0)
        await ill(rig, "job:2")
        await rig.until(lambda: rig.events("run.step_intended", subject="job:2"))
        await rig.until_event("run.healed", "job:1", within_s=120.0)
        healed = [e.subject for e in rig.events("run.healed")]
        assert healed == ["job:2", "job:1"]
        assert rig.acts[-2:] == ["job:2 by first", "job:1 by second"]
        waited = [e for e in rig.events("run.waiting", subject="job:1") if e.data.get("on") == "concurrency"]
        assert [e.data["playbook"] for e in waited] == ["second"]

    first = playbook("first", more="on_failure: [{fallback: second, after: 1h}]")
    play(story, first, playbook("second", "never.seen"), concurrency=1)


# --- silences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["by itself", "by a person", "after a restart"])
def test_a_silence_holds_and_says_who_and_lets_go_at_its_end(ends: str) -> None:
    async def story(rig: Rig) -> None:
        made = await rig.do("silence", what="job:*", **{"for": "10m"}, reason="moving")
        event = await ill(rig, "job:1")
        await rig.until(lambda: rig.verdicts(event))
        told = held(rig, event).data
        assert (told["guard"], told["until"], told["on"]) == ("silence", made["until"], made["silence"])
        assert told["why"] == "job:* is silenced by ann: moving"
        assert len((await rig.do("silences"))["silences"]) == 1
        if ends == "after a restart":
            await rig.restart()
        if ends == "by a person":
            await rig.do("silence_end", silence=made["silence"])
            await rig.until_event("run.healed", within_s=1.0)
        else:
            await asyncio.sleep(500.0)
            assert rig.verdicts(event) == ["held"]
            await rig.until_event("run.healed", within_s=120.0)
        assert rig.verdicts(event) == ["held", "run.opened"]
        assert not rig.events("reactor.called")

    play(story, playbook("mender"))


def test_a_silence_of_one_playbook_leaves_the_others_and_looking_goes_on() -> None:
    async def story(rig: Rig) -> None:
        made = await rig.do("silence", what="mender", **{"for": "1h"})
        assert (made["playbook"], made["subject"]) == ("mender", "*")
        event, other = await ill(rig, "job:1"), await ill(rig, "job:2", type="other.broken")
        await rig.until_event("run.healed", "job:2")
        assert rig.verdicts(event) == ["held"]
        assert rig.verdicts(other) == ["run.opened"]

    play(story, playbook("mender"), playbook("other", "other.broken"))


def test_a_silence_that_begins_while_a_run_waits_for_a_yes_keeps_it_from_acting() -> None:
    """Permission is looked at from now: before the first act, not only when the run opened."""

    async def story(rig: Rig) -> None:
        await ill(rig, "job:1")
        asked = await rig.until_event("approval.requested")
        made = await rig.do("silence", all=True, **{"for": "1h"})
        await rig.do("approve", run=asked.data["run"])
        waiting = await rig.until(lambda: [e for e in rig.events("run.waiting") if e.data["waits_for"] == "guard"])
        assert (waiting[0].data["on"], waiting[0].data["why"]) == ("silence", "everything is silenced by ann")
        assert rig.acts == []
        await rig.do("silence_end", silence=made["silence"])
        await rig.until_event("run.healed", within_s=5.0)

    play(story, playbook("asker", mode="approve"))


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"what": "job:1"}, "a silence ends"),
        ({"for": "2h"}, "say what is to be silenced"),
        ({"what": "job:1", "for": "400d"}, "at most 366 days"),
        ({"what": "x" * 300, "for": "2h"}, "at most 256 characters"),
        ({"playbook": "mander", "for": "2h"}, "no playbook 'mander'"),
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(args: dict[str, str], error: str) -> None:
    async def story(rig: Rig) -> None:
        answer = await rig.ask("silence", **args)
        assert not answer.ok
        assert error in answer.error
        assert not (await rig.ask("silence_end", silence="nope")).ok

    play(story, playbook("mender"))


# --- windows ----------------------------------------------------------------------------------------------------------


def test_a_maintenance_window_holds_until_its_end_also_over_a_restart() -> None:
    async def story(rig: Rig) -> None:
        event = await ill(rig, "job:1")
        await rig.until(lambda: rig.verdicts(event))
        told = held(rig, event).data
        assert (told["guard"], told["until"]) == ("window", format_time(rig.clock.now() // 3600 * 3600 + 3600.0))
        await rig.restart()
        await rig.until_event("run.healed", within_s=3700.0)
        assert rig.verdicts(event) == ["held", "run.opened"]

    window = '{cooldown: 0s, limit: none, windows: {never: [{cron: "0 */2 * * *", for: 1h, timezone: UTC}]}}'
    play(story, playbook("mender", guard=window))


def test_a_window_of_the_settings_is_for_every_playbook() -> None:
    async def story(rig: Rig) -> None:
        event = await ill(rig, "job:1")
        await rig.until(lambda: rig.verdicts(event))
        told = held(rig, event).data
        assert told["why"] == "acts only in the maintenance windows later (2099-01-01 to 2099-01-02)"
        assert told["until"].startswith("2099-01-01T00:00:00")

    later = {"name": "later", "acts": "only", "from": "2099-01-01", "to": "2099-01-02", "timezone": "UTC"}
    play(story, playbook("mender"), window=[later])


# --- depends_on -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["the playbook", "the settings", "the machine"])
def test_nothing_is_done_about_a_service_whose_dependency_is_ill(who: str) -> None:
    """Until that is well: then at once."""

    async def story(rig: Rig) -> None:
        rig.machine.units.add("db.service")
        rig.machine.units.add("web.service", needs=("db.service",) if who == "the machine" else ())
        await asyncio.sleep(61.0)  # it learns each minute who there is
        await falls(rig, "db.service")
        await asyncio.sleep(0.1)
        event = await falls(rig, "web.service")
        await rig.until(lambda: rig.verdicts(event))
        told = held(rig, event).data
        assert (told["guard"], told["on"]) == ("depends_on", "db.service")
        assert "web.service depends on db.service, which has been ill for" in told["why"]
        await rig.restart()
        assert rig.verdicts(event) == ["held"]
        recovers(rig, "db.service")
        await rig.until_event("run.healed", "web.service", within_s=2.0)
        assert rig.verdicts(event) == ["held", "run.opened"]
        assert not rig.events("reactor.called")

    guard = "{cooldown: 0s, limit: none%s}" % (", depends_on: [db.service]" if who == "the playbook" else "")
    by_settings = {"depends_on": {"web.service": ["db.service"]}} if who == "the settings" else {}
    only_web = playbook("mender", "service.down", guard=guard).replace(
        "{type: service.down}", "{type: service.down, match: {subject: [web.service]}}"
    )
    play(story, only_web, **by_settings)


def test_of_two_that_need_each_other_none_waits_for_the_other() -> None:
    async def story(rig: Rig) -> None:
        events = [await ill(rig, subject, type="service.down") for subject in ("a.service", "b.service")]
        await rig.until_event("run.healed", count=2)
        assert [rig.verdicts(event) for event in events] == [["run.opened"], ["run.opened"]]

    play(story, playbook("mender", "service.down"), depends_on={"a.service": ["b.service"], "b.service": ["a.service"]})


def test_a_person_hears_of_what_waits_long_for_something_ill() -> None:
    """Ten minutes, once for the incident: nobody else may be at work on what it waits for."""

    async def story(rig: Rig) -> None:
        await rig.emit("service.down", "db.service")
        await ill(rig, "job:1")
        await rig.until_event("reactor.called", within_s=700.0)
        await asyncio.sleep(1900.0)
        assert len(rig.events("reactor.called")) == 1
        assert rig.acts == []

    play(story, playbook("mender"), depends_on={"job:1": ["db.service"]})


def test_what_a_run_has_proven_well_holds_nobody_up() -> None:
    """Its symptom stands until the sensor says so too, but whoever depends on it need not wait for that."""

    async def story(rig: Rig) -> None:
        await ill(rig, "db.service", type="service.down")
        await rig.until_event("run.healed")
        assert ("db.service", "service.down") in rig.daemon.world.symptoms
        assert "db.service" not in rig.daemon.world.ill
        await ill(rig, "web.service", type="service.down")
        await rig.until_event("run.healed", "web.service")

    play(story, playbook("mender", "service.down"), depends_on={"web.service": ["db.service"]})


@pytest.mark.parametrize("guard", ["silence", "pause"])
def test_what_ends_while_a_run_says_that_it_waits_for_it_is_not_missed(guard: str) -> None:
    """The end may become durable between the run's look at the guard and its word that it waits: whenever, it goes on soon."""

    async def story(rig: Rig) -> None:
        rig.commit_s = 0.4
        rig.look_s = 1.0
        for tenth in range(0, 50, 2):
            subject = f"job:{tenth}"
            event = await ill(rig, subject)
            await rig.until_event("run.opened", subject)
            if guard == "pause":
                await rig.do("pause")
            else:
                made = await rig.do("silence", what=subject, **{"for": "10h"})
            await asyncio.sleep(tenth / 10.0)
            await (rig.do("resume") if guard == "pause" else rig.do("silence_end", silence=made["silence"]))
            await rig.until_event("run.healed", subject, within_s=20.0)
            assert rig.verdicts(event) == ["run.opened"]

    play(story, playbook("mender"), approval_expires="1d")


def test_what_a_person_let_go_on_is_offered_again_though_the_daemon_died_just_then() -> None:
    """A pause without an end holds an event; the word that it is over is durable, and nothing more was done."""

    async def story(rig: Rig) -> None:
        await rig.do("pause")
        event = await ill(rig, "job:1")
        await rig.until(lambda: rig.verdicts(event))
        assert held(rig, event).data["guard"] == "paused"
        rig.daemon.reactor.closing = True  # from here on this life does nothing more
        await rig.do("resume")
        await rig.restart()
        await rig.until_event("run.healed", within_s=10.0)

    play(story, playbook("mender"))


def test_what_was_decided_while_a_resume_was_on_its_way_is_offered_again() -> None:
    """The word that the pause held it stands in the journal after the word that the pause is over."""

    async def story(rig: Rig) -> None:
        rig.commit_s = 0.4
        await ill(rig, "job:1")
        await rig.until_event("run.healed")
        event = await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(event))
        await rig.do("pause")
        await asyncio.sleep(parse_time(held(rig, event).data["until"]) - rig.clock.now() - 0.2)
        await rig.do("resume")
        await rig.until_event("run.healed", count=2, within_s=5.0)
        assert rig.verdicts(event) == ["held", "held", "run.opened"]

    play(story, playbook("mender", guard="{cooldown: 20s, limit: none}"))


# --- storms -----------------------------------------------------------------------------------------------------------

SERVICES = [f"s{n}.service" for n in range(10)]
STORM = {"storm": {"share": 0.3, "at_least": 4}}


async def storm(rig: Rig) -> None:
    for subject in SERVICES:
        rig.machine.units.add(subject)
    await asyncio.sleep(61.0)  # it learns each minute who there is
    for subject in SERVICES[:6]:
        rig.ill.add(subject)
        rig.machine.units.crash(subject)
    await rig.until_event("reactor.storm_began")
    await rig.until(lambda: not rig.daemon.world.uncalled)


@pytest.mark.parametrize("restarts", [False, True])
def test_in_a_storm_runs_look_and_wait_and_a_person_is_called_once(restarts: bool) -> None:
    """Evidence is gathered, nothing is done; when it is over what still stands is healed, at once."""

    async def story(rig: Rig) -> None:
        await storm(rig)
        began = rig.events("reactor.storm_began")[0].data
        assert began["ill"] >= 4
        assert began["known"] == 11
        acted = len(rig.acts)
        if restarts:
            await rig.restart()
        waiting = await rig.until(lambda: [r for r in rig.daemon.world.runs.values() if r.wait and r.wait["for"] == "guard"])
        assert all(run.results["look"]["ok"] for run in waiting)
        await asyncio.sleep(300.0)
        assert len(rig.acts) == acted
        for subject in SERVICES[:5]:
            recovers(rig, subject)
        await rig.until_event("reactor.storm_over")
        await rig.until(lambda: not open_runs(rig), within_s=5.0)
        assert not rig.ill
        assert len([e for e in rig.events("daemon.act_intended") if e.data["skill"] == "notify"]) == 1

    play(story, playbook("mender", "service.down"), **STORM)


def test_a_person_may_end_a_storm_and_it_does_not_begin_again_before_it_is_over() -> None:
    async def story(rig: Rig) -> None:
        rig.mends = False
        await storm(rig)
        await rig.do("resume")
        await rig.until(lambda: rig.acts)
        assert rig.daemon.world.guards.storm is not None
        assert rig.daemon.world.guards.storm.lifted_by == "ann"
        assert (await rig.do("status"))["storm"] is None
        await falls(rig, SERVICES[7])
        await asyncio.sleep(100.0)
        assert len(rig.events("reactor.storm_began")) == 1
        for subject in SERVICES[:8]:
            recovers(rig, subject)
        await rig.until(lambda: rig.daemon.world.guards.storm is None)

    play(story, playbook("mender", "service.down"), **STORM)


def test_what_nobody_watches_makes_no_storm() -> None:
    """Programs may say that anything is ill; the share is of what would be heard of if it were."""

    async def story(rig: Rig) -> None:
        for n in range(20):
            await ill(rig, f"job:{n}", type="agent.error")
        await rig.until_event("run.healed", count=20)
        assert not rig.events("reactor.storm_began")

    play(story, playbook("mender", "agent.error"), **STORM)


# --- the breaker, in a life -------------------------------------------------------------------------------------------


def test_a_breaker_lets_one_trial_through_and_opens_for_longer_when_it_fails() -> None:
    """Over a restart in the middle; the decision says how long."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        event = await rig.falls_ill()
        await rig.until_event("run.escalated")
        await asyncio.sleep(601.0)  # `called` is quiet so long
        event = await rig.emit()
        await rig.until(lambda: rig.verdicts(event))
        assert held(rig, event).data["guard"] == "breaker"
        await rig.restart()
        await rig.until_event("run.escalated", count=2, within_s=3700.0)
        await asyncio.sleep(601.0)
        event = await rig.emit()
        await rig.until(lambda: rig.verdicts(event))
        assert "1 trials since did not heal" in held(rig, event).data["why"]
        rig.mends = True
        await rig.until_event("run.healed", within_s=7300.0)
        assert rig.daemon.world.guards.breakers == {}

    play(story, playbook("mender", guard="{cooldown: 0s, limit: 1 in 1h}", more="on_failure: [{notify: stuck}]"))
