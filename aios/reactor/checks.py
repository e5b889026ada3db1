"""Asking `verify`: each check must become well within its time, and then stay well for as long as it must hold.

The runner calls `ask`; the skills themselves look through the `Looker`. The answer over all checks is the worst: any that is not
well makes it not well, else any without data makes it no data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from aios.clock import Clock
from aios.events.calls import SkillResult, Verdict
from aios.playbooks.run_words import Ask, CheckCall
from aios.ports import Looker

EVERY_FIRST_S = 0.02
"""The first look comes again after so long, then each pause is twice the one before, up to the check's own `every`."""


class Outcome(NamedTuple):
    verdict: Verdict
    proof: tuple[Mapping[str, Any], ...]


async def ask(command: Ask, looker: Looker, clock: Clock) -> Outcome:
    """All checks side by side."""
    if len(command.checks) == 1:
        outcomes = [await _hold(command.checks[0], looker, clock)]
    else:
        outcomes = list(await asyncio.gather(*(_hold(check, looker, clock) for check in command.checks)))
    verdicts = [verdict for verdict, _ in outcomes]
    worst: Verdict = "not_well" if "not_well" in verdicts else "no_data" if "no_data" in verdicts or not verdicts else "well"
    return Outcome(worst, tuple(proof for _, proof in outcomes))


async def _hold(check: CheckCall, looker: Looker, clock: Clock) -> tuple[Verdict, Mapping[str, Any]]:
    began = clock.monotonic()
    well_since: float | None = None
    pause_s = min(EVERY_FIRST_S, check.every_s)
    looks = 0
    while True:
        result = await looker.look(check.call)
        looks += 1
        verdict = result.verdict
        now = clock.monotonic()
        if verdict == "well":
            well_since = now if well_since is None else well_since
            if now - well_since >= check.hold_s:
                return "well", _proof(check, result, looks, now - began)
            pause_s = min(check.every_s, max(0.0, well_since + check.hold_s - now))
        elif well_since is not None or now - began >= check.within_s:
            return verdict, _proof(check, result, looks, now - began)
        else:
            pause_s = min(pause_s * 2, check.every_s, max(0.001, began + check.within_s - now))
        await clock.sleep_until(now + pause_s)


def _proof(check: CheckCall, result: SkillResult, looks: int, took_s: float) -> Mapping[str, Any]:
    said: dict[str, Any] = {
        "skill": check.call.skill,
        "params": dict(check.call.params),
        "verdict": result.verdict,
        "looks": looks,
    }
    said["took_s"] = round(took_s, 3)
    said["held_s"] = check.hold_s if result.verdict == "well" else 0.0
    if result.error:
        said["error"] = result.error
    seen = {k: v for k, v in result.result.items() if k != "verdict"}
    return {**said, "seen": seen} if seen else said
