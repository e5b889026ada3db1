"""Several events together, in the whole daemon: what becomes complete is an event of its own, and opens one run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from aios.backtest import backtest
from aios.events.calls import SkillSpec
from aios.events.codec import decode_json, encode, encode_json
from aios.events.event import Stored, format_time
from aios.playbooks.correlate import Correlator
from aios.playbooks.correlation_words import standing
from aios.playbooks.load import load
from aios.playbooks.model import Playbook
from aios.scores.scores import Scores
from aios.testing.bodies import specs
from aios.world import World
from tests.simulation import assembly
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


def test_a_daemon_that_is_killed_in_the_middle_of_a_window_makes_the_same_run() -> None:
    """Also with no checkpoint at all: everything is in the journal."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        for n in range(2):
            await rig.emit("work.odd", id=f"odd{n}")
            await asyncio.sleep(30.0)
        await rig.restart()
        await rig.emit("work.odd", id="odd2")
        await rig.until_event("run.healed")
        (told,) = rig.events("reactor.correlated")
        assert [one[0] for one in told.data["used"]] == ["odd0", "odd1", "odd2"]
        assert len(rig.events("run.opened")) == 1

    play(story, together(COUNTED))


def test_a_window_lives_through_a_checkpoint_and_the_loss_of_the_days_before_it() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        for n in range(2):
            await rig.emit("work.odd", id=f"odd{n}")
        await rig.in_daemon(rig.daemon._checkpoint())
        await rig.restart()
        kept = rig.daemon.world.correlator.to_json()["trackers"][0]
        assert sum(len(window[1]) for window in kept["windows"]) + len(kept["buffer"]) == 2
        await rig.emit("work.odd", id="odd2")
        await rig.until_event("run.healed")

    play(story, together(COUNTED))


def test_what_was_complete_when_the_daemon_died_is_told_by_the_next_and_runs_once() -> None:
    """The last event was durable, what it completed was not."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        for n in range(2):
            await rig.emit("work.odd", id=f"odd{n}")

        def dies(stored: Sequence[Stored]) -> None:
            if any(one.event.type == "reactor.window_due" for one in stored):
                rig.kill()

        rig.daemon.spine._listeners.insert(0, dies)
        await rig.emit("work.odd", id="odd2")
        await rig.until(lambda: rig.process is not None and not rig.process.alive)
        assert rig.events("reactor.correlated") == []
        await rig.start()
        await rig.until_event("run.healed")
        await rig.restart()
        await asyncio.sleep(30.0)
        assert len(rig.events("reactor.correlated")) == len(rig.events("run.opened")) == 1

    play(story, together(COUNTED))


def test_the_time_that_the_daemon_was_down_does_not_count_as_silence() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit("work.beat")
        heard = rig.clock.now()
        await asyncio.sleep(100.0)
        rig.kill()
        await asyncio.sleep(1000.0)
        await rig.start()
        await rig.until_event("reactor.correlated", within_s=400.0)
        assert 1290.0 <= rig.clock.now() - heard <= 1365.0  # the last sign of life may be a minute old

    play(story, together("{absence: {type: work.beat, match: {subject: ['job:1']}}, within: 5m}"))


def test_a_reload_keeps_the_windows_of_what_is_the_same_and_tells_of_the_others() -> None:
    async def story(rig: Rig) -> None:
        rig.ill |= {"job:1"}
        for n in range(2):
            await rig.emit("work.odd", id=f"odd{n}")
        rig.texts = {
            "/playbooks/0.yaml": together("{count: 3 in 600s, type: [work.odd]}", more="# another remark"),
            "/playbooks/1.yaml": together("{type: work.odd, count: 3 in 20m}", "changed"),
        }
        await rig.do("reload")
        (dropped,) = [await rig.until_event("reactor.window_dropped")]
        assert dropped.data["playbook"] == "changed"
        await rig.emit("work.odd", id="odd2")
        await rig.until_event("run.healed")
        assert [event.data["playbook"] for event in rig.events("reactor.correlated")] == ["joiner"]

    play(story, together(COUNTED), together(COUNTED, "changed"))


def test_a_playbook_for_one_of_the_events_and_one_for_several_both_see_it() -> None:
    """An event that a correlation uses is taken from nobody."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        for n in range(3):
            await rig.emit("work.odd", id=f"odd{n}")
        await rig.until_event("run.opened", count=2)
        opened = {event.data["playbook"] for event in rig.events("run.opened")}
        assert opened == {"joiner", "single"}

    play(story, together(COUNTED), playbook("single", "work.odd"))


