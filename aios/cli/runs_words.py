"""A run in words: how it stands, and what of it is under way. For `aios runs` and `aios pause`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.cli.events import summary
from aios.cli.terminal import rough
from aios.events.call_words import call_words
from aios.events.event import parse_time
from aios.playbooks.run_table import BY_HAND, RESERVED_STEPS, RUN_SHOWN

PROOF_CHARS = 200
"""Of a check's call."""
OPEN = {"opened": "looking", "step_intended": "acting", "step_done": "goes on"}
"""States of a run that goes on, which people need not know by their names."""


def why_words(run: Mapping[str, Any]) -> str:
    """Of a run that was cleared nobody says why: its own `verify` does; of one that proposes, what lets it act."""
    if run.get("status") == "suggested" and not run.get("why"):
        return f"aios runs approve {str(run.get('id', ''))[:RUN_SHOWN]} has it done"
    if run.get("outcome") == "cleared" and not run.get("why"):
        return "verify was well before it acted"
    return str(run.get("why") or "")


def status_words(run: Mapping[str, Any]) -> str:
    """How it stands, as a person would say it."""
    word = str(run.get("status", ""))
    if run.get("playbook") == BY_HAND and run.get("ended"):
        word = "ended"
    if not run.get("ended"):
        word = "asks you" if word == "waiting" and (run.get("asks") or run.get("question")) else OPEN.get(word, word)
    if run.get("cancelled") and word in ("cancelled", "rolled_back"):
        word = "denied" if run.get("denied") else "cancelled"
        if run.get("status") == "rolled_back" and run.get("acted") and not run.get("not_taken_back"):
            return word + ", taken back"
    if run.get("not_taken_back"):
        return ("" if word == "rolled_back" else f"{word}, ") + "NOT taken back"
    return word + (", taken back" if run.get("taken_back") else "")


def outcome_words(run: Mapping[str, Any]) -> str:
    """What became of it; of one that a person ended nobody can say whether it would have helped."""
    if run.get("cancelled") and run.get("outcome") == "unknown":
        return "denied" if run.get("denied") else "cancelled"
    return str(run.get("outcome") or "")


def proof_words(check: Mapping[str, Any]) -> str:
    """`http_check url=… status=200: well for 10 s, after 12 looks; last seen status=200 ms=1.2`."""
    verdict = str(check.get("verdict", "")).replace("_", " ")
    held, looks = float(check.get("held_s") or 0.0), int(check.get("looks") or 0)
    said = f"{call_words(check, PROOF_CHARS)}: {verdict}" + (f" for {rough(held)}" if held else "")
    said += f", after {looks} look{'s' if looks != 1 else ''}" if looks else ""
    error, seen = str(check.get("error") or ""), check.get("seen")
    said += f": {error}" if error else ""
    return said + (f"; last seen {summary(seen)}" if isinstance(seen, Mapping) and seen and not error else "")


def rung_words(rung: Mapping[str, Any]) -> str:
    """How a rung of its ladder ended."""
    number, error, opened = int(rung.get("rung") or 0) + 1, str(rung.get("error") or ""), str(rung.get("run_opened") or "")
    if rung.get("what") == "notify":
        return f"rung {number}: " + (f"nobody could be told: {error}" if error else "a person was told")
    if not opened:
        return f"rung {number}: no fallback was opened: {error}"
    if rung.get("healed"):
        return f"rung {number}: run {opened[:RUN_SHOWN]} healed it"
    return f"rung {number}: run {opened[:RUN_SHOWN]} did not heal it: {error}"


def acting_words(acting: Mapping[str, Any], now: float) -> str:
    """The call that is under way, and for how long it has run."""
    try:
        runs_s = max(0.0, now - parse_time(str(acting.get("since"))))
    except ValueError:
        return call_words(acting)
    kind = "" if str(acting.get("step", "")).startswith(RESERVED_STEPS) else "runs "
    return f"{call_words(acting)}   {kind}for {runs_s:.0f} s"
