"""Which processor the disks tell when they are done: what a sync waits for goes on there.

An interrupt of a disk is answered by one processor, and the kernel's threads that end a write (ext4's conversion of extents, say)
are woken near it (workqueues of affinity scope "cache", the kernel's Documentation/core-api/workqueue.rst). An act that spins
there holds up each sync of the journal by a tick of the kernel or two. `turn.py` asks: once at hands' start which interrupt, and
for each act which processor, since interrupts are moved (irqbalance). A disk with a queue for each processor ends a write where
it was asked for; then any processor will do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

from aios.hands.proc import text_of


def processor_of_disks(sys: str = "/sys", proc: str = "/proc") -> int | None:
    """None when nobody can say: no disk of its own here, or a kernel without these files."""
    number = busiest(sys, proc)
    words = text_of(f"{proc}/irq/{number}/effective_affinity_list") or text_of(f"{proc}/irq/{number}/smp_affinity_list")
    first = words.replace("-", ",").partition(",")[0].strip()
    return int(first) if number and first.isdigit() else None


@cache
def busiest(sys: str = "/sys", proc: str = "/proc") -> str:
    """The number of that interrupt of a disk that came most often since the boot; nothing when there is none."""
    sys, counts = os.path.realpath(sys), dict(_counts(text_of(f"{proc}/interrupts")))
    found = {number for disk in _names(f"{sys}/block") for number in _interrupts_of(os.path.realpath(f"{sys}/block/{disk}"), sys)}
    return max(found & counts.keys(), key=lambda number: (counts[number], number), default="")


def _interrupts_of(folder: str, sys: str) -> set[str]:
    """Of the nearest device above a disk that has any: its controller's."""
    while len(folder) > len(sys):
        if numbers := set(_names(f"{folder}/msi_irqs")):
            return numbers
        if (number := text_of(f"{folder}/irq").strip()) not in ("", "0"):
            return {number}
        folder = os.path.dirname(folder)
    return set()


def _counts(text: str) -> Iterator[tuple[str, int]]:
    """Of /proc/interrupts: a column for each processor in its first line, then `number: count…`, and names behind."""
    first, _, rest = text.partition("\n")
    processors = len(first.split())
    for line in rest.splitlines():
        number, _, words = line.partition(":")
        counted = words.split()[:processors]
        if all(word.isdigit() for word in counted):
            yield number.strip(), sum(map(int, counted))


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
