"""`aios runs`: what AIOS did and proposes, and a person's word on it. Looking needs no daemon; deciding does."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from aios.blobs.store import BlobFolder
from aios.cli import exits, runs_back, runs_wait
from aios.cli.events import summary
from aios.cli.journal import reader
from aios.cli.parser import add_verb, count, verbs
from aios.cli.reach import ask_daemon, folder, wants_json
from aios.cli.runs_fold import RunView, fold, from_daemon, resolve
from aios.cli.runs_wait import verdict_of
from aios.cli.runs_words import acting_words, outcome_words, proof_words, rung_words, status_words, why_words
from aios.cli.terminal import Terminal, rough
from aios.control.client import NoDaemon
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.call_words import call_words
from aios.events.codec import decode_json
from aios.events.event import Position, parse_time
from aios.journal.query import Asked
from aios.playbooks.run_table import ROLLBACK
from aios.ports import Blobs

LIMIT = 20
WAITED = ("approve", "answer", "rollback", "retry")
DIFF_LINES = 60
OUTPUT_LINES, OUTPUT_COLUMNS = 20, 500
ID_SHOWN = 8
KNOWN_MAX = 1000
"""More runs than the daemon remembers."""
ANSWER_TIMEOUT_S = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    listing = add_verb(group, "list", "list runs, newest first", list_runs, examples="aios runs list\naios runs list --waiting")
    listing.add_argument("--open", action="store_true", help="only those that have not ended")
    listing.add_argument("--waiting", action="store_true", help="only those that wait for a person")
    listing.add_argument("--limit", type=count, default=LIMIT, metavar="N", help=f"at most so many (default: {LIMIT})")
    showing = add_verb(group, "show", "show a run: its steps, its proof, why", show, examples="aios runs show 3f2a91c0")
    showing.add_argument("run", help="its id, or the beginning of it")
    for word, help, example in (
        ("approve", "say yes to what a run asks or proposes", "aios runs approve 3f2a91c0"),
        ("answer", "say which way, where a run asks that", 'aios runs answer 3f2a91c0 restart --reason "no batch runs now"'),
        ("deny", "say no", 'aios runs deny 3f2a91c0 --reason "in use"'),
        ("cancel", "end a run; what it did is taken back", "aios runs cancel 3f2a91c0"),
        (
            "rollback",
            "take back what an ended run did; of a healed one, an old state comes back under what lives",
            "aios runs rollback 3f2a91c0 --wait",
        ),
        (
            "retry",
            "answer the same event once more, with a new run; also of a dead letter",
            "aios runs retry 3f2a91c0\naios runs retry 3f2a91c0 --from restart",
        ),
    ):
        verb = add_verb(group, word, help, decide, examples=example)
        verb.add_argument("run", help="its id, or the beginning of it")
        if word == "rollback":
            verb.add_argument(
                "--force", action="store_true", help="also where somebody else has changed it since; their change is lost"
            )
        if word == "answer":
            verb.add_argument("choice", help="one of its choices; or yes, or no")
        if word in ("approve", "answer", "deny", "retry"):
            verb.add_argument("--reason", default=None if word == "retry" else "", help="for the report")
        if word in WAITED:
            verb.add_argument("--wait", action="store_true", help="show what comes of it until it is over; 0 when that is good")
        if word == "retry":
            verb.add_argument(
                "--from", dest="from_", metavar="STEP", help="begin at this step: acts before it are not done again, looks are"
            )


# --- looking ----------------------------------------------------------------------------------------------------------


def list_runs(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when `--waiting` finds any."""
    rows = briefs(args, terminal)
    if args.waiting:
        taken = {row.get("parent") for row in rows}
        rows = [row for row in rows if waits_for_person(row) and row["id"] not in taken]
    elif args.open:
        rows = [row for row in rows if not row.get("ended")]
    rows = rows[: args.limit]
    if wants_json(args):
        terminal.json({"runs": rows})
    elif rows:
        terminal.table(("run", "opened", "playbook", "subject", "mode", "status", "why"), [_row(row, terminal) for row in rows])
        for row in rows if args.waiting else ():
            _show_question(row, terminal)
    else:
        terminal.say("Nothing waits for you." if args.waiting else "There are no runs.")
    return exits.NO if args.waiting and rows else exits.OK


