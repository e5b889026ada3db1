"""The systemd backend against a real systemd: what falls is down, what a person stops is stopped, a restart is proven."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aios.errors import Permanent, Temporary
from aios.events.calls import Touches
from aios.ports import UnitState
from aios.services.systemd import SystemdServices
from aios.services.systemd_acts import SystemdActs
from aios.services.systemd_bus import unit_path
from tests.integration.hands_kit import Rig, call, play

from .box import Box

DEADLINE_S = 15.0

SLEEPER = """
[Service]
ExecStart=/bin/sleep infinity
{more}
[Install]
WantedBy=multi-user.target
"""


class Watching:
    """The watching side, and every state that it told."""

    def __init__(self, services: SystemdServices) -> None:
        self.services = services
        self.told: list[UnitState] = []
        self.doubts = 0
        self._news = asyncio.Event()

    def on_doubt(self) -> None:
        self.doubts += 1
        self._news.set()

    async def until_related(self, subject: str, suffering: set[str]) -> None:
        """Until systemd's relations of this subject are told so, asked again at each doubt and at no other time."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self.services.relations() or {}).get(subject, frozenset()) != suffering:
                doubts = self.doubts
                while self.doubts == doubts:
                    self._news.clear()
                    await self._news.wait()

    def on_change(self, state: UnitState) -> None:
        self.told.append(state)
        self._news.set()

    def words(self, subject: str) -> list[str]:
        return [state.state for state in self.told if state.subject == subject]

    async def until(self, subject: str, condition: Callable[[UnitState], bool]) -> UnitState:
        """The first state of this subject told from now on (or last before) that fulfils the condition."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for state in reversed([state for state in self.told if state.subject == subject]):
                    if condition(state):
                        return state
                    break
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def watching(box: Box, *patterns: str) -> AsyncIterator[Watching]:
    seen = Watching(SystemdServices(patterns or ("aiost-*.service",), box.bus_address))
    await seen.services.start(seen.on_change, seen.on_doubt)
    assert not seen.services.absent
    try:
        yield seen
    finally:
        await seen.services.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def systemctl(box: Box, *words: str) -> str:
    return await asyncio.to_thread(box.systemctl, *words, check=False)


def sleeper(box: Box, name: str, more: str = "", enable: bool = True) -> str:
    """A unit that runs; its name."""
    unit = f"aiost-{name}.service"
    box.unit(unit, SLEEPER.format(more=more), enable)
    box.systemctl("start", unit)
    return unit


def down(state: UnitState) -> bool:
    return state.state == "down"


# --- seen


def test_a_crash_is_down_and_a_start_is_up_again(box: Box) -> None:
    """A main process that is killed makes its service down, with how it ended; started again, it is up with another pid."""
    unit = sleeper(box, "crash")

    async def main() -> None:
        async with watching(box) as seen:
            first = await seen.services.state(unit)
            assert first.state == "up"
            assert first.enabled
            assert first.pid
            await systemctl(box, "kill", "-s", "KILL", unit)
            fell = await seen.until(unit, down)
            assert fell.exit_status == "signal 9"
            assert fell.detail.startswith("failed")
            assert fell.falls == 1
            await systemctl(box, "start", unit)
            again = await seen.until(unit, lambda state: state.state == "up")
            assert again.pid not in (0, first.pid)

    run(main())


def test_what_a_person_stops_is_stopped_and_never_down(box: Box) -> None:
    """`systemctl stop` is a wish."""
    unit = sleeper(box, "stop")

    async def main() -> None:
        async with watching(box) as seen:
            await systemctl(box, "stop", unit)
            await seen.until(unit, lambda state: state.state == "stopped")
            assert "down" not in seen.words(unit)
            await systemctl(box, "start", unit)
            await seen.until(unit, lambda state: state.state == "up")
            await systemctl(box, "restart", unit)
            await systemctl(box, "stop", unit)
            await seen.until(unit, lambda state: state.state == "stopped")
            assert "down" not in seen.words(unit)

    run(main())


def test_an_enabled_service_that_ends_by_itself_is_down(box: Box) -> None:
    """Nobody asked it to end, so a good exit status is no excuse."""
    unit = "aiost-ends.service"
    box.unit(unit, SLEEPER.replace("/bin/sleep infinity", "/bin/sh -c 'read line < /run/aiost-go; exit 0'").format(more=""))
    box.run("mkfifo", "/run/aiost-go")
    box.systemctl("start", unit)

    async def main() -> None:
        async with watching(box) as seen:
            await asyncio.to_thread(box.run, "sh", "-c", "echo > /run/aiost-go")
            fell = await seen.until(unit, down)
            assert fell.detail.startswith("exit")
            assert fell.exit_status == "exit 0"

    run(main())


def test_while_systemd_itself_starts_it_again_it_is_not_down_until_it_gives_up(box: Box) -> None:
    """systemd's own restarts count as falls; past its start limit the service is down."""
    unit = sleeper(box, "again", "Restart=always\nRestartSec=50ms\n[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=60")

    async def main() -> None:
        async with watching(box) as seen:
            for _ in range(2):
                pid = (await seen.services.state(unit)).pid
                await systemctl(box, "kill", "-s", "KILL", unit)
                await seen.until(unit, lambda state, pid=pid: state.state == "up" and state.pid != pid)  # type: ignore[misc]
            assert "down" not in seen.words(unit)
            assert (await seen.services.state(unit)).falls == 2
            await systemctl(box, "kill", "-s", "KILL", unit)
            gave_up = await seen.until(unit, down)
            assert gave_up.falls >= 3

    run(main())


