"""A damaged line in the midst of a run's history: the daemon starts all the same, the run is ended, and a person is called."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aios.events.catalogue import is_own
from aios.events.codec import encode
from aios.events.event import Event
from aios.testing.machine import STATE_DIR
from tests.unit.reactor.rig import Rig, play, playbook


def damage(rig: Rig, event_type: str, step: str = "") -> None:
    """One byte of the first line of this type (and step) is another one."""
    wanted = (one for one in rig.stored() if one.event.type == event_type)
    stored = next(one for one in wanted if str(one.event.data.get("step", "")).startswith(step))
    day, part, offset = stored.position
    rig.machine.disk.flip(f"{STATE_DIR}/events/{day}.{part}.jsonl", offset + 30)


def test_a_word_that_is_lost_of_a_call_to_a_person_ends_no_daemon() -> None:
    """The run is over, and the call seems to be under way: what comes of it is told, and nothing follows from that."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        await rig.falls_ill()
        await rig.until_event("run.escalated")
        run = rig.run_of("mender").id
        rig.kill()
        damage(rig, "run.step_done", "rung")
        await rig.start()
        await rig.until(lambda: run in rig.daemon.world.recent)
        await rig.restart()
        await rig.until_quiet()
        assert rig.died == []
        assert len(rig.events("run.rung_done")) == 1

    play(story, playbook("mender"))


def test_a_hole_in_a_run_ends_that_run_and_no_daemon() -> None:
    """It is neither gone on with nor forgotten: it ends unknown, a person is called once, and others go on."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        await rig.falls_ill()
        await rig.until_event("run.escalated")
        run = rig.run_of("mender").id
        rig.kill()
        damage(rig, "run.rolled_back")
        await rig.start()
        await rig.until_event("reactor.called")
        await rig.restart()
        await asyncio.sleep(5.0)
        [called] = rig.events("reactor.called")
        assert called.data["guard"] == "torn"
        assert run in called.data["why"]
        ended = rig.daemon.world.recent[run]
        assert (ended.status, ended.outcome) == ("escalated", "unknown")
        assert run not in rig.daemon.world.runs
        rig.mends = True
        await rig.falls_ill("job:2")
        await rig.until_event("run.healed")

    play(story, playbook("mender"))


def test_an_attempt_whose_intent_is_lost_has_used_its_number() -> None:
    """No later attempt comes into the folder of one that was."""

    async def story(rig: Rig) -> None:
        await rig.falls_ill()
        await rig.until_event("run.healed")
        run = rig.run_of("mender").id
        rig.kill()
        damage(rig, "run.step_intended")
        await rig.start()
        assert rig.daemon.world.recent[run].attempts["act"] == 1

    play(story, playbook("mender"))


def unfit(event: Event) -> Iterator[Event]:
    """The same line without each of its data's members, and with each of them something else."""
    data = event.data
    for name, value in data.items():
        yield event._replace(data={key: one for key, one in data.items() if key != name})
        yield event._replace(data={**data, name: 7 if isinstance(value, (str, list, dict)) else [value]})


def test_a_line_of_our_own_that_was_never_ours_keeps_no_daemon_from_starting() -> None:
    """Under a right checksum, and without what belongs into it, or with something else there."""

    async def story(rig: Rig) -> None:
        await rig.falls_ill("job:1")
        await rig.until_event("run.healed")
        rig.mends = False
        await rig.falls_ill("job:2")
        await rig.until_event("run.escalated")
        await rig.until_quiet()
        rig.kill()
        disk = rig.machine.disk
        seen: dict[tuple[str, str], tuple[str, Event]] = {}
        for event, position in rig.stored():
            if is_own(event.type):
                path = f"{STATE_DIR}/events/{position.day}.{position.part}.jsonl"
                seen.setdefault((event.type, str(event.data.get("step", ""))), (path, event))
        assert len(seen) > 15
        for path, event in seen.values():
            kept = disk.read(path)
            for other in unfit(event):
                spoiled = kept.replace(encode(event), encode(other))
                assert spoiled != kept
                disk.rewrite(path, spoiled)
                await rig.start()
                rig.kill()
                assert rig.died == [], f"{other.type} with {other.data}"
                disk.rewrite(path, kept)

    play(story, playbook("mender"))
