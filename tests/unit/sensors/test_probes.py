"""Probes in virtual time: when they ask, when they rest, and what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.event import Draft
from aios.ports import UnitState
from aios.sensors.asking import Probe, request
from aios.sensors.probes import ProbeSensor, percentile
from aios.sensors.standing import Standings
from aios.testing.loop import VirtualClock, run_virtual

WEB = "web.service"
PROBE = Probe("web", url="http://127.0.0.1:8080/", subject=WEB, every_s=1.0, timeout_s=1.0, failures=2)
BARE = Probe("site", url="https://example.org/", every_s=10.0, timeout_s=1.0, failures=2)


class Scene:
    """Probes with a scripted far side: `answer` is what is wrong with it, `takes_s` how long it takes."""

    def __init__(self, clock: VirtualClock, *probes: Probe, **more: Any) -> None:
        self.clock = clock
        self.standings = Standings()
        self.told: list[tuple[float, Draft]] = []
        self.answer, self.takes_s = "", 0.01
        self.asked: list[float] = []
        self.sensor = ProbeSensor(probes, clock, self.standings, ask=self._ask, **more)
        self.task = asyncio.create_task(self.sensor.run(self.emit))  # type: ignore[arg-type]  # nobody waits for its future

    def emit(self, *drafts: Draft) -> None:
        self.told.extend((self.clock.monotonic(), draft) for draft in drafts)

    def watched(self, word: Any, pid: int = 0, falls: int = 0) -> None:
        self.emit(*self.standings.watched(UnitState(WEB, word, "managed", pid=pid, falls=falls), self.clock.monotonic()))

    def types(self) -> list[str]:
        return [draft.type for _, draft in self.told if draft.type != "probe.sampled"]

    async def _ask(self, probe: Probe) -> str:
        self.asked.append(self.clock.monotonic())
        await asyncio.sleep(self.takes_s)
        return self.answer


def play(script: Callable[[Scene], Any], *probes: Probe, **more: Any) -> Scene:
    scenes: list[Scene] = []

    async def main(clock: VirtualClock, entropy: SeededEntropy) -> None:
        scene = Scene(clock, *probes, **more)
        scenes.append(scene)
        await script(scene)
        scene.task.cancel()

    run_virtual(main)
    return scenes[0]


def test_a_hang_is_down_after_two_failures_within_three_seconds() -> None:
    """Asked each second with a second's patience."""

    async def script(scene: Scene) -> None:
        scene.watched("up", 10)
        await asyncio.sleep(7.3)
        scene.answer, scene.takes_s = "no answer within 1 s", 1.0
        await asyncio.sleep(10)

    scene = play(script, PROBE)
    ((at, down),) = [(at, draft) for at, draft in scene.told if draft.type == "service.down"]
    assert at - 7.3 <= 3.0
    assert down.data["reason"] == "probe"


def test_a_fresh_process_is_asked_at_once_and_often_and_has_its_grace() -> None:
    """A service that needs a second to listen is not ill, and is well as soon as it answers."""

    async def script(scene: Scene) -> None:
        scene.watched("up", 10)
        await asyncio.sleep(2.5)
        scene.watched("down", falls=1)
        await asyncio.sleep(5)
        asked = len(scene.asked)
        scene.answer = "connection refused"
        scene.watched("up", 11, 1)
        await asyncio.sleep(1.0)
        assert len(scene.asked) - asked >= 5
        assert "service.up" not in scene.types()
        scene.answer = ""
        await asyncio.sleep(0.3)
        assert scene.types() == ["service.down", "service.up"]

    play(script, PROBE)


def test_a_process_that_never_answers_is_down_when_its_grace_is_over() -> None:
    """Grace ends."""

    async def script(scene: Scene) -> None:
        scene.answer = "connection refused"
        scene.watched("up", 10)
        await asyncio.sleep(PROBE.grace_s - 0.1)
        assert scene.types() == []
        await asyncio.sleep(3)
        assert scene.types() == ["service.down"]

    play(script, PROBE)


def test_nothing_is_asked_while_the_service_does_not_run() -> None:
    """The watcher has said so, or a person wants it so."""

    async def script(scene: Scene) -> None:
        scene.watched("stopped")
        await asyncio.sleep(0.5)
        asked = len(scene.asked)
        await asyncio.sleep(100)
        assert len(scene.asked) - asked <= 1

    play(script, PROBE)


def test_an_answer_of_the_process_before_counts_for_nobody() -> None:
    """A question that hung over a restart says nothing of the new process."""

    async def script(scene: Scene) -> None:
        scene.watched("up", 10)
        await asyncio.sleep(1.5)
        scene.takes_s, scene.answer = 0.9, "no answer"
        await asyncio.sleep(0.6)
        scene.watched("stopping")
        scene.watched("up", 11)
        scene.takes_s, scene.answer = 0.01, ""
        await asyncio.sleep(5)
        assert scene.types() == []

    play(script, PROBE)


def test_an_address_is_down_and_up_again_by_itself() -> None:
    """No service stands behind it, so it is an endpoint."""

    async def script(scene: Scene) -> None:
        await asyncio.sleep(5)
        scene.answer = "status 500, not 200"
        await asyncio.sleep(40)
        scene.answer = ""
        await asyncio.sleep(20)

    scene = play(script, BARE)
    down, up = [draft for _, draft in scene.told if draft.type != "probe.sampled"]
    assert (down.type, down.subject) == ("endpoint.down", "url:https://example.org/")
    assert down.data == {"failures": 2, "status": "status 500, not 200"}
    assert up.type == "endpoint.up"
    assert 15 <= up.data["down_s"] <= 40


def test_an_address_that_was_ill_before_and_answers_now_is_closed() -> None:
    """Blind time may have healed it."""

    async def script(scene: Scene) -> None:
        await asyncio.sleep(5)
        assert scene.types() == ["endpoint.up"]

    play(script, BARE, was_ill=[("endpoint.down", BARE.about)])


def test_each_minute_says_how_it_went() -> None:
    """What the score reads."""

    async def script(scene: Scene) -> None:
        scene.watched("up", 10)
        scene.takes_s = 0.02
        await asyncio.sleep(60.5)

    scene = play(script, PROBE)
    (sample,) = [draft for _, draft in scene.told if draft.type == "probe.sampled"]
    assert sample.subject == WEB
    assert sample.data["failed"] == 0
    assert 55 <= sample.data["ok"] <= 65
    assert sample.data["p95_ms"] == pytest.approx(20.0, abs=1.0)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    """Nearest rank."""
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95.0


def test_nothing_in_a_url_can_add_a_line_to_the_request() -> None:
    """A URL is data."""
    asked = request("http://user:secret@host:81/a b?q=1&x=ü\x7f")
    assert asked.split(b"\r\n")[:2] == [b"GET /a%20b?q=1&x=%C3%BC%7F HTTP/1.0", b"Host: host:81"]
    assert request("http://h/a\r\nX: y").count(b"\r\n") == request("http://h/a").count(b"\r\n")
    assert request("http://h").startswith(b"GET / HTTP/1.0\r\n")