def test_what_failed_before_we_came_is_told_at_the_start(box: Box) -> None:
    """Levels: an ill unit is told to whoever begins to watch."""
    unit = sleeper(box, "before")
    box.systemctl("kill", "-s", "KILL", unit)

    async def main() -> None:
        while await systemctl(box, "is-failed", unit) != "failed":
            pass
        async with watching(box) as seen:
            assert seen.words(unit) == ["down"]

    run(main())


def test_oneshot_units_that_ended_well_are_not_down(box: Box) -> None:
    """A unit whose work is done rests; one whose work failed is down."""
    box.unit("aiost-once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
    box.unit("aiost-bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")

    async def main() -> None:
        async with watching(box) as seen:
            await systemctl(box, "start", "aiost-once.service")
            await systemctl(box, "start", "aiost-bad.service")
            await seen.until("aiost-bad.service", down)
            assert "down" not in seen.words("aiost-once.service")

    run(main())


def test_a_unit_that_is_installed_and_started_later_is_watched_too(box: Box) -> None:
    """Watching follows the machine."""

    async def main() -> None:
        async with watching(box) as seen:
            unit = await asyncio.to_thread(sleeper, box, "late", "", False)
            await seen.until(unit, lambda state: state.state == "up")
            await systemctl(box, "kill", "-s", "KILL", unit)
            await seen.until(unit, down)

    run(main())


def test_a_reload_of_systemd_changes_nothing(box: Box) -> None:
    """Units come and go on the bus while systemd reads its files again; services do not."""
    unit = sleeper(box, "reload")

    async def main() -> None:
        async with watching(box) as seen:
            await systemctl(box, "daemon-reload")
            await systemctl(box, "daemon-reexec")
            await systemctl(box, "kill", "-s", "KILL", unit)
            await seen.until(unit, down)
            assert seen.words(unit) == ["down"]

    run(main())


SPOOF = """
import asyncio, sys
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    body = ["org.freedesktop.systemd1.Unit", {"ActiveState": Variant("s", "failed"), "Job": Variant("(uo)", [0, "/"])}, []]
    await bus.send(Message(destination=sys.argv[1], path=sys.argv[2], interface="org.freedesktop.DBus.Properties",
                           member="PropertiesChanged", message_type=MessageType.SIGNAL, signature="sa{sv}as", body=body))
    await bus.call(Message(destination="org.freedesktop.DBus", path="/", interface="org.freedesktop.DBus.Peer", member="Ping"))

asyncio.run(main())
"""


def test_a_signal_that_only_looks_like_systemds_is_not_believed(box: Box) -> None:
    """Any user may send signals over the system bus; only systemd's own are heard."""
    unit = sleeper(box, "spoofed")

    async def main() -> None:
        async with watching(box) as seen:
            assert (await seen.services.state(unit)).state == "up"
            name = seen.services._bus._connection.unique_name  # type: ignore[union-attr]
            argv = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                sys.executable,
                "-c",
                SPOOF,
                name,
                unit_path(unit),
            ]
            await asyncio.to_thread(box.run, *argv)
            await systemctl(box, "stop", unit)
            await seen.until(unit, lambda state: state.state == "stopped")
            assert "down" not in seen.words(unit)

    run(main())


