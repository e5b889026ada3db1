"""act cleanup_files: delete old files. It cannot be taken back.

A copy of what is deleted would free nothing, so a manifest with hashes stays instead: `deleted.jsonl` in the attempt's folder,
each line written before its file goes. Without a person's yes it touches only what the settings call disposable.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from aios.disk import write_all
from aios.errors import Permanent
from aios.events.calls import SkillResult, Touches
from aios.events.codec import encode_json
from aios.ports import Files
from aios.skills.api import ActContext, Skill
from aios.skills.types import Duration, Paths, WholeNumber


class FileSeen(NamedTuple):
    """A regular file; `allocated` is what deleting it gives back, `modified` wall time."""

    path: str
    allocated: int
    modified: float


FILES_MAX = 10_000
MANIFEST = "deleted.jsonl"


@dataclass(frozen=True, slots=True)
class Params:
    """Regular files below `paths`, not changed for `older_than`; of each path the newest `keep` stay whatever their age."""

    paths: Annotated[
        Paths, "Folders (or files) whose regular files may be deleted; in auto only what the settings call disposable."
    ]
    older_than: Annotated[Duration, "Only what was not changed for so long."]
    keep: Annotated[WholeNumber, "Of each path the newest so many stay, whatever their age."] = 0


def act(params: Params, ctx: ActContext) -> SkillResult:
    _refuse_what_is_not_disposable(params.paths, ctx)
    before = ctx.clock.now() - params.older_than
    found = (map(FileSeen._make, ctx.safe.files_below(path)) for path in params.paths)
    chosen = [seen for files in found for seen in choose(files, before, params.keep)]
    deleted, freed, problems = 0, 0, []
    manifest = f"{ctx.folder}/{MANIFEST}"
    fd = ctx.files.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for seen in chosen[:FILES_MAX]:
            try:
                _delete(seen, fd, ctx)
            except OSError as error:
                problems.append(f"{seen.path}: {error.strerror}")
                continue
            deleted, freed = deleted + 1, freed + seen.allocated
    finally:
        ctx.files.fsync(fd)
        ctx.files.close(fd)
    result = {"deleted": deleted, "freed_mb": round(freed / 1048576, 2), "left": len(chosen) - deleted}
    evidence = ({"kind": "manifest", "path": manifest},)
    return SkillResult(not problems, result, evidence, error="; ".join(problems[:5])[:1000])


def _refuse_what_is_not_disposable(paths: Iterable[str], ctx: ActContext) -> None:
    if ctx.env.get("approved"):
        return
    allowed = [str(path) for path in ctx.env.get("disposable", ())]
    for path in paths:
        real = os.path.realpath(path)
        if not any(real == os.path.realpath(root) or real.startswith(os.path.realpath(root) + "/") for root in allowed):
            raise Permanent(
                f"{path} is not among the paths that the settings call disposable; list it there, or approve this run"
            )


def choose(files: Iterator[FileSeen], before: float, keep: int) -> list[FileSeen]:
    """Those older than `before`, oldest first, all but the newest `keep`. A path that is not there has none."""
    try:
        seen = sorted(files, key=lambda file: (file.modified, file.path))
    except FileNotFoundError:
        return []
    return [file for file in (seen[:-keep] if keep else seen) if file.modified < before]


def _delete(seen: FileSeen, manifest: int, ctx: ActContext) -> None:
    line = {"path": seen.path, "sha256": ctx.safe.digest(seen.path), "bytes": seen.allocated, "modified": seen.modified}
    _note(ctx.files, manifest, encode_json(line) + b"\n")
    ctx.safe.unlink(seen.path)


def _note(files: Files, fd: int, line: bytes) -> None:
    write_all(files, fd, line)
    files.fdatasync(fd)


SKILL = Skill(
    name="cleanup_files",
    kind="act",
    doc="Delete files that were not changed for a while; irreversible, a manifest with hashes stays.",
    params=Params,
    act=act,
    touches=lambda params: Touches(files=params.paths),
    touch_params=("paths",),
    rerun="idempotent",
    timeout_s=300.0,
    irreversible=True,
    dry=lambda params: f"would delete files older than {params.older_than:g} s below {', '.join(params.paths)[:500]}",
    result_fields={"deleted": "int", "freed_mb": "double", "left": "int"},
)
