"""What an upgrading user has on disk comes along: each record once, or listed with its reason; all at once or not at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aios.disk import OsFiles
from aios.entropy import SeededEntropy
from aios.errors import Refused
from aios.events.event import Event, parse_time
from aios.events.redact import Redactor
from aios.journal.archive import list_archives, open_archive
from aios.journal.dialects import NotAnEvent, event_of, time_of, type_of, zone_vote
from aios.journal.importer import Imported, Importer, records, zone_of
from aios.journal.query import EVERYTHING, History, Query
from aios.journal.reader import FolderReader
from aios.journal.retention import RetentionLimits, Upkeep
from aios.ports import Files
from aios.testing.disk import SimDisk
from tests.unit.journal.failing import Crash, FailingFiles
from tests.unit.journal.test_journal_writer import NOW, disk

STATE = "/s"
EAST_S = 8 * 3600

EVENT = {
    "ts": "2026-02-17T00:02:51.948793",
    "layer": "SYSTEM",
    "event": "warning.high_cpu_usage",
    "severity": "WARN",
    "payload": {"value": 92},
    "timestamp": 1771257771948,
}
SNAPSHOT = {
    "ts": "2026-02-24T14:43:44",
    "epoch": 1771915424,
    "layer": "KERNEL",
    "event": "resource_snapshot",
    "status": "ok",
    "severity": "INFO",
    "payload": {"cpu_percent": 5.5, "memory_percent": 45},
}
TOPIC = {
    "topic": "sensor.file.created",
    "payload": {"path": "C:\\x"},
    "priority": 1,
    "ts": 1771716611.5,
    "source": "file_watcher",
}
TYPED = {
    "ts": "2026-02-25T08:17:03.591727+00:00",
    "type": "task_timeout",
    "severity": "error",
    "agent_id": "coder",
    "trace_id": "trace:1",
    "payload": {"timeout_sec": 60},
}
FOURTH = {
    "ts": "2026-02-25T15:49:01",
    "event_type": "error",
    "severity": "high",
    "data": {"error_type": "FileNotFoundError", "error_message": "no such path", "agent_id": "monitor"},
}
LOG = {"ts": "2026-02-22T17:26:52.136045", "layer": "TOOL", "level": "ERR", "msg": "502 Bad Gateway", "meta": {"test": True}}
REACTION = {
    "ts": "2026-02-22T12:03:13.735217",
    "reaction_id": "9b",
    "alert_severity": "CRIT",
    "playbook_id": "pb",
    "status": "success",
}
DECISION = {"id": "41", "ts": "2026-02-22T12:16:53", "epoch": 1771733813, "options": ["a"], "chosen": "a"}
TOKENS = {"ts": "2026-02-22T10:01:15", "epoch": 1771725675, "input_tokens": 1000, "total_tokens": 1500}
OWN_NAME = {"ts": 1771258805, "event": "scheduler.decision.made", "layer": "KERNEL"}
PLAYBOOK = {"id": "pb-001", "name": "retry", "trigger": {"rule": "x"}, "action": {"type": "auto"}}
ALL = [EVENT, SNAPSHOT, TOPIC, TYPED, FOURTH, LOG, REACTION, DECISION, TOKENS, OWN_NAME]


def lines(*bodies: Any) -> bytes:
    return b"".join(json.dumps(body).encode() + b"\n" for body in bodies)


def write(folder: Path, name: str, raw: bytes) -> str:
    (folder / "old").mkdir(exist_ok=True)
    path = folder / "old" / name
    path.write_bytes(raw)
    return str(path)


def importer(state: str, files: Files | None = None, now: float = NOW) -> Importer:
    return Importer(files or OsFiles(), state, Redactor(), now)


def sums(done: Imported) -> tuple[int, int, int, int]:
    assert done.read == done.imported + done.already_there + done.quarantined
    assert all(one.read == one.imported + one.already_there + one.quarantined for one in done.files)
    return done.read, done.imported, done.already_there, done.quarantined


def everything(state: Path | str, files: Files | None = None) -> list[Event]:
    return [stored.event for stored in History(files or OsFiles(), f"{state}/events").read()]


# --- what a record means ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "type_", "subject", "severity", "time", "data"),
    [
        (EVENT, "resource.cpu_spike", "host", "warning", "2026-02-16T16:02:51.948793Z", {"used": 0.92, "value": 92}),
        (SNAPSHOT, "host.sampled", "host", "info", "2026-02-24T06:43:44.000000Z", {"cpu": 0.055, "memory": 0.45, "status": "ok"}),
        (TOPIC, "sensor.file.created", "host", "info", "2026-02-21T23:30:11.500000Z", {"original_source": "file_watcher"}),
        (
            TYPED,
            "task.timed_out",
            "agent:coder",
            "error",
            "2026-02-25T08:17:03.591727Z",
            {"timeout_sec": 60, "trace_id": "trace:1"},
        ),
        (FOURTH, "agent.error", "agent:monitor", "error", "2026-02-25T07:49:01.000000Z", {"message": "no such path"}),
        (LOG, "original.log", "host", "error", "2026-02-22T09:26:52.136045Z", {"msg": "502 Bad Gateway", "test": True}),
        (REACTION, "original.reaction", "host", "critical", "2026-02-22T04:03:13.735217Z", {"playbook_id": "pb"}),
        (DECISION, "original.decision", "host", "info", "2026-02-22T04:16:53.000000Z", {"id": "41", "chosen": "a"}),
        (TOKENS, "original.tokens_used", "host", "info", "2026-02-22T02:01:15.000000Z", {"input_tokens": 1000}),
        (OWN_NAME, "original.scheduler.decision.made", "host", "info", "2026-02-16T16:20:05.000000Z", {"layer": "KERNEL"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_dialect_becomes_an_event_of_today(
    record: dict[str, Any], type_: str, subject: str, severity: str, time: str, data: dict[str, Any]
) -> None:
    """Type, subject, severity and time; nothing of the record is thrown away."""
    event = event_of(record, EAST_S, "import/x:1")
    assert (event.type, event.subject, event.severity, event.time, event.arrival) == (type_, subject, severity, time, time)
    assert data.items() <= event.data.items()
    assert event.source == "aios-original"


def test_an_id_is_made_of_what_a_record_says() -> None:
    """Not of its place, its spacing, or the zone that was believed."""
    one = event_of(EVENT, 0, "import/a:1")
    other = event_of(dict(reversed(EVENT.items())), EAST_S, "import/b:9")
    assert one.id == other.id != event_of({**EVENT, "layer": "TOOL"}, 0, "import/a:1").id


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (PLAYBOOK, "playbook"),
        ({"ts": 1771258805}, "no type"),
        ({"event": "x.y"}, "no time"),
        ({"event": "x.y", "ts": 12}, "no time"),
        ({"event": "x.y", "ts": "12:30"}, "no time"),
        ({"event": "x.y", "ts": "0001-01-01T00:00:00"}, "no time"),
        ({"event": "...", "ts": 1771258805}, "no name"),
        ({"event": "x" * 200, "ts": 1771258805}, "no name"),
    ],
)
def test_what_is_no_event_says_why(record: dict[str, Any], reason: str) -> None:
    """One sentence that a person understands."""
    with pytest.raises(NotAnEvent, match=reason):
        event_of(record, 0, "")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"ts": 1771258805}, "2026-02-16T16:20:05Z"),
        ({"ts": 1771258805948}, "2026-02-16T16:20:05.948Z"),
        ({"ts": 1771258805948000}, "2026-02-16T16:20:05.948Z"),
        ({"ts": "2026-02-17T00:20:05"}, "2026-02-16T16:20:05Z"),
        ({"ts": "2026/02/17 00:20:05"}, "2026-02-16T16:20:05Z"),
        ({"ts": "2026-02-17T00:20:05,5"}, "2026-02-16T16:20:05.5Z"),
        ({"ts": "2026-02-17T00:20:05.25", "epoch": 1771240805}, "2026-02-16T11:20:05.25Z"),
        ({"ts": "2026-02-17T00:20:05.25", "epoch": 1771258111}, "2026-02-16T16:08:31Z"),
        ({"timestamp": "2026-02-16T16:20:05+00:00"}, "2026-02-16T16:20:05Z"),
    ],
)
def test_mixed_times_are_one_moment(times: dict[str, Any], expected: str) -> None:
    """Seconds, milliseconds, microseconds, texts with and without a zone; a number beside a text decides."""
    assert time_of(times, EAST_S) == parse_time(expected)


def test_records_that_tell_a_moment_twice_tell_the_zone(tmp_path: Path) -> None:
    """For all files of an import: the most of them decide. Without any, the machine's own zone."""
    assert [zone_vote(record) for record in (EVENT, SNAPSHOT, TOPIC, TYPED, FOURTH)] == [EAST_S, EAST_S, None, None, None]
    paths = [write(tmp_path, "a", lines(FOURTH)), write(tmp_path, "b", lines(EVENT, SNAPSHOT))]
    assert zone_of(OsFiles(), paths, 3600) == EAST_S
    assert zone_of(OsFiles(), paths[:1], 3600) == 3600


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("task.completed", "task.completed"),
        ("run.healed", "original.run.healed"),
        ("alone", "original.alone"),
        ("磁盘.full", "original._.full"),
        ("a b.c", "a_b.c"),
    ],
)
def test_names_that_are_ours_now_stand_aside(name: str, expected: str) -> None:
    """Nothing imported looks like a decision or a run of this AIOS."""
    assert type_of(name) == expected