def test_relations_are_systemds_own_and_a_change_of_its_files_is_a_doubt(box: Box) -> None:
    """They say who needs a service, watched or not; when systemd has read its files again, they are asked again."""
    base = sleeper(box, "base")
    box.unit("aiost-needs.service", SLEEPER.format(more=f"[Unit]\nRequires={base}\n"))
    box.systemctl("start", "aiost-needs.service")

    async def main() -> None:
        async with watching(box, "aiost-nobody*") as seen:
            await seen.until_related(base, {"aiost-needs.service"})
            box.unit("aiost-needs.service", SLEEPER.format(more=""))  # reads the files again
            await seen.until_related(base, set())

    run(main())


def test_an_unknown_unit_is_missing(box: Box) -> None:
    """Asking about what does not exist is an answer, no error."""

    async def main() -> None:
        async with watching(box) as seen:
            assert (await seen.services.state("aiost-nobody.service")).state == "missing"

    run(main())


class Relay:
    """A way to the box's bus that can be cut."""

    def __init__(self, folder: Path, box: Box) -> None:
        self.address = f"unix:path={folder}/bus"
        self._path, self._target = f"{folder}/bus", box.bus_address.removeprefix("unix:path=")
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        self._writers += [writer, far_writer]
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def test_a_bus_that_is_lost_is_found_again_and_what_fell_meanwhile_is_told(box: Box, tmp_path: Path) -> None:
    """Blind time ends with levels; while it lasts nobody pretends to know."""
    fallen, other = sleeper(box, "blind"), sleeper(box, "steady")

    async def main() -> None:
        relay = Relay(tmp_path, box)
        await relay.open()
        seen = Watching(SystemdServices(("aiost-blind.service", "aiost-steady.service"), relay.address))
        await seen.services.start(seen.on_change, seen.on_doubt)
        await relay.cut()
        while (await seen.services.state("aiost-nobody.service")).state != "unknown":
            pass
        assert await seen.services.relations() is None
        await systemctl(box, "kill", "-s", "KILL", fallen)
        await relay.open()
        await seen.until(fallen, down)
        pid = (await seen.services.state(other)).pid
        await systemctl(box, "kill", "-s", "KILL", other)
        await seen.until(other, down)
        assert pid
        await seen.services.close()
        await relay.cut()

    run(main())


# --- acted upon


def test_a_restart_is_proven_by_another_invocation(box: Box) -> None:
    """Another process runs afterwards."""
    unit = sleeper(box, "restart")
    acts = SystemdActs(box.bus_address)
    before = acts.state(unit)
    after = acts.restart(unit, 10.0)
    assert after.state == "up"
    assert after.pid not in (0, before.pid)


def test_start_and_stop_are_awaited(box: Box) -> None:
    """When they return, it is so."""
    unit = sleeper(box, "startstop")
    acts = SystemdActs(box.bus_address)
    assert acts.stop(unit, 10.0).state == "stopped"
    assert box.systemctl("is-active", unit, check=False) == "inactive"
    assert acts.start(unit, 10.0).state == "up"
    assert box.systemctl("is-active", unit) == "active"


def test_a_start_that_fails_says_why(box: Box) -> None:
    """A job's bad end is an error with the exit status in it, never a success."""
    unit = "aiost-fails.service"
    box.unit(unit, "[Service]\nType=notify\nExecStart=/bin/sh -c 'exit 3'\n")
    with pytest.raises(Temporary, match="exit 3"):
        SystemdActs(box.bus_address).start(unit, 10.0)


def test_the_start_limit_is_lifted_and_waited_out(box: Box) -> None:
    """Our own restarts count in the target's start limit; when it is hit we lift it once and come back later."""
    unit = sleeper(box, "limit", "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=20")
    acts = SystemdActs(box.bus_address)
    acts.restart(unit, 10.0)
    with pytest.raises(Temporary, match="start limit") as told:
        acts.restart(unit, 10.0)
    assert told.value.delay_s == 20.0
    assert acts.start(unit, 10.0).state == "up"


