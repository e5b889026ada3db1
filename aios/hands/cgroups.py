"""Control groups: which part of the kernel's tree is ours, and a group in it for each act. cgroup v2, hybrid, and v1.

`find` looks and changes nothing (`aios doctor` calls it, too); hands calls `prepare` once at its start, the launcher makes a
`Group` for each act, and the keeper moves a managed service out of it. Nothing outside what was given to us is ever touched:

    OURS/acts/RUN.STEP.ATTEMPT.PID.START    one act; PID and START are its launcher's, so that a sweep knows whose it was
    OURS/services/NAME, OURS/keepers        managed services and their keepers, which outlive the act that started them
    OURS/daemon                             where systemd 254 and newer put the daemon itself (`DelegateSubgroup=daemon`)

Ours is what systemd marked as delegated (`Delegate=yes` sets the extended attribute `user.delegate`, before 251
`trusted.delegate`; systemd's CGROUP_DELEGATION), or what the setting `limits.cgroup` names. How v2 behaves: the kernel's
Documentation/admin-guide/cgroup-v2.rst, above all "No Internal Process Constraint"; v1: cgroup-v1/{memory,pids}.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from aios.events.limits import Limits
from aios.hands import proc
from aios.ports import ProcessId

Kind = Literal["v2", "hybrid", "v1", "none"]
CONTROLLERS = {"memory": "memory", "pids": "processes", "cpu": "cpu"}
"""Of the kernel's controllers those that we use, and the limit that each holds."""
DAEMON = "daemon"
PERIOD_US = 100_000
ACTS_WEIGHT = 10
"""Percent of an ordinary group's share where the processor is short: acts that rage leave the daemon its turn."""
NAME_PART_MAX = 60


class _Mount(NamedTuple):
    """One mounted hierarchy; `path` is where the process that was asked about stands in it. `names` is empty for v2."""

    point: str
    root: str
    names: frozenset[str]
    path: str

    @property
    def folder(self) -> str | None:
        """Where that process stands, as a folder; None when this mount does not show it."""
        inside = self.path == self.root or self.path.startswith(self.root.rstrip("/") + "/")
        if not inside or ".." in self.path.split("/"):
            return None
        return (self.point + self.path[len(self.root.rstrip("/")) :]).rstrip("/")


@dataclass(frozen=True, slots=True)
class Groups:
    """What of the tree is ours. `tree` is the folder by which members are found and ended.

    `bases` says, for each controller that can be used, its folder; `why` says why there is less than all.
    """

    kind: Kind = "none"
    tree: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """Each once, the tree first."""
        return tuple(dict.fromkeys((self.tree, *self.bases.values()))) if self.tree else ()

    # --- an act

    def act(self, name: str, limits: Limits) -> Group:
        """Make the group for an act, with its limits; where there is no tree, a group that holds nothing. Raises OSError."""
        spared = self._unweighed(limits)
        folders = {folder: f"{folder}/acts/{name}" for folder in self.folders if folder != spared}
        group = Group(name, self.kind, tuple(folders.values()), weighed=self.bases.get("cpu") in folders)
        try:
            for path in group.folders:
                os.mkdir(path)
            group.held = {
                CONTROLLERS[controller]: folders[base]
                for controller, base in self.bases.items()
                if base in folders and _limit(folders[base], controller, limits)
            }
        except OSError:
            group.remove()
            raise
        return group

    def _unweighed(self, limits: Limits) -> str:
        """v1's hierarchy of the processor, where it has nothing to hold: in it an act would weigh as much as all that was handed
        over to us, whatever its nice value; outside, that counts.
        """
        cpu = self.bases.get("cpu", "")
        alone = all(base != cpu for controller, base in self.bases.items() if controller != "cpu")
        return cpu if alone and cpu != self.tree and not limits.cpu else ""

    def named(self, name: str) -> Group:
        """A group that an earlier launcher made; perhaps it is gone."""
        plain = name and "/" not in name and name not in (".", "..")
        return Group(name, self.kind, tuple(f"{folder}/acts/{name}" for folder in self.folders) if plain else ())

    def sweep(self, alive: Callable[[ProcessId], bool]) -> None:
        """Take away the empty groups of launchers that are gone: a crash may have left them."""
        for folder in self.folders:
            for name in _names(f"{folder}/acts"):
                who = _launcher_of(name)
                if who is None or not alive(who):
                    _remove_tree(f"{folder}/acts/{name}")

    # --- a managed service

    def service(self, name: str, keeper: int, pid: int) -> None:
        """Take a keeper and its service out of the act's group. Raises OSError: then the service would end with the act."""
        for folder in self.folders:
            _make(f"{folder}/services/{name}")
            _write(f"{folder}/keepers/cgroup.procs", str(keeper))
            _write(f"{folder}/services/{name}/cgroup.procs", str(pid))

    def service_over(self, name: str) -> None:
        """Take its group away; what it left behind keeps it."""
        for folder in self.folders:
            _remove_tree(f"{folder}/services/{name}")


