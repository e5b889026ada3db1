"""Who follows the journal over the control socket: each has a queue of its own, filled as events become durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aios.events.event import Stored
from aios.events.filters import EventFilter
from aios.verbs.shown import event_json

FOLLOWER_QUEUE_MAX = 10_000


@dataclass(slots=True)
class Followers:
    """Called by the control server (`follow`), the spine (`heard`), and by verbs that wait for what comes of them."""

    _queues: dict[asyncio.Queue[Stored], EventFilter] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._queues)

    def heard(self, stored: Sequence[Stored]) -> None:
        """A durable batch, for those who follow. One who cannot keep up is let go: the journal has it all."""
        for queue, wanted in list(self._queues.items()):
            for one in stored:
                if not wanted.passes(one.event.type, one.event.subject, one.event.severity):
                    continue
                if queue.full():
                    self._queues.pop(queue, None)
                    break
                queue.put_nowait(one)

    @contextmanager
    def news(self, wanted: EventFilter) -> Iterator[asyncio.Queue[Stored]]:
        """What becomes durable from here on, until the block ends."""
        queue = self._join(wanted)
        try:
            yield queue
        finally:
            self._queues.pop(queue, None)

    def follow(self, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Events as they become durable, from this call on: `types` (exact, or `service.*`), `subject`, least `severity`."""
        return self._followed(self._join(EventFilter.from_args(args)))

    def _join(self, wanted: EventFilter) -> asyncio.Queue[Stored]:
        queue: asyncio.Queue[Stored] = asyncio.Queue(FOLLOWER_QUEUE_MAX)
        self._queues[queue] = wanted
        return queue

    async def _followed(self, queue: asyncio.Queue[Stored]) -> AsyncIterator[Mapping[str, Any]]:
        try:
            while queue in self._queues:
                one = await queue.get()
                yield {"event": event_json(one.event), "position": str(one.position)}
        finally:
            self._queues.pop(queue, None)
