"""A report for people: Markdown that also reads well as it is, on a terminal at three in the morning.

The first line says whether anything needs a person. Then what needs one, with the commands to paste; then how it went, what
broke, what was healed; proofs and figures last. Everything that came from outside is escaped and bounded (`text.escaped`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from aios.events.event import parse_time
from aios.reports import model
from aios.reports.model import (
    Alarm,
    Blind,
    HeldBack,
    Outcomes,
    PlaybookLine,
    Report,
    Rollback,
    RunLine,
    ScoreLine,
    Times,
    Wait,
)
from aios.reports.text import escaped, plain, span, width
from aios.reports.waits import PAUSED
from aios.scores.symptoms import is_level

BLIND_WORTH_SAYING_S = 90.0
WAITS_SHOWN = 50
TYPES_SHOWN = 15
ALARMS_SHOWN = 20
RUNS_SHOWN = 15
HASH_CHARS = 16
WAIT_CHARS = 600
"""What needs a person is told whole: which files, and why."""
_COMMAND_CHARS = 1000
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)

_BARS = "▁▂▃▄▅▆▇█"
_NOBODY_KNOWS = "·"
_NOTHING = "–"
_WORDS = {model.NOT_HEALED: "not healed", "dead letter": "dead letter", "called": "call"}


def to_markdown(report: Report) -> str:
    """The whole report; ends with a newline."""
    parts = (
        _head(report),
        _waits(report),
        _figures(report),
        _alarms(report),
        _held_back(report),
        _playbooks(report),
        _runs(report),
        _scores(report),
        _blind(report),
        _rollbacks(report),
        _troubles(report),
        _types(report),
    )
    return "\n".join(chain.from_iterable(parts)).rstrip("\n") + "\n"


# --- the head


def _head(report: Report) -> Iterator[str]:
    yield f"# {_verdict(report)}"
    yield ""
    yield f"{_days(report)} (UTC) · {_how_it_was(report)} · written {_clock(report, report.made)}"
    yield ""
    if report.waits_after:
        needs = "needs" if report.waits_after == 1 else "need"
        yield f"Since then {_many(report.waits_after, 'thing')} came up that {needs} you: `aios report`."
        yield ""


def _verdict(report: Report) -> str:
    """One line, for someone who reads no other."""
    waiting = len(report.waits) + report.waits_beyond
    if waiting:
        kinds = [wait.kind for wait in report.waits]
        said = dict.fromkeys(kind for kind in kinds if kind not in ("daemon", "pause"))
        named = [_many(kinds.count(kind), _WORDS.get(kind, kind)) for kind in said]
        silent = ["AIOS is not running"] if "daemon" in kinds else []
        paused = [_paused(report, wait) for wait in report.waits if wait.kind == "pause"]
        return f"Needs you: {', '.join([*silent, *paused, *named])}"
    if report.state == "blind":
        return "Nobody watched: AIOS was blind all the time"
    return "Nothing of this time needs you" if report.waits_after else "Nothing needs you"


def _paused(report: Report, wait: Wait) -> str:
    """`acts are paused since 12:00:00 by ann: upgrade`: when comes first, since a reason may be long."""
    return f"{PAUSED} since {_clock(report, wait.since)}{escaped(wait.what.removeprefix(PAUSED))}"


def _how_it_was(report: Report) -> str:
    if report.state == "to_come":
        return "these days have not begun"
    if report.state == "blind":
        return "blind: nothing is known of this time"
    blind = f"blind for {span(report.blind_s)}" if report.blind_s > BLIND_WORTH_SAYING_S else ""
    if report.state == "quiet":
        first = f"quiet since the first start at {_clock(report, report.watched_from)}" if report.watched_from else "quiet"
        return f"{first}, as far as AIOS saw: {blind}" if blind else first
    told = [_many(report.alarms, "alarm"), _healed(report.runs), blind]
    return ", ".join(part for part in told if part)


def _days(report: Report) -> str:
    return report.first_day if report.first_day == report.last_day else f"{report.first_day} to {report.last_day}"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


# --- what needs a person


def _waits(report: Report) -> Iterator[str]:
    if not report.waits:
        return
    yield from ("## Needs you", "")
    for number, wait in enumerate(report.waits[:WAITS_SHOWN], 1):
        yield from _wait(report, number, wait)
    more = max(0, len(report.waits) - WAITS_SHOWN) + report.waits_beyond
    if more:
        yield from (f"And {more} more: `aios status`.", "")


def _wait(report: Report, number: int, wait: Wait) -> Iterator[str]:
    mark = f"{number}. "
    times = f"since {_clock(report, wait.since)}" if wait.since else ""
    until = f"no answer by {_clock(report, wait.until)} is a no" if wait.until else ""
    about = ", ".join(part for part in (times, until) if part)
    yield f"{mark}**{_WORDS.get(wait.kind, wait.kind)}** · {escaped(wait.subject)} · {escaped(wait.what, WAIT_CHARS)}" + (
        f" ({about})" if about else ""
    )
    yield ""
    # An indented block, so that a terminal shows it bare and no text in it can end it.
    yield from (" " * (len(mark) + 4) + plain(command, _COMMAND_CHARS) for command in wait.commands)
    yield ""


# --- figures and tables


def _figures(report: Report) -> Iterator[str]:
    if report.state in ("blind", "to_come"):
        return
    score = report.score
    rows = [
        ("events", f"{report.events}"),
        ("alarms", f"{report.alarms}"),
        ("runs", f"{report.runs_opened} opened, {report.runs_open} still open"),
        ("outcomes", _outcomes(report.runs) or _NOTHING),
        ("success rate", _percent(report.runs.rate)),
        ("escalated", f"{report.escalated}"),
        *([("time to notice", _times(report.notice))] if report.notice.count else []),
        ("time to heal", _times(report.heal)),
        ("score", _score_words(report, score)),
        ("time degraded", _span_or_none(score.degraded_s)),
        ("time blind", _span_or_none(report.blind_s)),
        ("quarantined", f"{report.quarantined}"),
    ]
    yield from table(("", "figure"), rows)
    yield from _plot(report)


def _score_words(report: Report, score: ScoreLine) -> str:
    if score.average is None or score.lowest is None:
        return "not known"
    return f"average {score.average:.2f}, lowest {score.lowest:.2f} at {_clock(report, score.lowest_at)}"


def _times(times: Times) -> str:
    if times.median_ms is None or times.p95_ms is None:
        return _NOTHING
    return f"median {span(times.median_ms / 1000)}, p95 {span(times.p95_ms / 1000)}"


def _span_or_none(seconds: float) -> str:
    return span(seconds) if seconds else "none"


def _percent(rate: float | None) -> str:
    return _NOTHING if rate is None else f"{rate * 100:.0f} %"


def _outcomes(outcomes: Outcomes) -> str:
    others = [f"{count} {_WORDS.get(name, name)}" for name, count in outcomes.counts.items() if name != model.HEALED]
    return ", ".join([_healed(outcomes), *others] if model.HEALED in outcomes.counts else others)


def _healed(outcomes: Outcomes) -> str:
    taken_back = f" ({outcomes.taken_back} taken back)" if outcomes.taken_back else ""
    return f"{outcomes.counts.get(model.HEALED, 0)} healed{taken_back}"


def _plot(report: Report) -> Iterator[str]:
    if all(value is None for value in report.plot):
        return
    line = "".join(_NOBODY_KNOWS if value is None else _BARS[min(7, int(value * 8))] for value in report.plot)
    yield from ("Score of the whole, lowest in each part (· not known):", "")
    yield f"    1.0 {line}"
    yield f"        {_axis(report)}"
    yield ""


def _axis(report: Report) -> str:
    """Hours below one day, the first and last day below several."""
    parts = len(report.plot)
    if report.first_day == report.last_day:
        return "".join(f"{hour:02d}".ljust(parts // 8) for hour in range(0, 24, 3)) + "24"
    return report.first_day[5:].ljust(parts - 5) + report.last_day[5:]


def _alarms(report: Report) -> Iterator[str]:
    if not report.alarm_lines:
        return
    yield from ("## Alarms", "")
    shown = report.alarm_lines[:ALARMS_SHOWN]
    yield from table(
        ("subject", "alarm", "times", "now"),
        [(escaped(a.subject), escaped(a.type), f"{a.count}", _standing(a)) for a in shown],
        right=(2,),
    )
    yield from _more(len(report.alarm_lines) - len(shown))


def _standing(alarm: Alarm) -> str:
    if alarm.standing:
        return "STANDS"
    return "over" if is_level(alarm.type) else _NOTHING


def _held_back(report: Report) -> Iterator[str]:
    """What explains that nothing was done about an alarm."""
    if not report.held_back:
        return
    yield from ("## Held back", "")
    rows = [
        (_clock(report, one.since), _until(report, one), one.kind, escaped(one.subject, 40), escaped(one.what))
        for one in report.held_back
    ]
    yield from table(("from", "to", "by", "what", "why"), rows)
    yield from _more(report.held_back_beyond)


def _until(report: Report, one: HeldBack) -> str:
    return _NOTHING if one.kind == "demotion" else _clock(report, one.until) if one.until else "LASTS"


def _playbooks(report: Report) -> Iterator[str]:
    if not report.playbooks:
        return
    yield from ("## Playbooks", "")
    heads = (
        "playbook",
        "runs",
        "healed",
        "cleared",
        "not healed",
        "unknown",
        "rate",
        "escalated",
        "rolled back",
        "to heal (median)",
    )
    yield from table(heads, [_playbook(line) for line in report.playbooks], right=tuple(range(1, 10)))


def _playbook(line: PlaybookLine) -> tuple[str, ...]:
    counts = line.outcomes.counts
    return (
        escaped(line.playbook),
        f"{line.opened}",
        *(f"{counts.get(name, 0)}" for name in (model.HEALED, model.CLEARED, model.NOT_HEALED, model.UNKNOWN)),
        _percent(line.outcomes.rate),
        f"{line.escalated}",
        f"{line.rolled_back}",
        _NOTHING if line.heal.median_ms is None else span(line.heal.median_ms / 1000),
    )


def _runs(report: Report) -> Iterator[str]:
    if not report.run_lines:
        return
    yield from ("## Runs that ended last", "")
    yield from table(
        ("ended", "outcome", "subject", "playbook", "took", "run", "why"),
        [_run(report, line) for line in report.run_lines[-RUNS_SHOWN:]],
    )


def _run(report: Report, line: RunLine) -> tuple[str, ...]:
    took = _NOTHING if line.took_ms is None else span(line.took_ms / 1000)
    outcome = _WORDS.get(line.outcome, line.outcome) + (", taken back" if line.taken_back else "")
    return (
        _clock(report, line.ended),
        outcome,
        *(escaped(text, 40) for text in (line.subject, line.playbook)),
        took,
        escaped(line.run, 40),
        escaped(line.why),
    )


def _scores(report: Report) -> Iterator[str]:
    low = [line for line in report.subjects if line.degraded_s or (line.lowest or 0.0) < 0.8]
    if not low:
        return
    yield from ("## Lowest scores", "")
    rows = [
        (escaped(line.subject), f"{line.average or 0.0:.2f}", f"{line.lowest or 0.0:.2f}", _span_or_none(line.degraded_s))
        for line in low
    ]
    yield from table(("subject", "average", "lowest", "degraded for"), rows, right=(1, 2, 3))


def _blind(report: Report) -> Iterator[str]:
    worth = [one for one in report.blind if _length(one) >= 1]
    if not worth or report.state == "blind":
        return
    yield from ("## Blind", "")
    rows = [(_clock(report, one.since), _clock(report, one.until), span(_length(one)), one.why) for one in worth]
    yield from table(("from", "to", "for", "why"), rows)


def _length(one: Blind) -> float:
    return parse_time(one.until) - parse_time(one.since)


def _rollbacks(report: Report) -> Iterator[str]:
    if not report.rollbacks:
        return
    yield from ("## Rolled back, with proof", "")
    for one in report.rollbacks:
        yield from _rollback(report, one)


def _rollback(report: Report, one: Rollback) -> Iterator[str]:
    state = (escaped(one.error, WAIT_CHARS) or "as before") if one.ok else f"NOT as before: {escaped(one.error, WAIT_CHARS)}"
    yield f"{_clock(report, one.at)} · {escaped(one.subject)} · {escaped(one.playbook)} · {escaped(one.run, 40)} · {state}"
    yield ""
    if one.proof:
        names = [*dict.fromkeys(chain.from_iterable(line for line in one.proof))]
        rows = [tuple(_proof(line.get(name)) for name in names) for line in one.proof]
        yield from table([escaped(name.replace("_", " ")) for name in names], rows)
    yield from _more(one.proof_beyond)


def _proof(value: object) -> str:
    """Hashes are told by their beginning here; the JSON report has them whole."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    text = plain(value)
    is_hash = len(text) > HASH_CHARS and all(sign in "0123456789abcdef" for sign in text.removeprefix("sha256:"))
    return text.removeprefix("sha256:")[:HASH_CHARS] + "…" if is_hash else escaped(text)