# --- what stands in a file --------------------------------------------------------------------------------------------

ONE = json.dumps(EVENT).encode()


@pytest.mark.parametrize(
    ("raw", "good", "bad"),
    [
        (b"", 0, 0),
        (b"\n\r\n  \n", 0, 0),
        (ONE, 1, 0),
        (ONE + b"\r\n" + ONE + b"\r\n", 2, 0),
        (b"\xef\xbb\xbf" + ONE + b"\n\xef\xbb\xbf" + ONE, 2, 0),
        (("\ufeff" + ONE.decode() + "\n" + ONE.decode()).encode("utf-16-le"), 2, 0),
        (b"\xef\xbb\xbf[" + ONE + b"," + ONE + b"]\n" + ONE, 3, 0),
        (json.dumps([EVENT, TOPIC], indent=2).encode(), 2, 0),
        (json.dumps(EVENT, indent=2).encode(), 1, 0),
        (b"\xef\xbb\xbf" + json.dumps([EVENT, TOPIC], indent=2).encode(), 2, 0),
        (ONE + ONE + b"\n", 2, 0),
        (ONE + b"\n" + ONE[:40] + b"\n" + ONE, 2, 1),
        (ONE + b"\n[1, 2]\n3\nnull\n" + ONE, 2, 4),
        (b'{"event": "a.b", "ts": 1771258805, "msg": "\xc3\x28\xff"}', 1, 0),
        (b'{"event": "a.b", "ts": 1771258805, "msg": "\\ud83d"}', 1, 0),
        (b'{"event": "a.b", "ts": 1771258805, "value": NaN}', 1, 0),
        (b"[" * 100_000, 0, 1),
        (b'{"event": "a.b", "ts": 1, "n": ' + b"9" * 5000 + b"}", 0, 1),
        (b"\x00" * 5000 + b"\n" + ONE, 1, 0),
        (b"garbage\n" * 3, 0, 3),
    ],
    ids=range(20),
)
def test_records_are_found_in_damaged_files(tmp_path: Path, raw: bytes, good: int, bad: int) -> None:
    """Byte-order marks, arrays, documents over many lines, glued objects, half lines, no UTF-8, NaN: each is a record or told."""
    found = list(records(OsFiles(), write(tmp_path, "f.jsonl", raw)))
    assert (sum(one.record is not None for one in found), sum(bool(one.reason) for one in found)) == (good, bad)


