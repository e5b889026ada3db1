"""The scores of all subjects: folded from events by the world, read by the reactor, told every so often by the daemon.

`apply` takes every durable event and is O(1); most events concern no score and cost one look-up. `evaluate` says what has
become worth saying, as drafts; they come back through `apply` when they are durable, and only then are they part of a checkpoint.
Time is always the arrival of events or the caller's `now`, both wall-clock seconds.

A flood of invented subjects is bounded: the subject that was silent longest goes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from heapq import heappop, heappush, nsmallest
from math import fsum, inf, isfinite
from typing import Any

from aios.events.event import HOST, SYSTEM, Draft, Event
from aios.scores import formula
from aios.scores.book import WINDOW_S, Book, Said, Voice, dimensions_of
from aios.scores.formula import Score
from aios.scores.symptoms import LEVELS, MISHAPS

SUBJECTS_MAX = 10_000
FORGET_AFTER_S = 7 * 86_400.0
"""A well subject of which nothing was heard for so long is forgotten; the mean is of what lives."""
SUBJECT_CHARS_MAX = 512
COUNTED_RUNS_MAX = 1000
PROBES_MAX = 100_000
"""More answers than this in one sample are not believed."""
DRAFTS_MAX = 500
"""So many drafts at most in one `evaluate`; what is left is said at the next."""

MOVED = 0.05
TELL_EVERY_S = 60.0
DEGRADED_BELOW, RECOVERED_FROM = 0.5, 0.6
# Deeper still is said once more, because only `system` below 0.3 is P0, and it may get there long after it was degraded.
DEEP_BELOW, DEEP_UNTIL = 0.3, 0.4

_VERSION = 1
_MINUTE_S = 60


class Scores:
    """`targets_ms`: by subject, the p95 that counts as well; without one, the subject's own median of seven days."""

    def __init__(
        self,
        *,
        window_s: float = WINDOW_S,
        targets_ms: Mapping[str, float] | None = None,
        weights: Mapping[str, float] = formula.WEIGHTS,
        subjects_max: int = SUBJECTS_MAX,
    ) -> None:
        self._window_s = window_s
        self._targets_ms = dict(targets_ms or {})
        self._weights = weights
        self._subjects_max = subjects_max
        self._books: OrderedDict[str, Book] = OrderedDict()
        self._runs: OrderedDict[str, None] = OrderedDict()  # runs whose end was counted
        self._system = Voice()
        self._minute = 0
        self._dirty: dict[str, None] = {}  # the value below is out of date
        self._fading: dict[str, float] = {}  # when time alone may change the score next
        self._fades: list[tuple[float, str]] = []  # the same as a heap; what is there no more is dropped when met
        self._untold: dict[str, Score | None] = {}  # may have something to say; with its score where that was reckoned just now
        self._values: dict[str, float] = {}
        self._sum = 0.0
        self._worst: str | None = None  # None: look for it

    def measure(self, window_s: float, targets_ms: Mapping[str, float]) -> None:
        """Other settings are in force from here on."""
        self._window_s, self._targets_ms = window_s, dict(targets_ms)

    # --- in

    def apply(self, event: Event) -> None:
        """Fold one durable event."""
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)
        elif event.type.startswith("resource."):
            self._on_resource(event)

    def _book(self, event: Event) -> Book | None:
        """This subject's book, now the newest. None: this is no subject that is scored."""
        subject = event.subject
        if subject == SYSTEM or not subject or len(subject) > SUBJECT_CHARS_MAX:
            return None
        book = self._books.get(subject)
        if book is None:
            book = self._books[subject] = Book()
            if len(self._books) > self._subjects_max:
                self._forget(next(iter(self._books)))
        else:
            self._books.move_to_end(subject)
        book.seen_at = event.taken
        self._dirty[subject] = None
        return book

    def _forget(self, subject: str) -> None:
        del self._books[subject]
        for names in (self._dirty, self._fading, self._untold):
            names.pop(subject, None)
        self._sum -= self._values.pop(subject, 0.0)
        if self._worst == subject:
            self._worst = None

    def _on_end(self, event: Event) -> None:
        run = event.data.get("run")
        if not isinstance(run, str) or run in self._runs or (book := self._book(event)) is None:
            return
        self._runs[run] = None
        if len(self._runs) > COUNTED_RUNS_MAX:
            self._runs.popitem(last=False)
        minute = book.minute(book.seen_at, self._window_s)
        if event.type in ("run.healed", "run.cleared"):
            minute.good += 1
        else:
            minute.failed += 1

    def _on_probe(self, event: Event) -> None:
        ok, failed = _count(event.data.get("ok")), _count(event.data.get("failed"))
        if ok + failed == 0 or (book := self._book(event)) is None:
            return
        minute = book.minute(book.seen_at, self._window_s)
        minute.good += ok
        minute.failed += failed
        p95_ms = _number(event.data.get("p95_ms"))
        if ok and p95_ms is not None and p95_ms > 0:
            book.add_latency(p95_ms, book.seen_at, self._window_s)

    def _on_host(self, event: Event) -> None:
        shares = [_share(event.data.get(name)) for name in ("cpu", "memory", "disk")]
        if event.subject != HOST or None in shares or (book := self._book(event)) is None:
            return
        cpu, memory, disk = (share or 0.0 for share in shares)
        minute = book.minute(book.seen_at, self._window_s)
        minute.samples += 1
        minute.cpu += cpu
        minute.memory += memory
        minute.disk += disk

    def _on_resource(self, event: Event) -> None:
        book = self._book(event)
        if book is None:
            return
        if event.subject.startswith("disk:"):
            used = _share(event.data.get("used"))
            book.disk_used = used if used is not None else book.disk_used
        if event.type.endswith("_normal"):
            book.close(event.type)
        else:
            book.fall(event.type, book.seen_at)

    def _on_fall(self, event: Event) -> None:
        book = self._book(event)
        if book is not None:
            book.fall(event.type, book.seen_at)

    def _on_well(self, event: Event) -> None:
        book = self._book(event)
        if book is not None:
            book.close(event.type)

    def _on_told(self, event: Event) -> None:
        """One of our own came back from the journal, or is read again after a restart."""
        voice = self._voice(event.subject)
        if voice is not None:
            voice.hear(_heard(voice.told, event))

    def _voice(self, subject: str) -> Voice | None:
        if subject == SYSTEM:
            return self._system
        book = self._books.get(subject)
        return book.voice if book is not None else None

    # --- out

    def value(self, subject: str, now: float) -> float | None:
        """The score alone; None: nothing is known."""
        found = self.score(subject, now)
        return found.value if found else None

    def score(self, subject: str, now: float) -> Score | None:
        """The score as it is now; None: nothing is known of this subject."""
        if subject == SYSTEM:
            return self._score_system(now)
        book = self._books.get(subject)
        return self._score_book(subject, book, now) if book is not None else None

    def subjects(self, now: float) -> list[Score]:
        """Every known subject's score, worst first."""
        found = [self._score_book(subject, book, now) for subject, book in self._books.items()]
        return sorted((score for score in found if score is not None), key=lambda score: (score.value, score.subject))

    def _figures(self, subject: str, book: Book, now: float) -> dict[str, Any]:
        return book.figures(now, self._window_s, self._targets_ms.get(subject))

    def _score_book(self, subject: str, book: Book, now: float) -> Score | None:
        dimensions = dimensions_of(self._figures(subject, book, now))
        value = formula.combine(dimensions, self._weights)
        return Score(subject, value, dimensions) if value is not None else None

    def _score_system(self, now: float) -> Score | None:
        self._freshen(now)
        if not self._values:
            return None
        if self._worst is None:
            self._worst = min(self._values, key=lambda subject: (self._values[subject], subject))
        worst, mean = self._values[self._worst], min(1.0, max(0.0, self._sum / len(self._values)))
        return Score(SYSTEM, formula.combine_system(worst, mean), {"worst": worst, "mean": mean})

    def explain(self, subject: str, now: float) -> dict[str, Any]:
        """Why a score is what it is, as plain JSON."""
        score = self.score(subject, now)
        if score is None:
            return {"subject": subject, "score": None, "why": "nothing is known of it"}
        if subject == SYSTEM:
            return self._explain_system(score)
        book = self._books[subject]
        total = sum(self._weights[name] for name in score.dimensions)
        return {
            "subject": subject,
            "score": round(score.value, 4),
            "dimensions": {
                name: {"value": round(score.dimensions[name], 4), "weight": round(self._weights[name] / total, 4)}
                if name in score.dimensions
                else None
                for name in formula.DIMENSIONS
            },
            "figures": self._figures(subject, book, now),
            "window_s": self._window_s,
            "ill_since": dict(book.standing),
            "degraded_since": book.voice.told.since if book.voice.told.depth else None,
        }

    def _explain_system(self, score: Score) -> dict[str, Any]:
        lowest = nsmallest(5, self._values.items(), key=lambda item: (item[1], item[0]))
        return {
            "subject": SYSTEM,
            "score": round(score.value, 4),
            "dimensions": {name: {"value": round(value, 4), "weight": 0.5} for name, value in score.dimensions.items()},
            "subjects": len(self._values),
            "lowest": [{"subject": subject, "score": round(value, 4)} for subject, value in lowest],
            "degraded_since": self._system.told.since if self._system.told.depth else None,
        }

    # --- keeping values up to date

    def _freshen(self, now: float) -> None:
        minute = int(now // _MINUTE_S)
        if minute != self._minute:
            if minute < self._minute:  # the clock went back: what had faded counts again
                self._dirty = dict.fromkeys(self._books)
            self._minute = minute
            self._forget_silent(now)
            self._sum = fsum(self._values.values())  # what rounding has added up since is gone
        while self._fades and self._fades[0][0] <= now:
            at, subject = heappop(self._fades)
            if self._fading.get(subject) == at:
                self._dirty[subject] = None
        dirty, self._dirty = self._dirty, {}
        for subject in dirty:
            self._freshen_one(subject, now)

    def _forget_silent(self, now: float) -> None:
        while self._books:
            subject, book = next(iter(self._books.items()))
            if book.seen_at > now - FORGET_AFTER_S or book.standing or book.voice.told.depth:
                return
            self._forget(subject)

    def _freshen_one(self, subject: str, now: float) -> None:
        book = self._books[subject]
        changes_at = book.changes_at(now, self._window_s)
        if changes_at < inf:
            if self._fading.get(subject) != changes_at:
                self._fading[subject] = changes_at
                heappush(self._fades, (changes_at, subject))
        else:
            self._fading.pop(subject, None)
        score = self._score_book(subject, book, now)
        if score is None:
            return
        self._untold[subject] = score
        before = self._values.get(subject)
        self._values[subject] = score.value
        self._sum += score.value - (before or 0.0)
        if self._worst is not None and (score.value < self._values[self._worst] or subject == self._worst):
            self._worst = subject if before is None or score.value <= before else None

    # --- telling

    def evaluate(self, now: float) -> list[Draft]:
        """What has become worth saying: `score.updated`, `score.degraded`, `score.recovered`. Call it every few seconds."""
        self._freshen(now)
        drafts: list[Draft] = []
        held_back: dict[str, Score | None] = {}
        for subject, fresh in self._untold.items():
            book = self._books[subject]
            score = (fresh or self._score_book(subject, book, now)) if len(drafts) < DRAFTS_MAX else None
            if score is None or not self._tell(score, book.voice, now, drafts):
                held_back[subject] = None
        self._untold = held_back
        system = self._score_system(now)
        if system is not None:
            self._tell(system, self._system, now, drafts)
        return drafts

    @staticmethod
    def _tell(score: Score, voice: Voice, now: float, drafts: list[Draft]) -> bool:
        """Add what is to be said of this score. False: something is left to say, but it was said too lately."""
        said, spoken, held_back = judge(voice.said, score, now)
        voice.said = said
        voice.on_the_way += len(spoken)
        drafts += spoken
        return not held_back

    # --- checkpoints

    def to_json(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "subjects": {subject: book.to_json() for subject, book in self._books.items()},
            "runs": list(self._runs),
            "system": self._system.told.row(),
        }

    @classmethod
    def from_json(
        cls,
        raw: Mapping[str, Any],
        *,
        window_s: float = WINDOW_S,
        targets_ms: Mapping[str, float] | None = None,
        weights: Mapping[str, float] = formula.WEIGHTS,
        subjects_max: int = SUBJECTS_MAX,
    ) -> Scores:
        """Raises ValueError where the version is one that this code does not know."""
        if raw.get("version") != _VERSION:
            raise ValueError(f"scores of version {raw.get('version')!r}; this code reads {_VERSION}")
        scores = cls(window_s=window_s, targets_ms=targets_ms, weights=weights, subjects_max=subjects_max)
        scores._books = OrderedDict((subject, Book.from_json(book)) for subject, book in raw["subjects"].items())
        scores._runs = OrderedDict.fromkeys(raw["runs"])
        told = Said.from_row(raw["system"])
        scores._system = Voice(told, told)
        scores._dirty = dict.fromkeys(scores._books)
        return scores


def heeds(event_type: str) -> bool:
    """Whether events of this type can change a score."""
    return event_type in _HANDLERS or event_type.startswith("resource.")


def judge(said: Said, score: Score, now: float) -> tuple[Said, list[Draft], bool]:
    """What is to be said of a score after what was said; what will then have been said; whether something must wait a minute."""
    drafts: list[Draft] = []
    value, names = round(score.value, 4), tuple(score.dimensions)
    dimensions = {name: round(one, 4) for name, one in score.dimensions.items()}
    moved = said.value is None or abs(value - said.value) >= MOVED or names != said.dimensions
    held_back = moved and said.value is not None and abs(now - said.at) < TELL_EVERY_S
    if moved and not held_back:
        before = {} if said.value is None else {"before": said.value}
        drafts.append(_draft("score.updated", score.subject, {"score": value, **before, "dimensions": dimensions}))
        said = _after_update(said, value, names, now)
    depth = 2 if value < DEEP_BELOW else 1 if value < DEGRADED_BELOW else 0
    if depth > said.depth:
        severity = "critical" if depth == 2 else "error"
        drafts.append(_draft("score.degraded", score.subject, {"score": value, "dimensions": dimensions}, severity))
        said = replace(said, depth=depth, since=said.since if said.depth else now)
    elif said.depth and value >= RECOVERED_FROM:
        data = {"score": value, "degraded_s": round(max(0.0, now - said.since), 3)}
        drafts.append(_draft("score.recovered", score.subject, data))
        said = replace(said, depth=0, since=0.0)
    return said, drafts, held_back


def _after_update(said: Said, value: float, names: tuple[str, ...], now: float) -> Said:
    depth = 1 if said.depth == 2 and value >= DEEP_UNTIL else said.depth
    return replace(said, value=value, dimensions=names, at=now, depth=depth)


def _heard(told: Said, event: Event) -> Said:
    """What was told, once this own event is counted: `judge` backwards."""
    value = _number(event.data.get("score"))
    if value is None:
        return told
    if event.type == "score.updated":
        return _after_update(told, value, tuple(event.data.get("dimensions") or ()), event.taken)
    if event.type == "score.recovered":
        return replace(told, depth=0, since=0.0)
    return replace(told, depth=2 if value < DEEP_BELOW else 1, since=told.since if told.depth else event.taken)


def _draft(event_type: str, subject: str, data: Mapping[str, Any], severity: str = "") -> Draft:
    return Draft(type=event_type, subject=subject, data=data, severity=severity)


def _number(raw: Any) -> float | None:
    """A number that can be reckoned with; any program may say `probe.sampled`, and anything."""
    return float(raw) if isinstance(raw, (int, float)) and not isinstance(raw, bool) and isfinite(raw) else None


def _share(raw: Any) -> float | None:
    number = _number(raw)
    return None if number is None else min(1.0, max(0.0, number))


def _count(raw: Any) -> int:
    number = _number(raw)
    return 0 if number is None else int(min(PROBES_MAX, max(0.0, number)))


_HANDLERS: Mapping[str, Callable[[Scores, Event], None]] = {
    **dict.fromkeys(("run.healed", "run.cleared", "run.not_healed", "run.unknown"), Scores._on_end),
    **dict.fromkeys(("score.updated", "score.degraded", "score.recovered"), Scores._on_told),
    **{name: Scores._on_fall for name in LEVELS | MISHAPS if not name.startswith("resource.")},
    **dict.fromkeys(("service.up", "service.stopped", "endpoint.up"), Scores._on_well),
    "probe.sampled": Scores._on_probe,
    "host.sampled": Scores._on_host,
}
