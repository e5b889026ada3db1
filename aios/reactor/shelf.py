"""The playbooks in force: read as a folder, kept by hash, indexed; a broken file leaves its last good version in force.

The daemon calls `reload` at start and whenever a folder changed; `Shelf` says what changed as drafts. Their texts are blobs
before `playbook.loaded` names them, so that a run, a replay or `explain` finds the text that was in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from aios.errors import ConfigError, ConfigErrors
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import is_own
from aios.events.codec import encode_sorted
from aios.events.event import SYSTEM, Draft
from aios.playbooks.correlation import correlation_json
from aios.playbooks.index import Index
from aios.playbooks.load import load, load_many
from aios.playbooks.model import Playbook
from aios.playbooks.run import Run
from aios.ports import Blobs

TEXTS_MAX = 2000


@dataclass(slots=True)
class Shelf:
    """See the head of this file."""

    blobs: Blobs
    skills: SkillCatalogue
    index: Index = field(default_factory=lambda: Index(()))
    by_name: dict[str, Playbook] = field(default_factory=dict)
    errors: tuple[ConfigError, ...] = ()
    _texts: dict[str, str] | None = None
    _told: dict[str, str] = field(default_factory=dict)
    """What the journal says is in force: name -> hash."""
    _good: dict[str, str] = field(default_factory=dict)
    _by_path: dict[str, Playbook] = field(default_factory=dict)
    """Those of `_good` that are in force, so that a change of one file does not read the others again."""
    _by_hash: dict[str, Playbook] = field(default_factory=dict)

    def recall(self, hashes: Mapping[str, str], paths: Mapping[str, str]) -> Index:
        """Take what was in force before a restart (name -> blob, name -> file) as the last good versions; its index."""
        texts = {}
        for name, blob in hashes.items():
            try:
                texts[paths.get(name, f"{name}.yaml")] = self.blobs.get(blob).decode()
            except (KeyError, ValueError):
                continue  # its text is gone: what it left undecided is for those in force now
        self._told = dict(hashes)
        loaded = load_many(texts, self.skills)
        refused = {error.path for error in loaded.errors}
        self._good = {path: text for path, text in texts.items() if path not in refused}
        self._by_hash = {playbook.hash: playbook for playbook in loaded.playbooks}
        return Index(tuple(loaded.playbooks))

    def reload(self, texts: Mapping[str, str]) -> tuple[Draft, ...]:
        """Take these files (path -> text) as what there is. Nothing changed: no drafts.

        What is in force is told at first, when it changes, and when a file that was broken is so no more.
        """
        if dict(texts) == self._texts:
            return ()
        first, self._texts = self._texts is None, dict(texts)
        known = {(path, text): self._by_path[path] for path, text in self._good.items() if path in self._by_path}
        loaded = load_many(texts, self.skills, known)
        was_broken = {error.path for error in self.errors}
        self.errors = tuple(loaded.errors)
        broken = {error.path for error in loaded.errors}
        mended = dict(texts)
        for path in broken & set(mended):
            if path in self._good:
                mended[path] = self._good[path]
            else:
                del mended[path]
        if broken:
            loaded = load_many(mended, self.skills, known)
            if loaded.errors:  # a file that is well clashes with an old version of a broken one: the well ones alone
                mended = {path: text for path, text in texts.items() if path not in broken}
                loaded = load_many(mended, self.skills, known)
        self._good = mended
        invalid = tuple(_invalid(error) for error in self.errors)
        self.by_name = {playbook.name: playbook for playbook in loaded.playbooks}
        self._by_path = {playbook.path: playbook for playbook in loaded.playbooks}
        after = {name: playbook.hash for name, playbook in self.by_name.items()}
        self.index = Index(tuple(loaded.playbooks))
        self._by_hash |= {playbook.hash: playbook for playbook in loaded.playbooks}
        if after == self._told and not first and was_broken <= broken:
            return invalid
        for playbook in loaded.playbooks:
            self.blobs.put(mended[playbook.path].encode())
        self._told = after
        disabled = sorted(p.name for p in loaded.playbooks if not p.enabled)
        data = {
            "playbooks": after,
            "disabled": disabled,
            "paths": {playbook.name: playbook.path for playbook in loaded.playbooks},
            "own_types": sorted(self.own_types),
            "windows": self._windows(loaded.playbooks),
            "invalid": sorted(broken),
        }
        return (*invalid, Draft(type="playbook.loaded", subject=SYSTEM, data=data))

    def _windows(self, playbooks: Iterable[Playbook]) -> str:
        """The blob that holds what playbooks for several events wait for; empty where there are none."""
        together = {p.name: correlation_json(p.correlation) for p in playbooks if p.correlation is not None and p.enabled}
        return self.blobs.put(encode_sorted(together)) if together else ""

    @property
    def own_types(self) -> frozenset[str]:
        """AIOS's own types that a playbook in force names exactly: only these come to the queue."""
        return frozenset(name for playbook in self.by_name.values() for name in playbook.types if is_own(name))

    def of(self, run: Run) -> Playbook:
        """The text that this run was opened with. One that cannot be read any more is empty: the run then ends unknown."""
        known = self._by_hash.get(run.hash)
        if known is None:
            known = self._by_hash[run.hash] = self._from_blob(run)
            if len(self._by_hash) > TEXTS_MAX:
                del self._by_hash[next(iter(self._by_hash))]
        return known

    def _from_blob(self, run: Run) -> Playbook:
        try:
            return load(self.blobs.get(run.hash).decode(), f"{run.playbook}.yaml", self.skills)
        except (KeyError, ValueError, ConfigErrors):
            return Playbook(run.playbook, run.hash, "", "its text is gone, or is refused by this version", (), None, {})


def names_of(texts: Mapping[str, str]) -> frozenset[str]:
    """The blobs that hold these texts, or would."""
    return frozenset(sha256(text.encode("utf-8", "replace")).hexdigest() for text in texts.values())


def _invalid(error: ConfigError) -> Draft:
    data = {"path": error.path, "line": error.line, "column": error.column, "message": error.message, "hint": error.hint}
    return Draft(type="playbook.invalid", subject=SYSTEM, data=data)
