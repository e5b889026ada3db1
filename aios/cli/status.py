"""`aios status`, and the words that steer the living daemon: `pause`, `resume`, `reload`, `stop`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from aios.cli import exits
from aios.cli.journal import parse_until
from aios.cli.parser import UsageError, finish
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.runs_words import acting_words
from aios.cli.terminal import Terminal
from aios.cli.waiting import waiting_words
from aios.events.durations import format_duration, parse_duration


def arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, status, examples="aios status\naios status --json | jq .score")


def status(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when all is well, 1 when something is ill or waits for a person."""
    answer = ask_daemon(args, terminal, "status")
    if wants_json(args):
        terminal.json(answer)
    else:
        show(answer, terminal)
    return exits.OK if well(answer) else exits.NO


def well(answer: Mapping[str, Any]) -> bool:
    """Nothing is ill, nothing waits for a person, acts are allowed, all playbooks can be used."""
    return not any(
        answer.get(name)
        for name in ("symptoms", "needs_you", "escalated", "dead_letters", "paused", "invalid_playbooks", "storm")
    )


def show(answer: Mapping[str, Any], terminal: Terminal) -> None:
    terminal.facts(
        (
            ("AIOS", f"{answer.get('version', '?')}, pid {answer.get('pid', '?')}"),
            ("state folder", answer.get("state_dir")),
            ("up since", terminal.when(answer.get("since", ""))),
            ("highest mode", answer.get("mode_max")),
            ("acts", _paused(answer.get("paused"), terminal)),
            ("storm", _storm(answer.get("storm"), terminal)),
            ("silenced", ", ".join(_silenced(one, terminal) for one in answer.get("silences") or [])),
            ("score", _score(answer.get("score"))),
            ("playbooks", _playbooks(answer)),
            ("queue", _queue(answer.get("queue") or {})),
            ("runs", f"{answer.get('open_runs', 0)} open, {answer.get('waiting_runs', 0)} of them wait"),
            ("held by guards", answer.get("held") or ""),
            ("dead letters", f"{answer['dead_letters']}: see aios dead list" if answer.get("dead_letters") else ""),
            ("journal", answer.get("position")),
        )
    )
    _show_symptoms(answer.get("symptoms") or [], terminal)
    needs_you = answer.get("needs_you") or []
    if needs_you:
        terminal.say()
        terminal.say("These wait for you: " + _answers(needs_you), "yellow")
        rows = [
            (str(r.get("id", ""))[:8], _waits(r), r.get("playbook", ""), r.get("subject", ""), terminal.ago(r.get("opened", 0)))
            for r in needs_you
        ]
        terminal.table(("run", "it", "playbook", "subject", "opened"), rows)
    _show_escalated(answer.get("escalated") or [], terminal)
    _show_held(answer.get("guards") or [], terminal)
    if well(answer):
        terminal.say()
        terminal.say("All is well.", "green")