def test_a_timer_and_a_socket_are_asked_about_started_and_stopped_like_services(box: Box) -> None:
    """What starts a service may be what broke: a stopped timer, a socket that gave up."""
    box.unit("aiost-when.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n", enable=False)
    box.unit("aiost-when.timer", "[Timer]\nOnActiveSec=1h\n[Install]\nWantedBy=timers.target\n")
    box.unit("aiost-on@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n", enable=False)
    box.unit("aiost-on.socket", "[Socket]\nListenStream=/run/aiost-on\nAccept=yes\n[Install]\nWantedBy=sockets.target\n")
    acts = SystemdActs(box.bus_address)
    for unit in ("aiost-when.timer", "aiost-on.socket"):
        assert acts.state(unit).state == "stopped"
        assert acts.start(unit, 10.0).state == "up"
        assert box.systemctl("is-active", unit) == "active"
        assert acts.restart(unit, 10.0).state == "up", "another invocation proves it"
        assert seen_by_the_daemon(box, unit).state == "up"
        assert acts.stop(unit, 10.0).state == "stopped"
    with pytest.raises(Permanent, match=r"its name ends with \.service, \.socket, \.timer, \.path"):
        acts.restart("multi-user.target", 5.0)


def seen_by_the_daemon(box: Box, unit: str) -> UnitState:
    async def look() -> UnitState:
        services = SystemdServices(address=box.bus_address)
        await services.start(lambda state: None, lambda: None)
        try:
            return await services.state(unit)
        finally:
            await services.close()

    return asyncio.run(look())


@pytest.mark.parametrize("verb", ["restart", "start"])
def test_what_systemd_gave_up_after_its_own_restarts_is_started_at_once(box: Box, verb: str) -> None:
    """The commonest night: a bad file, `Restart=on-failure`, five falls in a second. Once the file is mended the first start
    counts, though systemd still names the fault (exit-code) and not the limit that it holds against any start."""
    unit, mended = f"aiost-gave-up-{verb}.service", f"/run/aiost-mended-{verb}"
    text = f"[Service]\nExecStart=/bin/sh -c 'test -e {mended} && exec sleep infinity; exit 1'\n"
    text += "Restart=on-failure\nRestartSec=20ms\n"
    box.unit(unit, "[Unit]\nStartLimitIntervalSec=600\n" + text, enable=False)
    box.systemctl("start", unit, check=False)
    box.run("sh", "-c", f"until systemctl is-failed -q {unit}; do sleep 0.05; done")
    assert box.run("systemctl", "start", unit, check=False).returncode != 0, "systemd itself refuses any start by now"
    box.run("touch", mended)
    assert getattr(SystemdActs(box.bus_address), verb)(unit, 10.0).state == "up"
    assert box.systemctl("is-active", unit) == "active"


def test_masked_and_unknown_units_are_refused_with_the_cure(box: Box) -> None:
    """What cannot work by trying again says so, and what to do."""
    unit = sleeper(box, "mask")
    acts = SystemdActs(box.bus_address)
    acts.stop(unit, 10.0)
    box.unit("aiost-masked.service", SLEEPER.format(more=""), enable=False)
    box.run("rm", "/etc/systemd/system/aiost-masked.service")
    acts.set_enabled("aiost-masked.service", False, True)
    with pytest.raises(Permanent, match="unmask"):
        acts.start("aiost-masked.service", 5.0)
    with pytest.raises(Permanent, match="knows no unit"):
        acts.start("aiost-nobody.service", 5.0)


def test_enablement_is_set_and_taken_back(box: Box) -> None:
    """A rollback can put back whether a unit starts with the machine."""
    unit = sleeper(box, "enable")
    acts = SystemdActs(box.bus_address)
    acts.set_enabled(unit, False, False)
    assert box.systemctl("is-enabled", unit, check=False) == "disabled"
    acts.set_enabled(unit, True, False)
    assert box.systemctl("is-enabled", unit, check=False) == "enabled"
    assert acts.state(unit).enabled


