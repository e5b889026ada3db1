"""Several events together: windows over the journal, folded from it alone. `World.apply` hands in every durable event, in order.

    correlator.take(event, position)   drafts of what is complete by it (`reactor.correlated`), and of what was forgotten
    correlator.pending                 the same, until the journal holds them: the reactor says them, after a crash once more
    correlator.due()                   when something would happen if only the journal went on: the reactor sees to that

Time here is when things happened (`time`, never later than `arrival`), in microseconds. Each correlation takes events in that
order once none can come any more that is older: the *watermark*, the newest arrival in the journal less the `lateness`, has
passed them. So the same journal always decides the same, and lines that arrive in another order within the lateness decide the
same too. What comes later still is put in its place, where that still matters. A silence is measured on a clock that stands
still while the daemon was blind (`Blindness`). Everything is bounded; what has to be forgotten is told.

How events go together stands in `joins.py`, what is remembered in `windows.py`. Pure: a checkpoint holds all of it (`to_json`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from aios.events.catalogue import CORRELATED, WINDOW_DROPPED
from aios.events.codec import BadLine, decode_json, depth_of, encode_json
from aios.events.event import SEVERITIES, SYSTEM, Draft, Event, Position, format_time, parse_time
from aios.playbooks.correlation import correlation_of, key_of, key_shown, known_keys, paths, subject_of
from aios.playbooks.index import Index, event_view, type_fits
from aios.playbooks.joins import SECOND, Seen, Used, find, reach, us
from aios.playbooks.model import Correlation, Playbook, Trigger
from aios.playbooks.windows import Blindness, Heard, Tracker, Waiting, Window, tracker_json, tracker_of

Recall = Callable[[str], bytes]

KEYS_MAX, EVENTS_MAX = 5_000, 5_000
"""Of one playbook: keys, and events that wait in its windows. Beyond, the keys that were quiet longest are forgotten."""
EVENTS_OF_KEY_MAX = 200
ANCHORS_MAX = 16
"""So many later events are asked whether one that came too late completes what ended with them: a flood must stay cheap."""
BUFFER_MAX = 5_000
"""Events of one playbook that wait for the watermark; what comes on top is taken at once, as if it were late."""
DATA_BYTES_MAX, DATA_LEVELS_MAX = 1024, 16
"""What an event's data may be to be kept with it: what is longer or deeper stands in the journal only."""
SILENCE_S = 90.0
"""The daemon gives a sign of life each minute: with none for so long, nobody was watching."""
LEAP_S = 5.0
"""The clock went back when an arrival is so much older than one before; less is the usual correction."""
TELL_EVERY_S = 3600.0
NAMESPACE = UUID("2f6a3f5e-52b6-5d43-9c1e-a105c0a105c0")


class _Entry(NamedTuple):
    """What the watermark will pass: an event of a buffer, by its number, or a deadline, by its key (its number is then 0).

    `release` is the arrival at which it does, `at` when it is. So of one moment deadlines come first: what happens exactly
    `within` after something is outside.
    """

    release: int
    at: int
    number: int
    playbook: str
    key: str = ""