def _show_escalated(runs: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    """Runs that are stuck: a person mends it, and then has it tried again."""
    if not runs:
        return
    terminal.say()
    terminal.say("These are stuck and need you: aios runs show tells why; when it is mended, aios runs retry", "yellow")
    rows = [
        (
            str(r.get("id", ""))[:8],
            r.get("playbook", ""),
            r.get("subject", ""),
            terminal.ago(r.get("opened", 0)),
            r.get("why", ""),
        )
        for r in runs
    ]
    terminal.table(("run", "playbook", "subject", "opened", "why"), rows)


def _show_held(held: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    """What guards hold, and what ends it before its time."""
    if not held:
        return
    terminal.say()
    rows = [(h["guard"], h["playbook"], h["subject"], h["type"], _until(h, terminal)) for h in held]
    terminal.table(("held by", "playbook", "subject", "for", "until"), rows)
    if any(h.get("resume") for h in held):
        terminal.say("What a breaker or the guard loop holds, aios resume lets try again; aios explain tells why.", "yellow")


def _until(held: Mapping[str, Any], terminal: Terminal) -> str:
    if held.get("until"):
        return terminal.local(held["until"])
    ends = {"paused": "aios resume", "storm": "the storm is over", "concurrency": "a run of it ends"}
    return ends.get(str(held["guard"])) or (f"{held['on']} is well" if held.get("on") else "a person lifts it")


def _waits(run: Mapping[str, Any]) -> str:
    if run.get("status") == "suggested":
        return "proposes"
    return "asks which way" if run.get("choices") else "asks"


def _answers(runs: Sequence[Mapping[str, Any]]) -> str:
    """A run that asks takes a yes or a no; one that only proposes has nothing to be denied."""
    kinds = {_waits(run) for run in runs}
    words = {
        "asks": "aios runs approve or deny",
        "asks which way": "aios runs answer; aios runs list --waiting shows the choices",
        "proposes": "aios runs approve has it done, else leave it",
    }
    if len(kinds) == 1:
        return words[kinds.pop()]
    return "; ".join(f"what {kind}: {said}" for kind, said in words.items() if kind in kinds)


def _show_symptoms(symptoms: list[Mapping[str, Any]], terminal: Terminal) -> None:
    if symptoms:
        terminal.say()
        rows = [(s.get("subject", ""), s.get("type", ""), terminal.when(s.get("since", ""))) for s in symptoms]
        terminal.table(("ill", "what", "since"), rows)
        if any(s.get("type") == "journal.damaged" for s in symptoms):
            terminal.say("aios journal verify says what of the journal is lost and what to do; with --known it is told no more.")


def _playbooks(answer: Mapping[str, Any]) -> str:
    words = [f"{answer.get('playbooks', 0)} in force"]
    if answer.get("disabled"):
        words.append(f"switched off: {', '.join(answer['disabled'])}")
    if answer.get("invalid_playbooks"):
        words.append(f"{answer['invalid_playbooks']} cannot be used, see aios playbook lint")
    return "; ".join(words)


def _queue(queue: Mapping[str, Any]) -> str:
    """`P1 3, P3 12 (40 in the journal)`; the classes where nothing waits are left out."""
    words = []
    for name, lane in queue.items():
        waiting, spilled = (lane.get("waiting", 0), lane.get("spilled", 0)) if isinstance(lane, Mapping) else (lane, 0)
        if waiting or spilled:
            words.append(f"{name} {waiting}" + (f" ({spilled} in the journal)" if spilled else ""))
    return ", ".join(words) or "empty"


def _paused(paused: Any, terminal: Terminal) -> str:
    if not paused:
        return "allowed"
    until = f", until {terminal.local(paused['until'])}" if paused.get("until") else ""
    reason = f": {paused['reason']}" if paused.get("reason") else ""
    return f"paused by {paused.get('by', '?')}{reason}{until}"


def _storm(storm: Any, terminal: Terminal) -> str:
    if not storm:
        return ""
    return (
        f"since {terminal.when(storm['since'])}, {storm['ill']} of {storm['known']} ill: nothing is done; `aios resume` ends it"
    )


def _silenced(one: Mapping[str, Any], terminal: Terminal) -> str:
    about = "everything" if one["subject"] == "*" and not one["playbook"] else one["playbook"] or one["subject"]
    return f"{about} until {terminal.local(one['until'])}"


def _score(score: Any) -> str:
    return f"{score:.2f}" if isinstance(score, (int, float)) else "nothing measured yet"


# --- pause, resume ----------------------------------------------------------------------------------------------------


def pause_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reason", nargs="?", default="", help="why, for the report")
    parser.add_argument("--for", dest="for_", metavar="TIME", help="for how long, such as 30m")
    parser.add_argument("--until", metavar="TIME", help="until when: 18:00, tomorrow, 2026-02-24T18:00:00+01:00")
    finish(parser, pause, examples='aios pause "moving the database" --for 2h')


def pause(args: argparse.Namespace, terminal: Terminal) -> int:
    length = length_of_pause(args.for_, args.until, terminal.clock.now())
    answer = ask_daemon(args, terminal, "pause", {"reason": args.reason, "for": length})
    until = answer.get("until")
    words = "No acts" + (f" until {terminal.local(until)}." if until else " until `aios resume`.")
    _done(answer, args, terminal, words)
    for run in [] if wants_json(args) else answer.get("acting") or []:
        terminal.say(f"Still acting, and carried to its end: {run['subject']}, {run['playbook']}", "yellow")
        terminal.say(f"  {acting_words(run['acting'], terminal.clock.now())}")
        terminal.say(f"  to end it, and take back what was done: aios runs cancel {str(run['id'])[:8]}")
    return exits.OK


def length_of_pause(for_: str | None, until: str | None, now: float, prog: str = "aios pause") -> str:
    """As a duration; empty for one without an end. Raises UsageError."""
    if for_ and until:
        raise UsageError("say either --for or --until", prog)
    try:
        if for_:
            return format_duration(parse_duration(for_))
        left = parse_until(until, now) - now if until else 0.0
    except ValueError as error:
        raise UsageError(str(error), prog) from None
    if until and left <= 0:
        raise UsageError(f"{until} is past", prog)
    return format_duration(left) if until else ""


def resume_arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, resume)


def resume(args: argparse.Namespace, terminal: Terminal) -> int:
    return _done(ask_daemon(args, terminal, "resume"), args, terminal, "Acts are allowed again.")


def reload_arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, reload)


def reload(args: argparse.Namespace, terminal: Terminal) -> int:
    """4 when one cannot be used; its folder then stays in force as it was."""
    answer = ask_daemon(args, terminal, "reload", timeout=60.0)
    errors = answer.get("errors") or []
    if not wants_json(args):
        for error in errors:
            terminal.complain(f"{error.get('path')}:{error.get('line')}: {error.get('message')}")
        for line in waiting_words(answer.get("waiting")):
            terminal.complain(line)
    _done(answer, args, terminal, f"Playbooks were read again: {answer.get('playbooks')} in force.")
    return exits.INVALID if errors else exits.OK


def stop_arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, stop)


def stop(args: argparse.Namespace, terminal: Terminal) -> int:
    return _done(ask_daemon(args, terminal, "stop"), args, terminal, "The daemon ends.")


def _done(answer: Mapping[str, Any], args: argparse.Namespace, terminal: Terminal, sentence: str) -> int:
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say(sentence)
    return exits.OK
