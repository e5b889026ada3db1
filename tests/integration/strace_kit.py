"""Short histories of a real daemon that is killed at its K-th disk call, for the tests of that.

strace counts the calls of each thread by itself and kills the process at the K-th; the daemon's writer, its loop, hands, every
launcher and every act are threads of their own. A history whose trace holds no kill had fewer calls than K: the end of the row.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.crash_kit import House

NEEDS_STRACE = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (Debian: apt-get install strace)"
)

SYNCS = ("fdatasync", "fsync", "rename")
K_MAX = 81
AT_A_TIME = 2


def strace(call: str, nth: int, trace: Path, paths: Sequence[Path] = ()) -> list[str]:
    """`paths`: only calls that concern one of these count."""
    calls = "rename,renameat,renameat2" if call == "rename" else call
    inject = f"inject={calls}:signal=KILL:when={nth}"
    only = [word for path in paths for word in ("-P", str(path))]
    return ["strace", "-f", "-qq", *only, "-e", f"trace={calls}", "-e", inject, "-e", "signal=none", "-o", str(trace)]


def journal_of(house: House) -> list[Path]:
    """The part that a short history writes; on either side of midnight, one of two."""
    now = time.time()
    days = {time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (now, now + 600.0)}
    return [house.state / "events" / f"{day}.1.jsonl" for day in sorted(days)]


def killed_at(folder: Path, call: str, nth: int, *, in_recovery: bool = False, journal_only: bool = False) -> bool:
    """One short history with a kill at this call; False when it had fewer."""
    folder.mkdir()
    house = House(folder)
    trace = folder / "trace"
    try:
        house.put_kinds(busy_ms=40)
        if in_recovery:
            house.start()
            # On a busy machine all acts may have come and gone between two looks: then there is nothing left to kill.
            house.until(lambda: house.kill("act") or not house.runs() or not house.open_ends(), "something acts")
            house.kill("all")
        house.start(strace(call, nth, trace, journal_of(house) if journal_only else ()))
        house.traced_until_quiet(trace)
        house.kill("all")
        house.ensure()
        house.quiet()
        assert house.broken_laws() == [], f"{call} {nth}"
        house.stop()
        return house.was_killed
    finally:
        house.clear()


def first_without_a_kill(folder: Path, call: str, in_recovery: bool, journal_only: bool = False) -> int:
    """Every K, some histories at a time, until one ends without a kill; that K."""

    def one(nth: int) -> bool:
        return killed_at(folder / f"{nth}", call, nth, in_recovery=in_recovery, journal_only=journal_only)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for begin in range(1, K_MAX, AT_A_TIME):
            killed = list(pool.map(one, range(begin, begin + AT_A_TIME)))
            if not all(killed):
                return begin + killed.index(False)
    raise AssertionError(f"a history of {K_MAX} calls of {call} is not short")
