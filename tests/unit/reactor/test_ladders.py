"""What is tried after a failure: rungs that wait, fallbacks, retries from a step; across deaths of the daemon."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from aios.reactor.pump import FALLBACKS_DEEP_MAX
from tests.unit.reactor.rig import FREE, Rig, play, playbook

LADDER = """on_failure:
  - {notify: first, after: 10m}
  - {fallback: helper, after: 2m}
  - {notify: last}
"""


def times(rig: Rig, *kinds: str) -> list[float]:
    return [event.taken for event in rig.events(*kinds)]


def said(rig: Rig) -> list[str]:
    found = [e for e in rig.events("run.step_intended") if e.data["skill"] == "notify"]
    return [e.data["params"]["message"].partition(" (")[0] for e in found]


async def failed(rig: Rig) -> str:
    """The first run could not mend it and took back what it did."""
    rig.mends = False
    rig.ill.add("job:1")
    await rig.emit()
    run: str = (await rig.until_event("run.rolled_back")).data["run"]
    return run


def test_each_rung_waits_for_its_delay_and_holds_nothing_meanwhile() -> None:
    async def story(rig: Rig) -> None:
        run = await failed(rig)
        await rig.until_event("run.waiting")
        listed = (await rig.do("run", run=run))["waits_for"]
        assert listed == "ladder"
        assert not rig.daemon.reactor.runner._granted
        await rig.until(lambda: run in rig.daemon.world.recent, within_s=2000.0)
        back = times(rig, "run.rolled_back")[0]
        first, second, _ = (e.taken for e in rig.events("run.rung_done") if e.data["playbook"] == "mender")
        assert first - back == pytest.approx(600.0, abs=2.0)
        helper = next(e for e in rig.events("run.opened") if e.data["playbook"] == "helper")
        assert helper.taken - first == pytest.approx(120.0, abs=2.0)
        assert helper.correlationid == rig.events("run.opened")[0].correlationid
        assert helper.data["parent"] == run
        assert second > helper.taken
        assert said(rig)[:1] == ["first"]
        assert rig.events("run.escalated")[-1].data["run"] == run

    play(story, playbook("mender", head="priority: 5", more=LADDER), playbook("helper", on="work.other"))


@pytest.mark.parametrize("deaths", [(300.0,), (30.0, 200.0, 450.0)])
def test_a_rungs_delay_goes_on_across_deaths_and_each_rung_is_climbed_once(deaths: tuple[float, ...]) -> None:
    """By wall time: what passed while nobody lived counts, too."""

    async def story(rig: Rig) -> None:
        await failed(rig)
        began = rig.clock.now()
        for at in deaths:
            await asyncio.sleep(began + at - rig.clock.now())
            await rig.restart()
        await rig.until_event("run.escalated", within_s=2000.0)
        back, first = times(rig, "run.rolled_back")[0], times(rig, "run.rung_done")[0]
        assert first - back == pytest.approx(600.0, abs=5.0)
        mine = [e.data["rung"] for e in rig.events("run.rung_done") if e.data["playbook"] == "mender"]
        assert mine == [0, 1, 2]
        assert said(rig).count("first") == 1

    play(story, playbook("mender", head="priority: 5", more=LADDER), playbook("helper", on="work.other"))


@pytest.mark.parametrize("leap_s", [7200.0, -7200.0])
def test_a_rungs_delay_is_as_long_as_it_says_whatever_the_wall_clock_does(leap_s: float) -> None:
    """Set back two hours in the middle of ten minutes, it waits ten minutes and not two hours and ten."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until(lambda: any(e.data["waits_for"] == "ladder" for e in rig.events("run.waiting")))
        began = rig.loop.time()
        await asyncio.sleep(60.0)
        rig.clock.leap(leap_s)
        await rig.until(lambda: rig.events("run.escalated"), within_s=1000.0)
        assert 590.0 < rig.loop.time() - began < 640.0

    play(story, playbook("first", more='on_failure: [{notify: "late", after: 10m}]'))


def test_a_rung_whose_helper_heals_ends_the_ladder() -> None:
    async def story(rig: Rig) -> None:
        run = await failed(rig)
        rig.mends = True
        await rig.until(lambda: run in rig.daemon.world.recent, within_s=2000.0)
        assert rig.daemon.world.recent[run].status == "rolled_back"
        assert [e.data["healed"] for e in rig.events("run.rung_done")] == [False, True]
        assert rig.events("run.escalated") == []
        assert said(rig) == ["first"]

    play(story, playbook("mender", head="priority: 5", more=LADDER), playbook("helper", on="work.other"))


