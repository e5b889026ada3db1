"""`aios journal import` and `aios journal cursors`: in by the command line, out by every way of reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cli_kit import NOON, aios, event, write_journal

OLD = [
    {"ts": "2026-02-17T00:02:51.948793", "layer": "TOOL", "event": "task.completed", "payload": {}, "timestamp": 1771257771948},
    {"ts": "2026-02-17T00:05:51.948793", "layer": "TOOL", "event": "task.completed", "payload": {}, "timestamp": 1771257951948},
    {"topic": "sensor.file.created", "payload": {"path": "C:\\x"}, "ts": 1771257771.5},
    {"ts": "2026-02-17T00:12:51", "event_type": "error", "severity": "high", "data": {"agent_id": "monitor"}},
    {"ts": "2026-02-17T12:00:00", "layer": "SYSTEM", "event": "error.disk_full", "severity": "ERR", "payload": {"value": 97}},
]


def old_file(folder: Path, *more: Any) -> str:
    path = folder / "events.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(json.dumps(one).encode() + b"\n" for one in [*OLD, *more]) + b"half a li")
    return str(path)


def imported(state: Path, *words: str) -> dict[str, Any]:
    done = aios("journal", "import", "--json", *words, data=state)
    assert done.code == 0, done.err
    return dict(json.loads(done.out))


def test_an_import_sums_up_and_a_second_one_adds_nothing(tmp_path: Path) -> None:
    """read = imported + already_there + quarantined, of all and of each file."""
    state = tmp_path / "state"
    first = imported(state, old_file(tmp_path))
    assert (first["read"], first["imported"], first["already_there"], first["quarantined"]) == (6, 5, 0, 1)
    assert (first["zone"], first["days"]) == ("+08:00", ["2026-02-16", "2026-02-17"])
    assert first["files"][0]["reasons"] == [{"line": 6, "reason": first["files"][0]["reasons"][0]["reason"]}]
    second = imported(state, old_file(tmp_path))
    assert (second["read"], second["imported"], second["already_there"], second["quarantined"]) == (6, 0, 5, 1)
    assert json.loads(aios("events", "--count", "--json", data=state).out) == {"count": 5}


def test_reports_and_counts_agree_on_what_was_imported(tmp_path: Path) -> None:
    """The day of a report is the day of `--on`."""
    imported(tmp_path, old_file(tmp_path))
    write_journal(tmp_path, event("deploy.done", at=NOON), day="2026-02-24")
    for day in ("2026-02-16", "2026-02-17", "2026-02-24"):
        report = json.loads(aios("report", "--date", day, "--json", data=tmp_path).out)
        count = json.loads(aios("events", "--count", "--by", "type", "--on", day, "--json", data=tmp_path).out)
        assert dict(report["by_type"]) == count["counts"], day
        assert report["events"] == count["count"] > 0
    of_day = json.loads(aios("report", "--date", "2026-02-17", "--json", data=tmp_path).out)
    assert of_day["alarms"] == 1, "and an alarm of the original is one"


def test_it_is_told_for_people_too(tmp_path: Path) -> None:
    """What came, of which days, and what was not understood."""
    out = aios("journal", "import", old_file(tmp_path, {"event": "x.y"}), data=tmp_path).out
    assert "5 events of 2026-02-16 to 2026-02-17; local times were +08:00." in out
    assert "events.jsonl:6: it tells no time between 2000 and 2100" in out
    assert "quarantine/" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/no/such/file"], "there is no file"),
        (["/tmp"], "is no file"),
        (["--zone", "east", "/tmp"], "is no zone"),
        ([], "required"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path: Path, words: list[str], told: str) -> None:
    """With the cure, and nothing is changed."""
    done = aios("journal", "import", *words, data=tmp_path)
    assert done.code in (1, 2)
    assert told in done.err
    assert list(tmp_path.iterdir()) == []


# --- cursors ----------------------------------------------------------------------------------------------------------


def five(state: Path) -> None:
    write_journal(state, *(event("a.b", id_=f"e{n}", at=NOON - 600 + n * 100) for n in range(5)))


def cursors(state: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(aios("journal", "cursors", "list", "--json", data=state).out)["cursors"]}


def test_cursors_are_listed_with_how_far_behind_they_are(tmp_path: Path) -> None:
    """And a damaged one is named, with exit code 1."""
    five(tmp_path)
    assert "No cursors" in aios("journal", "cursors", "list", data=tmp_path).out
    aios("events", "--cursor", "mail", "--limit", "2", "--commit", data=tmp_path)
    assert cursors(tmp_path)["mail"]["behind"] == 3
    assert "mail" in aios("journal", "cursors", "list", data=tmp_path).out
    (tmp_path / "cursors" / "mail.json").write_text("{}")
    done = aios("journal", "cursors", "list", data=tmp_path)
    assert done.code == 1
    assert "reset mail" in done.out


@pytest.mark.parametrize(
    ("place", "behind"),
    [("beginning", 5), ("end", 0), ("350s", 2), ("2026-02-24T11:55:00Z", 2), ("2026-02-24.1:0", 4), ("1d", 5)],
)
def test_a_cursor_is_put_where_it_is_told(tmp_path: Path, place: str, behind: int) -> None:
    """The beginning, the end, a time, a position."""
    five(tmp_path)
    assert aios("journal", "cursors", "reset", "mail", "--to", place, data=tmp_path).code == 0
    assert cursors(tmp_path)["mail"]["behind"] == behind


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """A cursor never stands where nothing is; what there is not cannot be removed."""
    five(tmp_path)
    assert "no event stands at" in aios("journal", "cursors", "reset", "mail", "--to", "2026-02-24.1:7", data=tmp_path).err
    assert "beginning, end" in aios("journal", "cursors", "reset", "mail", "--to", "soon", data=tmp_path).err
    assert aios("journal", "cursors", "remove", "mail", data=tmp_path).code == 1
    aios("journal", "cursors", "reset", "mail", "--to", "end", data=tmp_path)
    assert aios("journal", "cursors", "remove", "mail", data=tmp_path).code == 0
    assert cursors(tmp_path) == {}