def briefs(args: argparse.Namespace, terminal: Terminal) -> list[Mapping[str, Any]]:
    """Newest first: from the daemon, which knows them, else folded from the journal."""
    try:
        answer = ask_daemon(args, terminal, "runs", {"open": args.open, "limit": KNOWN_MAX})
        runs: list[Mapping[str, Any]] = answer["runs"]
        return sorted(runs, key=lambda run: str(run.get("opened", "")), reverse=True)
    except NoDaemon:
        return [view.brief() for view in reversed(from_journal(args, terminal).values())]


def waits_for_person(run: Mapping[str, Any]) -> bool:
    """It asks, or it proposes."""
    return bool(run.get("asks") or run.get("question")) or run.get("status") == "suggested"


def _show_question(run: Mapping[str, Any], terminal: Terminal) -> None:
    """What is asked, what was seen, and what can be answered."""
    if not waits_for_person(run) or run.get("status") == "suggested":
        return
    short = str(run.get("id", ""))[:ID_SHOWN]
    acts = run.get("asks") or []
    terminal.say()
    terminal.say(f"{short} asks: {run.get('question') or 'may it do this?'}", "bold")
    for act in acts:
        terminal.say(f"  {call_words(act)}")
    for seen in run.get("evidence") or []:
        terminal.say(f"  {seen.get('step', '')}: {seen.get('said', '')}")
    for choice, meaning in (run.get("choices") or {}).items():
        terminal.say(f"  aios runs answer {short} {choice}   {meaning}", "yellow")
    if not run.get("choices"):
        terminal.say(f"It waits for you: aios runs approve {short}   or   aios runs deny {short}", "yellow")
    if until := run.get("until"):
        terminal.say(f"  No answer until {terminal.local(until)} is a no.")


def from_journal(args: argparse.Namespace, terminal: Terminal) -> dict[str, RunView]:
    """Says so where damaged lines leave a hole: then the daemon may know a run otherwise than the journal tells it."""
    asked = Asked()
    views = fold(stored.event for stored in reader(folder(args, terminal)).read(asked=asked))
    if lost := asked.spoiled + asked.effort.damaged:
        places = "place" if lost == 1 else "places"
        terminal.complain(f"warning: the journal is damaged in {lost} {places}, so this may lack something: aios journal verify")
    return views


def _row(run: Mapping[str, Any], terminal: Terminal) -> tuple[str, ...]:
    waits = run.get("waits_for") and run["waits_for"] != "approval"
    word = f"waiting ({run['waits_for']})" if waits else status_words(run)
    return (
        str(run.get("id", ""))[:ID_SHOWN],
        terminal.when(run.get("opened", "")),
        str(run.get("playbook", "")),
        str(run.get("subject", "")),
        str(run.get("mode", "")),
        word,
        why_words(run),
    )


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    """From the journal: there stands every step with its proof. What has left the journal the daemon may still know."""
    view = _view(args, terminal)
    if wants_json(args):
        terminal.json(view.whole())
    else:
        show_run(view, terminal, BlobFolder(OsFiles(), f"{folder(args, terminal)}/blobs"))
    return exits.OK


def _view(args: argparse.Namespace, terminal: Terminal) -> RunView:
    views = from_journal(args, terminal)
    try:
        return views[resolve(args.run, views)]
    except Refused:
        if any(run.startswith(args.run) for run in views):
            raise  # the beginning of several
        try:
            return from_daemon(ask_daemon(args, terminal, "run", {"run": args.run}))
        except NoDaemon:
            pass
        raise


def _show_differences(view: RunView, blobs: Blobs | None, terminal: Terminal) -> None:
    """What changed, as it stood in the files: since the last good copy, by each act, and by the rollback."""
    found = [("since the last good copy", view.since_good)] if view.since_good else []
    found += [(str(step.get("step", "")), one) for step in view.steps for one in step.get("evidence") or []]
    for of, evidence in found:
        if blobs is None or evidence.get("kind") != "diff":
            continue
        terminal.title(f"what changed ({of})")
        try:
            lines = blobs.get(str(evidence.get("blob", ""))).decode(errors="replace").splitlines()
        except (KeyError, ValueError, OSError):
            lines = ["it is not there any more: its time was over"]
        for line in lines[:DIFF_LINES]:
            terminal.say("  " + line, _colour(line))
        if len(lines) > DIFF_LINES:
            terminal.say(f"  … and {len(lines) - DIFF_LINES} further lines: blob {evidence.get('blob')}")


