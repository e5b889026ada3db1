"""act set_kernel_setting: change one of the kernel's settings (`sysctl`), until the next boot.

Only numbers, and only settings of memory, network and files: what names a program that the kernel runs (`kernel.core_pattern`
and its like) is not for playbooks. The value from before is in the snapshot, so a rollback puts it back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from aios.errors import Permanent
from aios.events.calls import SkillResult, Touches, failed
from aios.events.limits import PROMPT
from aios.skills.api import ActContext, Skill
from aios.skills.types import Checked

_NAME = re.compile(r"(vm|net|fs)([./][A-Za-z0-9_:@-]+){1,8}", re.ASCII)
_VALUE = re.compile(r"-?[0-9]{1,19}( -?[0-9]{1,19}){0,7}", re.ASCII)
_REFUSED = ("fs.binfmt_misc", "fs/binfmt_misc")
"""What is written there registers programs."""


def check_setting(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value.startswith(_REFUSED):
        raise ValueError("it is no setting of the kernel that playbooks may change; write it as vm.swappiness (vm, net and fs)")
    return value


def check_value(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _VALUE.fullmatch(text):
        raise ValueError('it is no number (or some, with blanks between them); write 10, or "4096 87380 6291456"')
    return text


_NUMBERS = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _VALUE.pattern}], "examples": [10]}
Setting = Annotated[str, Checked(check_setting, {"type": "string", "pattern": "^(vm|net|fs)[./]", "examples": ["vm.swappiness"]})]
Value = Annotated[str, Checked(check_value, _NUMBERS)]


@dataclass(frozen=True, slots=True)
class Params:
    """`setting` as `sysctl` names it; `value` a number, or several with blanks between them."""

    setting: Annotated[Setting, "As sysctl names it."]
    value: Annotated[Value, "A number, or several with blanks between them."]


def act(params: Params, ctx: ActContext) -> SkillResult:
    try:
        before = ctx.safe.kernel_setting(params.setting)
        ctx.safe.set_kernel_setting(params.setting, params.value)
    except OSError as error:
        return failed(f"{params.setting} cannot be set to {params.value}: {error.strerror or error}")
    now = ctx.safe.kernel_setting(params.setting)
    if now.split() != params.value.split():
        raise Permanent(f"the kernel made {now!r} of it; write a value that it keeps")
    return SkillResult(True, {"before": before, "value": now})


SKILL = Skill(
    name="set_kernel_setting",
    kind="act",
    doc="Change a setting of the kernel (vm, net, fs) until the next boot; a rollback puts the old value back.",
    params=Params,
    act=act,
    touches=lambda params: Touches(settings=(params.setting,)),
    touch_params=("setting",),
    rerun="idempotent",
    limits=PROMPT,
    dry=lambda params: f"would set {params.setting} to {params.value}",
    result_fields={"before": "string", "value": "string"},
)
