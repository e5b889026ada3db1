"""The shipped skills against real things: sockets, files, processes, commands; acting ones through real hands."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.events.calls import SkillCall, SkillResult
from aios.events.codec import decode_json
from aios.ports import UnitState
from aios.skills.catalogue import load_bodies, load_catalogue
from aios.skills.looker import DaemonLooker
from tests.integration.hands_kit import Rig, call, play

BODIES = load_bodies()
CATALOGUE = load_catalogue()


class Units:
    """The `Services` that the looking skills need: how one unit stands."""

    def __init__(self, *states: UnitState) -> None:
        self._states = {state.subject: state for state in states}

    async def state(self, subject: str) -> UnitState:
        return self._states.get(subject, UnitState(subject, "missing", "systemd"))


async def look(skill: str, raw: dict[str, Any], units: Units | None = None, timeout_s: float = 10.0, **env: Any) -> SkillResult:
    """As a step does: checked, then looked at."""
    spec = CATALOGUE[skill]
    looker = DaemonLooker(BODIES, units or Units(), SystemClock(), "/nowhere")  # type: ignore[arg-type]  # bodies ask for `state` alone
    return await looker.look(SkillCall("r", "s", 1, skill, spec.kind, spec.check(raw), timeout_s, env=env))


def looked(skill: str, raw: dict[str, Any], units: Units | None = None, timeout_s: float = 10.0, **env: Any) -> SkillResult:
    return asyncio.run(look(skill, raw, units, timeout_s, **env))


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def at_server(answer: Answer, story: Callable[[int], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        try:
            return await story(server.sockets[0].getsockname()[1])
        finally:
            server.close()

    return asyncio.run(main())


def says(raw: bytes, *, then_hang: bool = False) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        if then_hang:
            await reader.read()
        writer.close()

    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall is well"


@pytest.mark.parametrize(
    ("answer", "raw", "verdict", "why"),
    [
        (says(OK), {}, "well", ""),
        (says(OK), {"contains": "is well"}, "well", ""),
        (says(OK), {"contains": "is ill"}, "not_well", "without the expected text"),
        (says(b"HTTP/1.0 503 No\r\n\r\n"), {}, "not_well", "answered 503, not 200"),
        (says(b"HTTP/1.0 503 No\r\n\r\n"), {"status": 503}, "well", ""),
        (says(b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n"), {}, "not_well", "answered 302"),
        (says(b"SSH-2.0-x\r\n"), {}, "not_well", "no HTTP"),
        (says(b""), {}, "not_well", "does not answer"),
        (says(b"x" * 3_000_000), {}, "not_well", "no HTTP"),
        (says(b"", then_hang=True), {"timeout": "100ms"}, "not_well", "did not answer within 0.1 s"),
        (says(b"HTTP/1.0 200 OK\r\n", then_hang=True), {}, "well", ""),
        (says(b"HTTP/1.0 200 OK\r\n", then_hang=True), {"contains": "x", "timeout": "100ms"}, "not_well", "did not answer"),
    ],
)
def test_http_check(answer: Answer, raw: dict[str, Any], verdict: str, why: str) -> None:
    """One bounded request; redirects are not followed, and no answer in time is not well."""

    async def story(port: int) -> SkillResult:
        return await look("http_check", {"url": f"http://127.0.0.1:{port}/", **raw})

    result = at_server(answer, story)
    assert result.verdict == verdict
    assert why in result.error
    assert bool(result.error) == (verdict != "well")


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_nobody_there_is_not_well_and_a_name_nobody_knows_is_no_data() -> None:
    port = closed_port()
    assert looked("http_check", {"url": f"http://127.0.0.1:{port}/"}).verdict == "not_well"
    assert looked("tcp_check", {"port": port}).verdict == "not_well"
    assert looked("http_check", {"url": "http://no-such-host.invalid/"}).verdict == "no_data"
    assert looked("tcp_check", {"host": "no-such-host.invalid", "port": 80}).verdict == "no_data"


def test_tcp_check_is_well_when_the_port_takes_a_connection() -> None:
    async def story(port: int) -> SkillResult:
        return await look("tcp_check", {"port": port})

    result = at_server(says(b""), story)
    assert result.verdict == "well"
    assert result.result["ms"] >= 0


def test_a_server_that_was_stopped_is_not_well_within_the_time() -> None:
    """SIGSTOP: the kernel takes the connection, and nobody answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        result = looked("http_check", {"url": f"http://127.0.0.1:{port}/", "timeout": "100ms"})
    assert result.verdict == "not_well"


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("up", "well"),
        ("down", "not_well"),
        ("stopped", "not_well"),
        ("starting", "not_well"),
        ("missing", "not_well"),
        ("unknown", "no_data"),
    ],
)
def test_service_check_and_status(state: Any, verdict: str) -> None:
    units = Units(UnitState("a.service", state, "managed", pid=7, exit_status="exit 1", enabled=True))
    assert looked("service_check", {"unit": "a.service"}, units).verdict == verdict
    status = looked("service_status", {"unit": "a.service"}, units)
    assert status.ok == (state != "unknown")
    assert status.result["state"] == state
    assert status.result["pid"] == 7