class Correlator:
    """See the head of this file."""

    def __init__(self, recall: Recall | None = None) -> None:
        self.recall: Recall = recall or _forgetful
        self.trackers: dict[str, Tracker] = {}
        self.pending: dict[str, Draft] = {}
        """What the journal does not hold yet, by id."""
        self.high = 0
        """The newest arrival."""
        self._arrival = ""
        self._seq = 0
        self._off: set[str] = set()
        self._blind = Blindness()
        self._events: list[_Entry] = []
        self._deadlines: list[_Entry] = []
        self._wakes: list[_Entry] = []
        """Events of the buffers that may complete something: worth going on for. All three are heaps."""
        self._index = Index(())
        self._members: dict[str, tuple[Tracker, int]] = {}

    # --- in ---

    def take(self, event: Event, position: Position) -> tuple[Draft, ...]:
        """Fold one durable event. What is new in `pending` by it."""
        heeded = _HEEDED.get(event.type)
        if not self.trackers and heeded is None:
            return ()
        before = len(self.pending)
        if event.arrival != self._arrival or event.type == "daemon.started":  # what comes in one batch has one arrival
            self._arrival = event.arrival
            self._pass(event, position)
        if heeded is not None:
            heeded(self, event, position)
            before = min(before, len(self.pending))
        hits = self._index.match(event)
        if hits:
            self._hit(event, position, hits)
        if self._is_next(self._events) or self._is_next(self._deadlines):
            self._release()
        return tuple(self.pending.values())[before:] if len(self.pending) > before else ()

    def advance(self, at: float) -> tuple[Draft, ...]:
        """Time passed and somebody watched, though the journal says nothing: for tests and trials. What is new in `pending`."""
        before = len(self.pending)
        self.high = max(self.high, us(at))
        self._release()
        return tuple(self.pending.values())[before:]

    def due(self) -> float | None:
        """The moment (seconds) at which an arrival in the journal would let something happen; None: none would by time alone."""
        while self._wakes and not self._is_buffered(self._wakes[0]):
            heappop(self._wakes)
        while self._deadlines and not self._is_true(self._deadlines[0]):
            self._look_later(heappop(self._deadlines))
        first = min((heap[0].release for heap in (self._wakes, self._deadlines) if heap), default=None)
        return None if first is None else first / SECOND

    def _is_buffered(self, entry: _Entry) -> bool:
        tracker = self.trackers.get(entry.playbook)
        return tracker is not None and entry.number in tracker.buffer

    def _is_true(self, entry: _Entry) -> bool:
        """Whether this deadline stands: what was heard since, or blind time, puts it off."""
        found = self._armed(entry)
        return found is not None and self._deadline(*found) == entry.at

    def _armed(self, entry: _Entry) -> tuple[Tracker, Window] | None:
        tracker = self.trackers.get(entry.playbook)
        window = tracker.windows.get(entry.key) if tracker is not None else None
        return (tracker, window) if tracker is not None and window is not None and window.armed == entry.at else None

    def _look_later(self, entry: _Entry) -> None:
        found = self._armed(entry)
        if found is not None:
            found[1].armed = 0
            self._arm(found[0], entry.key, found[1])

    def _pass(self, event: Event, position: Position) -> None:
        """Time goes on: an arrival moves the watermark, and tells when nobody watched or the clock was set back."""
        arrival = us(event.taken)
        if not self.trackers:
            self.high, self._blind = arrival, Blindness()
        elif arrival < self.high - us(LEAP_S):
            self.high, self._blind = arrival, Blindness()
            for tracker in self.trackers.values():
                self._begin_anew(tracker, position, "the clock went back")
        elif event.type == "daemon.started":
            since = event.data.get("blind_since")
            if isinstance(since, str) and since:
                self._was_blind(us(parse_time(since)), arrival)
        elif arrival - self.high > us(SILENCE_S):
            self._was_blind(self.high, arrival)
        self.high = max(self.high, arrival)

    def _was_blind(self, since: int, until: int) -> None:
        """What happened meanwhile may come in now, in any order: for one lateness nothing is decided."""
        self._blind.add(since, until)
        for heap in (self._events, self._deadlines, self._wakes):
            heap[:] = [self._entry(self.trackers[e.playbook], e.at, e.number, e.key) for e in heap if e.playbook in self.trackers]
            heapify(heap)

    def _entry(self, tracker: Tracker, at: int, number: int = 0, key: str = "") -> _Entry:
        return _Entry(max(at, self._blind.over) + tracker.lateness, at, number, tracker.playbook, key)

    def _hit(self, event: Event, position: Position, hits: Sequence[Playbook]) -> None:
        self._seq += 1
        masks: dict[tuple[str, str], int] = {}
        for row in hits:
            tracker, number = self._members[row.name]
            key = key_of(tracker.correlation.triggers[number], event)
            if key is not None and not tracker.off:
                place = (tracker.playbook, key)
                masks[place] = masks.get(place, 0) | 1 << number
        if not masks:
            return
        seen = _seen(event, position, self._seq)
        for (playbook, key), mask in masks.items():
            self._put(self.trackers[playbook], key, seen._replace(mask=mask))

    def _put(self, tracker: Tracker, key: str, seen: Seen) -> None:
        if tracker.correlation.kind == "absence" and key not in tracker.windows and self._is_old(tracker, seen):
            return
        if self._needs_no_order(tracker, key, seen) or len(tracker.buffer) >= BUFFER_MAX:
            self._step(tracker, key, seen)
            return
        number = seen.seq
        while number in tracker.buffer:  # one event may come under two keys: its triggers are joined by different fields
            self._seq += 1
            number = self._seq
        tracker.buffer[number] = (key, seen)
        tracker.buffered[key] += 1
        entry = self._entry(tracker, seen.at, number)
        heappush(self._events, entry)
        newest = tracker.newest[key] = max(tracker.newest.get(key, (0, 0)), (seen.at, number))
        window = tracker.windows.get(key)
        if tracker.buffered[key] + (len(window.seen) if window is not None else 0) >= tracker.wanted:
            heappush(self._wakes, entry)
            if newest[1] != number:  # it came out of its order: what it completes may end with one that came before it
                heappush(self._wakes, self._entry(tracker, *newest))

    def _is_old(self, tracker: Tracker, seen: Seen) -> bool:
        """What is older than the silence that is asked for makes no new key known: it would be told at once."""
        deadline = self._blind.wall(self._blind.awake(seen.at) + tracker.within)
        return self._entry(tracker, deadline).release <= self.high

    def _needs_no_order(self, tracker: Tracker, key: str, seen: Seen) -> bool:
        """Whether it may be taken before what is older: each event alone is enough, or it only puts a silence off."""
        if tracker.correlation.kind != "absence":
            return tracker.at_once
        window = tracker.windows.get(key)
        deadline = self._deadline(tracker, window) if window is not None else None
        return deadline is not None and seen.at < deadline

    def _is_next(self, heap: list[_Entry]) -> bool:
        return bool(heap) and heap[0].release <= self.high

    def _release(self) -> None:
        """Whatever the watermark has passed, in the order in which it happened."""
        while ready := [heap for heap in (self._deadlines, self._events) if self._is_next(heap)]:
            entry = heappop(min(ready, key=lambda heap: heap[0]))
            if entry.number:
                self._take_from_buffer(entry)
            elif (found := self._armed(entry)) is not None:
                found[1].armed = 0
                self._expire(found[0], entry.key, found[1], entry.at)

    def _take_from_buffer(self, entry: _Entry) -> None:
        if not self._is_buffered(entry):
            return
        tracker = self.trackers[entry.playbook]
        key, seen = tracker.buffer.pop(entry.number)
        tracker.buffered[key] -= 1
        if not tracker.buffered[key]:
            del tracker.buffered[key], tracker.newest[key]
        self._step(tracker, key, seen)

    # --- one event of one key ---

    def _step(self, tracker: Tracker, key: str, seen: Seen) -> None:
        window = tracker.windows.pop(key, None)
        if tracker.correlation.kind == "absence":
            self._hear(tracker, key, window, seen)
            return
        window = tracker.windows[key] = window or Window()
        self._close(tracker, window, seen)
        self._insert(tracker, window, seen)
        self._complete(tracker, key, window, seen)
        if window.empty:
            del tracker.windows[key]
        self._bound(tracker)

    def _hear(self, tracker: Tracker, key: str, window: Window | None, seen: Seen) -> None:
        """It is not silent."""
        heard = self._blind.awake(seen.at)
        window = window or Window()
        if window.heard is None or heard >= window.heard:
            window.heard, window.heard_by = heard, (seen.id, seen.subject, seen.time)
        tracker.windows[key] = window
        self._arm(tracker, key, window)
        self._bound(tracker)

    def _insert(self, tracker: Tracker, window: Window, seen: Seen) -> None:
        before = len(window.seen)
        insort(window.seen, seen)
        edge = window.seen[-1].at - reach(tracker.correlation)
        window.seen = [one for one in window.seen if one.at > edge]
        if len(window.seen) > EVENTS_OF_KEY_MAX:
            self._forget(tracker, 1)
            del window.seen[0 if tracker.correlation.join == "last" else -2]
        tracker.events += len(window.seen) - before

    def _complete(self, tracker: Tracker, key: str, window: Window, seen: Seen) -> None:
        """What has come may end something; what came late may have been missing in something that ended after it."""
        first = next((n for n, one in enumerate(window.seen) if one is seen), len(window.seen))
        if not seen.mask & tracker.bits(absent=False):
            return
        for anchor in range(first, min(len(window.seen), first + ANCHORS_MAX)):
            used = find(tracker.correlation, window.seen, anchor)
            if used is not None:
                self._use(tracker, key, window, used)
                return

    def _use(self, tracker: Tracker, key: str, window: Window, used: list[Used]) -> None:
        gone = {one.seq for _, one in used}
        window.seen = [one for one in window.seen if one.seq not in gone]
        tracker.events -= len(used)
        if not tracker.bits(absent=True):
            self._fire(tracker, key, used, used[-1][1].at)
            return
        waiting = Waiting(used, self._blind.awake(used[0][1].at))
        absent = tracker.bits(absent=True)
        if not any(one.mask & absent and self._closes(tracker, waiting, one) for one in window.seen):
            window.waiting.append(waiting)
            tracker.events += len(used)
            self._arm(tracker, key, window)
            if len(window.waiting) > EVENTS_OF_KEY_MAX:
                self._forget(tracker, 1)
                tracker.events -= len(window.waiting.pop(0).used)

    def _close(self, tracker: Tracker, window: Window, seen: Seen) -> None:
        """What must not stay away has come: whatever waited for it is over."""
        if window.waiting and seen.mask & tracker.bits(absent=True):
            still = [one for one in window.waiting if not self._closes(tracker, one, seen)]
            tracker.events -= sum(len(one.used) for one in window.waiting) - sum(len(one.used) for one in still)
            window.waiting = still

    def _closes(self, tracker: Tracker, waiting: Waiting, seen: Seen) -> bool:
        after = (seen.at, seen.seq) > (waiting.used[-1][1].at, waiting.used[-1][1].seq)
        return after and seen.at < self._blind.wall(waiting.since + tracker.within)

    # --- deadlines ---

    def _deadline(self, tracker: Tracker, window: Window) -> int | None:
        """When the first silence of this key is over."""
        since = [waiting.since for waiting in window.waiting]
        since += [window.heard] if window.heard is not None else []
        return self._blind.wall(min(since) + tracker.within) if since else None

    def _arm(self, tracker: Tracker, key: str, window: Window) -> None:
        deadline = self._deadline(tracker, window)
        if deadline is not None and (not window.armed or deadline < window.armed):
            window.armed = deadline
            heappush(self._deadlines, self._entry(tracker, deadline, key=key))

    def _expire(self, tracker: Tracker, key: str, window: Window, until: int) -> None:
        """The watermark has come to this: what has been silent for long enough fires; the rest is looked at later."""
        while (deadline := self._deadline(tracker, window)) is not None and deadline <= until:
            if window.heard is not None:
                self._fire(tracker, key, (), deadline, window.heard_by)
                window.heard = None
            else:
                waiting = min(window.waiting, key=lambda one: one.since)
                window.waiting.remove(waiting)
                tracker.events -= len(waiting.used)
                self._fire(tracker, key, waiting.used, deadline)
        if window.empty:
            del tracker.windows[key]
        else:
            self._arm(tracker, key, window)

    # --- out ---

    def _fire(self, tracker: Tracker, key: str, used: Sequence[Used], at: int, heard_by: Heard = ("", "", "")) -> None:
        correlation, last = tracker.correlation, used[-1][1] if used else None
        triggers = correlation.triggers
        ids = [one.id for _, one in used]
        name = "\n".join((tracker.playbook, correlation.hash, key, str(at), *ids))
        data = {
            "playbook": tracker.playbook,
            "trigger": correlation.hash,
            "kind": correlation.kind,
            "key": key_shown(correlation, key),
            "since": used[0][1].time if used else heard_by[2],
            "until": format_time(at / SECOND),
            "count": len(used),
            "events": {triggers[number].name: _told(one) for number, one in used},
            "last": _told(last) if last is not None else {},
            "used": [[one.id, one.position] for _, one in used],
            "missing": [trigger.name for trigger in triggers if trigger.absent or correlation.kind == "absence"],
            "causes": list(dict.fromkeys(cause for _, one in used for cause in (one.id, one.cause) if cause)),
        }
        self._say(
            Draft(
                CORRELATED,
                last.subject if last is not None else subject_of(correlation, key, heard_by[1]),
                data,
                max((one.severity for _, one in used), key=SEVERITIES.index, default="warning"),
                last.id if last is not None else heard_by[0],
                id=str(uuid5(NAMESPACE, name)),
                time=format_time(at / SECOND),
            )
        )

    def _say(self, draft: Draft) -> None:
        self.pending[draft.id] = draft

    def _tell(self, tracker: Tracker, why: str, keys: int, events: int, named: str) -> None:
        data = {"playbook": tracker.playbook, "why": why, "keys": keys, "events": events}
        name = "\n".join((tracker.playbook, tracker.correlation.hash, why, named))
        self._say(Draft(WINDOW_DROPPED, SYSTEM, data, id=str(uuid5(NAMESPACE, name))))

    # --- bounds ---

    def _bound(self, tracker: Tracker) -> None:
        while tracker.windows and (len(tracker.windows) > KEYS_MAX or tracker.events > EVENTS_MAX):
            key, window = next(iter(tracker.windows.items()))
            del tracker.windows[key]
            tracker.events -= len(window.seen) + sum(len(one.used) for one in window.waiting)
            edge = self.high - tracker.lateness - reach(tracker.correlation)
            alive = window.heard is not None or window.waiting or any(one.at > edge for one in window.seen)
            self._forget(tracker, 1 if alive else 0)

    def _forget(self, tracker: Tracker, count: int) -> None:
        """Told at most once an hour: whoever floods it must not flood the journal a second time."""
        tracker.forgotten += count
        if tracker.forgotten and (not tracker.told_at or self.high - tracker.told_at >= us(TELL_EVERY_S)):
            self._tell(tracker, "more than it may hold", 0, tracker.forgotten, str(self._seq))
            tracker.forgotten, tracker.told_at = 0, self.high

    # --- which there are ---

    def begin(self, correlations: Mapping[str, Correlation], at: float, position: Position) -> None:
        """These are in force from here on. What is the same as before goes on; what was changed begins anew, and says so."""
        self.high = max(self.high, us(at))
        for name in [name for name in self.trackers if name not in correlations]:
            del self.trackers[name]
        for name in sorted(correlations):
            correlation, known = correlations[name], self.trackers.get(name)
            if known is not None and known.correlation.hash == correlation.hash:
                continue
            if known is not None:
                self._tell_dropped(known, position, "its trigger was changed")
            tracker = self.trackers[name] = Tracker(name, correlation, off=name in self._off)
            self._know(tracker)
        self.trackers = {name: self.trackers[name] for name in sorted(self.trackers)}
        self._make_index()

    def _tell_dropped(self, tracker: Tracker, position: Position, why: str) -> None:
        if tracker.windows or tracker.buffer:
            self._tell(tracker, why, len(tracker.windows), tracker.events + len(tracker.buffer), str(position))

    def _begin_anew(self, tracker: Tracker, position: Position, why: str) -> None:
        self._tell_dropped(tracker, position, why)
        known = list(tracker.windows) if tracker.correlation.kind == "absence" else []
        tracker.clear()
        self._know(tracker, known)

    def _know(self, tracker: Tracker, keys: Iterable[str] = ()) -> None:
        """Silence is counted from here on, for the keys that can be known before anything was heard of them."""
        if tracker.correlation.kind != "absence" or tracker.off:
            return
        for key in dict.fromkeys((*known_keys(tracker.correlation), *keys)):
            since = format_time(self.high / SECOND)
            window = tracker.windows[key] = Window(heard=self._blind.awake(self.high), heard_by=("", "", since))
            self._arm(tracker, key, window)

    def _make_index(self) -> None:
        rows = []
        self._members = {}
        for name, tracker in self.trackers.items():
            for number, one in enumerate(tracker.correlation.triggers):
                row = Playbook(f"{name}\n{number}", "", "", "", one.types, one.pattern, one.match)
                self._members[row.name] = (tracker, number)
                rows.append(row)
        self._index = Index(rows)

    # --- events of our own that say something about this ---

    def _on_loaded(self, event: Event, position: Position) -> None:
        blob = event.data.get("windows")
        if blob is None:
            return  # written before there were any
        try:
            written = decode_json(self.recall(blob)) if blob else {}
            correlations = {name: correlation_of(one) for name, one in written.items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            return  # it cannot be read (any more): what is known goes on, and each start of the daemon tells what is in force
        self.begin(correlations, event.taken, position)

    def _on_disabled(self, event: Event, _position: Position) -> None:
        name = event.data["playbook"]
        self._off.add(name)
        if (tracker := self.trackers.get(name)) is not None:
            tracker.off = True
            tracker.clear()

    def _on_enabled(self, event: Event, _position: Position) -> None:
        name = event.data["playbook"]
        self._off.discard(name)
        if (tracker := self.trackers.get(name)) is not None and tracker.off:
            tracker.off = False
            self._know(tracker)

    def _on_said(self, event: Event, _position: Position) -> None:
        self.pending.pop(event.id, None)

    # --- looking ---

    def told_of(self, event: Event) -> list[dict[str, Any]]:
        """For `explain`: each correlation with a trigger of this event's type, what its triggers say, and how it stands now."""
        view = event_view(event)
        return [
            self._state(tracker, event, view)
            for tracker in self.trackers.values()
            if any(type_fits(name, event.type) for one in tracker.correlation.triggers for name in one.types)
        ]

    def _state(self, tracker: Tracker, event: Event, view: Mapping[str, Any]) -> dict[str, Any]:
        triggers = tracker.correlation.triggers
        said = [trigger_says(one, event, view) for one in triggers]
        keys = [key_of(one, event) for one, (matched, _) in zip(triggers, said, strict=True) if matched]
        key = next((key for key in keys if key is not None), None)
        told: dict[str, Any] = {
            "playbook": tracker.playbook,
            "kind": tracker.correlation.kind,
            "matched": bool(keys),
            "triggers": [
                {"name": one.name, "matched": matched, "why": why} for one, (matched, why) in zip(triggers, said, strict=True)
            ],
        }
        if tracker.off:
            return {**told, "matched": False, "why": "it is switched off"}
        if keys and key is None:
            return {**told, "matched": False, "why": "it has nothing to be joined by: " + paths(triggers[0])}
        return {**told, **self._standing(tracker, key)} if key is not None else told

    def _standing(self, tracker: Tracker, key: str) -> dict[str, Any]:
        """What has been seen of a key, what is missing, and until when that may come."""
        correlation, window = tracker.correlation, tracker.windows.get(key) or Window()
        shown = {"key": key_shown(correlation, key), "within_s": correlation.within_s}
        deadline = self._deadline(tracker, window)
        until = format_time(deadline / SECOND) if deadline is not None else ""
        if correlation.kind == "absence":
            return {**shown, "heard": window.heard_by[2] if window.heard is not None else "", "until": until}
        edge = max(self.high - tracker.lateness, 0) - reach(correlation)
        fresh = [one for one in window.seen if one.at > edge]
        fresh += [one for name, one in tracker.buffer.values() if name == key]
        seen = {one.name: sum(each.mask >> n & 1 for each in fresh) for n, one in enumerate(correlation.triggers)}
        missing = {one.name: one.count - seen[one.name] for one in correlation.triggers if not one.absent}
        leaves = format_time((min(one.at for one in fresh) + reach(correlation)) / SECOND) if fresh else ""
        return {
            **shown,
            "seen": {name: count for name, count in seen.items() if count},
            "missing": {name: count for name, count in missing.items() if count > 0},
            "until": until or leaves,
            "waiting": len(window.waiting),
        }

    # --- checkpoints ---

    def to_json(self) -> dict[str, Any]:
        return {
            "high": self.high,
            "seq": self._seq,
            "off": sorted(self._off),
            "blind": [self._blind.total, [list(times) for times in self._blind.times]],
            "pending": [list(draft) for draft in self.pending.values()],
            "trackers": [tracker_json(tracker) for tracker in self.trackers.values()],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], recall: Recall | None = None) -> Correlator:
        made = cls(recall)
        made.high, made._seq, made._off = raw["high"], raw["seq"], set(raw["off"])
        total, times = raw["blind"]
        made._blind = Blindness(total, [(since, until) for since, until in times])
        made.pending = {draft.id: draft for draft in (Draft(*one) for one in raw["pending"])}
        made.trackers = {one["playbook"]: tracker_of(one) for one in raw["trackers"]}
        made._make_index()
        for tracker in made.trackers.values():
            made._events += [made._entry(tracker, seen.at, n) for n, (_, seen) in tracker.buffer.items()]
            for key, window in tracker.windows.items():
                made._arm(tracker, key, window)
        made._wakes = list(made._events)
        heapify(made._events)
        heapify(made._wakes)
        return made


