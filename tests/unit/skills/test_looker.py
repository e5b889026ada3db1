"""The looker never raises: whatever a body does, there is a result, and what cannot say whether it is well has no data."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.entropy import SeededEntropy
from aios.errors import Permanent, Temporary
from aios.events.calls import Kind, SkillCall, SkillResult
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.looker import DaemonLooker
from aios.testing.loop import VirtualClock, run_virtual


@dataclass(frozen=True, slots=True)
class Params:
    how: str = "ok"


async def look(params: Params, ctx: LookContext) -> SkillResult:
    match params.how:
        case "raise":
            raise KeyError("bug")
        case "later":
            raise Temporary("not now")
        case "never":
            raise Permanent("not ever")
        case "hang":
            await asyncio.Event().wait()
        case "env":
            return SkillResult(True, {"seen": ctx.env["x"], "dir": ctx.state_dir})
    return verdict(True)


SKILLS = {
    "see": Skill(name="see", kind="observe", doc="x", params=Params, look=look),
    "well": Skill(name="well", kind="verify", doc="x", params=Params, look=look),
    "do": Skill(
        name="do", kind="act", doc="x", params=Params, act=lambda _params, _ctx: SkillResult(True), dry=lambda _p: "would do"
    ),
}


def looked(skill: str, how: str = "ok", *, kind: Kind | None = None, **more: Any) -> SkillResult:
    async def main(clock: VirtualClock, _: SeededEntropy) -> SkillResult:
        looker = DaemonLooker(SKILLS, None, clock, "/state")  # type: ignore[arg-type]  # these bodies ask for no service
        params = {"how": how} | more.pop("params", {})
        known = SKILLS[skill].kind if skill in SKILLS else "verify"
        return await looker.look(SkillCall("r", "s", 1, skill, kind or known, params, 3.0, **more))

    return run_virtual(main, 0)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "KeyError: 'bug'"),
        ("later", "not now"),
        ("never", "Permanent: not ever"),
        ("hang", "did not answer within 3 s"),
    ],
)
@pytest.mark.parametrize("skill", ["see", "well"])
def test_a_body_that_fails_or_hangs_is_a_result(skill: str, how: str, says: str) -> None:
    result = looked(skill, how)
    assert not result.ok
    assert says in result.error
    assert result.verdict == "no_data"
    assert (result.next == ("retry",)) == (how == "later")


def test_a_skill_that_is_gone_or_refuses_its_parameters_has_no_data() -> None:
    """After an upgrade a stored call may name what is not there any more."""
    gone = looked("nobody")
    assert "no skill 'nobody'" in gone.error
    assert gone.result == {"verdict": "no_data"}
    other = looked("see", params={"new": 1, "how": "ok"})
    assert "no longer has the parameter 'new'" in other.error


def test_the_body_gets_what_the_settings_say() -> None:
    assert looked("see", "env", env={"x": 7}).result == {"seen": 7, "dir": "/state"}


def test_what_acts_is_never_run_in_the_daemon_but_dry() -> None:
    assert "only hands" in looked("do").error
    assert looked("do", dry=True).result == {"dry": "would do"}


def test_who_is_cancelled_is_cancelled() -> None:
    """The daemon's own end is the one thing that gets past the looker."""

    async def main() -> None:
        looker = DaemonLooker(SKILLS, None, SystemClock(), "/state")  # type: ignore[arg-type]  # asks for no service
        task = asyncio.ensure_future(looker.look(SkillCall("r", "s", 1, "see", "observe", {"how": "hang"}, 60.0)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