@dataclass(slots=True)
class Group:
    """One act's group: one folder on v2, several on v1. `held`: limit -> the folder that holds it."""

    name: str = ""
    kind: Kind = "none"
    folders: tuple[str, ...] = ()
    held: dict[str, str] = field(default_factory=dict)
    weighed: bool = False
    """Whether the kernel shares the processor out by it: then it has its part of what all acts have together."""

    def enter(self, pid: int) -> None:
        """Raises OSError."""
        for folder in self.folders:
            _write(f"{folder}/cgroup.procs", str(pid))

    def pids(self) -> set[int]:
        """Every living member, of groups below it, too."""
        return {pid for folder in self.folders for pid in _pids_below(folder)}

    def freeze(self, on: bool) -> bool:
        """Whether the kernel holds all of it, or lets it go on: v2 alone can."""
        return bool(self.folders) and self.kind in ("v2", "hybrid") and _try(f"{self.folders[0]}/cgroup.freeze", str(int(on)))

    def kill(self) -> None:
        """End all of it, so that nobody is born meanwhile: at once by the kernel, else by letting nobody in any more."""
        if self.folders and _try(f"{self.folders[0]}/cgroup.kill", "1"):
            return
        if self.folders:
            _try(f"{self.folders[0]}/cgroup.freeze", "1")  # v2 before 5.14: who is frozen still dies
        if "processes" in self.held:
            _try(f"{self.held['processes']}/pids.max", "0")
        proc.signal_all(sorted(self.pids()), 9)

    def reached(self) -> str:
        """The limit that was reached: `memory`, `processes`, or nothing. Not every kernel tells of refused forks: it is asked."""
        if "memory" in self.held:
            folder = self.held["memory"]
            text = proc.text_of(f"{folder}/memory.events") or proc.text_of(f"{folder}/memory.oom_control")
            if any(_count(text, word) for word in ("oom_kill", "oom_group_kill", "under_oom")):
                return "memory"
        if "processes" in self.held and _count(proc.text_of(f"{self.held['processes']}/pids.events"), "max"):
            return "processes"
        return ""

    def remove(self) -> bool:
        """Take it away; False when something keeps it."""
        kept = [folder for folder in self.folders if not _remove_tree(folder)]  # each is tried
        return not kept


def act_name(folder: str, launcher: ProcessId) -> str:
    """The group's name for the attempt in `runs/RUN/STEP.ATTEMPT`."""
    _, run, attempt = folder.split("/")
    return f"{run[:NAME_PART_MAX]}.{attempt[-NAME_PART_MAX:]}.{launcher.pid}.{launcher.start}"


