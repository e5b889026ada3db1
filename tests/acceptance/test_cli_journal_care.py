"""`aios journal verify|stats|reindex|compact|requeue`: what is wrong is named with its cure, and the exit code says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.cli_kit import NOON, aios, event, write_journal

DAY_S = 86_400.0
DAYS = ("2026-02-21", "2026-02-22", "2026-02-23", "2026-02-24")


def four_days(state: Path) -> None:
    for at, day in enumerate(DAYS):
        moment = NOON + (at - 3) * DAY_S
        write_journal(state, *(event("service.down", f"s{n}.service", moment + n, n=n) for n in range(20)), day=day)


def told(state: Path, *words: str, code: int = 0) -> dict[str, Any]:
    done = aios("journal", *words, "--json", data=state)
    assert done.code == code, done.err + done.out
    return dict(json.loads(done.out))


def test_without_a_journal_there_is_nothing_to_verify(tmp_path: Path) -> None:
    done = aios("journal", "verify", data=tmp_path)
    assert done.code == 1
    assert "cure" in done.err


def test_a_whole_journal_is_whole(tmp_path: Path) -> None:
    four_days(tmp_path)
    assert told(tmp_path, "reindex")["indexes"] == [f"{day}.1.idx" for day in DAYS[:3]]
    result = told(tmp_path, "verify")
    assert (result["ok"], result["findings"], result["events"], result["parts"]) == (True, [], 80, 4)
    assert "All is whole" in aios("journal", "verify", data=tmp_path).out


def test_what_is_compacted_reads_as_before(tmp_path: Path) -> None:
    four_days(tmp_path)
    before = aios("events", "--since", "2026-02-01", "--json", data=tmp_path).out
    archived = told(tmp_path, "compact")["archived"]
    assert [one["part"] for one in archived] == ["2026-02-21.1.jsonl", "2026-02-22.1.jsonl"]
    assert aios("events", "--since", "2026-02-01", "--json", data=tmp_path).out == before
    assert told(tmp_path, "compact")["archived"] == []
    assert told(tmp_path, "verify")["archives"] == 2
    counted = told(tmp_path, "stats")
    assert (counted["events"], counted["by_type"]) == (80, {"service.down": 80})
    assert [part["where"] for part in counted["parts"]] == ["archive", "archive", "raw", "raw"]


def test_a_rotten_line_is_named_with_its_place_and_cure(tmp_path: Path) -> None:
    four_days(tmp_path)
    aios("journal", "reindex", data=tmp_path)
    path = tmp_path / "events" / "2026-02-22.1.jsonl"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"\n") + 30] ^= 1
    path.write_bytes(raw)
    result = told(tmp_path, "verify", code=1)
    lines = [one for one in result["findings"] if "checksum" in one["what"] and one["file"] == path.name]
    assert raw.index(b"\n") + 1 in [one["offset"] for one in lines]
    assert all(one["cure"] for one in result["findings"])
    assert result["events"] == 79
    shown = aios("journal", "verify", data=tmp_path)
    assert shown.code == 1
    assert "cure:" in shown.out


def test_mended_lines_go_back_into_the_inbox(tmp_path: Path) -> None:
    """Zero when something went back: what nobody has mended yet is no failure of that."""
    four_days(tmp_path)
    (tmp_path / "quarantine").mkdir()
    good = {"file": "inbox/web.jsonl", "offset": 0, "length": 9, "reason": "half", "text": '{"type":"web.slow"}'}
    bad = {**good, "offset": 50, "text": '{"type":'}
    mended = tmp_path / "quarantine" / "inbox.1.jsonl"
    mended.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    dry = told(tmp_path, "requeue", "--dry-run")
    assert (dry["requeued"], len(dry["refused"])) == (1, 1)
    assert not (tmp_path / "inbox").exists()
    assert told(tmp_path, "requeue")["requeued"] == 1
    assert told(tmp_path, "requeue", code=1)["requeued"] == 0
    mended.write_text(json.dumps(good) + "\n" + json.dumps({**bad, "text": '{"type":"web.up"}'}) + "\n")
    again = told(tmp_path, "requeue")
    assert (again["requeued"], again["already"], again["refused"]) == (1, 1, [])
    assert len((tmp_path / "inbox" / "requeued.jsonl").read_text().splitlines()) == 2
