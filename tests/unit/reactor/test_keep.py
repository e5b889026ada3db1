"""Last-good copies: taken only when the subject was proven well for long enough and the files are older than its start."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.calls import SkillCall, SkillResult
from aios.events.event import Draft, Event, Position, Stored
from aios.ports import UnitState
from aios.reactor.keep import LastGood
from aios.reactor.shelf import Shelf
from aios.testing.blobs import SimBlobs
from aios.testing.bodies import specs
from aios.testing.disk import SimDisk
from aios.testing.loop import VirtualClock, run_virtual

CONF = "/etc/web/web.conf"
TEXT = """
playbook: web
description: d
on: {type: service.down, match: {subject: [web.service]}}
keep: {files: [/etc/web], after: 20s}
steps: [{id: r, act: restart_service, with: {unit: web.service}}]
verify: [{service_check: {unit: web.service}}]
"""


@dataclass
class Web:
    """A service, its files, and what was copied: the ports that `LastGood` asks."""

    clock: VirtualClock
    disk: SimDisk
    since: float = 0.0
    state_word: Any = "up"
    well: bool = True
    copies: list[tuple[float, bytes]] = field(default_factory=list)
    told: list[Draft] = field(default_factory=list)
    copying_works: bool = True
    stands: bool = False
    """Whether the newest copy holds this already."""

    async def look(self, call: SkillCall) -> SkillResult:
        word = "well" if self.well else "not_well"
        return SkillResult(ok=self.well, result={"verdict": word})

    async def state(self, subject: str) -> UnitState:
        return UnitState(subject, self.state_word, "managed", since=self.since)

    async def act(self, skill: str, params: Any, **_: Any) -> SkillResult:
        assert (skill, params["files"], params["subject"]) == ("keep_copy", ["/etc/web"], "web.service")
        if self.copying_works:
            self.copies.append((self.clock.monotonic(), self.disk.read(CONF)))
        return SkillResult(ok=self.copying_works, result={"manifest": f"m{len(self.copies)}", "new": not self.stands})

    def emit(self, *drafts: Draft) -> Any:
        self.told += drafts
        done = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done

    def write(self, data: bytes) -> None:
        self.disk.append(CONF, data, durable=True)

    def starts(self) -> None:
        self.since = self.clock.now()


def keeping(story: Any) -> None:
    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        disk = SimDisk(clock)
        disk.make_folders("/etc/web")
        web = Web(clock, disk)
        web.write(b"good\n")
        await asyncio.sleep(1.0)
        web.starts()
        shelf = Shelf(SimBlobs(), specs())
        assert shelf.reload({"/web.yaml": TEXT})[0].type == "playbook.loaded", shelf.errors
        parts: Any = web
        keeper = LastGood(shelf, specs(), parts, parts, disk, parts, web.emit, clock)
        keeper.start()
        await story(web, keeper)
        keeper.close()

    run_virtual(main)


def heard(keeper: LastGood, type: str, subject: str = "web.service") -> None:
    event = Event("e", "t", type, subject, "", {}, "")
    keeper.heard([Stored(event, Position("d", 1, 0))])


def test_a_copy_is_taken_after_it_was_well_for_as_long_as_asked_and_then_no_more() -> None:
    async def story(web: Web, _: LastGood) -> None:
        began = web.clock.monotonic()
        await asyncio.sleep(200.0)
        ((at, data),) = web.copies
        assert at - began == pytest.approx(20.0, abs=1.0)
        assert data == b"good\n"
        (kept,) = web.told
        assert (kept.type, kept.subject, kept.data["manifest"]) == ("playbook.kept", "web.service", "m1")

    keeping(story)


def test_what_stands_already_is_not_told_as_a_new_copy() -> None:
    """A daemon that is started again has nothing to tell of a copy that was taken before."""

    async def story(web: Web, _: LastGood) -> None:
        web.stands = True
        await asyncio.sleep(200.0)
        assert (len(web.copies), web.told) == (1, [])

    keeping(story)


def test_a_file_that_was_spoiled_under_a_running_service_is_not_good() -> None:
    """It still serves with what it read at its start: the new file proves nothing until a start or reload read it."""

    async def story(web: Web, keeper: LastGood) -> None:
        await asyncio.sleep(100.0)
        web.write(b"spoiled\n")
        keeper.changed("web.service")
        await asyncio.sleep(300.0)
        assert len(web.copies) == 1
        web.starts()
        heard(keeper, "service.up")
        await asyncio.sleep(100.0)
        assert [data for _, data in web.copies] == [b"good\n", b"good\nspoiled\n"]

    keeping(story)


def test_what_changes_while_it_is_being_proven_is_not_copied() -> None:
    async def story(web: Web, _: LastGood) -> None:
        await asyncio.sleep(10.0)
        web.write(b"in between\n")
        await asyncio.sleep(300.0)
        assert web.copies == []

    keeping(story)


@pytest.mark.parametrize("word", ["down", "stopped", "unknown"])
def test_what_does_not_run_is_not_proven(word: str) -> None:
    async def story(web: Web, _: LastGood) -> None:
        web.state_word = word
        await asyncio.sleep(300.0)
        assert web.copies == []
        web.state_word = "up"
        await asyncio.sleep(60.0)  # nobody told it: it looks every ten seconds by itself
        assert len(web.copies) == 1

    keeping(story)


def test_what_is_not_well_is_not_copied_until_it_is() -> None:
    async def story(web: Web, _: LastGood) -> None:
        web.well = False
        await asyncio.sleep(300.0)
        assert web.copies == []
        web.well = True
        await asyncio.sleep(100.0)
        assert len(web.copies) == 1

    keeping(story)


def test_a_copy_that_failed_is_tried_again() -> None:
    async def story(web: Web, _: LastGood) -> None:
        web.copying_works = False
        await asyncio.sleep(100.0)
        assert (web.copies, web.told) == ([], [])
        web.copying_works = True
        await asyncio.sleep(100.0)
        assert len(web.copies) == 1

    keeping(story)


def test_what_changed_since_the_last_good_copy_is_told_when_a_run_opens() -> None:
    """Once for the run, in its incident; a playbook that keeps nothing is not looked for."""

    async def story(web: Web, keeper: LastGood) -> None:
        async def since_good(playbook: str, subject: str) -> dict[str, Any]:
            return {"generation": 2, "changed": [f"{playbook} {subject}"], "files": 1, "blob": "b"}

        keeper.since_good = since_good
        for playbook in ("web", "another"):
            data = {"run": f"run of {playbook}", "playbook": playbook}
            opened = Event("e", "t", "run.opened", "web.service", "", data, "", correlationid="incident")
            keeper.heard([Stored(opened, Position("d", 1, 0))])
        await asyncio.sleep(1.0)
        (told,) = [draft for draft in web.told if draft.type == "playbook.changed_since_good"]
        assert told.data["run"] == "run of web"
        assert told.data["changed"] == ["web web.service"]
        assert told.correlationid == "incident"

    keeping(story)