def test_what_a_run_caused_does_not_come_round_to_the_same_playbook() -> None:
    """The causes of all that came together count."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit("work.odd", id="odd0")
        await rig.until_event("run.healed")
        (opened,) = rig.events("run.opened")
        await asyncio.sleep(60.0)
        rig.ill.add("job:1")
        await rig.emit("work.odd", id="odd1", causationid=opened.data["run"])
        held = await rig.until_event("reactor.decided")
        assert (held.data["verdict"], held.data["guard"]) == ("held", "loop")

    play(story, together("{any: [{type: work.odd}]}"))


def test_explain_says_what_a_window_lacks_and_what_made_it() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit("work.odd", id="odd0")
        await rig.emit("work.odd", id="odd1")
        await asyncio.sleep(5.0)
        (told,) = (await rig.do("explain", event="odd0"))["windows"]
        assert told["matched"]
        assert (told["as_of"], told["seen"], told["missing"]) == ("then", {"e1": 1}, {"e1": 2})
        assert "1 x e1 seen of subject job:1, 2 x e1 missing within 10m" in standing(told)
        assert "2 x e1 seen of subject job:1, 1 x e1 missing within 10m" in told["now"]
        await rig.emit("work.odd", id="odd2")
        made = await rig.until_event("reactor.correlated")
        answer = await rig.do("explain", event=made.id)
        assert answer["considered"][0]["playbook"] == "joiner"
        assert answer["considered"][0]["matched"]
        assert answer["decisions"][0]["type"] == "run.opened"

    play(story, together(COUNTED))


def test_the_same_journal_gives_the_same_decisions_live_and_folded_again_from_any_place() -> None:
    """The world after the last event is the world of one who folds the journal anew, and tells nothing that was not told."""

    async def story(rig: Rig) -> None:
        rig.ill |= {"job:1", "job:2"}
        for n in range(12):
            await rig.emit("work.odd" if n % 3 else "work.beat", f"job:{n % 2 + 1}", id=f"e{n}")
            await asyncio.sleep(40.0)
            if n == 5:
                await rig.restart()
        await rig.until_quiet()
        live = rig.daemon.world.correlator
        for start in (0, 7, 23):
            again = World(Scores(), correlator=Correlator(rig.daemon.outside.blobs.get))
            for n, (event, position) in enumerate(rig.stored()):
                if n == start:
                    again.correlator = Correlator.from_json(
                        decode_json(encode_json(again.correlator.to_json())), rig.daemon.outside.blobs.get
                    )
                again.apply(event, position)
            assert again.correlator.to_json() == live.to_json()
            assert again.correlator.pending == {}
        assert len(rig.events("reactor.correlated")) > 3

    play(story, together("{type: work.odd, count: 2 in 2m}"), together("{absence: {type: work.beat}, within: 3m}", "silent"))


def test_lines_that_come_in_any_order_within_the_lateness_open_the_same_runs() -> None:
    """Two programs write what happened a few seconds ago; whose line is read first is chance."""
    happened = [
        ("work.odd", 0.0),
        ("work.fixed", 1.0),
        ("work.odd", 2.0),
        ("work.odd", 4.0),
        ("work.fixed", 6.5),
        ("work.odd", 7.0),
    ]
    ons = (
        "{type: work.odd, count: 2 in 4s, lateness: 10s}",
        "{sequence: [{type: work.odd}, {type: work.fixed}], within: 3s, lateness: 10s}",
        "{sequence: [{type: work.odd}, {absence: {type: work.fixed}}], within: 2s, lateness: 10s}",
    )

    def runs(order: Sequence[int]) -> set[str]:
        async def story(rig: Rig) -> set[str]:
            began = rig.clock.now()
            await asyncio.sleep(8.0)
            for n in order:
                kind, at = happened[n]
                await rig.emit(kind, id=f"e{n}", time=format_time(began + at))
                await asyncio.sleep(0.2)
            await asyncio.sleep(60.0)
            return {event.id for event in rig.events("reactor.correlated")}

        return play(story, *(together(on, f"p{n}", mode="observe") for n, on in enumerate(ons)))

    first = runs(range(6))
    assert len(first) >= 5
    assert runs((5, 4, 3, 2, 1, 0)) == runs((3, 0, 5, 1, 4, 2)) == first


def test_a_backtest_of_the_journal_gives_the_same_correlations_and_the_same_runs(tmp_path: Path) -> None:
    texts = [together("{type: work.odd, count: 2 in 2m}"), together("{absence: {type: work.beat}, within: 3m}", "silent")]

    async def story(rig: Rig) -> list[Stored]:
        rig.ill |= {"job:1", "job:2"}
        for n in range(9):
            await rig.emit("work.odd" if n % 3 else "work.beat", f"job:{n % 2 + 1}", id=f"e{n}")
            await asyncio.sleep(40.0)
        await asyncio.sleep(200.0)
        skills = rig.skills()
        found.extend(load(text, f"{n}.yaml", {**assembly.skills(), **specs(skills)}) for n, text in enumerate(texts))
        catalogue.update({**assembly.skills(), **specs(skills)})
        return rig.stored()

    found: list[Playbook] = []
    catalogue: dict[str, SkillSpec] = {}
    stored = play(story, *texts)
    events = tmp_path / "events"
    events.mkdir()
    (events / f"{stored[0].position.day}.1.jsonl").write_bytes(b"".join(encode(event) for event, _ in stored))
    live = {(event.data["playbook"], event.data["event"]) for event, _ in stored if event.type == "run.opened"}
    assert len(live) >= 3
    for follow in (True, False):
        played = backtest(str(tmp_path), found, skills=catalogue, follow=follow)
        assert {(run.playbook, run.event) for run in played.runs} == live


RANDOM_ONS = (
    "{type: work.odd, count: 3 in 2m, lateness: 2s}",
    "{all: [{type: work.odd}, {type: work.fixed, match: {severity: [info]}}], within: 90s, join: first}",
    "{sequence: [{type: work.odd}, {type: work.fixed}], within: 1m, lateness: 5s}",
    "{sequence: [{type: work.odd}, {absence: {type: work.fixed}}], within: 40s, lateness: 3s}",
    "{absence: {type: work.beat}, within: 3m}",
    "{any: [{type: work.fixed, count: 2 in 30s}, {type: work.beat, match: {data: {bad: [true]}}}]}",
)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_live_with_crashes_folded_anew_and_in_a_backtest_the_same_journal_gives_the_same_runs(seed: int, tmp_path: Path) -> None:
    """A random hour with a death of the daemon now and then: nobody decides otherwise than it did."""
    texts = [together(on, f"p{n}", mode="observe") for n, on in enumerate(RANDOM_ONS)]
    chance = random.Random(seed)
    found: list[Playbook] = []
    catalogue: dict[str, SkillSpec] = {}

    async def story(rig: Rig) -> list[Stored]:
        catalogue.update({**assembly.skills(), **specs(rig.skills())})
        found.extend(load(text, f"{n}.yaml", catalogue) for n, text in enumerate(texts))
        for n in range(60):
            kind = chance.choice(("work.odd", "work.odd", "work.fixed", "work.beat"))
            at = format_time(rig.clock.now() - chance.choice((0.0, 0.0, 0.5)))
            bad = {"bad": chance.random() < 0.2}
            await rig.emit(kind, f"job:{chance.randint(1, 3)}", id=f"e{n}", time=at, data=bad)
            await asyncio.sleep(chance.choice((0.1, 2.0, 20.0, 40.0, 120.0)))
            if chance.random() < 0.15:
                rig.kill()
                await asyncio.sleep(chance.choice((0.1, 5.0, 300.0)))
                await rig.start()
            elif chance.random() < 0.1:
                await rig.in_daemon(rig.daemon._checkpoint())
        await asyncio.sleep(400.0)
        again = World(Scores(), correlator=Correlator(rig.daemon.outside.blobs.get))
        for event, position in rig.stored():
            again.apply(event, position)
        assert again.correlator.to_json() == rig.daemon.world.correlator.to_json(), f"seed {seed}"
        return rig.stored()

    stored = play(story, *texts, seed=seed)
    told = [event.id for event, _ in stored if event.type == "reactor.correlated"]
    assert len(told) == len(set(told)) > 20, f"seed {seed}"
    (tmp_path / "events").mkdir()
    part = tmp_path / "events" / f"{stored[0].position.day}.1.jsonl"
    part.write_bytes(b"".join(encode(event) for event, _ in stored))
    live = {(event.data["playbook"], event.data["event"]) for event, _ in stored if event.type == "run.opened"}
    played = backtest(str(tmp_path), found, skills=catalogue)
    assert {(run.playbook, run.event) for run in played.runs} == live, f"seed {seed}"
