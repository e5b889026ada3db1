"""What came of a rollback, in words: what is as before, or what is in the way and the command that goes over it.

Called by `aios runs rollback` with the daemon's answer, and by `aios runs show` with what the journal holds; what acts by hand
says by it how that is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios.cli import exits
from aios.cli.terminal import Terminal
from aios.ports import Blobs

LINES_SHOWN = 80


def told(answer: Mapping[str, Any], blobs: Blobs, terminal: Terminal) -> int:
    """The outcome in `answer` (verb `rollback`), and the exit code: 0 only when all is put back."""
    run, back = str(answer.get("id", "")), answer.get("rolled_back")
    if not isinstance(back, Mapping):
        terminal.say(f"It goes on. `aios runs show {run}` shows what comes of it.", "yellow")
        return code_of(answer)
    for line, style in outcome_lines(run, back):
        terminal.say(line, style)
    for line in conflict_lines(back.get("evidence"), blobs):
        terminal.say("  " + line, {"+": "green", "-": "red"}.get(line[:1], ""))
    if back.get("conflicts"):
        terminal.say(f"To put it back all the same, and lose their change: aios runs rollback {run} --force", "yellow")
    return code_of(answer)


def say_way_back(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The command that takes back what was just done by hand, where anything was done."""
    if run := answer.get("run"):
        terminal.say(f"To take that back: aios runs rollback {run}")


def code_of(answer: Mapping[str, Any]) -> int:
    """Also 1 while it goes on: nothing is proven yet."""
    return exits.OK if (answer.get("rolled_back") or {}).get("ok") is True else exits.NO


def outcome_lines(run: str, back: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sentence and style."""
    conflicts, error = back.get("conflicts") or [], str(back.get("error") or "")
    if conflicts:
        yield "Nothing was put back: somebody else has changed since what it left.", "red"
        for path in conflicts:
            yield f"  {path}", ""
    elif back.get("ok") is not True:
        yield f"Not all could be taken back: {error}", "red"
        yield f"What is as before, and what is not: aios runs show {run}", ""
    elif back.get("proof"):
        yield f"Taken back. The proof: aios runs show {run}", "green"
    for step in back.get("unsaved") or []:
        yield f"Nothing was saved of {step}: what it did is not taken back.", "yellow"
    if back.get("ok") is True and not back.get("proof") and not back.get("unsaved"):
        yield "There was nothing to put back.", ""


def conflict_lines(evidence: Any, blobs: Blobs) -> Iterator[str]:
    """What stands there now, against what the act left."""
    for one in evidence or ():
        if one.get("kind") != "conflict":
            continue
        try:
            lines = blobs.get(str(one.get("blob", ""))).decode(errors="replace").splitlines()
        except (KeyError, ValueError, OSError):
            lines = ["what stands there now was written down, and is not there any more: its time was over"]
        yield from lines[:LINES_SHOWN]
        if len(lines) > LINES_SHOWN:
            yield f"… and {len(lines) - LINES_SHOWN} further lines: blob {one.get('blob')}"
