"""The one visible page of wiring: a daemon is put together from its settings and the machine around it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from aios.daemon.life import Daemon
from aios.daemon.outside import Outside
from aios.daemon.remember import remember
from aios.events.event import HOST, SYSTEM, Draft
from aios.events.redact import Redactor
from aios.journal.query import History
from aios.playbooks.model import Playbook, lesser_mode
from aios.playbooks.protection import protected
from aios.playbooks.run import Run
from aios.playbooks.run_words import Env
from aios.ports import Emit
from aios.reactor.aside import Aside
from aios.reactor.decide import InFlight
from aios.reactor.holding import Opening, Rules, held_before_act
from aios.reactor.keep import LastGood
from aios.reactor.pump import Reactor
from aios.reactor.rules import rules_of
from aios.reactor.runs import Runner, RunnerPorts
from aios.reactor.shelf import Shelf, names_of
from aios.scheduler.slots import Slots
from aios.settings import Settings
from aios.spine import Spine
from aios.verbs.handler import Verbs
from aios.verbs.house import House
from aios.verbs.known import KnownRuns
from aios.world import World


def assemble(settings: Settings, outside: Outside) -> Daemon:
    """Put the daemon together: the world from checkpoint and journal, then everything around it."""
    texts = outside.read_playbooks()
    troubles = _Troubles()
    writer = outside.make_writer(troubles.tell)
    remembered = remember(settings, outside)
    world, queue = remembered.world, remembered.queue
    shelf = Shelf(outside.blobs, outside.skills)
    playbooks_before = None
    if world.playbooks and names_of(texts) != frozenset(world.playbooks.values()):
        playbooks_before = shelf.recall(world.playbooks, world.playbook_paths)
    first_words = (*remembered.torn, *shelf.reload(texts))
    redactor = Redactor((*settings.redact.values, *settings.notify.headers.values()))
    spine = Spine(outside.clock, outside.entropy, writer, world, redactor, outside.blobs, f"aios/{HOST}")
    rules = rules_of(settings)
    aside = Aside(spine.emit, outside.hands, outside.skills, outside.entropy, outside.call_env)
    ports = RunnerPorts(outside.clock, outside.entropy, spine.emit, outside.hands, outside.looker, outside.skills)
    in_flight = InFlight()
    env_of = partial(_env_of, settings, outside, world, shelf, rules, in_flight.triggers)
    runner = Runner(world, Slots(settings.slots), ports, shelf.of, env_of)
    reactor = Reactor(world, shelf, queue, runner, rules, outside.skills, outside.clock, spine.emit, outside.reader, in_flight)
    reactor.decided_since, reactor.undecided_types = remembered.decided_since, remembered.types
    runner.open_fallback = reactor.open_fallback
    services, looker = outside.services, outside.looker
    keeper = LastGood(
        shelf, outside.skills, services, looker, outside.files, aside, spine.emit, outside.clock, outside.since_good
    )
    inbox_wake = asyncio.Event()
    inbox = outside.make_inbox(world.cursors, inbox_wake.set)
    daemon = Daemon(
        settings, outside, world, spine, reactor, shelf, aside, keeper, writer, inbox, inbox_wake, first_words, playbooks_before
    )
    daemon.since_checkpoint = remembered.folded
    house = House(
        settings,
        world,
        reactor,
        aside,
        services,
        outside.hands,
        looker,
        outside.skills,
        outside.reader,
        spine.emit,
        outside.clock,
        outside.entropy,
        outside.call_env,
        daemon.reload,
        daemon.stop,
        KnownRuns(world, outside.recall, spine.emit),
        outside.clock.now(),
        outside.pid,
        History(outside.files, f"{settings.data}/events"),
        outside.offload,
    )
    daemon.verbs = Verbs(house)
    outside.hands.on_lost(partial(_hands_lost, spine.emit))
    daemon.control = outside.make_control(daemon.verbs)
    troubles.emit = spine.emit
    return daemon


def _hands_lost(emit: Emit, status: str) -> None:
    emit(Draft(type="daemon.hands_lost", subject=SYSTEM, data={"status": status}))


@dataclass(slots=True)
class _Troubles:
    """What the writer has to tell goes through the same door as everything else; at first that door is not there yet."""

    emit: Emit | None = None

    def tell(self, draft: Draft) -> None:
        assert self.emit is not None
        self.emit(draft)


def _env_of(
    settings: Settings,
    outside: Outside,
    world: World,
    shelf: Shelf,
    rules: Rules,
    opening: Opening,
    run: Run,
    playbook: Playbook,
    chance: float,
) -> Env:
    """What a run may know and do, as it is now: its text is its own, its permission is that of the playbook in force."""
    now = outside.clock.now()
    in_force = shelf.by_name.get(run.playbook)
    return Env(
        now=now,
        playbook=playbook,
        skills=outside.skills,
        mode_max=lesser_mode(settings.mode_max, world.trust.mode_of(in_force or playbook)),
        watch_s=settings.trust.watch_s,
        paused=world.is_paused(now),
        resumes_at=world.paused_until,
        disabled=run.playbook in world.disabled or (in_force is not None and not in_force.enabled),
        protected=lambda resources: protected(resources, rules.protected),
        acts_again_at=world.guards.acts_again_at(now, settings.acts_per_hour),
        held_now=lambda: held_before_act(in_force or playbook, run, world, rules, opening, now),
        score=world.scores.value(run.subject, now),
        system_score=world.scores.value(SYSTEM, now),
        chance=chance,
        call_env=outside.call_env,
        approval_expires_s=settings.approval_expires_s,
    )