def test_process_check_counts_by_name() -> None:
    name = os.path.basename(sys.executable)
    assert looked("process_check", {"name": name}).verdict == "well"
    result = looked("process_check", {"name": "no-such-program-at-all"})
    assert result.verdict == "not_well"
    assert result.result["count"] == 0


def test_list_processes_shows_the_largest_first() -> None:
    result = looked("list_processes", {"limit": 5})
    sizes = [row["memory_mb"] for row in result.result["processes"]]
    assert len(sizes) == min(5, result.result["count"])
    assert sizes == sorted(sizes, reverse=True)


def test_file_check_sees_what_is_written_lately_and_what_it_says(tmp_path: Path) -> None:
    """A process that hangs lives; its heartbeat does not. What is not there is not well; what cannot be read is no data."""
    beat = tmp_path / "beat"
    assert looked("file_check", {"path": str(beat)}).verdict == "not_well"
    beat.write_text("16384\n")
    assert looked("file_check", {"path": str(beat), "changed_within": "1m", "equals": "16384"}).verdict == "well"
    assert looked("file_check", {"path": str(beat), "equals": "1638"}).verdict == "not_well"
    assert looked("file_check", {"path": str(beat), "contains": "1638"}).verdict == "well"
    os.utime(beat, (1e9, 1e9))
    stale = looked("file_check", {"path": str(beat), "changed_within": "1m"})
    assert stale.verdict == "not_well"
    assert "ago, not within 1m" in stale.error
    os.mkfifo(tmp_path / "pipe")
    assert looked("file_check", {"path": str(tmp_path / "pipe"), "contains": "x"}).verdict == "no_data"
    assert looked("file_check", {"path": "/proc/sys/kernel/ostype", "equals": "Linux"}).verdict == "well"


def test_command_check_is_as_good_as_the_commands_end(tmp_path: Path) -> None:
    """One that is not listed is not run, and one that cannot be run has said nothing: no data, which is never well."""
    script = tmp_path / "ask"
    script.write_text("#!/bin/sh\necho seen\necho 'replica is 40 s behind' >&2\nexit 2\n")
    script.chmod(0o755)
    raw = {"argv": [str(script)]}
    refused = looked("command_check", raw)
    assert (refused.verdict, "look_commands" in refused.error) == ("no_data", True)
    listed = [str(script), "/no/such/program"]
    ill = looked("command_check", raw, look_commands=listed)
    assert (ill.verdict, ill.result["exit_code"]) == ("not_well", 2)
    assert "replica is 40 s behind" in ill.error
    assert looked("command_check", {**raw, "exit_code": 2, "contains": "seen"}, look_commands=listed).verdict == "well"
    assert looked("command_check", {**raw, "exit_code": 2, "contains": "none"}, look_commands=listed).verdict == "not_well"
    assert looked("command_check", {"argv": ["/no/such/program"]}, look_commands=listed).verdict == "no_data"


@pytest.mark.parametrize("metric", ["cpu", "memory", "disk", "inodes", "load1"])
def test_metric_below_compares_what_the_machine_tells(metric: str) -> None:
    assert looked("metric_below", {"metric": metric, "below": 1e9}).verdict == "well"
    result = looked("metric_below", {"metric": metric, "below": -1})
    assert result.verdict == "not_well"
    assert f"{metric} is " in result.error
    assert looked("metric_below", {"metric": "disk", "below": 1, "path": "/no/such/place"}).verdict == "no_data"


def test_metrics_snapshot_and_disk_usage_agree() -> None:
    metrics = looked("metrics_snapshot", {}).result
    assert 0 <= metrics["memory"] <= 1
    assert abs(looked("disk_usage", {"path": "/"}).result["used"] - metrics["disk"]) < 0.2
    assert not looked("disk_usage", {"path": "/no/such/place"}).ok


def test_read_logs_gives_the_end_of_a_file_within_bounds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(b"line %d \xff\n" % n for n in range(100_000)) + b"x" * 10_000 + b"\nlast")
    result = looked("read_logs", {"path": str(log), "lines": 3})
    assert [line[:12] for line in result.result["lines"]] == ["line 99999 �", "x" * 12, "last"]
    assert len(result.result["lines"][1]) == 2000
    many = looked("read_logs", {"path": str(log), "lines": 10_000})
    assert len(str(many.result).encode()) < 40_000
    managed = Units(UnitState("web.service", "up", "managed", log_path=str(log)))
    assert looked("read_logs", {"unit": "web.service", "lines": 1}, managed).result["lines"] == ["last"]


def test_read_logs_is_held_up_by_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in looked("read_logs", {"path": str(tmp_path / "pipe")}).error
    assert not looked("read_logs", {"path": str(tmp_path / "nothing")}).ok
    assert "write one of them" in looked("read_logs", {}).error
    assert "write one of them" in looked("read_logs", {"unit": "a.service", "path": "/x"}).error


