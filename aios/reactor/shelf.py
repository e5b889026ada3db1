"""The playbooks in force: read folder by folder, each as a whole or not at all; kept by hash, indexed.

The daemon calls `reload` at start and whenever a folder changed; `Shelf` says what changed as drafts. A folder with a file that
cannot be used stays in force as it was, with all its files, until every one can be used: files that are changed together come
into force together. Their texts are blobs before `playbook.loaded` names them, so that a run, a replay or `explain` finds the
text that was in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aios.errors import ConfigError, ConfigErrors
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import is_own
from aios.events.codec import encode_sorted
from aios.events.event import SYSTEM, Draft
from aios.playbooks.correlation import correlation_json
from aios.playbooks.index import Index
from aios.playbooks.load import Loaded, folder_of, load, load_many
from aios.playbooks.model import Playbook
from aios.playbooks.run import Run
from aios.ports import Blobs

TEXTS_MAX = 2000
WAITING_TOLD = 20


@dataclass(slots=True)
class Shelf:
    """See the head of this file."""

    blobs: Blobs
    skills: SkillCatalogue
    index: Index = field(default_factory=lambda: Index(()))
    by_name: dict[str, Playbook] = field(default_factory=dict)
    errors: tuple[ConfigError, ...] = ()
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Folders that stay in force as they were -> their files that were changed, added or removed since and could be used."""
    _texts: dict[str, str] | None = None
    _told: dict[str, str] = field(default_factory=dict)
    """What the journal says is in force: name -> hash."""
    _good: dict[str, str] = field(default_factory=dict)
    """The files whose playbooks are in force, and those of the same folders that others of the same name replace."""
    _known: dict[tuple[str, str], Playbook] = field(default_factory=dict)
    """What has loaded, in force or waiting, so that a change of one file does not read the others again."""
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
        loaded = load_many(texts, self.skills, standing=texts)
        refused = {error.path for error in loaded.errors}
        self._good = {path: text for path, text in texts.items() if path not in refused}
        self._remember(loaded, texts)
        return Index(tuple(loaded.playbooks))

    def reload(self, texts: Mapping[str, str]) -> tuple[Draft, ...]:
        """Take these files (path -> text) as what there is. Nothing changed: no drafts.

        What is in force is told at first, when it changes, and when a file that was broken is so no more.
        """
        if dict(texts) == self._texts:
            return ()
        first, self._texts = self._texts is None, dict(texts)
        was_broken = {error.path for error in self.errors}
        known, self._known = self._known, {}
        loaded = self._load(texts, known)
        broken = {error.path for error in self.errors}
        invalid = tuple(_invalid(error, self.waiting.get(folder_of(error.path), ())) for error in self.errors)
        self.by_name = {playbook.name: playbook for playbook in loaded.playbooks}
        after = {name: playbook.hash for name, playbook in self.by_name.items()}
        self.index = Index(tuple(loaded.playbooks))
        if after == self._told and not first and was_broken <= broken:
            return invalid
        for playbook in loaded.playbooks:
            self.blobs.put(self._good[playbook.path].encode())
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

    def _load(self, texts: Mapping[str, str], known: Mapping[tuple[str, str], Playbook]) -> Loaded:
        """What is in force from here on: of each folder what it holds now, or what it held when all of it could be used.

        A folder that has nothing in force has nothing to keep: of it, whatever can be used is taken. What a folder is held to
        may break another one's ladder, so this goes on until no more is held.
        """
        was = {folder_of(path) for path in self._good}
        errors: dict[ConfigError, None] = {}
        held: set[str] = set()
        while True:
            mended = self._mended(texts, held)
            standing = {path for path in mended if folder_of(path) in held}
            loaded = load_many(mended, self.skills, known, standing)
            self._remember(loaded, mended)
            fresh = [error for error in loaded.errors if error.path not in standing]
            more = {folder_of(error.path) for error in fresh} & was - held
            errors |= dict.fromkeys(error for error in fresh if not more or folder_of(error.path) in more)
            if not more:
                break
            held |= more
        self.errors = tuple(errors)
        refused = {error.path for error in errors} - standing
        self._good, before = {path: text for path, text in mended.items() if path not in refused}, self._good
        self.waiting = {folder: _waiting(folder, texts, before, self.errors) for folder in sorted(held)}
        return loaded

    def _mended(self, texts: Mapping[str, str], held: Iterable[str]) -> dict[str, str]:
        """These files, but of folders that are held those in force; folders in the same order."""
        mended: dict[str, str] = {}
        for folder in dict.fromkeys(map(folder_of, texts)):
            source = self._good if folder in held else texts
            mended |= {path: text for path, text in source.items() if folder_of(path) == folder}
        return mended

    def _remember(self, loaded: Loaded, texts: Mapping[str, str]) -> None:
        self._known |= {(path, texts[path]): playbook for path, playbook in loaded.by_path.items()}
        self._by_hash |= {playbook.hash: playbook for playbook in loaded.playbooks}

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


def _waiting(folder: str, texts: Mapping[str, str], before: Mapping[str, str], errors: Iterable[ConfigError]) -> tuple[str, ...]:
    """What has changed in this folder, but for what cannot be used."""
    broken = {error.path for error in errors}
    paths = [path for path in sorted({*texts, *before}) if folder_of(path) == folder and path not in broken]
    return tuple(path for path in paths if texts.get(path) != before.get(path))


def _invalid(error: ConfigError, waiting: tuple[str, ...]) -> Draft:
    data: dict[str, Any] = {"path": error.path, "line": error.line, "column": error.column, "message": error.message}
    data |= {"hint": error.hint, "waiting": list(waiting[:WAITING_TOLD])}
    return Draft(type="playbook.invalid", subject=SYSTEM, data=data)