def _troubles(report: Report) -> Iterator[str]:
    if not report.troubles:
        return
    yield from ("## Could not be read or written", "")
    rows = [(_clock(report, t.at), escaped(t.type), escaped(t.where), escaped(t.why)) for t in report.troubles]
    yield from table(("at", "what", "where", "why"), rows)


def _types(report: Report) -> Iterator[str]:
    if not report.by_type:
        return
    yield from ("## Events by type", "")
    shown = report.by_type[:TYPES_SHOWN]
    yield from table(("type", "events"), [(escaped(name), f"{count}") for name, count in shown], right=(1,))
    rest = sum(count for _, count in report.by_type[TYPES_SHOWN:]) + report.by_type_beyond
    if rest:
        yield from (f"And {_many(rest, 'event')} of other types.", "")


# --- the shape of it


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield from (f"And {count} more in the JSON report or the journal.", "")


def _clock(report: Report, stamp: str) -> str:
    """`08:15:30` on the day of a report on one day, else with its date."""
    if not _STAMP.match(stamp):
        return escaped(stamp, 40)
    return stamp[11:19] if stamp[:10] == report.first_day == report.last_day else f"{stamp[:10]} {stamp[11:19]}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """A Markdown table whose columns also stand below one another on a terminal. Cells are escaped already."""
    cells = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(3, *(width(row[column]) for row in cells)) for column in range(len(heads))]
    rule = ["-" * (size - 1) + ":" if column in right else "-" * size for column, size in enumerate(widths)]
    lines = [_row(row, widths, right) for row in cells]
    yield lines[0]
    yield "| " + " | ".join(rule) + " |"
    yield from lines[1:]
    yield ""


def _row(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = []
    for column, (text, size) in enumerate(zip(row, widths, strict=True)):
        gap = " " * (size - width(text))
        padded.append(gap + text if column in right else text + gap)
    return "| " + " | ".join(padded) + " |"