def test_run_command_looks_only_where_the_settings_allow_it(tmp_path: Path) -> None:
    result = looked("run_command", {"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]}, look_commands=["sh"])
    assert result.ok
    assert result.result == {"exit_code": 3, "stdout": "out", "stderr": "err"}
    refused = looked("run_command", {"argv": ["touch", str(tmp_path / "x")]}, look_commands=["sh"])
    assert "look_commands" in refused.error
    assert not (tmp_path / "x").exists()
    missing = looked("run_command", {"argv": ["no-such-program"]}, look_commands=["no-such-program"])
    assert missing.result["exit_code"] == 127


def test_a_looking_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! > {pids}; wait"
    result = looked("run_command", {"argv": ["sh", "-c", script]}, timeout_s=0.5, look_commands=["sh"])
    assert "did not answer within 0.5 s" in result.error
    assert (
        not Path(f"/proc/{pids.read_text().strip()}/cmdline").exists()
        or not Path(f"/proc/{pids.read_text().strip()}/cmdline").read_bytes()
    )


def test_a_looking_command_that_prints_for_ever_is_bounded() -> None:
    result = looked("run_command", {"argv": ["sh", "-c", "yes | head -c 20000000"]}, look_commands=["sh"])
    assert result.result["exit_code"] == 0
    assert len(result.result["stdout"]) <= 16_000


# --- through hands --------------------------------------------------------------------------------------------------


def act(name: str, skill: str, raw: dict[str, Any], **more: Any) -> SkillCall:
    spec = CATALOGUE[skill]
    checked = spec.check(raw)
    return call(name, skill, checked, touches=spec.touches(checked), **more)


def test_run_command_through_hands_tells_the_same(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        result = await rig.act(act("a", "run_command", {"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]}))
        assert result.result == {"exit_code": 3, "stdout": "out", "stderr": "err"}

    play(tmp_path, story)


def test_run_job_is_ok_only_with_exit_code_zero(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        raw = {"argv": ["sh", "-c", 'echo "$WHO in $PWD"; exit 4'], "env": {"WHO": "me"}, "cwd": str(tmp_path)}
        result = await rig.act(act("a", "run_job", raw))
        assert not result.ok
        assert result.result["stdout"] == f"me in {tmp_path}"
        assert result.error == "sh ended with exit code 4"
        missing = await rig.act(act("b", "run_job", {"argv": ["no-such-program"]}))
        assert "cannot be started" in missing.error

    play(tmp_path, story)


def test_no_shell_reads_event_data(tmp_path: Path) -> None:
    """A subject with a semicolon in it is one argument."""

    async def story(rig: Rig) -> None:
        evil = f"x; touch {tmp_path}/owned $(touch {tmp_path}/owned)"
        result = await rig.act(act("a", "run_job", {"argv": ["echo", evil]}))
        assert result.result["stdout"] == evil

    play(tmp_path, story)
    assert not (tmp_path / "owned").exists()


def test_notify_writes_a_line_and_posts_it_with_a_key(tmp_path: Path) -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        requests.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n" if len(requests) == 1 else b"HTTP/1.1 500 No\r\n\r\n")
        writer.close()

    async def story(rig: Rig) -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        env = {
            "webhook": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?x=1",
            "playbook": "p",
            "subject": "a.service",
        }
        raw = {"message": "nginx is still down", "level": "critical"}
        first = await rig.act(act("a", "notify", raw, env=env))
        assert first.result == {"logged": True, "posted": True}
        second = await rig.act(act("b", "notify", raw, env=env))
        assert "answered 500" in second.error
        assert second.next == ("retry",)
        assert (await rig.act(act("c", "notify", raw))).result == {"logged": True, "posted": False}
        server.close()

    play(tmp_path, story)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook?x=1 HTTP/1.1")
    assert b"Idempotency-Key: a/step" in head
    note = decode_json(body)
    assert (note["message"], note["level"], note["playbook"], note["subject"]) == (
        "nginx is still down",
        "critical",
        "p",
        "a.service",
    )
    lines = (tmp_path / "notifications.log").read_text().splitlines()
    assert [decode_json(line)["run"] for line in lines] == ["a", "b", "c"]


def test_write_file_refuses_a_link_and_keeps_owner_and_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "conf", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)

    async def story(rig: Rig) -> None:
        result = await rig.act(act("a", "write_file", {"path": str(link), "content": "new"}))
        assert "cannot be written" in result.error
        assert path.read_text() == "old"
        assert (await rig.act(act("b", "write_file", {"path": str(path), "content": "new"}))).ok
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await rig.act(act("c", "write_file", {"path": str(path), "content": "x", "mode": "644"}))).ok
        assert path.stat().st_mode & 0o777 == 0o644

    play(tmp_path / "state", story)
