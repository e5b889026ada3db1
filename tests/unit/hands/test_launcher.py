"""The launcher's law on a disk that forgets what was not synced: killed at every disk call, with or without a power cut."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import write_small
from aios.entropy import SeededEntropy
from aios.errors import Permanent
from aios.events.calls import SkillCall, SkillResult
from aios.events.codec import encode_json
from aios.hands import attempt, latest, launcher, proc, recovery, snapshot
from aios.ports import Files, ProcessId
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from aios.testing.loop import Killed, Life, VirtualClock, VirtualLoop, run_virtual

STATE = "/state"
CALL = SkillCall("run", "step", 1, "count", "act", {}, 1.0, folder="runs/run/step.1")
FOLDER = f"{STATE}/{CALL.folder}"
LAUNCHER = ProcessId(10, 100, "boot")
RECOVERY = ProcessId(11, 110, "boot")
OUTLINE = {"version": 2, "roots": [], "units": [], "settings": [{"name": "vm.swappiness", "value": "60"}]}
MANIFEST = OUTLINE | {"taken_ns": 7, "boot_id": proc.boot_id()}

Save = Callable[[SkillCall, Files, str], None]


def new_manifest(_call: SkillCall, files: Files, path: str) -> None:
    write_small(files, path, encode_json(MANIFEST))


def same_manifest(_call: SkillCall, files: Files, path: str) -> None:
    """Nothing had changed: another name of the latest one, where the disk gives it."""
    latest.save(files, STATE, BlobFolder(files, f"{STATE}/blobs"), OUTLINE, path=path, now_ns=7)


class World:
    """One disk, one act that counts its effects durably, and who is alive."""

    def __init__(self, disk: SimDisk, life: Life, save: Save = new_manifest) -> None:
        self.disk = disk
        self.life = life
        self.save = save
        self.effects = 0
        self.acted_with: set[str] = set()
        self.result: SkillResult | None = None
        self.dead = False

    def launch(self, stop_before: str = "") -> None:
        """Run it to its end, to the step where it is killed, or to the disk call where the fault strikes."""
        files = self.disk.seen_by(self.life)
        steps = launcher.launch(CALL, files, STATE, LAUNCHER, lambda call, path: self.save(call, files, path))
        said: SkillResult | None = None
        try:
            while True:
                step = steps.send(said)
                if step == stop_before:
                    self.life.kill()
                    return
                said = self.act() if step == launcher.ACT else None
        except StopIteration as end:
            self.result = end.value
        except Killed:
            pass

    def act(self) -> SkillResult:
        self.effects += 1
        self.acted_with = set(self.disk.listdir(FOLDER))
        return SkillResult(True, {"n": self.effects})

    def recover(self, files: Files | None = None) -> recovery.Found:
        return recovery.recover(files or self.disk, FOLDER, RECOVERY, lambda who: False, lambda leader: None)


def worlds(play: object, save: Save = new_manifest) -> None:
    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        play(lambda: _world(loop, clock, save))  # type: ignore[operator]

    run_virtual(main, 0)


def _world(loop: VirtualLoop, clock: VirtualClock, save: Save) -> World:
    disk = SimDisk(clock)
    disk.make_folders(f"{STATE}/runs/before/step.1")
    if save is same_manifest:
        same_manifest(CALL, disk, f"{STATE}/runs/before/step.1/{attempt.MANIFEST}")
    return World(disk, Life(loop, "launcher"), save)


def check(world: World, found: recovery.Found) -> None:
    """The law: void only without an effect; done only with its result; and what is void stays void."""
    if found.fate == "voided":
        assert world.effects == 0
        again = World(world.disk, Life(world.life.loop, "second"))
        again.launch()
        assert again.effects == 0
        assert again.result is None
    elif found.fate == "done":
        assert found.result is not None
        assert found.result.result.get("n") == (1 if world.effects else None)
    else:
        assert found.fate == "died"
    if world.effects:
        assert snapshot.read(world.disk, f"{FOLDER}/{attempt.MANIFEST}") == MANIFEST
        assert {attempt.STARTED, attempt.MANIFEST, attempt.RESERVED} <= world.acted_with


def test_a_launcher_that_nothing_disturbs_leaves_its_result() -> None:
    def play(make: object) -> None:
        world = make()  # type: ignore[operator]
        world.launch()
        assert world.effects == 1
        assert world.recover().result == world.result == SkillResult(True, {"n": 1})
        world.disk.power_cut(SeededEntropy(1))
        check(world, world.recover())
        assert world.recover().fate == "done"

    worlds(play)


def test_the_manifest_of_what_had_not_changed_is_another_name_of_the_latest() -> None:
    def play(make: object) -> None:
        world = make()  # type: ignore[operator]
        world.launch()
        paths = [f"{STATE}/runs/{which}/{attempt.MANIFEST}" for which in ("before/step.1", "run/step.1")]
        assert len({world.disk.lstat(path).inode for path in paths}) == 1
        world.disk.power_cut(SeededEntropy(2))
        check(world, world.recover())

    worlds(play, same_manifest)


@pytest.mark.parametrize("step", launcher.STEPS)
def test_killed_before_each_step(step: str) -> None:
    def play(make: object) -> None:
        world = make()  # type: ignore[operator]
        world.launch(stop_before=step)
        found = world.recover()
        check(world, found)
        begun = launcher.STEPS.index(step) > launcher.STEPS.index(launcher.RESERVE)
        done = step == launcher.DONE
        assert found.fate == ("done" if done else "died" if begun else "voided")

    worlds(play)


@pytest.mark.parametrize("save", [new_manifest, same_manifest])
@pytest.mark.parametrize("cut", [False, True], ids=["killed", "power cut"])
def test_killed_at_every_disk_call(cut: bool, save: Save) -> None:
    """For every disk call that changes something, and many ways for what was not synced to be lost."""

    def play(make: object) -> None:
        reached = 0
        for n in range(1, 200):
            for seed in range(8 if cut else 1):
                world = make()  # type: ignore[operator]
                fault = world.disk.fail(Fault("any", first=n, kill=True))
                world.launch()
                reached = max(reached, fault.hits)
                if cut:
                    world.disk.power_cut(SeededEntropy(n * 1000 + seed))
                world.disk.mend()
                check(world, world.recover())
            if not fault.hits:
                assert n > 10, "the launcher makes more disk calls than that"
                return
        raise AssertionError("the launcher never came to its end")

    worlds(play, save)


@pytest.mark.parametrize("save", [new_manifest, same_manifest])
@pytest.mark.parametrize("error", [5, 28], ids=["EIO", "ENOSPC"])
def test_any_disk_call_may_fail_and_the_result_says_whether_it_acted(error: int, save: Save) -> None:
    """`begun: False` is only said when nothing was done."""

    def play(make: object) -> None:
        for n in range(1, 200):
            world = make()  # type: ignore[operator]
            fault = world.disk.fail(Fault("any", first=n, error=error))
            world.launch()
            assert world.result is not None
            if world.result.result.get("begun") is False:
                assert world.effects == 0
                assert world.result.error
            else:
                assert world.effects == 1
            world.disk.mend()
            check(world, world.recover())
            if not fault.hits:
                return

    worlds(play, save)


def test_recovery_killed_at_every_disk_call_can_be_done_again() -> None:
    def play(make: object) -> None:
        for n in range(1, 100):
            world = make()  # type: ignore[operator]
            fault = world.disk.fail(Fault("any", first=n, kill=True))
            try:
                world.recover(world.disk.seen_by(Life(world.life.loop, "recovery")))
            except Killed:
                pass
            world.disk.power_cut(SeededEntropy(n))
            world.disk.mend()
            assert world.recover().fate == "voided"
            check(world, world.recover())
            if not fault.hits:
                return

    worlds(play)


def _end(steps: launcher.Launch) -> Iterator[str]:
    result = yield from steps
    assert result is not None
    yield result.error


def test_what_cannot_be_saved_says_why_and_nothing_of_room() -> None:
    """A unit that is not there is no full disk."""

    def missing(_call: SkillCall, _path: str) -> None:
        raise Permanent("there is no unit nope.service")

    def play(make: object) -> None:
        world = make()  # type: ignore[operator]
        steps = launcher.launch(CALL, world.disk, STATE, LAUNCHER, missing)
        *said, why = _end(steps)
        assert launcher.ACT not in said
        assert why == "no snapshot, so no act: there is no unit nope.service"
        assert world.effects == 0

    worlds(play)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_what_cannot_be_read_for_the_moment_proves_nothing(error: int, nth: int) -> None:
    """Too many open files are no proof that a launcher is gone, nor that its result is: whoever looks is sent again."""

    def play(make: object) -> None:
        world = make()  # type: ignore[operator]
        world.launch(stop_before=launcher.WRITE)
        fault = world.disk.fail(Fault("open", first=nth, error=error))
        with pytest.raises(OSError, match=str(error)):
            world.recover()
        assert fault.hits == 1
        world.disk.mend()
        check(world, world.recover())
        assert world.recover().fate == "died"

    worlds(play)
