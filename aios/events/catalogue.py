"""Every type of event that AIOS itself emits, with the shape of its data. The reference in the docs is generated from here.

A type is AIOS's own (bookkeeping) when it starts with one of `OWN_PREFIXES`: an inbox may not use those, and the reactor
does not see them unless a playbook names the exact type. What sensors see is no own type: any program may say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OWN_PREFIXES = ("run.", "approval.", "scheduler.", "reactor.", "journal.", "playbook.", "score.", "daemon.", "timer.")

LEARNED = "daemon.relations_learned"
CORRELATED, WINDOW_DUE, WINDOW_DROPPED = "reactor.correlated", "reactor.window_due", "reactor.window_dropped"

# Field types are CEL's, so that expressions over `event.data` are checked when a playbook is loaded.
STR, INT, DOUBLE, BOOL, MAP, LIST = "string", "int", "double", "bool", "map", "list"


@dataclass(frozen=True, slots=True)
class EventType:
    """One type: what it means, its usual severity, its data fields (name -> (CEL type, meaning))."""

    doc: str
    severity: str
    fields: Mapping[str, tuple[str, str]]


def _t(doc: str, severity: str = "info", /, **fields: tuple[str, str]) -> EventType:
    return EventType(doc, severity, fields)


_RUN = {
    "run": (STR, "the run's id"),
    "playbook": (STR, "the playbook's name"),
}
_USED = {
    "used": (DOUBLE, "share in use, 0 to 1"),
    "threshold": (DOUBLE, "the share that counts as too much"),
    "for_s": (DOUBLE, "seconds for which it has been so"),
}

CATALOGUE: Mapping[str, EventType] = {
    # --- the daemon's own life
    "daemon.started": _t(
        "The daemon is up: from here on this version, these settings and playbooks are in force.",
        version=(STR, "version of AIOS"),
        pid=(INT, "process id"),
        boot_id=(STR, "the kernel's boot id"),
        mode_max=(STR, "the highest mode the settings allow"),
        blind_since=(STR, "time of the last sign of life before; empty at the first start"),
        clean=(BOOL, "whether the one before ended in order"),
    ),
    "daemon.stopped": _t("The daemon ends in order.", reason=(STR, "signal or command")),
    "daemon.heartbeat": _t(
        "A sign of life, each minute: what lies between two further apart was blind time.",
        queue=(INT, "events that wait"),
        open_runs=(INT, "runs that are open"),
        rss_kb=(INT, "resident memory of the daemon, kB"),
        dealt_with=(STR, "position up to which everything in the journal is decided"),
    ),
    "daemon.settings_loaded": _t(
        "These settings are in force from here on.", hash=(STR, "blob that holds them"), path=(STR, "file they came from")
    ),
    LEARNED: _t(
        "Who is watched on this machine, and who suffers with whom, as systemd and the settings tell it: guards go by this from "
        "here on. All of it when it is first learnt and once a day, else what has changed.",
        afresh=(BOOL, "what was known before counts no more"),
        watched=(LIST, "subjects that are watched from here on, besides those before"),
        sufferers=(MAP, "subject -> those that suffer when it is ill, besides those before; an empty list: nobody does any more"),
    ),
    "daemon.paused": _t(
        "A person paused all acts.", "warning", by=(STR, "who"), reason=(STR, "why"), until=(STR, "time it ends; empty: never")
    ),
    "daemon.resumed": _t("Acts are allowed again.", by=(STR, "who")),
    "daemon.silenced": _t(
        "A person wants nothing done about a subject, or by a playbook, for some time; looking goes on.",
        silence=(STR, "its id"),
        subject=(STR, "the subject; a star is any text"),
        playbook=(STR, "the playbook; empty: every one"),
        until=(STR, "time it ends by itself"),
        by=(STR, "who"),
        reason=(STR, "why"),
    ),
    "daemon.silence_ended": _t("A person ended a silence before its time.", silence=(STR, "its id"), by=(STR, "who")),
    "daemon.clock_jumped": _t(
        "The wall clock leapt against the monotonic one.", "warning", seconds=(DOUBLE, "by how much; negative is back")
    ),
    "daemon.act_intended": _t(
        "An act that is no run's is about to start: a managed service, a person's request, a last-good copy, a call.",
        skill=(STR, "the skill"),
        params=(MAP, "its checked parameters"),
        key=(STR, "names the attempt"),
        by=(STR, "who asked"),
        why=(STR, "one sentence"),
    ),
    "daemon.act_done": _t(
        "Such an act ended.",
        skill=(STR, "the skill"),
        key=(STR, "names the attempt"),
        ok=(BOOL, "whether it did what was asked"),
        error=(STR, "what went wrong"),
    ),
    "daemon.collected": _t(
        "What ended runs had left was deleted, as nothing needed it any more; what could not be is named.",
        runs=(INT, "folders of runs"),
        blobs=(INT, "blobs"),
        bytes=(INT, "what they took on the disk"),
        problems=(LIST, "what the disk said"),
    ),
    "daemon.run_recalled": _t(
        "A run is known from here on without its beginning: an act by hand, or one that ended long ago and is to be taken back.",
        run=(STR, "the run's id"),
        state=(MAP, "the run, as far as a rollback needs it"),
        by=(STR, "who asked for it"),
    ),
    "daemon.hands_lost": _t("The hands process ended and is started again.", "warning", status=(STR, "how it ended")),
    # --- the journal
    "journal.quarantined": _t(
        "Something could not be read and was put aside.",
        "warning",
        file=(STR, "where it stood"),
        offset=(INT, "byte offset there"),
        length=(INT, "its length in bytes"),
        reason=(STR, "why it could not be taken"),
        kept=(STR, "file below quarantine/ that holds it; empty: the disk took no copy"),
        lines=(INT, "how many bad lines in a row this is about, in a flood; missing: one"),
    ),
    "journal.torn": _t(
        "A crash left half a line at the end of a part; it was closed off.",
        "warning",
        part=(STR, "the part"),
        offset=(INT, "where the half line begins"),
        length=(INT, "its length in bytes"),
        kept=(STR, "file below quarantine/ that holds it; empty: the disk took no copy"),
    ),
    "journal.part_failed": _t(
        "A write or sync failed; that part is left as it is and a new one was begun.",
        "error",
        part=(STR, "the part that is left"),
        error=(STR, "the error"),
    ),
    "journal.archived": _t(
        "A part was compressed; it can be read as before.",
        part=(STR, "the part"),
        why=(STR, "age | size | disk | asked"),
        events=(INT, "events in it"),
        bad=(INT, "lines in it that cannot be read"),
        bytes=(INT, "its size before"),
        stored=(INT, "its size now"),
    ),
    "journal.removed": _t(
        "A part is gone; what remains of it stands in the digest of its day.",
        part=(STR, "the part"),
        why=(STR, "age | size | disk"),
        events=(INT, "events that were in it"),
    ),
    "journal.consumer_dropped": _t(
        "A named cursor was given up: the part that it stood in had to go.",
        "error",
        consumer=(STR, "the cursor's name"),
        position=(STR, "how far it had come"),
        part=(STR, "the part that goes"),
        why=(STR, "age | size | disk"),
    ),
    "journal.disk_low": _t(
        "Room runs short: retention is brought forward as far as the settings allow.",
        "warning",
        why=(STR, "disk: the file system is nearly full; size: the journal is larger than it may be"),
        size_mb=(DOUBLE, "the journal's size, MB"),
        free_mb=(DOUBLE, "what the file system has left, MB"),
    ),
    "journal.disk_full": _t(
        "The disk takes no more; the reserve was released, and what matters least waits.",
        "critical",
        error=(STR, "the error"),
        reserve_mb=(DOUBLE, "room that was kept for this, MB"),
    ),
    "journal.disk_normal": _t(
        "There is room again; nothing waits for it any more.",
        size_mb=(DOUBLE, "the journal's size, MB"),
        free_mb=(DOUBLE, "what the file system has left, MB"),
    ),
    "journal.part_missing": _t(
        "A closed part is gone, and we did not remove it.", "error", part=(STR, "the part"), size=(INT, "bytes it had")
    ),
    "journal.part_changed": _t(
        "Somebody else changed a part, or put another in its place.",
        "error",
        part=(STR, "the part"),
        was=(INT, "bytes it had"),
        size=(INT, "bytes it has now"),
    ),
    "journal.damaged": _t(
        "Of a closed part, which is read anew now and then, something cannot be read any more; all else of it is.",
        "error",
        part=(STR, "the part"),
        places=(INT, "how many blocks or lines"),
        offset=(INT, "where the first that is new begins"),
    ),
    "journal.sound": _t(
        "A part that was damaged is whole again, or gone, or its damage is known (`aios journal verify --known`).",
        part=(STR, "the part"),
        why=(STR, "which of these"),
    ),
    "journal.upkeep_failed": _t(
        "A step of the journal's upkeep failed; nothing is lost by it, and it is tried again in an hour.",
        "error",
        step=(STR, "look | index | digest | slim | archive | remove_raw | remove_archive | drop_consumer | scrub"),
        part=(STR, "the part or day"),
        error=(STR, "the error"),
    ),
    "journal.inbox_failed": _t("An inbox file cannot be read.", "warning", file=(STR, "the file"), error=(STR, "the error")),
    "journal.inbox_lost": _t(
        "An inbox file was truncated or removed before it was read to the end.",
        "warning",
        file=(STR, "the file"),
        offset=(INT, "how far it had been read"),
        length=(INT, "bytes known to be lost; -1: unknown"),
    ),
    "journal.inbox_moved": _t(
        "A rotation gave an inbox file another name in the inbox; it is read on under that.",
        file=(STR, "its name now"),
        before=(STR, "its name before"),
    ),
    "journal.inbox_slowed": _t(
        "A source of the inbox brings more than it may; its lines wait in its own file, nobody else waits for it.",
        "warning",
        file=(STR, "the file"),
        source=(STR, "whose limit it is"),
        waiting=(INT, "bytes that wait in the file"),
        lines_per_s=(DOUBLE, "its limit in lines; 0: none"),
        bytes_per_s=(DOUBLE, "its limit in bytes; 0: none"),
    ),
    "journal.inbox_large": _t(
        "An inbox file has grown large; its program should rotate it.",
        "warning",
        file=(STR, "the file"),
        length=(INT, "its size in bytes"),
    ),
    "journal.inbox_removed": _t(
        "A daily inbox file that was taken whole was removed, after the time that the settings say.",
        file=(STR, "the file"),
        length=(INT, "its size in bytes"),
    ),
    # --- playbooks
    "playbook.loaded": _t(
        "These playbooks are in force from here on.",
        playbooks=(MAP, "name -> blob that holds the text"),
        paths=(MAP, "name -> the file it came from"),
        own_types=(LIST, "types of AIOS's own that they name: only these come to the queue"),
        windows=(STR, "blob that says which several events they wait for; empty: none does"),
        disabled=(LIST, "names that are switched off"),
        invalid=(LIST, "files that cannot be used as they are; all others that were told so before are mended"),
    ),
    "playbook.invalid": _t(
        "A playbook cannot be used: what was in force of its folder stays, all of it, until every file there can be used.",
        "error",
        path=(STR, "the file"),
        line=(INT, "line, from 1"),
        column=(INT, "column, from 1"),
        message=(STR, "what is wrong"),
        hint=(STR, "the cure"),
        waiting=(LIST, "files of its folder whose changes wait until it can be used, the first of them"),
    ),
    "playbook.enabled": _t("A person switched a playbook on.", playbook=(STR, "its name"), by=(STR, "who")),
    "playbook.disabled": _t("A person switched a playbook off.", "warning", playbook=(STR, "its name"), by=(STR, "who")),
    "playbook.promoted": _t(
        "A person lets a playbook do more than its file says, for as long as its text stays as it is.",
        playbook=(STR, "its name"),
        hash=(STR, "blob of the text that this is for"),
        before=(STR, "the mode that was in force"),
        to=(STR, "the mode that is in force now"),
        by=(STR, "who"),
        reason=(STR, "why, in their words"),
        earned=(BOOL, "whether its evidence carried it"),
    ),
    "playbook.demoted": _t(
        "A playbook may do less than before: it has healed too seldom, or a person wants it so.",
        "error",
        playbook=(STR, "its name"),
        hash=(STR, "blob of the text that this is for"),
        before=(STR, "the mode that was in force"),
        to=(STR, "the mode that is in force now"),
        by=(STR, "who; empty: by itself, for its evidence fell"),
        reason=(STR, "why"),
        earned=(BOOL, "false"),
    ),
    "playbook.kept": _t(
        "A last-good copy was taken.",
        playbook=(STR, "its name"),
        manifest=(STR, "blob that holds the manifest"),
        files=(LIST, "what was copied"),
    ),
    "playbook.changed_since_good": _t(
        "A run opened, and files that it could put back are not as they were when its subject was last proven well.",
        **_RUN,
        generation=(INT, "the last-good copy"),
        changed=(LIST, "files that differ, the first of them"),
        files=(INT, "how many there are"),
        blob=(STR, "the difference, as text; secrets are struck out"),
    ),
    # --- decisions
    "reactor.decided": _t(
        "What was decided about an event that a playbook matched (a run that opens says so itself).",
        event=(STR, "the event's id"),
        verdict=(STR, "joined | coalesced | held | released | cannot_say"),
        position=(STR, "where the event stands"),
        type=(STR, "the event's type"),
        playbook=(STR, "the playbook"),
        run=(STR, "the run that was joined"),
        guard=(STR, "the guard that held it"),
        until=(STR, "when it is offered again; empty: not by time"),
        on=(STR, "what the guard waits for, where that may end before: an ill subject, a silence, a place among the runs"),
        why=(STR, "one sentence"),
        considered=(LIST, "every playbook that was looked at, and what it said"),
    ),
    "reactor.called": _t(
        "A person is needed, though no run is open: a breaker opened, a loop was cut, or a run's history is torn.",
        "critical",
        playbook=(STR, "the playbook"),
        guard=(STR, "the guard that held it; `torn` where damaged lines of the journal ended a run"),
        why=(STR, "one sentence"),
    ),
    CORRELATED: _t(
        "Several events together were what a playbook waits for; it is decided about this event as about any other.",
        "warning",
        playbook=(STR, "the playbook"),
        trigger=(STR, "hash of its `on`, as it was then"),
        kind=(STR, "count | any | all | sequence | absence"),
        key=(MAP, "what joined them: field -> value"),
        since=(STR, "time of the first; of a silence: when it began"),
        until=(STR, "time of the last; of a silence: when it was long enough"),
        count=(INT, "how many events were used"),
        events=(MAP, "name of the trigger -> the last event that stood for it: id, type, subject, time, severity, data"),
        last=(MAP, "the newest of them, in the same form; empty for `absence`"),
        used=(LIST, "id and position of each event that was used"),
        missing=(LIST, "names of the triggers that stayed away"),
        causes=(LIST, "the events that were used, and what caused them"),
    ),
    WINDOW_DUE: _t("Nothing else happened, and a window is over: time goes on in the journal, too."),
    WINDOW_DROPPED: _t(
        "Windows of a playbook begin anew, or some of what they held had to be forgotten.",
        "warning",
        playbook=(STR, "the playbook"),
        why=(STR, "its trigger was changed | the clock went back | more than it may hold"),
        keys=(INT, "keys whose windows were open"),
        events=(INT, "events that were in them, or that were forgotten"),
    ),
    "reactor.storm_began": _t(
        "So much is ill at once that nothing is done: runs look and wait, and a person is called once.",
        "critical",
        ill=(INT, "how many of the watched subjects are ill"),
        known=(INT, "how many are watched"),
        subjects=(LIST, "the first of those that are ill"),
        why=(STR, "one sentence"),
    ),
    "reactor.storm_over": _t(
        "Acts are allowed again: what waited goes on, if it still stands.",
        ill=(INT, "how many of the watched subjects are ill now"),
        known=(INT, "how many are watched"),
    ),
    "scheduler.spilled": _t(
        "The queue was full; events wait in the journal and are read again later.",
        "warning",
        priority=(INT, "the class that was spilled"),
        since=(STR, "position of the first"),
        count=(INT, "how many"),
    ),
    "scheduler.dead_letter": _t(
        "An event or run could not be processed; it is kept and can be retried.",
        "error",
        letter=(STR, "id of the dead letter"),
        event=(STR, "the event's id"),
        position=(STR, "where it stands"),
        reason=(STR, "why"),
    ),
    "scheduler.retried": _t("A person had a dead letter tried again.", letter=(STR, "its id"), by=(STR, "who")),
    # --- runs
    "run.opened": _t(
        "A run began.",
        **_RUN,
        hash=(STR, "blob of the playbook's text"),
        event=(STR, "the event it answers"),
        mode=(STR, "observe | shadow | suggest | approve | auto"),
        resources=(LIST, "what it locks"),
        trigger=(MAP, "the event, whole"),
        considered=(LIST, "every playbook that was looked at, and what it said"),
        lineage=(LIST, "the runs that led to this: [playbook, subject] of each"),
        next_best=(STR, "the next best playbook that matched: the fallback where the playbook names none"),
        priority=(INT, "class of the event, 0 to 3"),
        approved=(MAP, "acts that a person approved beforehand: step -> digest"),
        parent=(STR, "the run whose fallback or retry this is"),
        by=(STR, "the person who asked for it"),
        reason=(STR, "why they did, in their words; missing: not said"),
        passed=(LIST, "steps that a retry from a later step leaves out; missing: none"),
        kept=(MAP, "of these, what came of them before: step -> result"),
    ),
    "run.step_intended": _t(
        "An act is about to be started; on disk before it is.",
        **_RUN,
        step=(STR, "the step's id"),
        attempt=(INT, "from 1"),
        skill=(STR, "the skill"),
        params=(MAP, "its checked parameters"),
        files=(LIST, "files it touches"),
        units=(LIST, "services it touches"),
        settings=(LIST, "settings of the kernel it touches"),
        recheck=(BOOL, "a crash cut the attempt before off: look first whether it is done already"),
        by=(STR, "the person who asked for it; empty: the run itself"),
    ),
    "run.step_done": _t(
        "A step ended.",
        **_RUN,
        step=(STR, "the step's id"),
        attempt=(INT, "from 1"),
        skill=(STR, "the skill"),
        kind=(STR, "observe | act | verify | ask"),
        ok=(BOOL, "whether it did what was asked"),
        skipped=(BOOL, "its `if` said no, or a dry run stood in for it"),
        result=(MAP, "what came of it"),
        evidence=(LIST, "where the proof lies"),
        next=(LIST, "retry | fallback | human_check"),
        error=(STR, "what went wrong, one sentence"),
        died=(BOOL, "a crash cut it off in the middle"),
        voided=(BOOL, "a crash came before it had begun"),
        ms=(DOUBLE, "how long it took, milliseconds"),
    ),
    "run.waiting": _t(
        "A run waits; it holds no slot and no lock.",
        **_RUN,
        waits_for=(STR, "retry | approval | ladder | rung | resume | act_limit | hands | guard | watch"),
        until=(STR, "when the wait ends"),
        step=(STR, "the step it stands at"),
        on=(STR, "where it waits for a guard: which"),
        why=(STR, "where it waits for a guard: one sentence"),
    ),
    "run.cleared": _t("The symptom was gone before we acted.", **_RUN, ms=(DOUBLE, "since it opened, ms")),
    "run.healed": _t(
        "Acted, and proven well.",
        **_RUN,
        ms=(DOUBLE, "since it opened, milliseconds"),
        proof=(LIST, "what verify saw"),
        acts=(LIST, "steps that acted"),
    ),
    "run.not_healed": _t(
        "Not well after all was done; what was done is taken back next.",
        "error",
        **_RUN,
        why=(STR, "one sentence"),
        proof=(LIST, "what verify saw"),
    ),
    "run.unknown": _t("Nobody can say whether it is well; treated as not healed.", "error", **_RUN, why=(STR, "one sentence")),
    "run.rolled_back": _t(
        "What the run did was taken back.",
        "warning",
        **_RUN,
        ok=(BOOL, "whether everything is as before"),
        proof=(LIST, "per file or unit: hashes before the act, after it, after the rollback"),
        error=(STR, "what could not be taken back"),
        by=(STR, "the person who asked for it; empty: the run itself"),
        conflicts=(LIST, "files that somebody else changed since: nothing was put back (only then)"),
        unsaved=(LIST, "acts of which nothing was saved, so that what they did stands (only then)"),
    ),
    "run.rollback_asked": _t(
        "A person wants what an ended run did taken back.",
        "warning",
        **_RUN,
        by=(STR, "who"),
        force=(BOOL, "also where somebody else has changed it since"),
    ),
    "run.rung_done": _t(
        "One rung of the ladder after a failure was climbed.",
        "warning",
        **_RUN,
        rung=(INT, "which, from 0"),
        what=(STR, "fallback | notify"),
        run_opened=(STR, "the fallback's run"),
        healed=(BOOL, "whether that ended it"),
        error=(STR, "what went wrong"),
    ),
    "run.escalated": _t(
        "A person is needed.", "critical", **_RUN, why=(STR, "one sentence"), asked=(LIST, "what the run tried first")
    ),
    "run.observed": _t(
        "A run that may not act has looked (modes observe, shadow).",
        **_RUN,
        would=(LIST, "the acts it would have done"),
        verdict=(STR, "what verify said: well | not_well | no_data"),
        watched_s=(DOUBLE, "in shadow: for how long it has watched, seconds"),
        by_itself=(BOOL, "in shadow: whether the symptom went by itself meanwhile"),
    ),
    "run.suggested": _t(
        "A run that may not act proposes its acts; `aios runs approve` turns it into a run.",
        "warning",
        **_RUN,
        would=(LIST, "the acts it proposes"),
        verdict=(STR, "what verify said: well | not_well | no_data"),
    ),
    "run.cancelled": _t(
        "A person ended a run.",
        "warning",
        **_RUN,
        by=(STR, "who"),
        why=(STR, "that they denied it, and why; empty: they just ended it"),
    ),
    "approval.requested": _t(
        "A run asks a person: before its first act, or which way to go.",
        "warning",
        **_RUN,
        acts=(LIST, "what it wants to do"),
        plan=(STR, "hash of that, or of the question"),
        until=(STR, "no answer by then is no"),
        step=(STR, "the step that asks which way; missing: it asks before it acts"),
        question=(STR, "what it asks; missing: it asks before it acts"),
        choices=(MAP, "choice -> what it means; missing: yes or no"),
        evidence=(LIST, "what it has seen so far: step, and what that said, in short"),
        differs=(STR, "which of its files are not as in their last-good copy; missing: none"),
    ),
    "approval.given": _t(
        "A person said yes, or which way.",
        **_RUN,
        plan=(STR, "hash of what was approved, or asked"),
        step=(STR, "the step that asked which way; missing: it was a yes"),
        choice=(STR, "which way; missing: it was a yes"),
        by=(STR, "who"),
        reason=(STR, "why, in their words; empty: not said"),
    ),
    "approval.denied": _t(
        "A person said no.", "warning", **_RUN, by=(STR, "who"), reason=(STR, "why, in their words; empty: not said")
    ),
    "approval.expired": _t("Nobody answered in time; that is a no.", "warning", **_RUN),
    "approval.refused": _t(
        "An answer came too late, or a second time, and changed nothing.",
        "warning",
        **_RUN,
        by=(STR, "who"),
        choice=(STR, "what they said: yes, no, or a choice"),
        reason=(STR, "why, in their words; empty: not said"),
        why=(STR, "why it was not taken"),
    ),
    # --- score
    "score.updated": _t(
        "A score moved enough to matter.",
        score=(DOUBLE, "0 to 1"),
        before=(DOUBLE, "what it was"),
        dimensions=(MAP, "success, latency, stability, resources"),
    ),
    "score.degraded": _t(
        "A score fell below the line.", "error", score=(DOUBLE, "0 to 1"), dimensions=(MAP, "each dimension's value")
    ),
    "score.recovered": _t(
        "A score is above the line again.", score=(DOUBLE, "0 to 1"), degraded_s=(DOUBLE, "for how long it was low")
    ),
    "timer.due": _t("A timer of the settings is due.", timer=(STR, "its name"), planned=(STR, "the time it was planned for")),
    # --- what sensors see (not own types)
    "service.down": _t(
        "A service that should run does not, or does not answer.",
        "error",
        failures=(INT, "failed probes in a row, or deaths in the last hour"),
        reason=(STR, "exit | probe | failed | missing"),
        status=(STR, "exit status or the probe's error"),
        backend=(STR, "systemd | managed | probe"),
    ),
    "service.up": _t("A service runs and answers.", backend=(STR, "systemd | managed | probe"), pid=(INT, "main process id")),
    "service.stopped": _t("A person stopped a service; it is not down.", backend=(STR, "systemd | managed")),
    "service.flapping": _t(
        "A service falls again and again.", "error", falls=(INT, "how often"), within_s=(DOUBLE, "in how many seconds")
    ),
    "endpoint.down": _t(
        "A probed address does not answer.", "error", failures=(INT, "in a row"), status=(STR, "the probe's error")
    ),
    "endpoint.up": _t("A probed address answers again.", down_s=(DOUBLE, "for how long it did not")),
    "resource.cpu_spike": _t("The processors are busy.", "warning", **_USED),
    "resource.cpu_normal": _t("The processors are well again.", **_USED),
    "resource.memory_high": _t("Memory runs short.", "warning", **_USED),
    "resource.memory_normal": _t("There is memory again.", **_USED),
    "resource.disk_full": _t(
        "A file system is nearly full.", "error", **_USED, path=(STR, "mount point"), free_mb=(DOUBLE, "MB free")
    ),
    "resource.disk_normal": _t("A file system has room again.", **_USED, path=(STR, "mount point"), free_mb=(DOUBLE, "MB free")),
    "resource.pressure_high": _t(
        "Work stalls for want of a resource (pressure stall information).",
        "warning",
        resource=(STR, "cpu | memory | io"),
        avg10=(DOUBLE, "percent of the last 10 s in which some task stalled"),
    ),
    "resource.pressure_normal": _t(
        "Work flows again.", resource=(STR, "cpu | memory | io"), avg10=(DOUBLE, "percent of the last 10 s")
    ),
    "host.sampled": _t(
        "The machine's load over the last minute; what the score's resource dimension reads.",
        cpu=(DOUBLE, "share used, 0 to 1"),
        memory=(DOUBLE, "share used, 0 to 1"),
        disk=(DOUBLE, "share used of the fullest watched file system, 0 to 1"),
    ),
    "probe.sampled": _t(
        "A probe's last minute; what the score's success and latency dimensions read.",
        ok=(INT, "answers"),
        failed=(INT, "failures"),
        p95_ms=(DOUBLE, "95th percentile of the answers' time, milliseconds"),
    ),
    "agent.error": _t(
        "An agent reports an error.", "error", message=(STR, "what it said"), kind=(STR, "its own word for the error")
    ),
    "agent.stalled": _t("An agent has shown no progress.", "error", since_s=(DOUBLE, "for how long")),
    "model.unavailable": _t("A model cannot be reached.", "error", status=(STR, "the error")),
    "budget.warning": _t("A budget is nearly used up.", "warning", used=(DOUBLE, "share, 0 to 1"), limit=(STR, "which limit")),
}

# A closing type ends the symptom that the other opened, on the same subject.
CLOSES: Mapping[str, tuple[str, ...]] = {
    "service.up": ("service.down", "service.flapping", "agent.error", "agent.stalled"),
    "service.stopped": ("service.down", "service.flapping"),
    "endpoint.up": ("endpoint.down",),
    "resource.cpu_normal": ("resource.cpu_spike",),
    "resource.memory_normal": ("resource.memory_high",),
    "resource.disk_normal": ("resource.disk_full",),
    "resource.pressure_normal": ("resource.pressure_high",),
    "score.recovered": ("score.degraded",),
    "journal.sound": ("journal.damaged",),
}


def is_own(event_type: str) -> bool:
    """Whether only AIOS itself may say this."""
    return event_type.startswith(OWN_PREFIXES)


def usual_severity(event_type: str) -> str:
    """The severity that an event has when its producer names none."""
    known = CATALOGUE.get(event_type)
    return known.severity if known else "info"