def test_cancelled_on_its_ladder_it_climbs_no_further() -> None:
    """While it waits for a rung; and while a fallback runs, which is ended with it and taken back."""

    async def story(rig: Rig) -> None:
        run = await failed(rig)
        await rig.until_event("run.waiting")
        await rig.do("cancel", run=run)
        await rig.until(lambda: run in rig.daemon.world.recent)
        await asyncio.sleep(3000.0)
        assert said(rig) == []
        assert rig.events("run.escalated") == []

    async def in_the_fallback(rig: Rig) -> None:
        run = await failed(rig)
        await rig.until(lambda: "helper" in [e.data["playbook"] for e in rig.events("run.opened")], within_s=2000.0)
        rig.busy_s = 20.0
        await rig.until(lambda: any(e.data["playbook"] == "helper" for e in rig.events("run.step_intended")))
        await rig.do("cancel", run=run)
        await rig.until(lambda: not rig.daemon.world.runs)
        assert {e.data["playbook"] for e in rig.events("run.cancelled")} == {"mender", "helper"}
        assert [e.data["playbook"] for e in rig.events("run.rolled_back")] == ["mender", "helper"]
        await asyncio.sleep(3000.0)
        assert said(rig) == ["first"]

    texts = playbook("mender", head="priority: 5", more=LADDER), playbook("helper", on="work.other")
    play(story, *texts)
    play(in_the_fallback, *texts)


def test_fallbacks_of_fallbacks_end_at_their_depth_and_a_person_is_told() -> None:
    """A chain of playbooks longer than the limit: as many run as may, each as a run of its own in one incident."""
    names = [f"helper-{n}" for n in range(FALLBACKS_DEEP_MAX + 4)]
    chain = [
        playbook(name, on="work.broken" if n == 0 else f"work.other{n}", more=f"on_failure: [{{fallback: {after}}}]")
        for n, (name, after) in enumerate(pairwise(names))
    ]

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until(lambda: rig.events("run.opened") and not rig.daemon.world.runs, within_s=3000.0)
        opened = rig.events("run.opened")
        assert [e.data["playbook"] for e in opened] == names[: FALLBACKS_DEEP_MAX + 1]
        assert len({e.correlationid for e in opened}) == 1
        assert len(rig.events("run.escalated")) == len(opened)
        assert max(len(e.data["lineage"]) for e in opened) == FALLBACKS_DEEP_MAX

    play(story, *chain, playbook(names[-1], on="work.never"))


# --- retry from a step

STEPS = f"""
playbook: three
description: Three acts.
on: {{type: work.broken}}
guard: {FREE}
steps:
  - {{id: look, observe: fact, with: {{of: "${{event.subject}}"}}}}
  - {{id: stop, act: stop_service, with: {{unit: web.service}}}}
  - {{id: way, ask: "Go on?", choices: {{go: Go on, back: Go back}}}}
  - id: act
    act: mend
    with: {{of: "${{event.subject}}", way: "${{steps.look.result.value}} ${{steps.way.result.choice}}"}}
verify: [{{ill_check: {{of: "${{event.subject}}", within: 1s}}}}]
"""


async def three_failed(rig: Rig) -> str:
    rig.machine.units.add("web.service")
    rig.facts["job:1"] = "old"
    rig.mends = False
    rig.ill.add("job:1")
    await rig.emit()
    run: str = (await rig.until_event("approval.requested")).data["run"]
    await rig.do("answer", run=run, choice="go")
    await rig.until(lambda: run in rig.daemon.world.recent)
    return run


def test_a_retry_from_a_step_does_no_earlier_act_again_and_looks_at_all_again() -> None:
    """Who asks for it hears what is left out, and what became of it; an answer that was given stands."""

    async def story(rig: Rig) -> None:
        run = await three_failed(rig)
        rig.facts["job:1"], rig.mends = "new", True
        answer = await rig.do("retry", run=run, **{"from": "act"})
        assert answer["left_out"] == [
            {"step": "stop", "skill": "stop_service", "became": "done, and taken back since"},
            {"step": "way", "skill": "ask", "became": "answered: go"},
        ]
        healed = await rig.until_event("run.healed")
        assert healed.data["run"] == answer["run"]
        mine = [e.data for e in rig.events("run.step_intended") if e.data["run"] == answer["run"]]
        assert [(act["step"], act["params"]["way"]) for act in mine] == [("act", "new go")]
        assert rig.machine.units.state("web.service").state == "up"
        again = await rig.do("retry", run=answer["run"], **{"from": "act"})
        assert [left["became"] for left in again["left_out"]] == ["left out before, too", "answered: go"]

    play(story, STEPS)


def test_a_retry_from_a_step_keeps_that_across_a_death_and_a_wait() -> None:
    async def story(rig: Rig) -> None:
        run = await three_failed(rig)
        await rig.do("pause")
        rig.mends = True
        answer = await rig.do("retry", run=run, **{"from": "act"})
        await rig.until(lambda: rig.daemon.world.runs[answer["run"]].wait is not None)
        await rig.restart()
        await rig.do("resume")
        await rig.until_event("run.healed")
        assert [e.data["step"] for e in rig.events("run.step_intended") if e.data["run"] == answer["run"]] == ["act"]

    play(story, STEPS)


def test_a_step_that_is_not_there_is_refused_with_the_cure() -> None:
    async def story(rig: Rig) -> None:
        run = await three_failed(rig)
        refused = await rig.ask("retry", run=run, **{"from": "acts"})
        assert (refused.error, refused.hint) == ("playbook three has no step 'acts'", "did you mean 'act'?")

    play(story, STEPS)
