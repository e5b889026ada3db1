"""One backtest from beginning to end, and the loading of what is tried. For `aios playbook backtest` and anyone's Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from aios.backtest import history as past
from aios.backtest.ledger import Ledger
from aios.backtest.machine import How, Machine, asks_for_scores
from aios.backtest.result import Backtest
from aios.backtest.stand_ins import Assume
from aios.backtest.terms import Terms, Then
from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.errors import ConfigErrors
from aios.events.calls import SkillCatalogue
from aios.events.event import Event
from aios.journal.query import Asked, History, Moment, Watch, make_query
from aios.playbooks.load import Loaded, load, load_many
from aios.playbooks.model import MODES, Mode, Playbook

WITHIN_S = 600.0
"""A symptom that closes within ten minutes without an act of ours went away by itself."""
TERMS = Terms()


def backtest(
    state_dir: str | os.PathLike[str],
    playbooks: Sequence[Playbook],
    *,
    company: Sequence[Playbook] = (),
    skills: SkillCatalogue | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    on: str = "",
    mode: Mode | None = None,
    terms: Terms = TERMS,
    then: bool = True,
    assume: Assume = "well",
    within_s: float = WITHIN_S,
    compares: bool = False,
    follow: bool = True,
    watch: Watch | None = None,
    asked: Asked | None = None,
) -> Backtest:
    """Play the journal of a state folder with these playbooks in force, and `company` beside them.

    `mode`: as if the playbooks had this one. `follow` false: no run goes as it really went, all are assumed. It is played by the
    settings that were in force `then`, and by `terms` (`terms_of` makes them of settings) where the journal does not say which,
    or all along if `then` is false. `watch` is called as the reading goes on. Raises Refused (no journal, or a damaged one),
    ValueError (times), OSError. Inside a running loop, give it a thread.
    """
    if skills is None:
        from aios.skills.catalogue import load_catalogue  # reads what is installed: only where nobody brings it

        skills = load_catalogue()
    history = History.of(state_dir)
    span = make_query(since=since, until=until, on=on)
    tried = [_as_tried(playbook, mode) for playbook in playbooks]
    beside = [playbook for playbook in company if playbook.name not in {p.name for p in tried}]
    asked = asked or Asked()
    ledger = Ledger(tried, within_s, compares)
    were = Then(BlobFolder(OsFiles(), os.path.join(os.path.abspath(os.fspath(state_dir)), "blobs")).get)
    how = _as_asked(assume, mode, were if then else None)
    record = past.Record.of(history, span) if follow else past.Record()
    machine = Machine(history, tried, beside, skills, _allowing(terms, mode), how, ledger, record)
    everything = [*tried, *beside]
    together = any(playbook.correlation is not None for playbook in everything)
    types = past.types_read(everything, scores=any(map(asks_for_scores, everything)), time_down=together)
    machine.know(past.before(history, span))
    machine.run(past.read(history, span, types, asked, watch), past.end_of(history, span))
    notes = were.notes if then else []
    return ledger.finish(
        since=machine.first,
        until=machine.last,
        assume=assume,
        company=sorted(p.name for p in beside),
        events=machine.events,
        size=int(asked.effort.total),
        notes=notes,
    )


def _as_tried(playbook: Playbook, mode: Mode | None) -> Playbook:
    return replace(playbook, mode=mode, enabled=True) if mode else replace(playbook, enabled=True)


def _as_asked(assume: Assume, mode: Mode | None, were: Then | None) -> How:
    def terms_of(loaded: Event) -> Terms | None:
        terms = were.terms(loaded) if were is not None else None
        return _allowing(terms, mode) if terms is not None else None

    return How(assume, mode is None, terms_of)


def _allowing(terms: Terms, mode: Mode | None) -> Terms:
    """Whoever asks how a mode would do means that the settings allow it."""
    if mode is None or MODES.index(terms.rules.mode_max) >= MODES.index(mode):
        return terms
    return replace(terms, rules=replace(terms.rules, mode_max=mode))


def load_for(texts: Mapping[str, str], company: Mapping[str, str], skills: SkillCatalogue) -> tuple[Loaded, tuple[Playbook, ...]]:
    """What is tried, and those in force beside it that it does not replace by its name; both as path -> text."""
    names = _names(texts, skills)
    others = {p.path: text for p, text in _usable(company, skills) if p.name not in names and p.path not in texts}
    both = load_many({**others, **texts}, skills)
    tried = [p for p in both.playbooks if p.path in texts]
    errors = [error for error in both.errors if error.path in texts]
    return Loaded(tuple(tried), tuple(errors), both.texts), tuple(p for p in both.playbooks if p.path not in texts)


def _names(texts: Mapping[str, str], skills: SkillCatalogue) -> set[str]:
    """Of those that can be read, whatever their ladders lead to."""
    names = set()
    for path, text in texts.items():
        try:
            names.add(load(text, path, skills).name)
        except ConfigErrors:
            continue  # told when all of them are loaded together
    return names


def _usable(texts: Mapping[str, str], skills: SkillCatalogue) -> Iterable[tuple[Playbook, str]]:
    loaded = load_many(texts, skills)
    return [(playbook, texts[playbook.path]) for playbook in loaded.playbooks]
