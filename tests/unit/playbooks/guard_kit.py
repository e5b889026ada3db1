"""A playbook of one act, with the guard that a test is about."""

from __future__ import annotations

from aios.playbooks.model import Guard, Playbook, Step
from aios.testing.bodies import SKILLS

T0 = 1_000_000.0


class Nothing:
    """A template of no parameters."""

    source: object = None

    def render(self, variables: object) -> object:
        return {}

    def part(self, name: str) -> None:
        return None


def mender(guard: Guard, name: str = "mend") -> Playbook:
    skill = next(skill for skill in SKILLS.values() if skill.kind == "act")
    return Playbook(name, "h", "p", "", ("a",), None, {}, guard=guard, steps=(Step("s", skill.kind, skill.name, Nothing()),))