def test_any_bytes_sum_up(tmp_path: Path) -> None:
    """Flipped, cut and inserted bytes: never an exception, and the sum is right."""
    entropy = SeededEntropy(4)
    whole = lines(*ALL)
    for turn in range(300):
        at = int(entropy.uniform(0, len(whole)))
        cut = int(entropy.uniform(0, 40))
        junk = bytes(int(entropy.uniform(0, 256)) for _ in range(int(entropy.uniform(0, 12))))
        path = write(tmp_path, "f.jsonl", whole[:at] + junk + whole[at + cut :])
        done = importer(f"{tmp_path}/state{turn % 3}").run([path], zone_s=0)
        assert sums(done)[0] >= len(ALL) - 4, turn


# --- an import --------------------------------------------------------------------------------------------------------


def test_an_import_is_read_like_any_other_day(tmp_path: Path) -> None:
    """By its own times, in their order; each event stands on its own day."""
    done = importer(str(tmp_path)).run([write(tmp_path, "a.jsonl", lines(*ALL, PLAYBOOK))])
    assert sums(done) == (11, 10, 0, 1)
    assert done.zone_s == EAST_S
    events = everything(tmp_path)
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len(events) == 10
    assert all(stored.position.day == stored.event.time[:10] for stored in History.of(tmp_path).read())
    assert done.files[0].reasons[0]["line"] == 11


