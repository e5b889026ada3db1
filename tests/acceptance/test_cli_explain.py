"""`aios explain` as a person types it: of an archived day, of an imported one, of a run, with what each playbook needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.events.event import day_of
from aios.journal.archive import write_archive
from aios.journal.parts import Part
from tests.acceptance.cli_kit import NOON, aios, event, write_journal
from tests.acceptance.test_cli_journal import imported

DAY_S = 86_400.0
MEND = """playbook: mend
description: d
on: {type: tool.broken, match: {data: {failures: [{numeric: [">=", 2]}]}}}
steps: [{id: look, observe: list_processes}]
"""


def in_force(state: Path, at: float, text: str = MEND) -> Any:
    """The event that says that this playbook is in force, its text a blob."""
    (state / "blobs").mkdir(parents=True, exist_ok=True)
    blob = BlobFolder(OsFiles(), str(state / "blobs")).put(text.encode())
    data = {"playbooks": {"mend": blob}, "paths": {"mend": "/etc/aios/mend.yaml"}, "disabled": [], "invalid": []}
    return event("playbook.loaded", "system", at, **data)


def explained(state: Path, wanted: str) -> dict[str, Any]:
    done = aios("explain", wanted, "--json", data=state)
    assert done.code == 0, done.err
    return dict(json.loads(done.out))


def test_what_a_playbook_needs_is_said_in_a_sentence_with_its_conditions(tmp_path: Path) -> None:
    narrow = MEND.replace("match: {data", "match: {subject: [a], data")
    write_journal(tmp_path, in_force(tmp_path, NOON - 90, narrow), event("tool.broken", "b", NOON - 60, "e1", failures=1))
    out = " ".join(aios("playbook", "explain", "e1", data=tmp_path).out.split())
    assert "mend did not match" in out
    assert 'no subject "b" "a" no data.failures 1 a number >= 2' in out
    assert 'it needs subject is "b", needs "a"; data.failures is 1, needs >= 2' in out


def test_files_that_could_not_be_used_then_are_told(tmp_path: Path) -> None:
    """Whoever wrote the playbook and wonders looks here first; what broke later has nothing to do with it."""
    loaded = in_force(tmp_path, NOON - 90)
    loaded.data["invalid"] = ["/p/a b.yaml"]
    broke, later = (
        {"path": path, "line": 1, "column": 1, "message": "m", "hint": "", "waiting": []} for path in ("/p/b", "/p/c")
    )
    write_journal(
        tmp_path,
        loaded,
        event("playbook.invalid", "system", NOON - 80, **broke),
        event("tool.odd", "b", NOON - 60, "e123"),
        event("playbook.invalid", "system", NOON - 50, **later),
    )
    note = (
        "2 files of playbooks could not be used then, so what stands there was not asked: aios playbook lint '/p/a b.yaml' /p/b"
    )
    assert note in explained(tmp_path, "e123")["notes"]
    assert "could not be used then" in aios("explain", "e123", data=tmp_path).out


@pytest.mark.parametrize("archives", [False, True])
def test_an_old_event_is_explained_by_the_playbooks_of_its_day(tmp_path: Path, archives: bool) -> None:
    """Raw or archived: it is the text of then that counts, not the one that came later."""
    old, then, later = NOON - 5 * DAY_S, day_of(NOON - 5 * DAY_S), MEND.replace('">=", 2', '">=", 9')
    write_journal(tmp_path, in_force(tmp_path, old - 90), event("tool.broken", "b", old, "e1", failures=1), day=then)
    write_journal(tmp_path, in_force(tmp_path, NOON - 90, later), event("tool.broken", "b", NOON, "e2", failures=1))
    if archives:
        write_archive(OsFiles(), str(tmp_path / "events"), Part(then, 1))
        (tmp_path / "events" / f"{then}.1.jsonl").unlink()
    for wanted, needs in (("e1", "data.failures is 1, needs >= 2"), ("e2", "data.failures is 1, needs >= 9")):
        answer = explained(tmp_path, wanted)
        assert [(one["verdict"], one["needs"]) for one in answer["considered"]] == [("no_match", needs)]
        assert answer["notes"] == []


def test_an_imported_event_was_never_decided_and_that_is_said(tmp_path: Path) -> None:
    """With what the playbooks that were in force last would have asked of it."""
    old = tmp_path / "old.jsonl"
    old.write_text(
        json.dumps({"ts": "2026-02-17T00:02:51", "layer": "TOOL", "event": "broken", "payload": {"failures": 3}}) + "\n"
    )
    state = tmp_path / "state"
    imported(state, str(old))
    line = json.loads(aios("events", "--json", data=state).out)["event"]
    text = MEND.replace("tool.broken", line["type"]).replace(
        ' data: {failures: [{numeric: [">=", 2]}]}', " source: [{exists: true}]"
    )
    write_journal(state, in_force(state, NOON - 90, text))
    answer = explained(state, line["id"])
    assert answer["notes"] == [
        "It was imported: it happened before, and nothing was decided about it here.",
        "The journal does not say which playbooks were in force then; these are those that were in force last.",
    ]
    assert [one["verdict"] for one in answer["considered"]] == ["imported"]
    assert "nothing was decided" in aios("explain", line["id"], data=state).out


def test_a_playbook_whose_text_nobody_can_read_any_more_is_named(tmp_path: Path) -> None:
    """Its version is older than what this program reads, or its blob is gone."""
    loaded = in_force(tmp_path, NOON - 90, "playbook: mend\nnonsense: 1\n")
    write_journal(tmp_path, loaded, event("tool.broken", "b", NOON - 60, "e1"))
    (note,) = explained(tmp_path, "e1")["notes"]
    assert note.startswith("mend: its text cannot be read by this version: /etc/aios/mend.yaml:")


def test_the_newest_of_a_type_or_subject_needs_no_id(tmp_path: Path) -> None:
    """What just happened is what is asked about."""
    ids = ("e1", "e2", "e3")
    told = [event("tool.broken", f"s{n}", NOON - 60 + n, id_, failures=1) for n, id_ in enumerate(ids)]
    write_journal(tmp_path, in_force(tmp_path, NOON - 90), *told)
    for word, wanted in (("tool.broken", "e3"), ("tool.*", "e3"), ("s1", "e2")):
        done = aios("explain", "--last", word, "--json", data=tmp_path)
        assert json.loads(done.out)["event"]["id"] == wanted
    nobody = aios("explain", "--last", "nothing.here", data=tmp_path)
    after = [
        event(name, "s1", NOON - 30 + n, f"own{n}") for n, name in enumerate(("score.updated", "run.healed", "probe.sampled"))
    ]
    write_journal(tmp_path, in_force(tmp_path, NOON - 90), *told, *after)
    of_subject = aios("explain", "--last", "s1", "--json", data=tmp_path)
    assert json.loads(of_subject.out)["event"]["id"] == "e2", "what happened to it, and not what AIOS noted of it since"
    own = aios("explain", "--last", "score.updated", "--json", data=tmp_path)
    assert json.loads(own.out)["event"]["id"] == "own0", "unless the type was named"
    assert (nobody.code, "no event of the type 'nothing.here'" in nobody.err) == (1, True)
    assert aios("explain", data=tmp_path).code == aios("explain", "e1", "--last", "s1", data=tmp_path).code == 2
