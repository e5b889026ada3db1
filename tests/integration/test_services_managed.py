"""Managed services for real: processes that are started, killed, hung, stopped and found again."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.errors import AiosError, Permanent, Temporary
from aios.hands.keeper import start_kept
from aios.hands.processes import OsProcesses
from aios.ports import ProcessId, UnitState
from aios.sensors.wake import Waker
from aios.services.managed import ManagedServices
from aios.services.managed_acts import ManagedActs
from aios.services.records import Intent, Records
from aios.services.spec import ManagedService

DEADLINE_S = 30.0
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"


class House:
    """A state folder with managed services; whatever it started is ended by pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "services"
        self.folder.mkdir()
        self.records = Records(str(self.folder))
        self._lives: set[ProcessId] = set()

    def acts(self, *specs: ManagedService) -> ManagedActs:
        start = partial(start_kept, files=OsFiles(), clock=SystemClock())
        return ManagedActs(specs, str(self.folder), OsProcesses(), start)

    def in_child(self, act: Callable[[], UnitState]) -> UnitState:
        """Act in a process of its own, as a launcher does; what it raises rises here."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            try:
                state = act()
                word = ["ok", state.subject, state.state, state.backend, state.pid]
            except AiosError as error:
                word = [type(error).__name__, str(error)]
            os.write(write, json.dumps(word).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as words:
            word = json.loads(words.read())
        os.waitpid(pid, 0)
        if word[0] != "ok":
            raise (Permanent if word[0] == "Permanent" else Temporary)(word[1])
        self._remember()
        return UnitState(*word[1:])

    def _remember(self) -> None:
        for path in self.folder.glob("*.json"):
            life = self.records.life(path.stem)
            if life is not None:
                self._lives.add(life.who)

    def end(self) -> None:
        self._remember()
        for who in self._lives:
            OsProcesses().signal(who, signal.SIGKILL)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.end()


def sleeper(name: str = "web", **more: Any) -> ManagedService:
    return ManagedService(name, more.pop("kind", "service"), ("sleep", "600"), **more)


class Watching:
    def __init__(self, house: House, specs: tuple[ManagedService, ...]) -> None:
        self.waker = Waker()
        self.services = ManagedServices(specs, str(house.folder), OsProcesses(), SystemClock(), self.waker.watch)
        self.told: list[tuple[float, UnitState]] = []
        self._news = asyncio.Event()

    def on_change(self, state: UnitState) -> None:
        self.told.append((time.monotonic(), state))
        self._news.set()

    def words(self) -> list[str]:
        return [state.state for _, state in self.told]

    async def until(self, condition: Callable[[UnitState], bool]) -> tuple[float, UnitState]:
        async with asyncio.timeout(DEADLINE_S):
            while not (self.told and condition(self.told[-1][1])):
                self._news.clear()
                await self._news.wait()
        return self.told[-1]


def nobody() -> None:
    """Whom no doubt concerns: what managed services need stands in the settings."""


@asynccontextmanager
async def watching(house: House, *specs: ManagedService) -> AsyncIterator[Watching]:
    seen = Watching(house, specs)
    await seen.services.start(seen.on_change, nobody)
    try:
        yield seen
    finally:
        await seen.services.close()
        seen.waker.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def act(house: House, deed: Callable[[], UnitState]) -> UnitState:
    return await asyncio.to_thread(house.in_child, deed)


def is_(word: str) -> Callable[[UnitState], bool]:
    return lambda state: state.state == word


# --- seen


def test_a_kill_is_told_at_once_with_how_it_ended(house: House) -> None:
    """The end of a service is down, within milliseconds, and its status follows."""
    web = sleeper()

    async def main() -> None:
        async with watching(house, web) as seen:
            started = await act(house, partial(house.acts(web).start, web.subject, 5.0))
            _, up = await seen.until(is_("up"))
            assert up.pid == started.pid
            os.kill(up.pid, signal.SIGKILL)
            _, down = await seen.until(is_("down"))
            assert down.falls == 1
            assert down.detail.startswith("exit")
            _, told = await seen.until(lambda state: bool(state.exit_status))
            assert told.exit_status == "signal 9 (SIGKILL)"
            assert told.state == "down"
            assert told.falls == 1

    run(main())


def test_what_is_stopped_on_purpose_is_stopped_and_not_down(house: House) -> None:
    """`aios` stopped it, so it is no illness; and it is so again after a restart of the daemon."""
    web = sleeper()

    async def main() -> None:
        async with watching(house, web) as seen:
            await act(house, partial(house.acts(web).start, web.subject, 5.0))
            await seen.until(is_("up"))
            stopped = await act(house, partial(house.acts(web).stop, web.subject, 5.0))
            assert stopped.state == "stopped"
            await seen.until(is_("stopped"))
            assert "down" not in seen.words()
        async with watching(house, web) as seen:
            assert (await seen.services.state(web.subject)).state == "stopped"
            assert not seen.told
            assert not seen.services.to_start()
            await act(house, partial(house.acts(web).start, web.subject, 5.0))
            await seen.until(is_("up"))

    run(main())


def test_a_restart_is_no_fall_and_gives_another_process(house: House) -> None:
    """The proof of a restart is another process; its own stop is not told as down."""
    web = sleeper()

    async def main() -> None:
        async with watching(house, web) as seen:
            before = await act(house, partial(house.acts(web).start, web.subject, 5.0))
            await seen.until(is_("up"))
            after = await act(house, partial(house.acts(web).restart, web.subject, 5.0))
            assert after.pid not in (0, before.pid)
            _, up = await seen.until(lambda state: state.pid == after.pid)
            assert "down" not in seen.words()
            assert up.falls == 0

    run(main())


def test_a_start_after_a_stop_is_no_fall(house: House) -> None:
    """A person has it started again: that nothing runs yet is no illness, unless whoever starts it dies over it."""
    web = sleeper()

    async def main() -> None:
        await act(house, partial(house.acts(web).start, web.subject, 5.0))
        await act(house, partial(house.acts(web).stop, web.subject, 5.0))
        async with watching(house, web) as seen:
            processes = OsProcesses()
            actor = await asyncio.create_subprocess_exec("sleep", "600")
            house.records.write_intent(web.stem, Intent("up", by=processes.identity(actor.pid)))
            await seen.until(is_("starting"))
            await act(house, partial(house.acts(web).start, web.subject, 5.0))
            _, up = await seen.until(is_("up"))
            assert "down" not in seen.words()
            assert up.falls == 0
            await act(house, partial(house.acts(web).stop, web.subject, 5.0))
            await seen.until(is_("stopped"))
            house.records.write_intent(web.stem, Intent("up", by=processes.identity(actor.pid)))
            await seen.until(is_("starting"))
            actor.kill()
            await actor.wait()
            await seen.until(is_("down"))

    run(main())


def test_a_restart_that_dies_half_way_leaves_a_fall(house: House) -> None:
    """When the process that restarts it is gone and nothing runs, the service is down."""
    web = sleeper()

    async def main() -> None:
        async with watching(house, web) as seen:
            await act(house, partial(house.acts(web).start, web.subject, 5.0))
            _, up = await seen.until(is_("up"))
            processes = OsProcesses()
            who = processes.identity(up.pid)
            actor = await asyncio.create_subprocess_exec("sleep", "600")
            house.records.write_intent(web.stem, Intent("up", stopping=who, by=processes.identity(actor.pid)))
            os.kill(up.pid, signal.SIGTERM)
            await seen.until(is_("stopping"))
            actor.kill()
            await actor.wait()
            await seen.until(is_("down"))

    run(main())


def test_a_running_service_is_found_again_and_not_started_twice(house: House) -> None:
    """A daemon that comes back finds its services by pid, start time and boot id."""
    web, coder = sleeper(), sleeper("coder", kind="agent")

    async def main() -> None:
        started = await act(house, partial(house.acts(web, coder).start, web.subject, 5.0))
        async with watching(house, web, coder) as seen:
            found = await seen.services.state(web.subject)
            assert (found.state, found.pid) == ("up", started.pid)
            assert seen.services.to_start() == [coder.subject]
            assert (await seen.services.state(coder.subject)).state == "starting"
            age_s = time.time() - found.since
            assert 0 <= age_s < DEADLINE_S
            os.kill(started.pid, signal.SIGKILL)
            _, down = await seen.until(is_("down"))
            assert down.subject == web.subject

    run(main())


def test_what_fell_while_nobody_watched_is_told_at_the_start(house: House) -> None:
    """A level: it ran since the machine came up, nobody stopped it, and it does not run."""
    web = sleeper()

    async def main() -> None:
        started = await act(house, partial(house.acts(web).start, web.subject, 5.0))
        os.kill(started.pid, signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE_S
        while not (house.folder / "web.exit").exists() and time.monotonic() < deadline:
            pass
        async with watching(house, web) as seen:
            assert seen.words() == ["down"]
            assert seen.told[0][1].exit_status == "signal 15 (SIGTERM)"
            assert not seen.services.to_start()

    run(main())


def test_a_life_of_before_the_machine_came_up_is_nobody(house: House) -> None:
    """A pid file of another boot never names a process of this one."""
    web = sleeper()
    life = {"name": "web", "pid": os.getpid(), "start": 1, "boot_id": "another", "keeper": 1, "started_at": 1.0, "log": ""}
    (house.folder / "web.json").write_text(json.dumps(life))

    async def main() -> None:
        async with watching(house, web) as seen:
            assert seen.services.to_start() == [web.subject]
            assert not seen.told

    run(main())


@pytest.mark.parametrize(
    "rubbish", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe", b"[" * 5000, b'{"pid": -1, "start": 1, "boot_id": ""}']
)
def test_files_that_cannot_be_read_say_nothing(house: House, rubbish: bytes) -> None:
    """Damage in `services/` is no crash and no process."""
    web = sleeper()
    for suffix in ("json", "exit", "want"):
        (house.folder / f"web.{suffix}").write_bytes(rubbish)

    async def main() -> None:
        async with watching(house, web) as seen:
            assert (await seen.services.state(web.subject)).state == "starting"

    run(main())


def test_what_is_needed_starts_first_and_circles_are_no_end(house: House) -> None:
    """`needs` orders the start; who needs a subject suffers with it."""
    app = sleeper("app", needs=("db.service",))
    db = sleeper("db", needs=("disk.service",))
    disk = sleeper("disk", needs=("app.service",))

    async def main() -> None:
        async with watching(house, app, db, disk) as seen:
            order = list(seen.services.to_start())
            assert sorted(order) == ["app.service", "db.service", "disk.service"]
            assert order.index("db.service") < order.index("app.service")
            assert (await seen.services.relations())["db.service"] == frozenset({"app.service"})

    run(main())


# --- acted upon


def test_a_frozen_service_is_ended_without_waiting_for_its_grace(house: House) -> None:
    """SIGTERM reaches a stopped process only when it goes on, so it is sent on at once."""
    web = sleeper(stop_timeout_s=3600.0)  # longer than any test may take
    acts = house.acts(web)
    first = house.in_child(partial(acts.start, web.subject, 5.0))
    os.kill(first.pid, signal.SIGSTOP)
    second = house.in_child(partial(acts.restart, web.subject, 60.0))
    assert second.pid not in (0, first.pid)


def test_a_service_that_does_not_listen_is_killed_after_its_grace(house: House) -> None:
    """SIGKILL follows SIGTERM."""
    web = ManagedService("web", "service", (sys.executable, "-c", DEAF), stop_timeout_s=0.2)
    acts = house.acts(web)
    first = house.in_child(partial(acts.start, web.subject, 5.0))
    deadline = time.monotonic() + DEADLINE_S
    while "deaf" not in (house.folder / "web.log").read_text() and time.monotonic() < deadline:
        pass
    assert house.in_child(partial(acts.stop, web.subject, 5.0)).state == "stopped"
    assert OsProcesses().identity(first.pid) is None


def test_children_that_outlive_it_are_ended_too(house: House) -> None:
    """Whoever holds the port from before must not make the restart fail."""
    script = "sleep 600 & echo $! > child; exec sleep 600"
    web = ManagedService("web", "service", ("sh", "-c", script), folder=str(house.folder))
    acts = house.acts(web)
    house.in_child(partial(acts.start, web.subject, 5.0))
    deadline = time.monotonic() + DEADLINE_S
    while not (house.folder / "child").exists() and time.monotonic() < deadline:
        pass
    house.in_child(partial(acts.stop, web.subject, 5.0))
    child = int((house.folder / "child").read_text())
    while OsProcesses().identity(child) is not None and time.monotonic() < deadline:
        pass
    assert OsProcesses().identity(child) is None


def test_acts_are_harmless_when_there_is_nothing_to_do(house: House) -> None:
    """Starting what runs and stopping what does not is well."""
    web = sleeper()
    acts = house.acts(web)
    assert house.in_child(partial(acts.stop, web.subject, 5.0)).state == "stopped"
    first = house.in_child(partial(acts.start, web.subject, 5.0))
    assert house.in_child(partial(acts.start, web.subject, 5.0)).pid == first.pid


def test_two_starts_at_once_start_it_once(house: House) -> None:
    """A person and a run may ask at the same moment."""
    web = sleeper()

    async def main() -> None:
        start = partial(house.acts(web).start, web.subject, 5.0)
        states = await asyncio.gather(*(act(house, start) for _ in range(4)))
        assert len({state.pid for state in states}) == 1

    run(main())


def test_a_command_that_is_not_there_is_final(house: House) -> None:
    """Trying again would not help, so it says what is wrong."""
    web = ManagedService("web", "service", ("/nonexistent/program",))
    with pytest.raises(Permanent, match="nonexistent"):
        house.in_child(partial(house.acts(web).start, web.subject, 5.0))


def test_an_unlisted_subject_is_refused_with_the_cure(house: House) -> None:
    """Only what the settings list is started."""
    with pytest.raises(Permanent, match="settings"):
        house.acts().start("agent:nobody", 1.0)
    assert house.acts().state("agent:nobody").state == "missing"


def test_enablement_of_a_managed_service_stands_in_the_settings(house: House) -> None:
    """Putting back what is so already is well; another value is refused with the cure."""
    acts = house.acts(sleeper())
    acts.set_enabled("web.service", True, False)
    with pytest.raises(Permanent, match="autostart"):
        acts.set_enabled("web.service", False, False)


def test_a_service_and_an_agent_of_one_name_do_not_share_files() -> None:
    """Their files, and so their lives, are apart; both cross to hands as JSON."""
    service, agent = sleeper("x"), sleeper("x", kind="agent")
    assert service.stem != agent.stem
    assert (service.subject, agent.subject) == ("x.service", "agent:x")
    for spec in (service, agent, sleeper("y", env={"A": "b"}, needs=("x.service",), user="nobody", log="/tmp/l")):
        assert ManagedService.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("name", ["", "../etc", "a/b", "a b", "-x", ".hidden", "x" * 65, "é"])
def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    """Names become file names."""
    with pytest.raises(ValueError, match="no name"):
        sleeper(name)


class SlowKeeper(OsFiles):
    """A disk on which a life is written down only once `go` is there."""

    def __init__(self, house: House) -> None:
        self.held, self.go = house.folder / "held", house.folder / "go"

    def open(self, path: str, flags: int, mode: int = 0o640) -> int:
        if "web.json" in path and flags & os.O_CREAT:
            self.held.touch()
            until(self.go.exists)
        return super().open(path, flags, mode)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_start_that_is_killed_is_not_made_twice(house: House) -> None:
    """Its keeper lives on and has the lock until the life is written down; whoever starts it next waits, and finds it running."""
    web, slow = sleeper(), SlowKeeper(house)
    acts = ManagedActs((web,), str(house.folder), OsProcesses(), partial(start_kept, files=slow, clock=SystemClock()))
    pid = os.fork()
    if pid == 0:
        acts.start(web.subject, 5.0)
        os._exit(0)
    until(slow.held.exists)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with open(house.folder / "web.lock") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    slow.go.touch()
    up = house.in_child(partial(house.acts(web).start, web.subject, 5.0))
    life = house.records.life("web")
    assert life is not None
    assert (up.state, up.pid) == ("up", life.who.pid)
