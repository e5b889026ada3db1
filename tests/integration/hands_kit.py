"""What the tests of hands share: a real hands process on a temporary state folder, and a skill that an outsider brings."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aios.entropy import SystemEntropy
from aios.events.calls import SkillCall, SkillResult, Touches
from aios.hands import proc, snapshot, times
from aios.hands.client import HandsClient
from aios.hands.processes import OsProcesses
from aios.ports import Blobs, ServiceActs

DEADLINE_S = 30.0


def needs_times_that_tell(folder: str) -> None:
    """Skips where nothing is believed of a file for its times."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        if not times.tell(fd):
            pytest.skip(f"times tell nothing on the file system of {folder}")
    finally:
        os.close(fd)


def taken(touches: Touches, blobs: Blobs, services: Callable[[], ServiceActs], **more: Any) -> dict[str, Any]:
    """The manifest of what stands now, by somebody who remembers nothing."""
    return snapshot.filled(snapshot.outline(touches, services), blobs, **more)


OUTSIDER = '''
"""Skills of somebody else's package: what they do, no body of ours should."""
import os, signal, time
from dataclasses import dataclass
from aios.events.calls import SkillResult
from aios.errors import Temporary
from aios.skills.api import Skill

@dataclass(frozen=True, slots=True)
class Params:
    how: str
    effects: str = ""

def count(path):
    if path:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, b"x")
        os.close(fd)

def act(params, ctx):
    count(params.effects)
    match params.how:
        case "exit": os._exit(3)
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "raise": raise RuntimeError("the outsider's bug")
        case "later": raise Temporary("not now")
        case "huge": return SkillResult(True, {"text": "x" * 300_000})
        case "nonsense": return 7
        case "print": print("said it")
        case "pause": time.sleep(0.05)
        case "wait": time.sleep(600)
    return SkillResult(True, {"how": params.how})

SKILL = Skill(name="outsider", kind="act", doc="x", params=Params, act=act, rerun="never_retry")

def already_done(params, ctx):
    if params.how == "cannot say":
        return None
    return os.path.exists(params.effects)

CAREFUL = Skill(
    name="careful", kind="act", doc="x", params=Params, act=act, rerun="check_before_retry", already_done=already_done,
    dry=lambda params: f"would do {params.how}",
)
'''


def bring_outsider(folder: Path) -> None:
    """A package as an installer leaves it."""
    (folder / "outsider-1.dist-info").mkdir(parents=True)
    (folder / "outsider-1.dist-info" / "entry_points.txt").write_text(
        "[console_scripts]\nx = y:z\n\n[aios.skills]\noutsider = outsider_skill:SKILL\ncareful = outsider_skill:CAREFUL\n"
        "broken = no_such_module:SKILL\n"
    )
    (folder / "outsider_skill.py").write_text(OUTSIDER)


class Rig:
    """A daemon's side, for one story."""

    def __init__(self, state_dir: Path, cgroup: str = "none") -> None:
        self.state_dir = state_dir
        state_dir.mkdir(exist_ok=True)
        self.told: dict[str, list[SkillResult]] = {}
        self.lost: list[str] = []
        self._news = asyncio.Event()
        self.hands = HandsClient(str(state_dir), OsProcesses(), SystemEntropy(), cgroup=cgroup)
        self.hands.on_lost(self._on_lost)
        self.hands.on_done(self._on_done)
        self.hands.open()

    def _on_lost(self, status: str) -> None:
        self.lost.append(status)
        self._news.set()

    def _on_done(self, key: str, result: SkillResult) -> None:
        self.told.setdefault(key, []).append(result)
        self._news.set()

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait for news until it holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self._news.clear()
                if not true():
                    await self._news.wait()

    async def watch(self, true: Callable[[], Any]) -> None:
        """Look again and again, for what tells nobody."""
        async with asyncio.timeout(DEADLINE_S):
            while not true():  # noqa: ASYNC110 - a file that appears tells nobody
                await asyncio.sleep(0.002)

    async def result(self, call: SkillCall) -> SkillResult:
        await self.until(lambda: call.key in self.told)
        return self.told[call.key][0]

    async def act(self, call: SkillCall) -> SkillResult:
        self.hands.start(call)
        return await self.result(call)

    def folder(self, call: SkillCall) -> Path:
        return self.state_dir / call.folder


def play(state_dir: Path, story: Callable[[Rig], Awaitable[Any]], cgroup: str = "none") -> Any:
    async def main() -> Any:
        rig = Rig(state_dir, cgroup)
        try:
            async with asyncio.timeout(100):
                return await story(rig)
        finally:
            await rig.hands.close()

    return asyncio.run(main())


def job(run: str, *argv: str, timeout_s: float = 20.0, files: tuple[str, ...] = (), attempt: int = 1) -> SkillCall:
    params = {"argv": list(argv), "files": list(files)}
    return call(run, "run_job", params, timeout_s=timeout_s, touches=Touches(files=files), attempt=attempt)


def outsider(run: str, how: str, effects: Path | str = "", **more: Any) -> SkillCall:
    return call(run, "outsider", {"how": how, "effects": str(effects)}, **more)


def call(
    run: str,
    skill: str,
    params: dict[str, Any],
    *,
    timeout_s: float = 20.0,
    touches: Touches | None = None,
    attempt: int = 1,
    env: dict[str, Any] | None = None,
) -> SkillCall:
    touched = touches if touches is not None else Touches()
    return SkillCall(
        run, "step", attempt, skill, "act", params, timeout_s, touched, folder=f"runs/{run}/step.{attempt}", env=env or {}
    )


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def nobody_in_session(leader: int) -> bool:
    return not list(proc.in_session(leader))
