"""`aios inbox list`: what other programs bring, from the journal and the files alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from aios.disk import OsFiles
from aios.events.event import Event, Position
from aios.events.origin import InboxCursor, mark_of, origin_text
from aios.journal.checkpoints import Checkpoints
from aios.scores.scores import Scores
from aios.world import CHECKPOINT_VERSION, World
from tests.acceptance.cli_kit import NOON, aios, event, write_journal
from tests.acceptance.house import House


def taken(name: str, path: Path, line: bytes, at: float) -> Event:
    """The line at the end of this file, as the journal holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(line)
    here = path.stat()
    cursor = InboxCursor(here.st_dev, here.st_ino, 0, here.st_size, len(line), mark_of(line))
    made = event("a.b", id_=f"{name}-{at}", at=at)
    return made._replace(origin=origin_text(name, cursor), source=f"inbox/{name}")


def listed(state: Path) -> dict[str, dict[str, Any]]:
    done = aios("inbox", "list", "--json", data=state)
    assert done.code == 0
    return {one["source"]: one for one in json.loads(done.out)["sources"]}


def test_files_whose_names_keep_them_from_being_read_are_told(tmp_path: Path) -> None:
    """Also where no daemon runs that could say so."""
    write_journal(tmp_path, event("a.b"))
    (tmp_path / "inbox").mkdir()
    for name in ("w.json", "bad name.jsonl", "web.jsonl", "web.jsonl.1", "half.tmp"):
        (tmp_path / "inbox" / name).write_text("{}\n")
    notes = {name: one["notes"] for name, one in listed(tmp_path).items() if one["notes"]}
    assert notes["inbox/w.json"] == ["cannot be read: its name must end in .jsonl"]
    assert notes["inbox/bad name"][0].startswith("cannot be read: no name for an inbox file")
    assert len(notes) == 2


def test_each_source_is_told_with_how_far_how_fast_and_what_was_refused(tmp_path: Path) -> None:
    """Files of one program count together; bytes that no daemon has taken wait."""
    inbox = tmp_path / "inbox"
    write_journal(
        tmp_path,
        taken("web", inbox / "web.jsonl", b'{"type":"a.b"}\n', NOON - 7200),
        taken("web", inbox / "web.jsonl", b'{"type":"a.b"}\n', NOON - 60),
        taken("app/2026-02-24", inbox / "app" / "2026-02-24.jsonl", b'{"type":"a.b"}\n', NOON - 50),
        event(
            "journal.quarantined", file="inbox/web.jsonl", offset=0, length=9, reason="not JSON", kept="", lines=3, at=NOON - 40
        ),
        event("journal.inbox_slowed", file="inbox/web.jsonl", source="inbox/web", waiting=9, at=NOON - 30),
        event("journal.quarantined", file="inbox/gone.jsonl", offset=0, length=9, reason="old", kept="", at=NOON - 2 * 86400),
    )
    with open(inbox / "web.jsonl", "ab") as file:
        file.write(b'{"type":"not.taken"}\n')
    found = listed(tmp_path)
    assert sorted(found) == ["inbox/app", "inbox/web"]
    web = found["inbox/web"]
    assert (web["files"], web["bytes"], web["taken"], web["waiting"]) == (1, 51, 30, 21)
    assert (web["taken_in_hour"], web["refused_in_day"], web["reasons"]) == (1, 3, {"not JSON": 3})
    assert web["notes"] == ["slowed: over its limit"]
    assert (found["inbox/app"]["waiting"], found["inbox/app"]["taken_in_hour"]) == (0, 1)
    text = aios("inbox", "list", data=tmp_path).out
    assert "not JSON" in text
    assert len(text.splitlines()) == 3


def test_an_empty_inbox_says_what_it_is_for(tmp_path: Path) -> None:
    """And a folder without a journal is refused."""
    write_journal(tmp_path, event("a.b"))
    assert "inbox/" in aios("inbox", "list", data=tmp_path).out
    assert aios("inbox", "list", data=tmp_path / "none").code == 1


def test_what_a_checkpoint_knows_needs_no_event(tmp_path: Path) -> None:
    """A source that was quiet since the last one is as far as the checkpoint says."""
    path = tmp_path / "inbox" / "web.jsonl"
    before = taken("web", path, b'{"type":"a.b"}\n', NOON - 7200)
    write_journal(tmp_path, event("c.d"))
    world = World(Scores())
    world.apply(before, Position("2026-02-24", 1, 0))
    Checkpoints(OsFiles(), str(tmp_path / "checkpoints"), CHECKPOINT_VERSION).save(world.position, {"world": world.to_json()})
    assert listed(tmp_path)["inbox/web"]["taken"] == 15


def test_a_state_folder_from_a_backup_takes_no_line_twice_and_lists_what_is_taken(tmp_path: Path) -> None:
    """After a restart, and after a real copy of the whole folder: `cp -a` gives each file another inode."""
    house = House(tmp_path, {})
    try:
        file = house.state / "inbox" / "web.jsonl"
        append(file, '{"type":"web.slow","data":{"n":1}}\n{"type":"web.slow","data":{"n":2}}\n')
        until_taken(house, 2)
        house.stop()
        assert listed(house.state)["inbox/web"]["waiting"] == 0
        shutil.copytree(house.state, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("control.sock"))
        inode = file.stat().st_ino
        house.state.rename(tmp_path / "old")
        (tmp_path / "copy").rename(house.state)
        assert file.stat().st_ino != inode
        assert listed(house.state)["inbox/web"]["waiting"] == 0
        house.log = open(tmp_path / "log", "ab")  # noqa: SIM115 - closed in `stop`
        house.start()
        append(file, '{"type":"web.slow","data":{"n":3}}\n')
        assert until_taken(house, 3) == [1, 2, 3]
    finally:
        house.stop()


def append(file: Path, lines: str) -> None:
    with open(file, "a", encoding="utf-8") as out:
        out.write(lines)


def until_taken(house: House, count: int) -> list[int]:
    """What the journal holds of it, once there is so much; asked of the daemon, so that nothing here waits for a time."""
    while True:
        told = [json.loads(one)["event"] for one in house.aios("events", "--type", "web.slow", "--json").splitlines()]
        if len(told) >= count:
            return [one["data"]["n"] for one in told]
        assert house.process.poll() is None


def test_every_reason_is_told_and_what_was_wrong_with_a_file_that_is_gone_is_not(tmp_path: Path) -> None:
    """Who removed or renamed the file has done what was asked."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "web.jsonl").write_text("")
    reasons = [f"reason {n}" for n in range(4)]
    refused = [
        event("journal.quarantined", file="inbox/web.jsonl", offset=n, length=9, reason=reason, kept="", at=NOON - 40 + n)
        for n, reason in enumerate(reasons)
    ]
    failed = event("journal.inbox_failed", file="inbox/w.json", error="its name must end in .jsonl", at=NOON - 30)
    write_journal(tmp_path, *refused, failed)
    found = listed(tmp_path)
    assert sorted(found["inbox/web"]["reasons"]) == reasons
    assert list(found) == ["inbox/web"]
    text = aios("inbox", "list", data=tmp_path).out
    assert all(reason in text for reason in reasons)
