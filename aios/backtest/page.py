"""A backtest as one HTML page that needs nothing else: no network, no script. Called by `aios playbook backtest --html`.

All that stands in it comes from a journal, so from anybody: every word is escaped, and the page forbids itself (by its
Content-Security-Policy) to load or run anything, should one slip through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from aios.backtest.compare import KIND_WORDS, LEGEND, MEANINGS, Comparison
from aios.backtest.result import Backtest, Bucket, Figures, WouldHold, WouldRun
from aios.backtest.words import figures_facts, run_words, span_words, trouble_words
from aios.events.event import format_time

WIDTH, HEIGHT, FOOT = 960, 160, 22
TEXT_MAX = 300
ROWS_MAX = 2000

_STYLE = """
:root{color-scheme:light dark;--run:#2c7be5;--held:#e8a33d;--matched:#c9d3e0}
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}
table{border-collapse:collapse;width:100%;font-size:.9em}
th,td{text-align:left;padding:.25em .7em .25em 0;border-bottom:1px solid #8884;vertical-align:top;overflow-wrap:anywhere}
th{font-weight:600}dt{font-weight:600;float:left;clear:left;width:10em}dd{margin:0 0 0 10.5em}
.run{fill:var(--run)}.held{fill:var(--held)}.matched{fill:var(--matched)}svg text{font-size:11px;fill:currentColor}
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.comes,.ok{color:#1a7f37}.goes,.bad{color:#c0392b}small{opacity:.75}
"""


def to_html(found: Backtest, comparison: Comparison | None = None) -> str:
    """The page. With a comparison, `found` is its new side."""
    title = "What changes" if comparison else "Backtest"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>AIOS: {title.lower()}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>{_text(span_words(found))}</p>",
        *(f"<p>{_text(note)}</p>" for note in found.notes),
        _plot(found),
    ]
    if comparison is not None:
        parts.append(_changes(comparison))
    parts += [_playbook(figures, found) for figures in found.playbooks]
    parts += [_rows(found), "</body></html>"]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    text = str(value)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:TEXT_MAX])
    return escape(shown + ("…" if len(text) > TEXT_MAX else ""), quote=True)


# --- the plot ---------------------------------------------------------------------------------------------------------


def _plot(found: Backtest) -> str:
    seconds, buckets = found.buckets(120)
    if not buckets:
        return "<p>No event of these playbooks' types is there.</p>"
    most = max(1, *(max(b.matched, b.runs + b.held) for b in buckets))
    step = WIDTH / len(buckets)
    bars = "".join(_bars(n, bucket, step, most) for n, bucket in enumerate(buckets))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" width="100%" role="img" aria-label="runs and held events over time">'
        f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}" stroke="currentColor" stroke-width=".5"/>{bars}'
        f'<text x="0" y="{HEIGHT + 16}">{_text(_day(buckets[0].begin))}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 16}" text-anchor="end">{_text(_day(buckets[-1].begin + seconds))}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end">most: {most}</text></svg>'
        '<p class="key"><small><span style="background:var(--run)"></span>runs'
        '<span style="background:var(--held)"></span>held by a guard<span style="background:var(--matched)"></span>matched; '
        f"a bar is {seconds / 3600:g} h</small></p>"
    )


def _bars(n: int, bucket: Bucket, step: float, most: int) -> str:
    told = f"{_day(bucket.begin)}: {bucket.runs} runs, {bucket.held} held, {bucket.matched} matched"
    runs, held = bucket.runs / most * HEIGHT, bucket.held / most * HEIGHT
    rows = (("matched", 0.0, bucket.matched / most * HEIGHT), ("run", 0.0, runs), ("held", runs, held))
    bars = "".join(_bar(name, n * step, HEIGHT - base - tall, max(1.0, step * 0.9), tall) for name, base, tall in rows if tall)
    return f"<g><title>{_text(told)}</title>{bars}</g>" if bars else ""


def _bar(name: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{name}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'


def _day(seconds: float) -> str:
    return format_time(seconds)[:16].replace("T", " ") + "Z"


# --- words ------------------------------------------------------------------------------------------------------------


def _playbook(figures: Figures, found: Backtest) -> str:
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>" for name, said in figures_facts(figures, found))
    return f"<h2>{_text(figures.name)} <small>{_text(figures.mode)}, {_text(figures.path)}</small></h2><dl>{facts}</dl>"


def _changes(comparison: Comparison) -> str:
    counts = comparison.counts
    told = "".join(
        f"<dt>{_text(KIND_WORDS.get(kind, kind))}</dt><dd>{counts.get(kind, 0)}: {_text(meaning)}</dd>"
        for kind, meaning in MEANINGS.items()
    )
    rows = [
        (
            _day(change.at),
            change.subject,
            change.type,
            change.before,
            change.after,
            change.why,
            KIND_WORDS.get(change.kind, change.kind),
        )
        for change in comparison.changes[:ROWS_MAX]
    ]
    heads = ("when", "subject", "event", "before", "after", "why", "")
    legend = "".join(f"<dt>{_text(word)}</dt><dd>{_text(meaning)}</dd>" for word, meaning in LEGEND.items())
    more = len(comparison.changes) - len(rows) + comparison.left_out
    return f"<h2>Changes</h2><dl>{told}</dl>{_table(heads, rows, more)}<dl>{legend}</dl>"


def _rows(found: Backtest) -> str:
    runs = [_run_row(run, found) for run in found.runs]
    held = [_held_row(one) for one in found.held]
    return (
        "<h2>Runs</h2>"
        + _table(("when", "playbook", "subject", "run", "what really happened"), runs, found.runs_left_out)
        + "<h2>Held by guards</h2>"
        + _table(("when", "playbook", "subject", "guard", "until", "why"), held, found.held_left_out)
    )


def _run_row(run: WouldRun, found: Backtest) -> tuple[str, ...]:
    return _day(run.at), run.playbook, run.subject, run_words(run), trouble_words(run, found.within_s)


def _held_row(held: WouldHold) -> tuple[str, ...]:
    return _day(held.at), held.playbook, held.subject, held.guard, held.until[:19].replace("T", " "), held.why


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], left_out: int) -> str:
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    head = "".join(f"<th>{_text(one)}</th>" for one in heads)
    more = f"<p><small>and {left_out} more</small></p>" if left_out else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