def _colour(line: str) -> str:
    return {"+": "green", "-": "red"}.get(line[:1], "")


def show_run(view: RunView, terminal: Terminal, blobs: Blobs | None = None) -> None:
    terminal.say(f"{view.playbook} · {view.subject} · {status_words(view.brief())}", "bold")
    _show_facts(view, terminal)
    if view.acting and not view.ended:
        terminal.title("under way")
        terminal.say("  " + acting_words(view.acting, terminal.clock.now()), "yellow")
        terminal.say(f"  to end it, and take back what was done: aios runs cancel {view.id[:ID_SHOWN]}")
    if view.steps:
        terminal.say()
        terminal.table(("step", "kind", "skill", "came out", "ms", "what came of it"), [_step_row(step) for step in view.steps])
    _show_output(view, terminal)
    for title, entries in (
        ("asks for", [call_words(act) for act in view.asks]),
        ("answers", view.answers),
        ("would do", [call_words(act) + (f"   ({act['says']})" if act.get("says") else "") for act in view.would]),
        ("proof", [proof_words(check) for check in view.proof]),
        ("taken back", [taken_back(line) for line in _whole_proof(view, blobs)]),
    ):
        _show_list(title, entries or [], terminal)
    _show_list("ladder", [rung_words(rung) for rung in view.ladder], terminal)
    _show_differences(view, blobs, terminal)
    _show_rollback(view, blobs, terminal)
    _show_list("limits", limits_of(view.steps), terminal)
    _show_next(view, terminal)


def _show_facts(view: RunView, terminal: Terminal) -> None:
    until = f", until {terminal.local(view.until)}" if view.waits_for and view.until else ""
    terminal.facts(
        (
            ("run", view.id),
            ("event", f"{view.trigger.get('type', '')} ({view.event})"),
            ("mode", view.mode),
            ("outcome", outcome_words(view.brief())),
            ("why", why_words(view.brief())),
            ("opened", terminal.when(view.opened)),
            ("ended", f"{terminal.local(view.ended)}, after {_took(view)}" if view.ended else ""),
            ("waits for", view.waits_for + until),
            ("decided by", view.by),
            ("their reason", view.reason),
            ("follows run", view.parent),
            ("left out", ", ".join(view.left_out)),
        )
    )


def _show_output(view: RunView, terminal: Terminal) -> None:
    """The end of what a step that failed has printed: there the cause stands, mostly."""
    for step in view.steps:
        result = step.get("result") or {}
        for stream in ("stderr", "stdout", "output") if not step.get("ok") else ():
            lines = str(result.get(stream) or "").rstrip("\n").splitlines()
            if not lines:
                continue
            terminal.title(f"{stream} of {step.get('step', '')}" + (", its end" if len(lines) > OUTPUT_LINES else ""))
            for line in lines[-OUTPUT_LINES:]:
                terminal.say("  " + line[:OUTPUT_COLUMNS])


def taken_back(line: Mapping[str, Any]) -> str:
    """One line of a rollback's proof. A service that did not run before may run now: what an act brought back is not stopped."""
    if not {"path", "before", "restored"} <= set(line):
        return summary(line)
    path, before, now = (str(line[name]) for name in ("path", "before", "restored"))
    left = f"; the act had left {line['after_act']}" if line.get("after_act") else ""
    if not line.get("ok"):
        return f"{path}: NOT as before: was {before}; is {now}{left}"
    if before == now:
        return f"{path}: as before: {before}{left}"
    return f"{path}: was {before} before; is {now}: well, because only what ran before is made to run again"


