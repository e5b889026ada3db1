"""Simulated hours with troubles, from a seed: `make simulate HOURS=100 SEED=7`, or `python -m tests.simulation --seed 7`.

Each hour is a history of its own (seed, seed + 1, …). A broken law is printed with its seed; `--hours 1 --seed THAT` plays it
again.
"""

from __future__ import annotations

import argparse
import sys
import time

from aios.playbooks.run_table import TABLE
from tests.simulation.harness import broken_laws, play_day
from tests.simulation.laws import pairs_visited


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=10, help="how many hours, each with a seed of its own (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    args = parser.parse_args()
    broken, began = 0, time.process_time()
    visited: set[tuple[str, str]] = set()
    for seed in range(args.seed, args.seed + args.hours):
        history = play_day(seed, 1.0)
        found = broken_laws(history)
        visited |= pairs_visited(history.events)
        for sentence in found:
            print(f"seed {seed}: {sentence}")
        broken += bool(found)
        print(
            f"seed {seed}: {len(history.stored)} events, {history.starts} starts, {history.power_cuts} power cuts, "
            f"{len(history.effects)} effects: {'BROKEN' if found else 'all laws hold'}",
            file=sys.stderr,
        )
    for status, event in sorted(set(TABLE) - visited):
        print(f"never visited: {event} while {status}", file=sys.stderr)
    took = time.process_time() - began
    print(f"{args.hours} hours, {broken} with broken laws, {args.hours / took:.1f} simulated hours a CPU second")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