def test_limits_are_set_while_it_runs_and_taken_back(box: Box) -> None:
    """What a rollback does about `limit_service`: the unit's control group is as before, and its process was never touched."""
    unit = sleeper(box, "limits", more="TasksMax=40")
    acts = SystemdActs(box.bus_address)
    pid = acts.start(unit, 10.0).pid
    before = acts.limits(unit)
    assert (before["memory_bytes"], before["tasks"]) == (None, 40)
    acts.set_limits(unit, {"memory_bytes": 64 * 1024 * 1024, "cpu_percent": 50, "tasks": 20})
    assert acts.limits(unit) == {"memory_bytes": 64 * 1024 * 1024, "cpu_percent": 50, "tasks": 20}
    assert box.systemctl("show", "-p", "MemoryMax", "--value", unit).strip() == str(64 * 1024 * 1024)
    acts.set_limits(unit, before)
    assert acts.limits(unit) == before
    assert acts.state(unit).pid == pid
    with pytest.raises(Permanent, match="knows no unit"):
        acts.limits("aiost-nobody.service")


def test_a_rollback_gives_a_unit_its_limits_and_its_rest_back(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through real hands: a limit on what runs, and a start of what a person had stopped; each by its inverse."""
    running, resting = sleeper(box, "undo-limits"), sleeper(box, "undo-start", enable=False)
    box.systemctl("stop", resting)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", box.bus_address)
    limits = {"unit": running, "memory_mb": 64, "cpu_percent": None, "tasks": "none"}
    acts = [
        replace(call("r", skill, params, touches=Touches(units=(params["unit"],))), step=step, folder=f"runs/r/{step}.1")
        for step, skill, params in (("limit", "limit_service", limits), ("start", "start_service", {"unit": resting}))
    ]
    before = SystemdActs(box.bus_address).limits(running)

    async def story(rig: Rig) -> None:
        for it in acts:
            result = await rig.act(it)
            assert result.ok, result.error
        limited = await asyncio.to_thread(SystemdActs(box.bus_address).limits, running)
        assert limited["memory_bytes"] == 64 << 20
        back = call("r", "rollback", {"attempts": [it.folder for it in reversed(acts)]})
        result = await rig.act(replace(back, step="rollback", folder="runs/r/rollback.1"))
        assert result.ok, result.error
        proof = {line["path"]: line for line in result.result["proof"]}
        assert proof[f"{running} (limits)"]["undone_by"] == ["limit_service"]
        assert proof[f"{resting} (running)"]["undone_by"] == ["stop_service"]

    play(tmp_path / "state", story)
    assert SystemdActs(box.bus_address).limits(running) == before
    assert box.systemctl("is-active", resting, check=False) == "inactive"


def test_a_user_without_a_polkit_rule_is_refused_with_the_cure(box: Box) -> None:
    """Access denied is final, and names the rule that is needed; with the rule, exactly the named units can be managed."""
    allowed, other = sleeper(box, "allowed"), sleeper(box, "other")
    act = (
        "import sys, json; sys.path.insert(0, sys.argv[2])\n"
        "from aios.services.systemd_acts import SystemdActs\n"
        "try: print(json.dumps(['ok', SystemdActs().restart(sys.argv[1], 10.0).state]))\n"
        "except Exception as error: print(json.dumps([type(error).__name__, str(error)]))\n"
    )

    def restart_as_nobody(unit: str) -> list[str]:
        repository = str(__file__).rpartition("/tests/")[0]
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", act, unit, repository]
        answer: list[str] = json.loads(box.run(*argv).stdout)
        return answer

    assert restart_as_nobody(allowed)[0] == "Permanent"
    assert "polkit" in restart_as_nobody(allowed)[1]
    rule = (
        "polkit.addRule(function(action, subject) {\n"
        '  if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "nobody" &&\n'
        f'      action.lookup("unit") == "{allowed}" && action.lookup("verb") == "restart") return polkit.Result.YES;\n'
        "});\n"
    )
    box.write("/etc/polkit-1/rules.d/50-test.rules", rule)
    box.systemctl("restart", "polkit.service")
    assert restart_as_nobody(allowed) == ["ok", "up"]
    assert restart_as_nobody(other)[0] == "Permanent"
