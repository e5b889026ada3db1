"""The inbox on a real disk: what programs do there, and what hostile ones try."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aios.disk import OsFiles
from aios.events.codec import encode_json
from aios.events.event import Draft
from aios.journal.inbox import InboxFolder


def line(number: int) -> bytes:
    return b'{"type":"a.b","data":{"n":%d}}\n' % number


def inbox(folder: Path) -> InboxFolder:
    (folder / "inbox").mkdir(exist_ok=True)
    return InboxFolder(OsFiles(), str(folder / "inbox"), str(folder / "quarantine"), cursors={})


def take_all(box: InboxFolder) -> list[Draft]:
    drafts: list[Draft] = []
    while True:
        taken = box.take(500)
        drafts += taken.drafts
        if not taken.more:
            return drafts


def numbers(drafts: list[Draft]) -> list[int]:
    return [draft.data["n"] for draft in drafts if draft.type == "a.b"]


def test_links_pipes_and_devices_are_refused_and_told(tmp_path: Path) -> None:
    """None of them is followed, none of them holds us up, and a plain file beside them is read."""
    box = inbox(tmp_path)
    folder = tmp_path / "inbox"
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(line(666))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "2026-02-24.jsonl").write_bytes(line(667))
    (folder / "link.jsonl").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "device.jsonl").symlink_to("/dev/zero")
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "web.jsonl").write_bytes(line(1))
    drafts = take_all(box)
    assert numbers(drafts) == [1]
    told = {draft.data["file"]: draft.data["error"] for draft in drafts if draft.type == "journal.inbox_failed"}
    assert set(told) == {
        "inbox/link.jsonl",
        "inbox/linked",
        "inbox/device.jsonl",
        "inbox/folder.jsonl",
        "inbox/pipe.jsonl",
    }
    assert all("not" in reason for reason in told.values())
    box.doubt()
    assert take_all(box) == [], "told once"


@pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")
@pytest.mark.root
def test_a_real_device_is_refused(tmp_path: Path) -> None:
    box = inbox(tmp_path)
    try:
        os.mknod(tmp_path / "inbox" / "zero.jsonl", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this machine lets nobody make devices")
    (told,) = take_all(box)
    assert (told.type, told.data["file"]) == ("journal.inbox_failed", "inbox/zero.jsonl")


def test_a_file_turned_into_a_link_behind_our_back_is_not_followed(tmp_path: Path) -> None:
    box = inbox(tmp_path)
    web = tmp_path / "inbox" / "web.jsonl"
    web.write_bytes(line(1))
    assert numbers(take_all(box)) == [1]
    (tmp_path / "secret").write_bytes(line(666))
    web.unlink()
    web.symlink_to(tmp_path / "secret")
    box.touched("web.jsonl")
    assert numbers(take_all(box)) == []


def test_a_file_with_a_wrong_name_is_told_once_when_it_comes_and_at_a_start(tmp_path: Path) -> None:
    """What a program writes there for nothing must not be silent; what a rotation leaves is nobody's business."""
    box = inbox(tmp_path)
    take_all(box)
    for name in ("w.json", "bad name.jsonl", "half.tmp"):
        (tmp_path / "inbox" / name).write_bytes(line(1))
        box.touched(name)
        box.touched(name)
    told = [(draft.type, draft.data["file"]) for draft in take_all(box)]
    assert told == [("journal.inbox_failed", "inbox/w.json"), ("journal.inbox_failed", "inbox/bad name.jsonl")]
    box.doubt()
    assert take_all(box) == []
    assert {draft.data["file"] for draft in take_all(inbox(tmp_path))} == {"inbox/w.json", "inbox/bad name.jsonl"}


def test_a_file_that_was_read_and_then_renamed_is_not_told_as_one_with_a_wrong_name(tmp_path: Path) -> None:
    """Its rotation gave it that name."""
    box = inbox(tmp_path)
    (tmp_path / "inbox" / "web.jsonl").write_bytes(line(1))
    box.touched("web.jsonl")
    assert numbers(take_all(box)) == [1]
    (tmp_path / "inbox" / "web.jsonl").rename(tmp_path / "inbox" / "web.log")
    box.touched("web.log")
    assert [draft for draft in take_all(box) if draft.type == "journal.inbox_failed"] == []


