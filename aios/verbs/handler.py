"""The handler of the control socket: which function answers which verb, on one page.

`daemon.assemble` makes it, the control server calls it. What is refused becomes an answer with a cure; all else rises.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from aios.errors import Refused
from aios.ports import Answer, Peer
from aios.verbs import acts, approvals, daemon, events, playbooks, quiet, runs
from aios.verbs.house import House

Verb = Callable[[House, Peer, Mapping[str, Any]], Awaitable[dict[str, Any]]]

VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "status": daemon.status,
        "score": daemon.score,
        "doctor": daemon.doctor,
        "stop": daemon.stop,
        "emit": events.emit,
        "explain": events.explain,
        "pause": quiet.pause,
        "resume": quiet.resume,
        "silence": quiet.silence,
        "silences": quiet.silences,
        "silence_end": quiet.end_silence,
        "playbooks": playbooks.listed,
        "playbook": playbooks.show,
        "playbook_enable": playbooks.enable,
        "playbook_disable": playbooks.disable,
        "playbook_trust": playbooks.trust,
        "playbook_promote": playbooks.promote,
        "playbook_demote": playbooks.demote,
        "reload": playbooks.reload,
        "runs": runs.listed,
        "run": runs.show,
        "retry": runs.retry,
        "cancel": runs.cancel,
        "rollback": runs.rollback,
        "dead_letters": runs.dead_letters,
        "dead_retry": runs.retry_dead,
        "answer": approvals.answer,
        "approve": approvals.approve,
        "deny": approvals.deny,
        "services": acts.services,
        "service_start": acts.start_service,
        "service_stop": acts.stop_service,
        "service_restart": acts.restart_service,
        "keep_restore": acts.restore_kept,
        "skill_run": acts.run_skill,
    }
)


@dataclass(slots=True)
class Verbs:
    """See the head of this file."""

    house: House

    async def __call__(self, peer: Peer, verb: str, args: Mapping[str, Any]) -> Answer:
        answer = VERBS.get(verb)
        if answer is None:
            return Answer(False, error=f"the daemon knows no verb {verb!r}", hint="its version may differ from the command's")
        try:
            return Answer(True, await answer(self.house, peer, args))
        except Refused as refused:
            return Answer(False, error=refused.message, hint=refused.hint)

    def follow(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        return self.house.followers.follow(args)
