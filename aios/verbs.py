"""What a person may ask and say over the control socket: each verb is one small function of `Verbs`.

Questions read the world; commands become events through `emit`, like everything else, and who said them stands in the event.
`daemon.assemble` gives this to the control server as its handler; the command line's nouns are its users.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from aios import __version__
from aios.clock import Clock
from aios.control.filters import EventFilter
from aios.errors import MachineError, Refused
from aios.events.calls import SkillCall, SkillCatalogue, Touches
from aios.events.codec import BadLine, encode_json, parse_foreign
from aios.events.durations import parse_duration
from aios.events.event import HOST, SYSTEM, Draft, Event, Position, Stored, format_time
from aios.journal.query import History
from aios.nearest import did_you_mean, nearest
from aios.playbooks.correlation_words import waits_for
from aios.playbooks.guards import CALLED_QUIET_S
from aios.playbooks.model import MODES, Mode, Playbook, lesser_mode
from aios.playbooks.retry import NOTHING_LEFT_OUT, LeftOut, leave_out
from aios.playbooks.run import Run
from aios.playbooks.run_opening import digest, fits, run_id, unfit
from aios.playbooks.run_table import ROLLBACK, RUN_SHOWN
from aios.playbooks.silences import SILENCE_S_MAX, SILENCES_MAX, Silence, like
from aios.playbooks.trust import wilson
from aios.ports import Answer, Emit, Hands, JournalReader, Looker, Peer, Services
from aios.reactor.aside import Aside
from aios.reactor.holding import guards_in_force
from aios.reactor.pump import Reactor, granting
from aios.settings import Settings
from aios.skills.types import check_unit
from aios.world import LIFTED_BY_RESUME, Holding, World

if TYPE_CHECKING:
    from aios.reports.explain import Present

FOLLOWER_QUEUE_MAX = 10_000
EMIT_MAX = 10_000
HOLDINGS_SHOWN = 20
REASON_MAX = 1000
"""Characters of what a person says about a yes or a no."""
ROLLBACK_WAIT_S = 10.0
"""How long a person waits for what comes of a rollback; a longer one goes on, and they are told so."""
YES, NO = "yes", "no"
SUBJECT_MAX = 256
SERVICE_SKILLS = {"service_start": "start_service", "service_stop": "stop_service", "service_restart": "restart_service"}


@dataclass(slots=True)
class Verbs:
    """The handler of the control server. See the head of this file."""

    settings: Settings
    world: World
    reactor: Reactor
    aside: Aside
    services: Services
    hands: Hands
    looker: Looker
    skills: SkillCatalogue
    reader: JournalReader
    emit: Emit
    clock: Clock
    call_env: Mapping[str, Any]
    reload: Callable[[], Awaitable[list[dict[str, Any]]]]
    stop: Callable[[str], None]
    recall: Callable[[str], Awaitable[Sequence[Event]]]
    """The events of a run by (the beginning of) its id, from all that is at hand of the journal."""
    started_at: float
    pid: int
    history: History
    offload: Callable[[Callable[[], None]], Awaitable[None]]
    _followers: dict[asyncio.Queue[Stored | None], EventFilter] = field(default_factory=dict)

    async def __call__(self, peer: Peer, verb: str, args: Mapping[str, Any]) -> Answer:
        handler = getattr(self, f"do_{verb}", None)
        if handler is None:
            return Answer(False, error=f"the daemon knows no verb {verb!r}", hint="its version may differ from the command's")
        try:
            return Answer(True, await handler(peer, args))
        except Refused as refused:
            return Answer(False, error=refused.message, hint=refused.hint)

    # --- following

    def heard(self, stored: Sequence[Stored]) -> None:
        """A durable batch, for those who follow. One who cannot keep up is let go: the journal has it all."""
        for queue, wanted in list(self._followers.items()):
            for one in stored:
                if not wanted.passes(one.event.type, one.event.subject, one.event.severity):
                    continue
                if queue.full():
                    self._followers.pop(queue, None)
                    break
                queue.put_nowait(one)

    def follow(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Events as they become durable, from this call on: `types` (exact, or `service.*`), `subject`, least `severity`."""
        wanted = EventFilter.from_args(args)
        queue: asyncio.Queue[Stored | None] = asyncio.Queue(FOLLOWER_QUEUE_MAX)
        self._followers[queue] = wanted
        return self._followed(queue)

    async def _followed(self, queue: asyncio.Queue[Stored | None]) -> AsyncIterator[Mapping[str, Any]]:
        try:
            while queue in self._followers:
                one = await queue.get()
                if one is None:
                    return
                yield {"event": event_json(one.event), "position": str(one.position)}
        finally:
            self._followers.pop(queue, None)

    # --- questions

    async def do_status(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        now = self.clock.now()
        runs = list(self.world.runs.values())
        return {
            "version": __version__,
            "pid": self.pid,
            "since": format_time(self.started_at),
            "now": format_time(now),
            "mode_max": self.settings.mode_max,
            "paused": self.world.paused if self.world.is_paused(now) else None,
            "score": self.world.scores.value(SYSTEM, now),
            "playbooks": len(self.reactor.shelf.by_name),
            "invalid_playbooks": len(self.reactor.shelf.errors),
            "disabled": sorted(self.world.disabled),
            "queue": self.reactor.queue.counts(),
            "open_runs": len(runs),
            "waiting_runs": sum(1 for run in runs if run.wait is not None),
            "needs_you": [run_summary(run) for run in (*(run for run in runs if run.asked is not None), *self._suggestions())],
            "escalated": [run_summary(run) for run in self._escalated(now)],
            "guards": [_holding_json(holding) for holding in islice(self.world.held.values(), HOLDINGS_SHOWN)],
            "symptoms": [{"subject": s, "type": t, "since": format_time(x.since)} for (s, t), x in self.world.symptoms.items()][
                :100
            ],
            "held": len(self.world.held),
            "storm": self._storm(),
            "silences": [_silence_json(one) for one in self.world.guards.silences.in_force(now)],
            "dead_letters": len(self.world.dead),
            "position": str(self.world.position),
            "state_dir": self.settings.data,
        }

    def _storm(self) -> dict[str, Any] | None:
        storm = self.world.guards.storm
        if storm is None or storm.lifted_by:
            return None
        return {"since": format_time(storm.since), "ill": storm.ill, "known": storm.known}

    def _suggestions(self) -> list[Run]:
        """What was proposed and nobody has taken, while the trouble that it is for still stands."""
        runs, symptoms = self.world.recent.values(), self.world.symptoms
        taken = {run.parent for run in (*self.world.runs.values(), *runs) if run.by}
        standing = [run for run in runs if run.status == "suggested" and (run.subject, run.trigger.get("type")) in symptoms]
        return [run for run in standing if run.id not in taken]

    def _escalated(self, now: float) -> list[Run]:
        """Runs that called a person, while their subject is not well since and nobody tried again: of each pair the newest."""
        known = [*self.world.recent.values(), *self.world.runs.values()]
        again = {run.parent for run in known}
        calls = self.world.guards.calls
        newest = {(run.playbook, run.subject): run for run in known if (run.playbook, run.subject) in calls}
        found = [run for run in newest.values() if run.status == "escalated" and run.id not in again]
        return [run for run in found if now - calls[run.playbook, run.subject] < CALLED_QUIET_S]

    async def do_playbooks(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        broken = {error.path for error in self.reactor.shelf.errors}
        waiting = {path for paths in self.reactor.shelf.waiting.values() for path in paths}
        listed = [
            {
                "name": p.name,
                "description": p.description,
                "path": p.path,
                "types": list(p.types),
                "waits_for": waits_for(p.correlation) if p.correlation is not None else "",
                "mode": p.mode,
                "mode_in_force": lesser_mode(self.world.trust.mode_of(p), self.settings.mode_max),
                "enabled": p.enabled and p.name not in self.world.disabled,
                "hash": p.hash,
                "acts": p.acts,
                "broken": p.path in broken,
                "waits": p.path in waiting,
            }
            for p in sorted(self.reactor.shelf.by_name.values(), key=lambda p: p.name)
        ]
        errors = [str(error) for error in self.reactor.shelf.errors]
        return {"playbooks": listed, "errors": errors, "waiting": self._waiting_files()}

    def _waiting_files(self) -> dict[str, list[str]]:
        """Folders that stay in force as they were, because of a file that cannot be used -> what else was changed there."""
        return {folder: list(paths) for folder, paths in self.reactor.shelf.waiting.items()}

    async def do_playbook(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """One that is in force, with its text: the file may hold another by now, or one that cannot be used."""
        name = _text(args, "name")
        playbook = self.reactor.shelf.by_name.get(name)
        if playbook is None:
            names = self.reactor.shelf.by_name
            raise Refused(f"there is no playbook {name!r} in force", did_you_mean(name, names, "aios playbook list shows them"))
        (row,) = [one for one in (await self.do_playbooks(_peer, {}))["playbooks"] if one["name"] == name]
        row["guards"] = guards_in_force(playbook, self.world, self.reactor.rules, self.clock.now())
        return {**row, "text": self.reactor.shelf.blobs.get(playbook.hash).decode()}

    async def do_runs(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        limit = _number(args, "limit", 50)
        open_runs = [run_summary(run) for run in self.world.runs.values()]
        if args.get("open"):
            return {"runs": open_runs[:limit]}
        ended = [run_summary(run) for run in reversed(self.world.recent.values())]
        return {"runs": (open_runs + ended)[:limit]}

    async def do_run(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        run = self._run(args)
        return {**run_summary(run), "run": run.to_json()}

    async def do_score(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        now = self.clock.now()
        subject = args.get("subject")
        if subject:
            return self.world.scores.explain(str(subject), now)
        return {"scores": {s.subject: self.world.scores.explain(s.subject, now) for s in self.world.scores.subjects(now)}}

    async def do_dead_letters(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        return {"dead_letters": [asdict(letter) for letter in self.world.dead.list()], "older": self.world.dead.older}

    async def do_doctor(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "hands_answer": await self.hands.answers(2.0),
            "playbook_errors": [str(error) for error in self.reactor.shelf.errors],
            "waiting": self._waiting_files(),
            "services": len(await self.services.list()),
            "open_runs": len(self.world.runs),
        }

    async def do_explain(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Every playbook that was considered for an event (or the event of a run), and what would have made it run."""
        from aios.reports.explain import Past, look_back, tell  # reports cost 4 MB and 30 ms: only who asks for one pays

        wanted, shelf = _text(args, "event"), self.reactor.shelf
        known = {playbook.hash: playbook for playbook in shelf.by_name.values()}
        found: list[Past | Refused] = []

        def look() -> None:
            try:
                found.append(look_back(self.history, wanted, shelf.blobs, self.skills, known))
            except Refused as refused:
                found.append(refused)

        await self.offload(look)  # a journal of a month is read in seconds, and the loop has none
        (past,) = found
        if isinstance(past, Refused):
            raise past
        return tell(past, self._present())

    def _present(self) -> Present:
        """What only this process knows of how things stand."""
        from aios.reports.explain import Present  # see `do_explain`

        now = self.clock.now()
        return Present(
            windows=self.world.correlator.told_of,
            score=lambda subject: self.world.scores.value(subject, now),
            trust=self.world.trust,
            undecided=lambda event: event in self.world.undecided,
            held=self._holds,
        )

    def _holds(self, playbook: str, event: Event) -> bool:
        holding = self.world.held.get((playbook, event.subject))
        return holding is not None and holding.event == event.id

    # --- commands

    async def do_emit(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        raw = args.get("events")
        if not isinstance(raw, list) or not 1 <= len(raw) <= EMIT_MAX:
            raise Refused(f"events must be a list of 1 to {EMIT_MAX} events")
        drafts = []
        for n, one in enumerate(raw):
            try:
                drafts.append(parse_foreign(encode_json(one), source=f"control/{peer.name}"))
            except BadLine as error:
                raise Refused(f"event {n + 1}: {error}", "nothing was emitted") from None
        positions = await self.emit(*drafts)
        return {"positions": [str(position) for position in positions]}

    async def do_pause(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        until = ""
        if args.get("for"):
            try:
                until = format_time(self.clock.now() + parse_duration(str(args["for"])))
            except ValueError as error:
                raise Refused(str(error)) from None
        data = {"by": peer.name, "reason": str(args.get("reason") or ""), "until": until}
        await self.emit(Draft(type="daemon.paused", subject=SYSTEM, data=data))
        return {**data, "acting": [run_summary(run) for run in self.world.runs.values() if run.in_flight is not None]}

    async def do_resume(self, peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        await self.emit(Draft(type="daemon.resumed", subject=SYSTEM, data={"by": peer.name}))
        return {"by": peer.name}

    async def do_silence(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing is done about a subject, or by a playbook, for some time. `what` names either; `all` is everything."""
        what, playbook = str(args.get("what") or ""), str(args.get("playbook") or "")
        if bool(what) == bool(args.get("all")) and not playbook:
            raise Refused("say what is to be silenced: a subject, a playbook, or all", "aios silence web.service --for 2h")
        if what in self.reactor.shelf.by_name and not playbook:
            what, playbook = "", what
        if playbook and playbook not in self.reactor.shelf.by_name:
            names = self.reactor.shelf.by_name
            raise Refused(
                f"there is no playbook {playbook[:100]!r} in force",
                did_you_mean(playbook, names, "aios playbook list shows them"),
            )
        if len(what) > SUBJECT_MAX or not what.isprintable():
            raise Refused(f"a subject has at most {SUBJECT_MAX} characters, all of them printable")
        now = self.clock.now()
        until = format_time(now + self._length_of_silence(args))
        silence = run_id(f"{now} {peer.name} {what}", playbook or "silence")[:8]
        data = {"silence": silence, "subject": what or "*", "playbook": playbook, "until": until, "by": peer.name}
        data["reason"] = _reason(args)
        await self.emit(Draft(type="daemon.silenced", subject=what if what and "*" not in what else SYSTEM, data=data))
        unknown = await self._unknown_subject(what) if what else ""
        return {**data, "unknown": unknown} if unknown else data

    async def _unknown_subject(self, what: str) -> str:
        """Why a silence may hold nothing: no subject that anybody has named so far. It may come later, so that is only said."""
        patterns = [p.match.get("subject", ()) for p in self.reactor.shelf.by_name.values()]
        named = {value for values in patterns for value in values if isinstance(value, str)}
        seen = {score.subject for score in self.world.scores.subjects(self.clock.now())}
        ill = {subject for subject, _ in self.world.symptoms}
        known = {HOST, SYSTEM, *named, *seen, *ill, *(unit.subject for unit in await self.services.list())}
        if any(like(what, subject) for subject in known):
            return ""
        return f"no subject {what} is known so far, and no playbook; " + did_you_mean(
            what.replace("*", ""), {*known, *self.reactor.shelf.by_name}, "it holds as soon as there is one"
        )

    def _length_of_silence(self, args: Mapping[str, Any]) -> float:
        try:
            length_s = parse_duration(str(args.get("for") or ""))
        except ValueError as error:
            raise Refused(f"a silence ends: {error}", "say for how long: --for 2h") from None
        if not 0 < length_s <= SILENCE_S_MAX:
            raise Refused(
                "a silence lasts at most 366 days", "aios playbook disable, or `protected` in the settings, is for good"
            )
        if len(self.world.guards.silences.in_force(self.clock.now())) >= SILENCES_MAX:
            raise Refused(f"{SILENCES_MAX} silences are in force", "one with a star in it does for many: aios silence 'web-*' …")
        return length_s

    async def do_silences(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        in_force = self.world.guards.silences.in_force(self.clock.now())
        return {"silences": [_silence_json(one) for one in in_force]}

    async def do_silence_end(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """By its id, or all of them. What they held goes on at once, if it still stands."""
        in_force = self.world.guards.silences.in_force(self.clock.now())
        ended = in_force if args.get("all") else [one for one in in_force if one.id == args.get("silence")]
        if not ended and not args.get("all"):
            raise Refused(f"there is no silence {str(args.get('silence'))[:100]!r} in force", "aios silence lists them")
        drafts = [Draft(type="daemon.silence_ended", subject=SYSTEM, data={"silence": s.id, "by": peer.name}) for s in ended]
        if drafts:
            await self.emit(*drafts)
        return {"ended": [_silence_json(one) for one in ended]}

    async def do_playbook_enable(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return await self._switch("playbook.enabled", peer, args)

    async def do_playbook_disable(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return await self._switch("playbook.disabled", peer, args)

    async def do_playbook_trust(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """What playbooks have shown, and whether that carries the next mode."""
        name = str(args.get("name") or "")
        named = [self._playbook(name)] if name else sorted(self.reactor.shelf.by_name.values(), key=lambda p: p.name)
        return {"playbooks": [self._trust_of(playbook) for playbook in named], "rule": self.reactor.rules.trust._asdict()}

    def _trust_of(self, playbook: Playbook) -> dict[str, Any]:
        trust = self.world.trust
        mode, evidence, grant = trust.mode_of(playbook), trust.evidence_of(playbook), trust.granted.get(playbook.name)
        following, why = trust.earned(playbook, self.reactor.rules.trust)
        told: dict[str, Any] = {"name": playbook.name, "hash": playbook.hash, "mode": playbook.mode, "granted": mode}
        told |= {"mode_in_force": lesser_mode(mode, self.settings.mode_max), "earned": following or "", "why": why}
        if grant is not None and grant.hash == playbook.hash:
            told["grant"] = {"at": format_time(grant.at), "by": grant.by, "reason": grant.reason}
        if evidence is not None:
            acted, watched = list(evidence.acted), list(evidence.watched)
            told["evidence"] = {
                **evidence.to_json(),
                "since": format_time(evidence.since),
                "last": format_time(evidence.last),
                "healed_share": [round(bound, 3) for bound in wilson(sum(acted), len(acted))],
                "stayed_share": [round(bound, 3) for bound in wilson(sum(watched), len(watched))],
            }
        return told

    def _playbook(self, name: str) -> Playbook:
        playbook = self.reactor.shelf.by_name.get(name)
        if playbook is None:
            names = self.reactor.shelf.by_name
            raise Refused(
                f"there is no playbook {name[:100]!r} in force", did_you_mean(name, names, "aios playbook list shows them")
            )
        return playbook

    async def do_playbook_promote(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """A further mode than it has: the next, or `to`. What its evidence does not carry takes `anyway`."""
        playbook = self._playbook(_text(args, "name"))
        before = self.world.trust.mode_of(playbook)
        following, why = self.world.trust.earned(playbook, self.reactor.rules.trust)
        to = _mode(args) or following or MODES[min(MODES.index(before) + 1, len(MODES) - 1)]
        if MODES.index(to) <= MODES.index(before):
            raise Refused(f"{playbook.name} may {before} already", "aios playbook demote takes a mode away")
        if lesser_mode(to, self.settings.mode_max) != to:
            raise Refused(f"the settings allow no more than {self.settings.mode_max}", "mode_max in the settings, then restart")
        earned = following is not None and MODES.index(to) <= MODES.index(following)
        if not earned and not args.get("anyway"):
            raise Refused(f"{playbook.name} has not earned {to}: {why}", "if you know better: --anyway")
        return await self._grant(playbook, before, to, peer, args, earned)

    async def do_playbook_demote(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """A lesser mode than it has: the one below, or `to`."""
        playbook = self._playbook(_text(args, "name"))
        before = self.world.trust.mode_of(playbook)
        to = _mode(args) or MODES[max(MODES.index(before) - 1, 0)]
        if MODES.index(to) >= MODES.index(before):
            raise Refused(f"{playbook.name} may no more than {before}", "aios playbook promote gives it a further mode")
        return await self._grant(playbook, before, to, peer, args, False)

    async def _grant(
        self, playbook: Playbook, before: Mode, to: Mode, peer: Peer, args: Mapping[str, Any], earned: bool
    ) -> dict[str, Any]:
        said = granting(playbook, before=before, to=to, by=peer.name, reason=_reason(args), earned=earned)
        await self.emit(said)
        return dict(said.data)

    async def _switch(self, event_type: str, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        name = _text(args, "name")
        if name not in self.reactor.shelf.by_name:
            raise Refused(f"there is no playbook {name!r}", "aios playbook list shows those in force")
        data = {"playbook": name, "by": peer.name}
        await self.emit(Draft(type=event_type, subject=SYSTEM, data=data))
        return data

    async def do_answer(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """The one door for what a person answers: `choice` is yes, no, or the name of one of the run's choices."""
        return self._held(await self._answer(peer, args, _text(args, "choice")))

    async def do_approve(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return self._held(await self._answer(peer, args, YES))

    def _held(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer that lets a run act, with the pause that it waits for all the same."""
        paused = self.world.paused if self.world.is_paused(self.clock.now()) else None
        return {**answer, "paused": paused} if paused else answer

    async def do_deny(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return await self._answer(peer, args, NO)

    async def _answer(self, peer: Peer, args: Mapping[str, Any], word: str) -> dict[str, Any]:
        run, reason = self._run(args), _reason(args)
        choices = (run.asked or {}).get("choices", {})
        if word not in choices and word not in (YES, NO) and (run.asked is not None or run.answered is None):
            known = did_you_mean(word, [*choices, NO], f"it takes {', '.join(choices or (YES, NO))}")
            raise Refused(f"run {run.id} knows no answer {word[:100]!r}", known)
        if run.status == "suggested":
            return await self._answer_suggestion(run, peer, word, reason)
        if choices and word == YES and word not in choices:
            raise Refused(
                f"run {run.id} asks which way: {', '.join(choices)}", f"aios runs answer {run.id} {next(iter(choices))}"
            )
        choice = word if word in choices else ""
        yes = bool(choice) or word == YES
        if run.asked is None or not await self.reactor.runner.answer(run, yes, peer.name, reason, choice):
            await self._refuse_answer(run, peer, word, reason)
        return run_summary(run)

    async def _refuse_answer(self, run: Run, peer: Peer, word: str, reason: str) -> NoReturn:
        """Too late, or a second one: the first word stands, and who came after it hears which that was."""
        cure = "aios runs list --waiting shows which wait for a person"
        if run.answered is None:
            raise Refused(f"run {run.id} asks nothing: it is {run.status}", cure)
        why = answered_words(run.answered)
        await self._note_refused(run, peer, word, reason, why)
        raise Refused(f"run {run.id} asks nothing any more: {why}", f"aios runs show {run.id}")

    async def _note_refused(self, run: Run, peer: Peer, word: str, reason: str, why: str) -> None:
        data = {"run": run.id, "playbook": run.playbook, "by": peer.name, "choice": word, "reason": reason, "why": why}
        told = Draft("approval.refused", run.subject, data, causationid=run.id, correlationid=run.incident)
        await self.emit(told._replace(source=f"control/{peer.name}"))

    async def _answer_suggestion(self, run: Run, peer: Peer, word: str, reason: str) -> dict[str, Any]:
        if word == NO:
            raise Refused(f"run {run.id} only proposes: nothing is done unless you approve it", "leave it as it is")
        return await self._turn_into_run(run, peer, reason)

    async def _turn_into_run(self, run: Run, peer: Peer, reason: str) -> dict[str, Any]:
        """A suggestion becomes a run that may do just what was suggested. Once: a second yes is no second act."""
        known = (*self.world.runs.values(), *self.world.recent.values())
        if taken := next((one for one in known if one.parent == run.id and one.by), None):
            why = f"{taken.by} approved it already: see run {taken.id}"
            await self._note_refused(run, peer, YES, reason, why)
            raise Refused(f"run {run.id} was approved already: see run {taken.id}", f"aios runs show {taken.id}")
        would = [r["result"]["would"] for r in run.results.values() if "would" in (r.get("result") or {})]
        approved = {act["step"]: digest([act["skill"], act["params"]]) for act in would}
        return await self._open_again(run, peer, by=peer.name, approved=approved, reason=reason)

    async def do_retry(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """The same event once more: of a run, `from` a step if that is named, or of a dead letter."""
        if (letter := self.world.dead.get(_text(args, "run"))) is not None:
            return await self.do_dead_retry(peer, {"letter": letter.letter})
        run = self._run(args)
        if not run.ended:
            raise Refused(f"run {run.id} is still open", "cancel it first: aios runs cancel " + run.id)
        left = leave_out(run, self._in_force(run), _text(args, "from")) if args.get("from") else NOTHING_LEFT_OUT
        answer = self._held(await self._open_again(run, peer, by="", approved=None, reason=_reason(args), left=left))
        return {**answer, "left_out": list(left.told)} if left.told else answer

    def _in_force(self, run: Run) -> Playbook:
        playbook = self.reactor.shelf.by_name.get(run.playbook)
        if playbook is None:
            raise Refused(f"playbook {run.playbook} is not in force any more")
        return playbook

    async def _open_again(
        self, run: Run, peer: Peer, *, by: str, approved: Mapping[str, str] | None, reason: str, left: LeftOut = NOTHING_LEFT_OUT
    ) -> dict[str, Any]:
        playbook = self._in_force(run)
        if (run.playbook, run.subject) in self.world.open_pairs:
            raise Refused(f"a run of {run.playbook} is open on {run.subject}", "aios runs list --open shows it")
        again = 1
        while (new := run_id(run.event, run.playbook, again)) in self.world.runs or new in self.world.recent:
            again += 1
        lineage = [pair for pair in run.lineage if pair != [run.playbook, run.subject]]
        opened = self.reactor.opening_for(
            run, playbook, lineage, by=by, approved=approved, again=again, kept=left.kept, passed=left.passed
        )
        if reason:
            opened = opened._replace(data={**opened.data, "reason": reason})
        if why := unfit(opened):
            raise Refused(why)
        await self.emit(opened._replace(source=f"control/{peer.name}"))
        return {"run": new}

    async def do_cancel(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        run = self._run(args)
        if not await self.reactor.runner.cancel(run, peer.name):
            raise Refused(f"run {run.id} is over: {run.status}", "aios runs rollback takes back what an ended run did")
        return run_summary(run)

    async def do_rollback(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        run = await self._run_of_any_age(args)
        if not run.ended:
            raise Refused(f"run {run.id} is open", "aios runs cancel ends it and takes back what it did")
        if not run.acted:
            raise Refused(f"run {run.id} did not act: there is nothing to take back")
        if (run.results.get(ROLLBACK) or {}).get("ok"):
            raise Refused(f"run {run.id} was taken back already")
        if run.id not in self.world.recent:
            run = await self._know_again(run, peer)
        news: asyncio.Queue[Stored | None] = asyncio.Queue(FOLLOWER_QUEUE_MAX)
        self._followers[news] = EventFilter.from_args({"types": ["run.step_done", "run.rolled_back"], "subject": run.subject})
        try:
            if not await self.reactor.runner.take_back(run, peer.name, force=bool(args.get("force"))):
                raise Refused(f"run {run.id} is being taken back already")
            return {**run_summary(run), **await _rolled_back(news, run.id)}
        finally:
            self._followers.pop(news, None)

    async def do_dead_retry(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        letter = self.world.dead.get(_text(args, "letter"))
        if letter is None:
            raise Refused(f"there is no dead letter {args['letter']!r}", "aios dead list shows them")
        position = Position.parse(letter.position)
        if self.reader.at(position) is None:
            raise Refused("the journal does not hold its event any more", "its age is over; emit the event anew")
        await self.emit(Draft(type="scheduler.retried", subject=SYSTEM, data={"letter": letter.letter, "by": peer.name}))
        self.reactor.take_again(position)
        return {"letter": letter.letter}

    async def do_service_start(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return await self._service("service_start", peer, args)

    async def do_service_stop(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return await self._service("service_stop", peer, args)

    async def do_service_restart(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        return await self._service("service_restart", peer, args)

    async def _service(self, verb: str, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        subject = await self._subject(_text(args, "subject"))
        return await self._act(SERVICE_SKILLS[verb], {"unit": subject}, peer, "asked for by hand", subject)

    async def do_keep_restore(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """A last-good copy, put back by hand: an act like any other. `files` empty: all that the copy holds."""
        playbook, subject = _text(args, "playbook"), _text(args, "subject")
        files, generation = args.get("files"), _number(args, "generation", 0)
        if not isinstance(files, list) or not files or not all(isinstance(path, str) for path in files):
            raise Refused("files must be a list of paths", "aios keep show lists what a copy holds")
        params = {"files": files, "from": "last_good", "generation": generation}
        return await self._act("restore_files", params, peer, "asked for by hand", subject, playbook)

    async def _subject(self, name: str) -> str:
        """Which service is meant: a name that the settings list stands for its subject. Refused is what nobody knows."""
        managed = {service.name: service.subject for service in self.settings.service}
        known = {*managed.values(), *(unit.subject for unit in await self.services.list())}
        subject = managed.get(name) or (f"{name}.service" if f"{name}.service" in known else name)
        if subject in known or self.reactor.protected(frozenset((subject,))):
            return subject
        try:
            missing = (await self.services.state(check_unit(subject))).state == "missing"
        except ValueError:
            missing = True
        if missing:
            listed = ", ".join(sorted(managed.values())[:10]) or "none"
            cure = f"the settings list {listed}; `aios service list` shows all that AIOS sees"
            stems = {one.removesuffix(".service"): one for one in known}  # all endings are alike, so they tell nothing
            near = nearest(name.rpartition(".")[0] or name, stems)
            raise Refused(f"there is no service {name[:100]!r}", f"did you mean {stems[near]!r}?" if near else cure)
        return subject

    async def do_services(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        units = await self.services.list()
        return {
            "services": [
                {"subject": u.subject, "state": u.state, "backend": u.backend, "pid": u.pid, "since": u.since, "detail": u.detail}
                for u in units
            ]
        }

    async def do_skill_run(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Run one skill by hand. `dry` (the default for acts) only says what it would do."""
        name, params = _text(args, "skill"), args.get("params") or {}
        spec = self.skills.get(name)
        if spec is None:
            raise Refused(f"there is no skill {name!r}", "aios skill list shows them")
        try:
            checked = spec.check(params)
        except ValueError as error:
            raise Refused(str(error), f"aios skill show {name} tells what it takes") from None
        if spec.kind != "act" and (spec.only_looks is None or spec.only_looks(checked, self.call_env)):
            call = SkillCall("by-hand", name, 1, name, spec.kind, checked, spec.timeout_s, Touches(), env=self.call_env)
            return {"kind": spec.kind, **(await self.looker.look(call)).to_json()}
        if args.get("dry", True):
            says = spec.dry_text(checked) if spec.dry_text is not None else f"would run {name}"
            return {"kind": spec.kind, "ok": True, "dry": True, "says": says, "params": checked}
        if name in SERVICE_SKILLS.values():
            await self._subject(str(checked["unit"]))  # refuses what nobody knows
        return await self._act(name, checked, peer, "asked for by hand", str(checked.get("unit", "host")))

    async def _act(
        self, skill: str, params: Mapping[str, Any], peer: Peer, why: str, subject: str, playbook: str = ""
    ) -> dict[str, Any]:
        spec = self.skills.get(skill)
        if spec is None:
            raise Refused(f"there is no skill {skill!r} here", "aios skill list shows them")
        try:
            touched = spec.touches(spec.check(params)).resources()
        except ValueError as error:
            raise Refused(str(error)) from None
        if protected := self.reactor.protected(touched):
            raise Refused(f"{protected} is protected", "use the system's own tools for it")
        result = await self.aside.act(skill, params, by=peer.name, why=why, subject=subject, playbook=playbook)
        return {"kind": "act", **result.to_json()}

    async def do_reload(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        errors = await self.reload()
        return {"playbooks": len(self.reactor.shelf.by_name), "errors": errors, "waiting": self._waiting_files()}

    async def do_stop(self, peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        self.stop(f"asked for by {peer.name}")
        return {"stopping": True}

    # --- small things

    def _run(self, args: Mapping[str, Any]) -> Run:
        """By id, or by a beginning of it that is no other's."""
        wanted = _text(args, "run")
        known = {**self.world.recent, **self.world.runs}
        if wanted in known:
            return known[wanted]
        found = [run for name, run in known.items() if name.startswith(wanted)]
        if len(found) == 1 and len(wanted) >= 4:
            return found[0]
        why = f"{len(found)} runs begin with {wanted!r}" if found else f"there is no run {wanted!r} that is open or recent"
        raise Refused(why, "aios runs list shows them")

    async def _run_of_any_age(self, args: Mapping[str, Any]) -> Run:
        """Also one that ended so long ago that only the journal knows it."""
        try:
            return self._run(args)
        except Refused:
            wanted = _text(args, "run")
            run = run_of(await self.recall(wanted)) if len(wanted) >= RUN_SHOWN else None
            if run is None:
                raise
            return run

    async def _know_again(self, run: Run, peer: Peer) -> Run:
        """Have the world know a run again that it had forgotten: by an event, so that a replay does, too."""
        state = run.for_rollback()
        if not fits(state):
            raise Refused(
                f"run {run.id} is too long to be taken up again", f"its snapshots are below runs/{run.id} in the state folder"
            )
        data = {"run": run.id, "state": state, "by": peer.name}
        await self.emit(Draft(type="daemon.run_recalled", subject=run.subject, data=data, causationid=run.id))
        return self.world.recent[run.id]


def run_of(events: Sequence[Event]) -> Run | None:
    """The run that these events tell; None where they are not one run's, or its beginning is gone."""
    run: Run | None = None
    for event in events:
        if event.type == "run.opened":
            if run is not None:
                return None
            run = Run(event.data["run"], incident=event.correlationid)
        if run is not None and event.data["run"] == run.id:
            try:
                run.fold(event.type, event.data, event.taken)
            except MachineError:
                continue  # it was told torn: what the world made of that it made, too
    return run


async def _rolled_back(news: asyncio.Queue[Stored | None], run: str) -> dict[str, Any]:
    """What came of a rollback, from the run's events as they become durable; `goes_on` when it takes longer than one waits."""
    evidence: list[Any] = []
    try:
        async with asyncio.timeout(ROLLBACK_WAIT_S):
            while (one := await news.get()) is not None:
                data = one.event.data
                if data.get("run") == run and one.event.type == "run.rolled_back":
                    return {"rolled_back": {**data, "evidence": evidence}}
                if data.get("run") == run and data.get("step") == ROLLBACK:
                    evidence = list(data.get("evidence") or [])
    except TimeoutError:
        pass
    return {"goes_on": True}


def event_json(event: Event) -> dict[str, Any]:
    """An event for people's programs; what is empty is left out."""
    whole = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "arrival": event.arrival,
        "severity": event.severity,
        "origin": event.origin,
        "causationid": event.causationid,
        "correlationid": event.correlationid,
    }
    return {**{name: value for name, value in whole.items() if value}, "data": dict(event.data)}


def _holding_json(holding: Holding) -> dict[str, Any]:
    """What a guard holds, until when (empty: not by time), and what it waits on."""
    told = {name: getattr(holding, name) for name in ("guard", "playbook", "subject", "type", "event", "on")}
    until = format_time(holding.until) if holding.until else ""
    return {**told, "since": format_time(holding.since), "until": until, "resume": holding.guard in LIFTED_BY_RESUME}


def run_summary(run: Run) -> dict[str, Any]:
    """One run in one line."""
    return {
        "id": run.id,
        "playbook": run.playbook,
        "subject": run.subject,
        "status": run.status,
        "outcome": run.outcome,
        "mode": run.mode,
        "opened": format_time(run.opened_at),
        "ended": format_time(run.ended_at) if run.ended_at else "",
        "acted": run.acted,
        "acting": acting_json(run),
        "taken_back": run.taken_back,
        "not_taken_back": run.not_taken_back,
        "cancelled": run.cancelled,
        "denied": bool(run.denied and not run.unanswered),
        "waits_for": run.wait["for"] if run.wait else "",
        "until": run.wait["until"] if run.wait and run.wait["for"] != "resume" else "",
        "asks": run.asked["acts"] if run.asked else [],
        "question": (run.asked or {}).get("question", ""),
        "choices": (run.asked or {}).get("choices", {}),
        "evidence": (run.asked or {}).get("evidence", []),
        "why": run.why,
        "parent": run.parent,
        "incident": run.incident,
    }


def acting_json(run: Run) -> dict[str, Any]:
    """The act of a run that is under way, with its command and since when; empty when none is."""
    if run.in_flight is None:
        return {}
    told = {name: run.in_flight[name] for name in ("step", "attempt", "skill", "params")}
    return {**told, "since": format_time(run.in_flight.get("since") or run.opened_at)}


def answered_words(answered: Mapping[str, Any]) -> str:
    """Who answered what, when and why: for somebody whose answer comes after that."""
    at = format_time(answered["at"])
    if answered["word"] == "expired":
        return f"its time was over at {at}, and nobody had answered"
    said = answered["choice"] or (YES if answered["word"] == "given" else NO)
    return f"{answered['by']} said {said} at {at}" + (f": {answered['reason']}" if answered["reason"] else "")


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value or len(value) > 512:
        raise Refused(f"{name} must be text")
    return value


def _reason(args: Mapping[str, Any]) -> str:
    """Why a person decides so, in their words; empty where they do not say."""
    value = args.get("reason") or ""
    if not isinstance(value, str) or len(value) > REASON_MAX:
        raise Refused(f"reason must be text of at most {REASON_MAX} characters")
    return value


def _number(args: Mapping[str, Any], name: str, usual: int) -> int:
    value = args.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
        raise Refused(f"{name} must be a whole number from 1 to 10000")
    return value


def _silence_json(silence: Silence) -> dict[str, Any]:
    told = {"silence": silence.id, "subject": silence.subject, "playbook": silence.playbook, "by": silence.by}
    return {**told, "since": format_time(silence.since), "until": format_time(silence.until), "reason": silence.reason}


def _mode(args: Mapping[str, Any]) -> Mode | None:
    """The mode that is asked for, if any."""
    word = str(args.get("to") or "")
    found = next((mode for mode in MODES if mode == word), None)
    if word and found is None:
        raise Refused(f"there is no mode {word[:100]!r}", did_you_mean(word, MODES, "one of " + ", ".join(MODES)))
    return found
