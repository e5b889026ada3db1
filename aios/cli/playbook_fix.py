"""`aios playbook lint --fix`: makes the edits that findings propose, in the files themselves.

Only errors whose cure can be meant in one way have a fix: what loads is as its author wrote it, whatever lint remarks. A file is
replaced as a whole or stays as it is, with its owner and mode.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aios.errors import Fix
from aios.playbooks.lint import Finding

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
    """Make all edits that do not touch one another; empty when there is nothing to mend. Raises OSError."""
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