def test_importing_twice_adds_nothing(tmp_path: Path) -> None:
    """Nor does a file that holds the same records in another shape, or with another zone."""
    first = write(tmp_path, "a.jsonl", lines(*ALL))
    importer(str(tmp_path)).run([first])
    before = sorted(path.name for path in (tmp_path / "events" / "archive").iterdir())
    assert sums(importer(str(tmp_path)).run([first])) == (10, 0, 10, 0)
    other = write(tmp_path, "b.jsonl", b"\xef\xbb\xbf" + json.dumps(ALL, indent=1).encode())
    assert sums(importer(str(tmp_path)).run([other, first], zone_s=-3600)) == (20, 0, 20, 0)
    assert sorted(path.name for path in (tmp_path / "events" / "archive").iterdir()) == before
    more = {**TOPIC, "priority": 2}
    assert sums(importer(str(tmp_path)).run([write(tmp_path, "c.jsonl", lines(*ALL, more, more))])) == (12, 1, 11, 0)
    assert len(everything(tmp_path)) == 11


def test_it_changes_no_state(tmp_path: Path) -> None:
    """The daemon folds its world from the journal's own parts; no imported one is among them."""
    importer(str(tmp_path)).run([write(tmp_path, "a.jsonl", lines(*ALL))])
    assert list(FolderReader(OsFiles(), f"{tmp_path}/events").read()) == []
    assert list(History.of(tmp_path).read(Query(imported=False))) == []


def test_its_age_counts_from_the_import(tmp_path: Path) -> None:
    """Old events are not deleted at once because they are old."""
    importer(str(tmp_path), now=NOW).run([write(tmp_path, "a.jsonl", lines(*ALL))])
    events = str(tmp_path / "events")
    parts = list_archives(OsFiles(), events)
    assert parts
    for part in parts:
        opened = open_archive(OsFiles(), events, part)
        assert opened.index.since == int(NOW)
        opened.close()


def test_its_age_outlives_its_index(tmp_path: Path) -> None:
    """A lost index does not make it as old as what it tells of."""
    importer(str(tmp_path)).run([write(tmp_path, "a.jsonl", lines(*ALL))])
    events = tmp_path / "events"
    for index in (events / "archive").glob("*.idx"):
        index.unlink()
    numbers: Mapping[str, Any] = {}
    upkeep = Upkeep(OsFiles(), str(tmp_path), RetentionLimits(), lambda _day: numbers)
    parts = list_archives(OsFiles(), str(events))
    assert parts
    for part in parts:
        path = events / "archive" / f"{part.name}.zst"
        assert upkeep._archive_facts(part).since == path.stat().st_mtime_ns // 1_000_000_000


def test_secrets_are_struck_out(tmp_path: Path) -> None:
    """As at the one door for everything else."""
    secret = {**TOPIC, "payload": {"password": "hunter2hunter2", "note": "ok"}}
    importer(str(tmp_path)).run([write(tmp_path, "a.jsonl", lines(secret))])
    (event,) = everything(tmp_path)
    assert (event.data["password"], event.data["note"]) == ("[redacted]", "ok")


def test_what_is_not_understood_is_kept_with_its_place(tmp_path: Path) -> None:
    """In quarantine, and in the answer."""
    path = write(tmp_path, "a.jsonl", lines(EVENT) + b"half a li\n" + lines(PLAYBOOK))
    done = importer(str(tmp_path)).run([path])
    assert [reason["line"] for reason in done.files[0].reasons] == [2, 3]
    kept = [json.loads(line) for line in (tmp_path / "quarantine" / "import.1.jsonl").read_text().splitlines()]
    assert [(one["file"], one["offset"]) for one in kept] == [(path, 2), (path, 3)]
    assert kept[0]["text"] == "half a li"