def test_names_that_are_no_text_are_told_as_text(tmp_path: Path) -> None:
    """A name of any bytes may stand in the folder; what is told of it can be written into the journal."""
    box = inbox(tmp_path)
    folder = os.fsencode(tmp_path / "inbox")
    os.mkdir(folder + b"/\xff\xfe")
    Path(os.fsdecode(folder + b"/\xfa.jsonl")).write_bytes(line(1))
    Path(os.fsdecode(folder + b"/a\nb.jsonl")).write_bytes(line(2))
    drafts = take_all(box)
    assert numbers(drafts) == []
    assert len(drafts) == 3
    assert all(encode_json(draft.data).isascii() for draft in drafts)


def test_copytruncate_as_logrotate_does_it(tmp_path: Path) -> None:
    box = inbox(tmp_path)
    web = tmp_path / "inbox" / "web.jsonl"
    seen: list[int] = []
    with web.open("ab", buffering=0) as program:
        for number in range(60):
            program.write(line(number))
            if number % 7 == 3:
                box.touched("web.jsonl")
                seen += numbers(take_all(box))
                os.truncate(web, 0)
                box.touched("web.jsonl")
    seen += numbers(take_all(box))
    assert seen == list(range(60))


def test_a_rotation_by_rename_loses_nothing(tmp_path: Path) -> None:
    box = inbox(tmp_path)
    web = tmp_path / "inbox" / "web.jsonl"
    seen: list[int] = []
    for number in range(40):
        with web.open("ab") as program:
            program.write(line(number))
        if number % 3 == 0:
            box.touched("web.jsonl")
            seen += numbers(take_all(box))
        if number % 5 == 4:
            web.rename(tmp_path / "inbox" / f"web.jsonl.{number}")
            box.touched("web.jsonl")
            seen += numbers(box.take(1).drafts)
    box.touched("web.jsonl")
    assert seen + numbers(take_all(box)) == list(range(40))


def test_a_program_that_writes_in_pieces_is_read_in_lines(tmp_path: Path) -> None:
    """Another process writes 2,000 lines in pieces of 7 bytes while we read: each arrives once, in order."""
    box = inbox(tmp_path)
    writer = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        'data = b\'\'.join(b\'{"type":"a.b","data":{"n":%d}}\\n\' % n for n in range(2000))\n'
        "for at in range(0, len(data), 7): os.write(fd, data[at:at + 7])\n"
    )
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", writer, str(tmp_path / "inbox" / "web.jsonl")]) as program:
        while program.poll() is None:
            box.touched("web.jsonl")
            drafts = take_all(box)
            assert len(numbers(drafts)) == len(drafts)
            seen += numbers(drafts)
    box.touched("web.jsonl")
    assert seen + numbers(take_all(box)) == list(range(2000))


HUGE = """
import json, resource, sys
from aios.disk import OsFiles
from aios.journal.inbox import InboxFolder
box = InboxFolder(OsFiles(), sys.argv[1] + "/inbox", sys.argv[1] + "/quarantine", cursors={})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
drafts, more = [], True
while more:
    taken = box.take(500)
    drafts += [(draft.type, draft.data.get("length")) for draft in taken.drafts]
    more = taken.more
print(json.dumps([drafts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


def test_a_100_mb_line_costs_no_memory_for_real(tmp_path: Path) -> None:
    """Measured in a process of its own: its largest size grows by less than 4 MB, and the neighbours are taken."""
    (tmp_path / "inbox").mkdir()
    with (tmp_path / "inbox" / "web.jsonl").open("wb") as file:
        file.write(line(1))
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + line(2))
    out = subprocess.run([sys.executable, "-c", HUGE, str(tmp_path)], capture_output=True, timeout=60, check=True).stdout
    drafts, grown_kb = json.loads(out)
    assert drafts == [["a.b", None], ["journal.quarantined", 100_000_001], ["a.b", None]]
    assert grown_kb < 4096
