"""Sensors against the real thing: addresses that answer, hang and lie; this machine; the whole way of a kill."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.events.event import Draft, Position
from aios.playbooks.relations import Relations
from aios.ports import UnitState
from aios.sensors.asking import READ_MAX, Probe, ask
from aios.sensors.host import HostSensor, PsutilReader, disk_use
from aios.sensors.relations import RelationsLearner
from aios.sensors.services import ServiceSensor
from aios.sensors.standing import Standings

Far = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def far_side(far: Far) -> Any:
    """A server on loopback; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await far(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(*parts: bytes) -> Far:
    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    return far


def asked(far: Far, **more: Any) -> str:
    async def main() -> str:
        async with far_side(far) as port:
            return await ask(Probe("p", url=f"http://127.0.0.1:{port}/health?x=1", timeout_s=more.pop("timeout_s", 5.0), **more))

    return asyncio.run(main())


def test_a_good_answer_is_well() -> None:
    """Status and text as expected."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"
    assert asked(says(*answer)) == ""
    assert asked(says(*answer), contains="ello") == ""


@pytest.mark.parametrize(
    ("answer", "more", "wrong"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", {}, "status 503, not 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", {}, "status 302, not 200"),
        (b"HTTP/1.0 200 OK\r\nX: secret\r\n\r\nhello", {"contains": "secret"}, "does not contain 'secret'"),
        (b"SSH-2.0-OpenSSH\r\n", {}, "not HTTP"),
        (b"", {}, "without an answer"),
        (b"HTTP/1.1 200 OK" + b"x" * (READ_MAX * 2), {}, "limit"),
    ],
)
def test_a_wrong_answer_is_named(answer: bytes, more: dict[str, Any], wrong: str) -> None:
    """Bounded, whatever the far side sends."""
    assert wrong in asked(says(answer), **more)


def test_a_far_side_that_hangs_is_given_up_on_in_time() -> None:
    """It accepts and says nothing."""

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert asked(hangs, timeout_s=0.05) == "no answer within 0.05 s"


def test_a_far_side_that_never_ends_its_answer_is_read_to_the_bound() -> None:
    """An endless body costs 64 KiB."""

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()

    assert "does not contain" in asked(floods, contains="never")


def test_a_closed_port_is_refused_and_an_open_one_is_well() -> None:
    """TCP."""

    async def main() -> None:
        async with far_side(says(b"")) as port:
            assert await ask(Probe("t", host="127.0.0.1", port=port)) == ""
        assert await ask(Probe("t", host="127.0.0.1", port=port)) == "connection refused"

    asyncio.run(main())


def test_this_machine_can_be_read() -> None:
    """Shares between 0 and 1, as df has them."""
    reader = PsutilReader()
    assert reader.cpu() is None
    deadline = os.times().elapsed + 30
    while (cpu := reader.cpu()) is None and os.times().elapsed < deadline:
        pass
    assert cpu is not None
    assert 0 <= cpu <= 1
    memory = reader.memory()
    assert memory is not None
    assert 0 < memory < 1
    assert all(0 <= use.used <= 1 for use in reader.disks().values())
    assert disk_use("/nonexistent") is None
    assert PsutilReader(["/"]).disks()["/"].used == pytest.approx(disk_use("/").used, abs=0.01)  # type: ignore[union-attr]


def test_the_host_sensor_runs_on_this_machine_and_leaves_nothing_open() -> None:
    """With or without the right to set pressure triggers."""

    async def main() -> None:
        task = asyncio.create_task(HostSensor(PsutilReader(), SystemClock()).run(lambda *drafts: None))  # type: ignore[arg-type, return-value]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    assert len(os.listdir("/proc/self/fd")) == before


class OneService:
    """Implements `Services`: one unit, which the test moves."""

    def __init__(self) -> None:
        self.now = UnitState("web.service", "down", "managed", detail="exit", exit_status="exit 1")
        self.tell: Callable[[UnitState], None] = lambda state: None
        self.closed = False

    async def start(self, on_change: Callable[[UnitState], None], on_doubt: Callable[[], None]) -> None:
        self.tell = on_change
        on_change(self.now)

    async def state(self, subject: str) -> UnitState:
        return self.now

    async def list(self) -> list[UnitState]:
        return [self.now, UnitState("fine.service", "up", "managed", pid=7)]

    async def relations(self) -> Mapping[str, frozenset[str]] | None:
        return {"fine.service": frozenset({"web.service"})}

    async def close(self) -> None:
        self.closed = True


def test_the_services_sensor_tells_levels_then_edges_and_closes_what_it_started() -> None:
    """From the port to events."""
    told: list[Draft] = []

    async def main() -> None:
        services, clock = OneService(), SystemClock()
        learner = RelationsLearner(services, clock, Relations(), ("host",))
        sensor = ServiceSensor(services, clock, Standings(was_ill=[("service.down", "fine.service")]), learner)

        def emit(*drafts: Draft) -> asyncio.Future[list[Position]]:
            told.extend(drafts)
            durable = asyncio.get_running_loop().create_future()
            durable.set_result([])
            return durable

        task = asyncio.create_task(sensor.run(emit))
        await sensor.started.wait()
        assert [(draft.type, draft.subject) for draft in told] == [
            ("service.down", "web.service"),
            ("service.up", "fine.service"),
            ("daemon.relations_learned", "host"),
        ]
        assert told[-1].data["watched"] == ["fine.service", "host", "web.service"]
        assert told[-1].data["sufferers"] == {"fine.service": ["web.service"]}
        services.tell(UnitState("web.service", "up", "managed", pid=8))
        assert told[-1].type == "service.up"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert services.closed

    asyncio.run(main())


def test_a_certificate_that_nobody_vouches_for_is_an_error(tmp_path: Path) -> None:
    """An https probe believes what the machine believes."""
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key",
        "-out",
        "cert",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed here")
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)

    async def main() -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=context)
        try:
            return await ask(Probe("p", url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_s=5.0))
        finally:
            server.close()

    assert "certificate" in asyncio.run(main()).lower()