def test_a_file_that_is_none_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """A missing one, or a folder."""
    good = write(tmp_path, "a.jsonl", lines(*ALL))
    for bad in (str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(Refused):
            importer(str(tmp_path / "state")).run([good, bad])
    assert not (tmp_path / "state").exists()


# --- cut off ----------------------------------------------------------------------------------------------------------


def sim() -> SimDisk:
    files = disk()
    files.make_folders("/s/events")
    files.make_folders("/old")
    files.append("/old/a.jsonl", lines(EVENT, SNAPSHOT, TOPIC), durable=True)
    files.append("/old/b.jsonl", lines(TYPED, FOURTH, EVENT), durable=True)
    return files


PATHS = ["/old/a.jsonl", "/old/b.jsonl"]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_killed_at_every_disk_call_it_has_happened_or_not(half: bool, again: bool) -> None:
    """Never a half: all days of an import count from one instant. And importing again leaves everything there, once.

    `again`: there was an import before, whose events stay whatever happens.
    """
    before = 3 if again else 0
    at = 0
    while True:
        at += 1
        files = sim()
        if again:
            importer(STATE, files).run(PATHS[:1])
        failing = FailingFiles(files, at, half=half)
        done = False
        try:
            importer(STATE, failing).run(PATHS)
            done = True
        except Crash:
            pass
        assert len(everything(STATE, files)) in ((5,) if done else (before, 5)), at
        files.power_cut(SeededEntropy(at))
        found = len(everything(STATE, files))
        assert found == 5 if done else found in (before, 5), at
        assert sums(importer(STATE, files).run(PATHS))[1:3] == (5 - found, 1 + found), at
        events = everything(STATE, files)
        assert len({event.id for event in events}) == len(events) == 5, at
        assert not [name for name in files.listdir("/s/events/archive") if "unfinished" in name or name.endswith(".tmp")], at
        if done and not failing.dead:
            break
    assert at > 40


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EDQUOT])
def test_a_failing_disk_loses_nothing(error: int) -> None:
    """At every call: it rises, what was there stays, and the next import does it all."""
    at = 0
    while True:
        at += 1
        files = sim()
        importer(STATE, files).run(PATHS[:1])
        failing = FailingFiles(files, at, error=error)
        try:
            importer(STATE, failing).run(PATHS)
        except OSError:
            assert len(everything(STATE, files)) in (3, 5), at
        assert sums(importer(STATE, files).run(PATHS))[3] == 0
        assert len(everything(STATE, files)) == 5, at
        if failing.calls < at:
            break
    assert at > 40


def test_an_import_that_goes_on_just_now_is_not_read() -> None:
    """Its days are there one after the other; nobody sees some of them."""
    files = sim()
    seen: set[int] = set()

    class Watching(FailingFiles):
        def _wrapped(self, name: str, call: Any) -> Any:
            if name in ("rename", "unlink", "fsync_dir"):
                seen.add(len(everything(STATE, files)))
            return call

    importer(STATE, Watching(files, 0)).run(PATHS)
    assert seen == {0, 5}
    assert EVERYTHING.imported


# --- the tests are tested ---------------------------------------------------------------------------------------------


class Forgetful:
    """A disk adapter with a planted bug: some calls do nothing."""

    def __init__(self, files: Files, left_out: str) -> None:
        self._files, self._left_out = files, left_out

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: None) if name == self._left_out else getattr(self._files, name)


def broken_laws(left_out: str) -> int:
    """Of an import that ended, how often does a power cut take something all the same?"""
    broken = 0
    for seed in range(40):
        files = sim()
        importer(STATE, Forgetful(files, left_out)).run(PATHS)  # type: ignore[arg-type]
        files.power_cut(SeededEntropy(seed))
        try:
            broken += len(everything(STATE, files)) != 5
        except OSError:
            broken += 1
    return broken


@pytest.mark.parametrize("left_out", ["fsync", "fsync_dir"])
def test_an_import_that_is_not_synced_is_caught(left_out: str) -> None:
    """The law of the kill test is one that a planted bug breaks."""
    assert broken_laws(left_out) > 0
    assert broken_laws("") == 0


def test_an_import_without_its_list_of_parts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody knew which parts are unfinished, a half import would be read."""
    monkeypatch.setattr("aios.journal.segments.unfinished_import", lambda *_: set())
    halves = 0
    for at in range(1, 140):
        files = sim()
        try:
            importer(STATE, FailingFiles(files, at)).run(PATHS)
        except Crash:
            halves += len(everything(STATE, files)) not in (0, 5)
    assert halves > 0
