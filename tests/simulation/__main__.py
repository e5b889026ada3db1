"""Simulated hours with faults, from a seed: `make simulate HOURS=100 SEED=7`, or `python -m tests.simulation --seed 7`.

Each story is a history of its own (seed, seed + 1, …), with a random subset of the faults unless `--faults` names some; then the
faults stop and time passes. A broken law is printed with its seed, its time and its event, and with the one command that plays
it again; `--shrink` cuts that story down to the happenings that matter and writes them to a file that `--replay` plays.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from aios.playbooks.run_table import TABLE
from tests.simulation import shrink
from tests.simulation.bugs import BUGS
from tests.simulation.happenings import FAULTS, faults_of, nemesis_of, plan_of, settings_of
from tests.simulation.harness import LAWS, QUIET_S, Broken, broken_laws
from tests.simulation.laws import pairs_visited
from tests.simulation.shrink import Story

STORY_H = 6.0


def main() -> int:
    args = _arguments()
    if args.laws:
        return _print_laws()
    if args.replay:
        return _replay(Path(args.replay))
    if args.shrink:
        return _shrink(_story(args, args.seed), Path(args.out or f"story-{args.seed}.json"))
    return _soak(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=10.0, help="how many hours with faults in all (default 10)")
    parser.add_argument("--story-hours", type=float, default=0.0, help=f"how many of them a story (default {STORY_H:g}, or all)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--pace", type=float, default=1.0, help="2: half as many happenings an hour (default 1)")
    parser.add_argument("--quiet-hours", type=float, default=QUIET_S / 3600.0, help="how long the quiet end is (default 3)")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"of which the nemesis chooses (default: {','.join(FAULTS)})")
    parser.add_argument("--settings", action="store_true", help="the nemesis chooses settings that hold back, too")
    parser.add_argument("--bug", default="", choices=["", *BUGS], help="plant this bug first")
    parser.add_argument("--shrink", action="store_true", help="cut the story of this seed down to what breaks the law")
    parser.add_argument("--out", default="", help="where --shrink writes the story")
    parser.add_argument("--replay", default="", metavar="FILE", help="play a kept story")
    parser.add_argument("--laws", action="store_true", help="print the laws")
    return parser.parse_args()


def _story(args: argparse.Namespace, seed: int) -> Story:
    hours = min(args.hours, args.story_hours or STORY_H)
    troubles = BUGS[args.bug].troubles if args.bug else nemesis_of(seed, args.pace, args.faults.split(","))
    settings = settings_of(seed) if args.settings and not args.bug else {}
    return Story(seed, hours, args.quiet_hours * 3600.0, plan_of(seed, hours, troubles), bug=args.bug, settings=settings)


def _soak(args: argparse.Namespace) -> int:
    broken, events, happenings, played, began = 0, 0, 0, 0.0, time.process_time()
    visited: set[tuple[str, str]] = set()
    seed = args.seed
    while played < args.hours:
        story = _story(args, seed)
        history = shrink.history_of(story)
        found = broken_laws(history)
        visited |= pairs_visited(history.events)
        broken += bool(found)
        events, happenings, played = events + len(history.stored), happenings + len(story.plan), played + story.hours
        _tell(args, story, found, f"{len(history.stored)} events, {history.starts} starts, {history.power_cuts} power cuts")
        seed += 1
    for status, event in sorted(set(TABLE) - visited):
        print(f"never visited: {event} while {status}", file=sys.stderr)
    took = time.process_time() - began
    print(
        f"{played:g} hours with faults in {seed - args.seed} stories, {broken} with broken laws; an hour had "
        f"{happenings / played:.0f} happenings and {events / played:.0f} events; {played / took:.1f} such hours a CPU second"
    )
    return 1 if broken else 0


def _tell(args: argparse.Namespace, story: Story, found: list[Broken], what: str) -> None:
    faults = faults_of(nemesis_of(story.seed, args.pace, args.faults.split(",")))
    held = f"; settings: {', '.join(story.settings) or 'the usual'}" if args.settings else ""
    print(f"seed {story.seed}: {what}, {len(found)} breaches; faults: {', '.join(faults)}{held}", file=sys.stderr)
    for sentence in found[:20]:
        print(sentence)
    if found:
        options = f"--hours {story.hours:g} --seed {story.seed} --pace {args.pace:g} --quiet-hours {args.quiet_hours:g}"
        options += (f" --faults {args.faults}" if args.faults != ",".join(FAULTS) else "") + (
            f" --bug {args.bug}" if args.bug else ""
        )
        options += " --settings" if args.settings else ""
        print(f"again: python -m tests.simulation {options}    (--shrink cuts it down)")


def _shrink(story: Story, path: Path) -> int:
    small = shrink.shrink(story, lambda text: print(text, file=sys.stderr))
    if small is None:
        print(f"seed {story.seed} breaks no law")
        return 1
    path.write_bytes(small.to_bytes())
    print(f"{small.sentence}\n{len(small.plan)} of {len(story.plan)} happenings are left, in {path}")
    for happening in small.plan:
        print(f"  {happening.at:10.3f} s  {happening.do}  {dict(happening.args)}")
    print(f"again: python -m tests.simulation --replay {path}")
    return 0


def _replay(path: Path) -> int:
    story = Story.from_bytes(path.read_bytes())
    found = broken_laws(shrink.history_of(story))
    print("\n".join(found) if found else "all laws hold")
    return 1 if found else 0


def _print_laws() -> int:
    for law in LAWS:
        print(f"{law.name}\n    {law.sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
