"""The river: whatever happens comes in at `Spine.emit`, is made durable, and only then counts.

A sensor, a line of an inbox, a run, a person at the control socket: all of them hand drafts to `emit`. The drafts become
events (id, source, time, arrival), secrets are struck out, the journal's writer makes them durable, and then, in the journal's
order, each is applied to the world and offered to whoever listens (the reactor, followers). There is no second path.

What becomes of an event stands in `reactor/`; how it gets on the disk stands in `journal/`.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from functools import partial

from aios.clock import Clock
from aios.entropy import Entropy
from aios.events.catalogue import is_own, usual_severity
from aios.events.codec import BadLine, encode, encode_json
from aios.events.event import Draft, Event, Position, Stored, format_time
from aios.events.origin import refused
from aios.events.redact import Redactor
from aios.ports import Blobs, JournalWriter
from aios.world import World

_new = tuple.__new__  # half of what a named tuple's own takes, and here every event comes by
_store: Callable[[tuple[Event, Position]], Stored] = partial(_new, Stored)
Listener = Callable[[Sequence[Stored]], None]
BLOB_FIELDS_MIN = 2048
"""In an event of our own that no line can hold, the longest fields go to blobs first; shorter text than this goes last."""


class Spine:
    """See the head of this file."""

    def __init__(
        self, clock: Clock, entropy: Entropy, writer: JournalWriter, world: World, redactor: Redactor, blobs: Blobs, source: str
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self._writer = writer
        self._world = world
        self._redactor = redactor
        self._blobs = blobs
        self._source = source
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """`listener(stored)` after each durable batch was applied."""
        self._listeners.append(listener)

    def emit(self, *drafts: Draft) -> Future[list[Position]]:
        """The one door. The future resolves when these are durable and applied, with their positions in the journal."""
        now = format_time(self._clock.now())
        sealed = [self._seal(draft, now) for draft in drafts]
        events = [event for event, _ in sealed]
        done: Future[list[Position]] = asyncio.get_running_loop().create_future()
        durable = self._writer.append(events, [line for _, line in sealed])
        durable.add_done_callback(partial(self._durable, events, done))
        return done  # not `durable`: who stops waiting for it must not keep the event from being applied

    def _durable(self, events: list[Event], done: Future[list[Position]], durable: Future[list[Position]]) -> None:
        stored = list(map(_store, zip(events, durable.result(), strict=True)))
        self._world.apply_all(stored)
        if not done.done():
            done.set_result(durable.result())
        for listener in self._listeners:
            listener(stored)

    def _seal(self, draft: Draft, now: str) -> tuple[Event, bytes]:
        """The event of a draft, without secrets, and the line that the journal will hold."""
        kind, subject, data, severity, cause, incident, event_id, source, time, origin = draft
        fields = (
            event_id or self._entropy.new_id(),
            source or self._source,
            kind,
            subject,
            time or now,
            data,
            now,
            severity or usual_severity(kind),
            origin,
            cause,
            incident,
            1,
        )
        event = _new(Event, fields)
        try:
            line = encode(event)
        except BadLine as error:
            return self._fitting(draft, event, now, error)
        clean = self._redactor.clean(event, line)
        if clean is event:
            return event, line
        if is_own(event.type):  # its shape is read again when it is folded, so it is never struck out as a whole
            return self._shortened(event._replace(subject=clean.subject))
        return clean, encode(clean)

    def _fitting(self, draft: Draft, event: Event, now: str, error: BadLine) -> tuple[Event, bytes]:
        """An event that no line can hold: ours goes on with its long fields in blobs, a stranger's is refused."""
        if not is_own(draft.type):
            return self._seal(refused(draft, str(error)), now)
        return self._shortened(event._replace(subject=self._redactor.text(event.subject)))

    def _shortened(self, event: Event) -> tuple[Event, bytes]:
        """One of our own events without secrets; its longest fields go to blobs, one by one, until a line holds the rest."""
        data = dict(self._redactor.value(event.data))
        raws = {name: _raw(value) for name, value in data.items()}
        longest_first = sorted(raws, key=lambda name: (_is_plain(data[name]), -len(raws[name])))
        while True:
            short = event._replace(data=data)
            try:
                return short, encode(short)
            except BadLine:
                if not longest_first:
                    raise
            name = longest_first.pop(0)
            data[name] = {"blob": self._blobs.put(raws[name]), "bytes": len(raws[name])}


def _is_plain(value: object) -> bool:
    """Whether any line can hold it, beside others like it."""
    if isinstance(value, str):
        return len(value) < BLOB_FIELDS_MIN and value.isprintable()
    return value is None or isinstance(value, bool | float)


def _raw(value: object) -> bytes:
    try:
        return encode_json(value)
    except BadLine:  # half a character, a number beyond 64 bits: nothing that JSON can say
        return repr(value).encode("utf-8", "backslashreplace")
