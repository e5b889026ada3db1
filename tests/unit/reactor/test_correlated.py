"""Several events together, in the whole daemon: what becomes complete is an event of its own, and opens one run."""

from __future__ import annotations

import asyncio

from tests.unit.reactor.rig import Rig, play, playbook

COUNTED = "{type: work.odd, count: 3 in 10m}"


def together(on: str, name: str = "joiner", **more: str) -> str:
    return playbook(name, "x.y", **more).replace("{type: x.y}", on)


def test_three_of_a_kind_open_one_run_that_can_name_each_of_them() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        for n in range(3):
            await rig.emit("work.odd", id=f"odd{n}", data={"n": n})
            await asyncio.sleep(20.0)
        run = await rig.until_event("run.healed")
        (told,) = rig.events("reactor.correlated")
        assert [one[0] for one in told.data["used"]] == ["odd0", "odd1", "odd2"]
        assert told.data["last"]["data"] == {"n": 2}
        assert (told.subject, told.causationid, told.data["key"]) == ("job:1", "odd2", {"subject": "job:1"})
        (opened,) = rig.events("run.opened")
        assert opened.data["event"] == told.id
        assert opened.data["run"] == run.data["run"]
        assert rig.acts == ["job:1 by joiner"]

    play(story, together(COUNTED))


def test_a_silence_is_noticed_though_nothing_at_all_happens() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        began = rig.clock.now()
        told = await rig.until_event("reactor.correlated", within_s=400.0)
        assert told.subject == "job:1"
        assert 300.0 <= rig.clock.now() - began < 302.0
        await rig.until_event("run.healed")
        assert rig.acts == ["job:1 by joiner"]

    play(story, together("{absence: {type: work.beat, match: {subject: ['job:1']}}, within: 5m}"))
