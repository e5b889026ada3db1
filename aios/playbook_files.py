"""Playbooks as files: read as the daemon would read them, and mended in place.

For the command line's `playbook list`, `lint`, `test` and `backtest`, and for anyone's Python (`docs/python.md`). Only errors
whose cure can be meant in one way have a fix: what loads is as its author wrote it, whatever lint remarks. A file is replaced
as a whole or stays as it is, with its owner and mode.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aios.errors import ConfigError, Fix
from aios.events.calls import SkillCatalogue
from aios.playbooks.lint import Finding
from aios.playbooks.load import Loaded, load_many
from aios.playbooks.yaml_strict import BYTES_MAX
from aios.skills.catalogue import load_catalogue

__all__ = ["SUFFIXES", "Fixed", "files_of", "fix_files", "read_folders", "read_texts"]

SUFFIXES = (".yaml", ".yml")


def read_folders(paths: Iterable[str], skills: SkillCatalogue | None = None) -> Loaded:
    """All playbooks of these files and folders, as the daemon would load them; without `skills` those that are installed.

    What cannot be read or used is in `errors`, each a ConfigError with its place and cure. Raises OSError for a folder that
    cannot be listed.
    """
    texts, unreadable = read_texts(paths)
    loaded = load_many(texts, load_catalogue() if skills is None else skills)
    return loaded._replace(errors=(*unreadable, *loaded.errors))


def read_texts(paths: Iterable[str]) -> tuple[dict[str, str], list[ConfigError]]:
    """The texts of these files and folders by their paths, and what cannot be read."""
    texts: dict[str, str] = {}
    unreadable: list[ConfigError] = []
    for path in paths:
        for file in files_of(path):
            try:
                texts[file] = _read(file, named=file == path)
            except OSError as error:
                unreadable.append(
                    ConfigError(file, f"cannot be read: {error.strerror}", hint="make it readable, or name another")
                )
            except UnicodeDecodeError:
                unreadable.append(ConfigError(file, "is not UTF-8", hint="save the file as UTF-8"))
    return texts, unreadable


def _read(file: str, named: bool) -> str:
    """Who names a pipe wants it read; one that merely lies in a folder is not waited for."""
    with open(file, "rb", opener=lambda name, flags: os.open(name, flags | (0 if named else os.O_NONBLOCK))) as opened:
        if not named and not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        raw = opened.read(BYTES_MAX + 1)
    return raw.decode("utf-8", "ignore" if len(raw) > BYTES_MAX else "strict")  # the cut may split a character


def files_of(path: str) -> list[str]:
    """A file is itself; a folder is the playbooks right in it; what is not there is told by who opens it."""
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))


# --- mending ---------------------------------------------------------------------------------------------------------

BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Fixed:
    """One edit that was made: the line before and after."""

    path: str
    line: int
    code: str
    message: str
    before: str
    after: str


def fix_files(findings: Iterable[Finding]) -> list[Fixed]:
    """Make, in the files, all edits that do not touch one another; empty when there is nothing to mend. Raises OSError.

    What was wrong may have hidden more: read, lint and fix again until it is empty.
    """
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.fix is not None:
            by_path.setdefault(finding.path, []).append(finding)
    return [fixed for path, found in by_path.items() for fixed in _fix_file(path, found)]


def _fix_file(path: str, findings: Sequence[Finding]) -> list[Fixed]:
    with open(path, encoding="utf-8", newline="") as file:
        whole = file.read()
    bare = whole.removeprefix(BOM)
    made, text, untouched = [], bare, len(bare)
    for finding in sorted(findings, key=lambda f: f.fix or Fix(0, 0, ""), reverse=True):
        fix = finding.fix
        assert fix is not None
        if fix.end > untouched:
            continue  # the next round sees it again
        text = text[: fix.start] + fix.text + text[fix.end :]  # from the end backwards: what is before stands still
        untouched = fix.start
        made.append(Fixed(path, finding.line, finding.code, finding.message, _line(bare, fix.start), ""))
    _replace(path, BOM * (whole != bare) + text)
    after = text.splitlines()
    return [Fixed(f.path, f.line, f.code, f.message, f.before, after[f.line - 1].strip()) for f in reversed(made)]


def _line(text: str, index: int) -> str:
    begin = text.rfind("\n", 0, index) + 1
    end = text.find("\n", index)
    return text[begin : end if end >= 0 else len(text)].strip()


def _replace(path: str, text: str) -> None:
    real = os.path.realpath(path)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=os.path.dirname(real), delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            shutil.copystat(real, file.name)
            os.chown(file.name, os.stat(real).st_uid, os.stat(real).st_gid)
            os.replace(file.name, real)
        except BaseException:  # whatever it was: no half-written file stays, and the old one stands
            os.unlink(file.name)
            raise
