"""Undo for what is no file: how a thing stood before an act, written down first, and the call that leads back.

A skill declares its inverse (`aios.skills.api.Inverse`); hands knows it only as `Inverses`. Two small files in the folder of the
act's attempt, each durable before what it speaks of:

    before.json      the act, the thing, and how it stood; written before the act
    undo.json        the inverse, as intended: written before it begins, and again when it is done

Called by the act's own process (`record`) and by `rollback.py`, which goes through the attempts backwards. A rollback that was
killed goes on from `undo.json`: what was in the middle is done again, looked at first, or left, by its own re-run class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aios.disk import read_all, write_small
from aios.errors import Permanent, Temporary
from aios.events.calls import RerunClass, SkillResult
from aios.events.codec import decode_json, encode_json
from aios.ports import Files

BEFORE, UNDO = "before.json", "undo.json"
RECORD_MAX = 256 * 1024
LABEL_MAX = 300
_TROUBLE = (Permanent, Temporary, OSError, ValueError, KeyError, TypeError)
"""The skill's own word, a disk that refuses, or a file that is damaged: told, and the rest is taken back all the same."""


class Done(NamedTuple):
    """An act as its attempt wrote it down: `about` names the thing, `before` is how it stood."""

    skill: str
    params: Mapping[str, Any]
    about: str
    before: Mapping[str, Any]


class Inverse(NamedTuple):
    """The call that leads back."""

    skill: str
    params: Mapping[str, Any]


class Inverses(Protocol):
    """What skills say about taking back. All may raise `Permanent` or `Temporary`; `inverse` does when it must not be undone."""

    def look(self, done: Done) -> Mapping[str, Any]:
        """How the thing stands now."""
        ...

    def inverse(self, done: Done, now: Mapping[str, Any]) -> Inverse | None:
        """None when nothing is left to undo."""
        ...

    def rerun(self, skill: str) -> RerunClass: ...

    def carry_out(self, inverse: Inverse, *, recheck: bool) -> SkillResult: ...


def record(files: Files, folder: str, done: Done) -> None:
    """How it stands, on disk, before the act. Raises OSError, and Permanent for more than could be read again."""
    data = encode_json(done._asdict())
    if len(data) > RECORD_MAX:
        raise Permanent(f"{done.skill} says more of how it stands ({len(data)} bytes) than can be kept ({RECORD_MAX})")
    write_small(files, f"{folder}/{BEFORE}", data)


def read_done(files: Files, folder: str) -> Done | None:
    """None where the act has no inverse, or was never begun. Raises OSError, ValueError when it cannot be read."""
    raw = _read(files, f"{folder}/{BEFORE}")
    if raw is None:
        return None
    try:
        return Done(str(raw["skill"]), dict(raw["params"]), str(raw["about"]), dict(raw["before"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}/{BEFORE} is damaged: {error}") from error


def _read(files: Files, path: str) -> dict[str, Any] | None:
    try:
        raw = decode_json(read_all(files, path, RECORD_MAX))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is damaged")
    return raw


@dataclass(slots=True)
class Undoing:
    """One rollback's work on all that is no file. `undo` is called for each attempt, the last first; then `proof` once."""

    files: Files
    inverses: Inverses
    problems: list[str] = field(default_factory=list)
    _folders: dict[str, list[str]] = field(default_factory=dict)
    """Thing -> the attempts that changed it, in the order in which they are taken back."""
    _first: dict[str, Done] = field(default_factory=dict)
    """Thing -> the earliest act upon it: how it stood before that is how it has to stand again."""
    _found: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _calls: dict[str, list[str]] = field(default_factory=dict)

    @property
    def folders(self) -> list[str]:
        """The attempts that had something of this kind."""
        return [folder for folders in self._folders.values() for folder in folders]

    def undo(self, folder: str) -> None:
        """Take back what this attempt did; what cannot be is told in `problems`."""
        try:
            done = read_done(self.files, folder)
            if done is None:
                return
            self._folders.setdefault(done.about, []).append(folder)
            self._first[done.about] = done
            self._undo(folder, done)
        except _TROUBLE as error:
            self.problems.append(f"{folder.rpartition('/')[2]}: {error}")

    def _undo(self, folder: str, done: Done) -> None:
        intended = _read(self.files, f"{folder}/{UNDO}")
        now = self.inverses.look(done)
        self._found.setdefault(done.about, intended["found"] if intended else now)
        called = self._calls.setdefault(done.about, [])
        if intended and intended["skill"]:
            called.append(intended["skill"])
        if intended and intended["state"] == "done":
            return
        inverse = self.inverses.inverse(done, now)
        if inverse is None:
            self._write(folder, "done", intended or {"found": now, "skill": "", "params": {}})
            return
        rerun = self.inverses.rerun(inverse.skill)
        if intended and rerun == "never_retry":
            return  # it was in the middle of it: whether it had its effect, the proof says
        intent = {"found": intended["found"] if intended else now, "skill": inverse.skill, "params": dict(inverse.params)}
        self._write(folder, "begun", intent)
        if not intended:
            called.append(inverse.skill)
        result = self.inverses.carry_out(inverse, recheck=bool(intended) and rerun == "check_before_retry")
        if result.ok:
            self._write(folder, "done", intent)
        else:
            self.problems.append(f"{inverse.skill} did not take {done.skill} back: {result.error or 'no reason given'}")

    def _write(self, folder: str, state: str, intent: Mapping[str, Any]) -> None:
        write_small(self.files, f"{folder}/{UNDO}", encode_json({**intent, "state": state}))

    # --- the proof ---

    def proof(self) -> list[dict[str, Any]]:
        """Each thing before the first act, after the last, and now. It is as before when nothing is left to undo."""
        return [self._line(about, done) for about, done in self._first.items()]

    def _line(self, about: str, done: Done) -> dict[str, Any]:
        now: Mapping[str, Any] = {}
        try:
            now = self.inverses.look(done)
            as_before, why = self.inverses.inverse(done, now) is None, ""
        except _TROUBLE as error:
            as_before, why = False, str(error)
        if not as_before:
            self._not_done(about)
        line = {
            "path": about,
            "before": label(done.before),
            "after_act": label(self._found.get(about, {})),
            "restored": label(now) or why,
            "ok": as_before,
            "undone_by": self._calls.get(about, []),
        }
        return {**line, "error": why} if why else line

    def _not_done(self, about: str) -> None:
        """It was done and has not held: another rollback tries again, as far as the inverse's re-run class allows."""
        for folder in self._folders[about]:
            try:
                intended = _read(self.files, f"{folder}/{UNDO}")
                if intended and intended["state"] == "done":
                    self._write(folder, "begun", {name: intended[name] for name in ("found", "skill", "params")})
            except _TROUBLE as error:
                self.problems.append(f"{folder.rpartition('/')[2]}: {error}")


def label(state: Mapping[str, Any]) -> str:
    """`nice=10`, for the proof."""
    return " ".join(f"{name}={value}" for name, value in state.items())[:LABEL_MAX]