def limits_of(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the steps that hands carried out were held to, and by what: once for all that were held to the same."""
    held: dict[str, dict[str, None]] = {}
    words_of = {"limits": limits_words, "slowed": slowed_words}
    for step in steps:
        for story in step.get("evidence") or []:
            if words := words_of.get(str(story.get("kind"))):
                held.setdefault(words(story), {})[str(step.get("step", ""))] = None
    return [f"{', '.join(names)}: {words}" for words, names in held.items()]


def slowed_words(story: Mapping[str, Any]) -> str:
    """What its writing cost it: whoever wonders why it took so long finds it here."""
    return f"held back for {story.get('slowed_s', 0):.1f} s by {story.get('by')}; it wrote {story.get('written', 0) / 1e6:.0f} MB"


def limits_words(story: Mapping[str, Any]) -> str:
    """`memory 1G, processes 256 by cgroup v2; file_size 4G by rlimits`. Why there is less than could be, behind it."""
    said = story.get("limits") or {}
    parts = []
    holders = {"cgroup": story.get("by", ""), "rlimits": "rlimits of each process", "looks": "looking at it"}
    for key, by in {**holders, "slowed": "holding it back"}.items():
        held = [f"{name} {said.get(name, '')}" for name in story.get(key) or () if key != "rlimits" or not _looked(story, name)]
        if held:
            parts.append(f"{', '.join(held)} by {by}")
    words = "; ".join(parts) or "none"
    if not story.get("cgroup") and str(story.get("by", "")).startswith("cgroup"):
        words += f"; ended by {story['by']}"
    if turn := story.get("turn"):
        words += f"; waits its turn: {', '.join(turn)}"
    return words + (f" ({story['why']})" if story.get("why") else "")


def _looked(story: Mapping[str, Any], name: str) -> bool:
    """What is held by both is told once."""
    return name in (story.get("looks") or ())


def _took(view: RunView) -> str:
    return rough(max(0.0, parse_time(view.ended) - parse_time(view.opened)))


def _step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    name = str(step.get("step", ""))
    if (step.get("attempt") or 1) > 1:
        name += f" ({step['attempt']})"
    word = "skipped" if step.get("skipped") else verdict_of(step) or ("ok" if step.get("ok") else "bad")
    said = str(step.get("error") or "") or summary(step.get("result") or {})
    ms = None if step.get("died") or step.get("voided") else step.get("ms")  # how long it ran, nobody saw
    return (
        name,
        str(step.get("kind", "")),
        str(step.get("skill", "")),
        word,
        f"{ms:.0f}" if isinstance(ms, (int, float)) else "",
        said,
    )


def _show_list(title: str, entries: list[Any], terminal: Terminal) -> None:
    if entries:
        terminal.title(title)
        for entry in entries:
            terminal.say("  " + (summary(entry) if isinstance(entry, dict) else str(entry)))


def _whole_proof(view: RunView, blobs: Blobs | None) -> list[Mapping[str, Any]]:
    """Of the last rollback. The event has room for its first lines; all of it is a blob."""
    lines = list((view.rolled_back or {}).get("proof") or [])
    last: Mapping[str, Any] = next((step for step in reversed(view.steps) if step.get("step") == ROLLBACK), {})
    more = int((last.get("result") or {}).get("changed") or 0) - len(lines)
    if more <= 0:
        return lines
    whole = next((one.get("blob") for one in last.get("evidence") or () if one.get("kind") == "proof"), None)
    try:
        return list(decode_json(blobs.get(str(whole)))) if blobs is not None else [*lines, {"further": f"{more} more"}]
    except (KeyError, ValueError, OSError):
        return [*lines, {"further": f"{more} more, which are not there any more (blob {whole})"}]


def _show_rollback(view: RunView, blobs: Blobs | None, terminal: Terminal) -> None:
    """What of the last rollback a person has to know beyond its proof: what is in its way, and what nobody saved."""
    back = view.rolled_back or {}
    if not (view.not_taken_back or back.get("unsaved")):
        return
    last: Mapping[str, Any] = next((step for step in reversed(view.steps) if step.get("step") == ROLLBACK), {})
    terminal.title("not taken back")
    for line, style in runs_back.outcome_lines(view.id, back):
        terminal.say("  " + line, style)
    for line in runs_back.conflict_lines(last.get("evidence"), blobs) if blobs is not None and back.get("conflicts") else ():
        terminal.say("  " + line, _colour(line))
    if view.not_taken_back:
        force = " --force" if back.get("conflicts") else ""
        terminal.say(f"  aios runs rollback {view.id}{force}", "yellow")


def _show_next(view: RunView, terminal: Terminal) -> None:
    """What a person may do now."""
    short = view.id[:ID_SHOWN]
    if view.status == "suggested":
        terminal.say()
        terminal.say(f"It proposes, and has changed nothing. To have it done: aios runs approve {short}", "yellow")
    elif waits_for_person(view.brief()):
        _show_question(view.brief(), terminal)
    elif view.status == "escalated":
        terminal.say()
        terminal.say(f"It needs you. When it is mended: aios runs retry {short}", "yellow")


# --- deciding ---------------------------------------------------------------------------------------------------------


def decide(args: argparse.Namespace, terminal: Terminal) -> int:
    """approve, answer, deny, cancel, rollback, retry. The daemon finds a run by the beginning of its id."""
    request = {"run": args.run} | {
        name: args.__dict__[name] for name in ("reason", "choice") if args.__dict__.get(name) is not None
    }
    if getattr(args, "from_", None):
        request["from"] = args.from_
    if getattr(args, "force", False):
        request["force"] = True
    waits = getattr(args, "wait", False)
    before = reader(folder(args, terminal)).last_position() if waits else None
    answer = ask_daemon(args, terminal, args.verb, request, ANSWER_TIMEOUT_S)
    if args.verb == "rollback" and answer.get("outcome") == "healed":
        terminal.complain(
            f"warning: this run had healed {answer.get('subject', '')}: what stood before it comes back under what lives now"
        )
    if args.verb == "rollback" and ("rolled_back" in answer or not waits):
        return _tell_rollback(args, terminal, answer)
    if waits and "letter" not in answer:
        return _wait_for(args, terminal, answer, before)
    if wants_json(args):
        terminal.json(answer)
    else:
        _say_left_out(answer, terminal)
        if "letter" in answer:
            terminal.say(
                f"dead letter {answer['letter']} is tried again; `aios dead show {answer['letter']}` shows what comes of it."
            )
            return exits.OK
        follow = str(answer.get("run") or answer.get("id") or args.run)[:ID_SHOWN]  # a retry opens another run
        terminal.say(f"{ACCEPTED[args.verb]}: `aios runs show {follow}` shows what comes of it.")
        if paused := answer.get("paused"):
            terminal.say(f"Acts are paused (by {paused.get('by', '?')}): it waits for `aios resume`.", "yellow")
    return exits.OK


def _tell_rollback(args: argparse.Namespace, terminal: Terminal, answer: Mapping[str, Any]) -> int:
    if wants_json(args):
        terminal.json(answer)
        return runs_back.code_of(answer)
    return runs_back.told(answer, BlobFolder(OsFiles(), f"{folder(args, terminal)}/blobs"), terminal)


ACCEPTED = {
    "approve": "Your yes is taken",
    "answer": "Your answer is taken",
    "deny": "Your no is taken",
    "cancel": "It ends, and what it did is being taken back",
    "rollback": "What it did is being taken back",
    "retry": "A new run is open",
}
"""That it was accepted, which is not that it is done."""


def _say_left_out(answer: Mapping[str, Any], terminal: Terminal) -> None:
    for left in answer.get("left_out", ()):
        terminal.say(f"left out: {left['step']} ({left['skill']}): {left['became']}")


def _wait_for(args: argparse.Namespace, terminal: Terminal, answer: Mapping[str, Any], before: Position | None) -> int:
    run = str(answer.get("run") or answer.get("id"))
    quiet = wants_json(args)
    if not quiet:
        _say_left_out(answer, terminal)
        terminal.say(f"{ACCEPTED[args.verb]} ({run[:ID_SHOWN]}):")
    event, code = runs_wait.wait_for(args.verb, run, folder(args, terminal), before, terminal, quiet)
    if quiet:
        terminal.json({**answer, "ended_by": runs_wait.ended_json(event)})
    else:
        terminal.say(f"{runs_wait.end_words(event)} · aios runs show {run[:ID_SHOWN]}", "green" if code == exits.OK else "red")
    return code
