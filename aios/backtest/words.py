"""What a backtest found, in words: the same on the terminal (`cli/backtest`) and on the page (`page`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aios.backtest.result import Backtest, Figures, WouldRun
from aios.events.durations import format_duration
from aios.events.event import format_time

ENDS: Mapping[str, str] = {
    "healed": "healed",
    "assumed": "taken to have helped",
    "cleared": "well before it acted",
    "unknown": "unknown",
    "not_healed": "not healed",
    "observed": "only looked",
    "suggested": "suggested",
    "cancelled": "ended by a person",
    "open": "still open",
}


def span_words(found: Backtest) -> str:
    """From when to when, and what else was in force."""
    if not found.until:
        return "The journal has no event of a type that these playbooks answer."
    length = format_duration(max(1.0, round((found.until - found.since) / 60.0) * 60.0))
    names = ", ".join(figures.name for figures in found.playbooks)
    beside = f", beside {len(found.company)} others" if found.company else ""
    return f"{names}{beside}: {_minute(found.since)} to {_minute(found.until)} ({length})"


def figures_facts(f: Figures, found: Backtest) -> Iterator[tuple[str, str]]:
    """Name and sentence, for what there is to say."""
    within = format_duration(found.within_s)
    yield "matched", f"{_many(f.matched, 'event')}"
    yield "would run", _runs(f)
    if f.ends:
        yield "would end", _listed({ENDS[end]: n for end, n in f.ends.items()})
    if f.acts:
        unsure = f", {f.maybe} of them only if a look had said so" if f.maybe else ""
        yield "acts", f"{f.acts}{unsure}"
    if f.asked:
        yield "asks", f"{_many(f.asked, 'time')} before acting (a yes is assumed, or the first choice)"
    if f.calls:
        yield "calls", f"a person {_many(f.calls, 'time')}"
    if f.held:
        gone = f"; of these {f.released} went away meanwhile" if f.released else ""
        yield "held", f"{f.held_in_all}: {_listed(f.held)}{gone}"
    if f.joined or f.coalesced:
        yield "joined", f"{f.joined} came while a run was open, {f.coalesced} while one was held"
    if f.better:
        yield "others first", f"{_listed(f.better)} (it would be the fallback)"
    for name, count, words in (
        ("when", f.when_no, "where `when` said no"),
        ("cannot say", f.cannot_say, "where `when` could not say"),
        ("switched off", f.switched_off, "while a person had switched it off"),
    ):
        if count:
            yield name, f"{_many(count, 'event')} {words}"
    yield from _truth(f, within)


def _runs(f: Figures) -> str:
    words = _many(f.runs, "time")
    if f.again:
        words += f", {f.again} of them only if the run before had not helped"
    if f.later:
        words += f"; {f.later} later than the event, when a guard let go"
    if f.fallbacks:
        words += f"; {f.fallbacks} more as another's fallback"
    if f.busiest[1] > 1:
        words += f"; at most {f.busiest[1]} in an hour ({f.busiest[0]})"
    return words


def _truth(f: Figures, within: str) -> Iterator[tuple[str, str]]:
    """What really became of it."""
    closing = f.troubles - f.untold
    if closing:
        median = f", median {_about(f.by_itself_median_s)}" if f.by_itself else ""
        yield "by itself", f"{f.by_itself} of {closing} troubles went away within {within} without an act of ours{median}"
    rest = {f"{name} acted": n for name, n in f.acted.items()}
    rest |= {"went away later": f.later_by_itself, "still stood at the end": f.standing}
    if any(rest.values()):
        yield "really", _listed({words: n for words, n in rest.items() if n})
    if f.untold:
        yield "untold", f"{_many(f.untold, 'event')} of a kind that nothing ever closes: what became of it nobody says"
    if f.really:
        yield "record", f"it really ran {_many(f.really, 'time')}; {f.followed} of these are among the runs above, as they went"


def run_words(run: WouldRun) -> str:
    """What it does and how it ends."""
    acts = ", ".join(run.acts) or "no act"
    asked = "asks; " if run.asked else ""
    beside = f" (before {', '.join(run.better_than)})" if run.better_than else ""
    kind = "fallback: " if run.parent else ""
    return f"{kind}{asked}{acts}: {ENDS.get(run.end, run.end)}{', as it went' if run.really else ''}{beside}"


def trouble_words(run: WouldRun, within_s: float) -> str:
    """What really became of what the run answers."""
    trouble = run.trouble
    if trouble is None:
        return "nothing would say"
    fate = trouble.fate(within_s)
    if fate == "standing":
        return "stood to the end"
    if fate == "acted":
        after = _about(trouble.acted_at - trouble.began)
        over = f", over {_about(trouble.ended - trouble.began)} after it began" if trouble.ended else ", never over"
        return f"{trouble.acted_by} acted after {after}{over}"
    return f"went away by itself after {_about(trouble.ended - trouble.began)}"


def _about(seconds: float) -> str:
    return f"{round(seconds, 1):g}s" if seconds < 10 else format_duration(round(seconds))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _minute(seconds: float) -> str:
    return format_time(seconds)[:16].replace("T", " ") + "Z"
