"""How far playbooks are trusted, in a life: shadow that watches, a person who promotes, a fall that demotes by itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.reactor.rig import Rig, play, playbook

WATCH = {"trust": {"watch": "10m"}}


@pytest.mark.parametrize("restarts", [False, True])
def test_shadow_watches_whether_the_symptom_goes_by_itself(restarts: bool) -> None:
    """It acts on nothing, waits without a slot, and says after how long it was gone."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.waiting")
        if restarts:
            await rig.restart()
        await asyncio.sleep(100.0)
        rig.ill.discard("job:1")
        observed = await rig.until_event("run.observed", within_s=400.0)
        assert observed.data["by_itself"] is True
        assert 100.0 < observed.data["watched_s"] < 300.0
        assert rig.acts == []
        assert list(rig.daemon.world.trust.of["mender"].watched) == [0]

    play(story, playbook("mender", mode="shadow"), **WATCH)


def test_shadow_says_that_it_is_still_ill_when_it_has_watched_to_the_end() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        observed = await rig.until_event("run.observed", within_s=700.0)
        assert observed.data["by_itself"] is False
        assert observed.data["watched_s"] >= 600.0
        assert list(rig.daemon.world.trust.of["mender"].watched) == [1]
        assert len(rig.events("run.waiting")) < 8

    play(story, playbook("mender", mode="shadow"), **WATCH)


def test_a_sensor_that_says_well_has_shadow_look_at_once() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("web.service")
        await rig.emit("service.down", "web.service")
        await rig.until_event("run.waiting")
        await asyncio.sleep(1.0)
        rig.ill.discard("web.service")
        await rig.emit("service.up", "web.service")
        observed = await rig.until_event("run.observed", within_s=2.0)
        assert observed.data["by_itself"] is True

    play(story, playbook("mender", "service.down", mode="shadow"), **WATCH)


def test_a_person_promotes_what_has_earned_it_and_it_acts_from_then_on() -> None:
    """Who and why stand in the journal; a restart keeps it; a changed text lapses to its file's mode."""

    async def story(rig: Rig) -> None:
        refused = await rig.ask("playbook_promote", name="mender", to="auto")
        assert not refused.ok
        assert "has not earned auto: none of its runs in shadow has ended yet" in refused.error
        rig.daemon.world.trust.of.clear()
        for n in range(10):
            rig.ill.add(f"job:{n}")
            await rig.emit(subject=f"job:{n}")
        await rig.until_event("run.observed", count=10, within_s=100.0)
        shown = (await rig.do("playbook_trust", name="mender"))["playbooks"][0]
        assert (shown["mode_in_force"], shown["earned"]) == ("shadow", "suggest")
        promoted = await rig.do("playbook_promote", name="mender", to="auto", reason="sure", anyway=True)
        assert (promoted["by"], promoted["before"], promoted["to"], promoted["earned"]) == ("ann", "shadow", "auto", False)
        await rig.restart()
        rig.ill.add("job:11")
        await rig.emit(subject="job:11")
        await rig.until_event("run.healed")
        assert rig.acts == ["job:11 by mender"]
        path = next(iter(rig.texts))
        rig.texts[path] += "# another text\n"
        await rig.do("reload")
        assert (await rig.do("playbook", name="mender"))["mode_in_force"] == "shadow"

    play(story, playbook("mender", mode="shadow"), trust={"watch": "1s"})


def test_the_settings_limit_what_a_person_may_grant() -> None:
    async def story(rig: Rig) -> None:
        refused = await rig.ask("playbook_promote", name="mender", to="auto", anyway=True)
        assert not refused.ok
        assert "no more than approve" in refused.error
        assert not (await rig.ask("playbook_demote", name="mender", to="auto")).ok
        assert not (await rig.ask("playbook_promote", name="mender", to="yolo")).ok
        assert (await rig.do("playbook_demote", name="mender"))["to"] == "observe"

    play(story, playbook("mender", mode="shadow"), mode_max="approve")


def test_a_fall_in_evidence_demotes_by_itself_and_calls_once() -> None:
    """From then on it asks before it acts; also after a restart."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        for n in range(10):
            rig.ill.add(f"job:{n}")
            await rig.emit(subject=f"job:{n}")
        demoted = await rig.until_event("playbook.demoted", within_s=300.0)
        assert (demoted.data["before"], demoted.data["to"], demoted.data["by"]) == ("auto", "approve", "")
        assert demoted.data["reason"].startswith("0 of its last 10 acting runs healed")
        await rig.until(lambda: not rig.daemon.world.uncalled)
        await rig.restart()
        await rig.emit(subject="job:20")
        rig.ill.add("job:20")
        await rig.until_event("approval.requested", "job:20")
        assert len(rig.events("playbook.demoted")) == 1
        told = [e for e in rig.events("daemon.act_intended") if "may only approve" in str(e.data["params"].get("message"))]
        assert len(told) == 1

    play(story, playbook("mender", more="on_failure: [{notify: stuck}]"))


def test_the_playbook_that_healed_before_goes_first_and_the_other_is_its_fallback() -> None:
    """Decided from the journal: after a restart, too; the decision holds the numbers."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        first = await rig.until_event("run.opened")
        assert first.data["playbook"] == "a-mender"
        assert first.data["next_best"] == "b-mender"
        await rig.until_event("run.escalated", within_s=100.0)
        rig.mends = True
        rig.ill.discard("job:1")
        await rig.do("playbook_disable", name="a-mender")
        rig.ill.add("job:2")
        await rig.emit(subject="job:2")
        await rig.until_event("run.healed", "job:2")
        await rig.do("playbook_enable", name="a-mender")
        await rig.restart()
        rig.ill.add("job:3")
        event = await rig.emit(subject="job:3")
        opened = await rig.until_event("run.opened", "job:3")
        assert (opened.data["playbook"], opened.data["next_best"]) == ("b-mender", "a-mender")
        assert [one["healed_rate"] for one in opened.data["considered"]] == [0.5, 0.333]
        told = (await rig.do("explain", event=event))["considered"]
        assert [one["playbook"] for one in told] == ["b-mender", "a-mender"]
        assert told[0]["rank"]["healed"] == 1

    play(story, playbook("a-mender"), playbook("b-mender"))