def _launcher_of(name: str) -> ProcessId | None:
    parts = name.rsplit(".", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return ProcessId(int(parts[1]), int(parts[2]), proc.boot_id())


# --- finding --------------------------------------------------------------------------------------------------------


def find(told: str = "", pid: int | str = "self") -> Groups:
    """What is ours, seen from this process or from another one (the daemon's). `told` is the setting `limits.cgroup`."""
    if told == "none":
        return Groups(why="the setting limits.cgroup says none")
    mounts = list(_mounts(pid))
    if not mounts:
        return Groups(why="no cgroups are mounted here")
    if told:
        return _named_in_settings(mounts, told)
    unified = next((m for m in mounts if not m.names), None)
    for lead in (m for m in (unified, *(m for m in mounts if "name=systemd" in m.names)) if m is not None):
        base = _delegated(lead.folder)
        if base is not None:
            return _from(mounts, lead, base, lead.path if base == lead.folder else os.path.dirname(lead.path))
    return Groups(why="nobody delegated a cgroup to the daemon (systemd does so by Delegate=yes)")


def _named_in_settings(mounts: list[_Mount], told: str) -> Groups:
    here = [m for m in mounts if os.path.isdir(m.point + told)]
    if not here:
        return Groups(why=f"limits.cgroup names {told}, and no hierarchy has it")
    lead = next((m for m in here if not m.names), here[0])
    moved = [m._replace(path=m.root.rstrip("/") + told) for m in here]
    return _from(moved, lead, lead.point + told, lead.root.rstrip("/") + told)


def _from(mounts: list[_Mount], lead: _Mount, base: str, path: str) -> Groups:
    """`base` is ours in the leading hierarchy; in the others the folder of the same path is."""
    if not os.access(f"{base}/cgroup.procs", os.W_OK):
        return Groups(why=f"{base} may not be written to")
    bases = {}
    for mount in mounts:
        for controller in mount.names & CONTROLLERS.keys():
            folder = mount._replace(path=path).folder
            if folder and mount.path in (path, f"{path}/{DAEMON}") and os.access(f"{folder}/cgroup.procs", os.W_OK):
                bases[controller] = folder
    others = any(mount.names for mount in mounts)
    if lead.names:
        return Groups("v1", base, bases, _missing(bases))
    why = ""
    there = CONTROLLERS.keys() & set(proc.text_of(f"{base}/cgroup.controllers").split())
    if there and list(_pids_of(base)):
        why = f"processes stand in {base} itself, so v2 gives no limits below it (systemd 254 puts the daemon elsewhere)"
    else:
        bases |= dict.fromkeys(sorted(there), base)
    return Groups("hybrid" if others else "v2", base, bases, why or _missing(bases))


def _missing(bases: Mapping[str, str]) -> str:
    without = sorted(CONTROLLERS.keys() - bases.keys())
    return f"the controllers {', '.join(without)} are not delegated" if without else ""


def _delegated(folder: str | None) -> str | None:
    """The folder, or its parent when it is the daemon's own place below what was delegated."""
    if folder is None:
        return None
    candidates = [folder] + ([os.path.dirname(folder)] if os.path.basename(folder) == DAEMON else [])
    return next((one for one in candidates if _is_marked(one)), None)


def _is_marked(folder: str) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(folder, name) == b"1":
                return True
        except OSError:  # not set, or not for us to read
            continue
    return False


def _mounts(pid: int | str) -> Iterator[_Mount]:
    paths: dict[frozenset[str], str] = {}
    for line in proc.text_of(f"/proc/{pid}/cgroup").splitlines():
        _, written, path = line.split(":", 2)
        paths[frozenset(filter(None, written.split(",")))] = path
    for line in proc.text_of(f"/proc/{pid}/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        words, (kind, *rest) = before.split(" "), after.split(" ")
        options = set(rest[1].split(",")) if len(rest) > 1 else set()
        if kind not in ("cgroup", "cgroup2"):
            continue
        names = next((known for known in paths if known and known <= options), None) if kind == "cgroup" else frozenset[str]()
        if names is not None and names in paths:
            yield _Mount(_plain(words[4]), _plain(words[3]), names, paths[names])


def _plain(word: str) -> str:
    """As mountinfo writes a path: blanks as octal."""
    return word.replace("\\040", " ").replace("\\134", "\\")


# --- making ---------------------------------------------------------------------------------------------------------


def prepare(groups: Groups) -> Groups:
    """Make the folders that acts and services go into, and hand their controllers down. Returns what can be used in the end."""
    try:
        for folder in groups.folders:
            for name in ("acts", "services", "keepers"):
                _make(f"{folder}/{name}")
    except OSError as error:
        return Groups(why=f"{error.filename}: {error.strerror}")
    usable = {c: base for c, base in groups.bases.items() if base != groups.tree or groups.kind == "v1" or _hand_down(base, c)}
    if "cpu" in usable and not _try(f"{usable['cpu']}/acts/cpu.weight", str(ACTS_WEIGHT)):
        _try(f"{usable['cpu']}/acts/cpu.shares", str(1024 * ACTS_WEIGHT // 100))
    lost = sorted(groups.bases.keys() - usable.keys())
    why = f"the controllers {', '.join(lost)} cannot be handed down in {groups.tree}" if lost else groups.why
    return Groups(groups.kind, groups.tree, usable, why)


def _hand_down(base: str, controller: str) -> bool:
    return all(_try(f"{folder}/cgroup.subtree_control", f"+{controller}") for folder in (base, f"{base}/acts"))


def _limit(folder: str, controller: str, limits: Limits) -> bool:
    """Whether this controller now holds its limit; without a limit there is nothing to hold. Raises OSError."""
    value = getattr(limits, CONTROLLERS[controller])
    if not value:
        return False
    if controller == "memory":
        _limit_memory(folder, value)
    elif controller == "pids":
        _write(f"{folder}/pids.max", str(value))
    elif os.path.exists(f"{folder}/cpu.max"):
        _write(f"{folder}/cpu.max", f"{value * PERIOD_US // 100} {PERIOD_US}")
    else:
        _write(f"{folder}/cpu.cfs_period_us", str(PERIOD_US))
        _write(f"{folder}/cpu.cfs_quota_us", str(value * PERIOD_US // 100))
    return True


def _limit_memory(folder: str, value: int) -> None:
    if os.path.exists(f"{folder}/memory.max"):
        _write(f"{folder}/memory.max", str(value))
        _try(f"{folder}/memory.swap.max", "0")  # where there is swap accounting: memory is memory
        _try(f"{folder}/memory.oom.group", "1")
        return
    _write(f"{folder}/memory.limit_in_bytes", str(value))
    _try(f"{folder}/memory.memsw.limit_in_bytes", str(value))


# --- files ----------------------------------------------------------------------------------------------------------


def _write(path: str, text: str) -> None:
    """Raises OSError."""
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


def _try(path: str, text: str) -> bool:
    """Whether it could be written: what a kernel does not have, it does not take."""
    try:
        _write(path, text)
    except OSError:
        return False
    return True


def _make(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        pass


def _names(path: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _count(text: str, word: str) -> int:
    """The number behind a word in a file of `word number` lines."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[:1] == [word]), 0)


def _pids_of(folder: str) -> Iterator[int]:
    return (int(word) for word in proc.text_of(f"{folder}/cgroup.procs").split())


def _pids_below(folder: str) -> Iterator[int]:
    for path, _, _ in os.walk(folder):
        yield from _pids_of(path)


def _remove_tree(folder: str) -> bool:
    """From the innermost outwards; the kernel refuses where anybody lives."""
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
