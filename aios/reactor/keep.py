"""Last-good copies: files as they were while their subject was proven well. What heals a file that something else broke.

For each playbook with `keep`, `verify` is asked at start, after each start of the subject and each change of the files, then
every ten seconds until a copy stands. A copy is taken (by hands) only if `verify` held for `after`, and only if the files are
older than the subject's start: a file that was spoiled under a running service is not good.
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aios.clock import Clock
from aios.events.calls import SkillCall, SkillCatalogue, Touches
from aios.events.event import Draft, Event, Stored
from aios.playbooks.model import CannotSay, Playbook, variables
from aios.playbooks.run_table import VERIFY
from aios.playbooks.run_words import Ask, CheckCall
from aios.ports import Emit, Files, Looker, Services
from aios.reactor.aside import Aside
from aios.reactor.checks import ask
from aios.reactor.shelf import Shelf

SOON_S, AGAIN_S = 0.25, 10.0
"""After a start or a change it is looked at again soon (the process may just be coming up), then every ten seconds."""
TREE_MAX = 10_000


SinceGood = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""What differs from the newest copy of (playbook, subject): data of `playbook.changed_since_good`. None: nothing, or no copy."""


@dataclass(slots=True)
class LastGood:
    """See the head of this file."""

    shelf: Shelf
    skills: SkillCatalogue
    services: Services
    looker: Looker
    files: Files
    aside: Aside
    emit: Emit
    clock: Clock
    since_good: SinceGood | None = None
    _tasks: dict[tuple[str, str], Task[None]] = field(default_factory=dict)
    _nudges: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict)
    _stands: dict[tuple[str, str], float] = field(default_factory=dict)

    def start(self) -> None:
        """Look at every playbook with `keep` anew (at start, and when playbooks were loaded)."""
        for playbook in self.shelf.by_name.values():
            for subject in exact_subjects(playbook):
                self._again(playbook, subject)

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def heard(self, stored: Sequence[Stored]) -> None:
        """The subject came up again, or a run on it ended: what stands may be old."""
        for event, _ in stored:
            if event.type in ("service.up", "run.healed", "daemon.act_done"):
                self.changed(event.subject)
            elif event.type == "playbook.loaded":
                self.start()
            elif event.type == "run.opened" and self.since_good is not None and self._keeps(event):
                key = ("run", str(event.data["run"]))
                self._tasks[key] = task = asyncio.get_running_loop().create_task(self._tell_what_changed(event, self.since_good))
                task.add_done_callback(partial(self._told, key))

    def _keeps(self, event: Event) -> bool:
        playbook = self.shelf.by_name.get(str(event.data["playbook"]))
        return playbook is not None and playbook.keep is not None

    async def _tell_what_changed(self, event: Event, since_good: SinceGood) -> None:
        """Evidence for whoever reads the run: what is not as it was when all was well."""
        data = await since_good(str(event.data["playbook"]), event.subject)
        if data is not None:
            told = {"run": event.data["run"], "playbook": event.data["playbook"], **data}
            draft = Draft(type="playbook.changed_since_good", subject=event.subject, data=told)
            await self.emit(draft._replace(causationid=event.id, correlationid=event.correlationid))

    def _told(self, key: tuple[str, str], task: Task[None]) -> None:
        self._tasks.pop(key, None)
        _raised(task)

    def changed(self, subject: str) -> None:
        """The subject was started, or one of its files changed."""
        for playbook in self.shelf.by_name.values():
            if subject in exact_subjects(playbook):
                self._again(playbook, subject)

    def _again(self, playbook: Playbook, subject: str) -> None:
        key = (playbook.name, subject)
        self._nudges.setdefault(key, asyncio.Event()).set()
        running = self._tasks.get(key)
        if running is None or running.done():
            self._tasks[key] = task = asyncio.get_running_loop().create_task(self._until_it_stands(playbook, subject))
            task.add_done_callback(_raised)

    async def _until_it_stands(self, playbook: Playbook, subject: str) -> None:
        assert playbook.keep is not None
        nudge = self._nudges[playbook.name, subject]
        pause_s = SOON_S
        while True:
            if nudge.is_set():
                nudge.clear()
                pause_s = SOON_S
            changed = self._newest_change(playbook.keep.files)
            if changed and self._stands.get((playbook.name, subject)) == changed:
                return
            if changed and await self._proven(playbook, subject, changed) and await self._take(playbook, subject):
                self._stands[playbook.name, subject] = changed
                return
            try:
                async with asyncio.timeout(pause_s):
                    await nudge.wait()
            except TimeoutError:
                pause_s = min(AGAIN_S, pause_s * 2)  # nothing told us, so look again by ourselves

    async def _proven(self, playbook: Playbook, subject: str, changed: float) -> bool:
        """Well for as long as asked, with the files unchanged and older than the subject's start all the while."""
        assert playbook.keep is not None
        if not await self._older_than_start(subject, changed):
            return False
        checks = self._checks(playbook, subject)
        if not checks:
            return False
        outcome = await ask(Ask(VERIFY, checks), self.looker, self.clock)
        unchanged = self._newest_change(playbook.keep.files) == changed
        return outcome.verdict == "well" and unchanged and await self._older_than_start(subject, changed)

    async def _older_than_start(self, subject: str, changed: float) -> bool:
        unit = await self.services.state(subject)
        return unit.state == "up" and unit.since > changed

    def _checks(self, playbook: Playbook, subject: str) -> tuple[CheckCall, ...]:
        assert playbook.keep is not None
        trigger = {
            "subject": subject,
            "type": playbook.types[0],
            "id": "",
            "source": "",
            "severity": "info",
            "time": "",
            "data": {},
        }
        known = variables(trigger, now=self.clock.now(), score=None, system_score=None, steps={})
        checks = []
        for n, check in enumerate(playbook.verify):
            try:
                params = self.skills[check.skill].check(check.params.render(known))
            except (CannotSay, KeyError, ValueError):
                return ()  # what depends on an event cannot be asked without one
            name = f"keep-{playbook.name}"
            call = SkillCall(name, f"{VERIFY}{n}", 1, check.skill, "verify", params, check.timeout_s, Touches())
            checks.append(CheckCall(call, playbook.keep.after_s, check.within_s, check.every_s))
        return tuple(checks)

    async def _take(self, playbook: Playbook, subject: str) -> bool:
        assert playbook.keep is not None
        params = {"files": list(playbook.keep.files), "playbook": playbook.name, "subject": subject}
        why = f"{subject} was well for {playbook.keep.after_s:g} s"
        result = await self.aside.act("keep_copy", params, by="aios", why=why, subject=subject)
        if result.ok and result.result.get("new", True):  # else what stands is the newest copy already
            kept = {"playbook": playbook.name, "manifest": str(result.result.get("manifest", "")), "files": params["files"]}
            await self.emit(Draft(type="playbook.kept", subject=subject, data=kept))
        return result.ok

    def _newest_change(self, paths: Sequence[str]) -> float:
        """The newest ctime below these paths, in seconds; 0 when one is missing or there are too many files to say."""
        newest, waiting, seen = 0, list(paths), 0
        while waiting:
            path = waiting.pop()
            seen += 1
            try:
                stat = self.files.lstat(path)
                if stat.mode & 0o170000 == 0o040000:
                    waiting.extend(f"{path}/{name}" for name in self.files.listdir(path))
            except OSError:
                return 0.0
            newest = max(newest, stat.ctime_ns)
            if seen > TREE_MAX:
                return 0.0
        return newest / 1e9


def _raised(task: Task[None]) -> None:
    """What keeps copies never fails on purpose; a bug must be seen."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "keeping a last-good copy failed", "exception": error})


def exact_subjects(playbook: Playbook) -> list[str]:
    """The subjects that a playbook with `keep` names in full; patterns have no files of their own."""
    if playbook.keep is None:
        return []
    return [name for name in playbook.match.get("subject", ()) if isinstance(name, str)]