_HEEDED: Mapping[str, Callable[[Correlator, Event, Position], None]] = {
    "playbook.loaded": Correlator._on_loaded,
    "playbook.enabled": Correlator._on_enabled,
    "playbook.disabled": Correlator._on_disabled,
    CORRELATED: Correlator._on_said,
    WINDOW_DROPPED: Correlator._on_said,
}


def _forgetful(name: str) -> bytes:
    raise KeyError(name)


# --- events as they are kept and told -----------------------------------------------------------------------------------


def _seen(event: Event, position: Position, seq: int) -> Seen:
    at = min(us(event.at), us(event.taken))
    cause = event.causationid
    return Seen(
        at, seq, 0, event.id, event.type, event.subject, event.severity, event.time, str(position), cause, _kept(event.data)
    )


def _kept(data: Mapping[str, Any]) -> bytes:
    try:
        raw = encode_json(dict(data))
    except BadLine:
        return b""
    return raw if len(raw) <= DATA_BYTES_MAX and depth_of(raw) <= DATA_LEVELS_MAX else b""


def _told(one: Seen) -> dict[str, Any]:
    """As an expression sees an event; `data` is missing where it was too long to be kept."""
    told = {"id": one.id, "type": one.type, "subject": one.subject, "time": one.time, "severity": one.severity}
    return {**told, "data": decode_json(one.data)} if one.data else told


def trigger_says(trigger: Trigger, event: Event, view: Mapping[str, Any]) -> tuple[bool, str]:
    if not any(type_fits(name, event.type) for name in trigger.types):
        return False, f"type is {event.type}; wanted {' or '.join(trigger.types[:5])}"
    if trigger.pattern is None:
        return True, "the type fits, and it asks for nothing more"
    return trigger.pattern.matches(view), trigger.pattern.describe(view)
