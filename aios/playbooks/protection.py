"""What no run may touch, whatever its playbook says: the ways in, what a machine cannot be without, what the settings name.

The reactor asks before a run opens, a run before each act, hands once more when it has seen where a path truly leads. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

ALWAYS_PROTECTED = (
    "aios.service",
    "sshd.service",
    "ssh.service",
    "ssh.socket",
    "dbus.service",
    "dbus-broker.service",
    "init.scope",
    "systemd-journald.service",
    "systemd-journald-audit.socket",
    "systemd-journald-dev-log.socket",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "NetworkManager.service",
    "networking.service",
)
STARTERS = (".socket", ".timer", ".path")
"""What starts a service is as protected as the service itself."""
PROTECTED_SUFFIXES = (".mount", ".automount", ".swap", ".slice", ".scope", ".target")
PROTECTED_FILES = ("/proc", "/sys", "/dev", "/boot", "/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/fstab", "/etc/ssh")

MEMORY = ("events", "checkpoints", "digest", "quarantine", "blobs", "runs", "lock", "control.sock")
"""Names in the state folder that no playbook has any business in; a service's log, a report, a program's inbox may be tidied."""


def untouchable(named: Iterable[str], state_dir: str) -> frozenset[str]:
    """What the settings name, and AIOS's own memory."""
    return frozenset((*named, *(f"{state_dir}/{name}" for name in MEMORY if state_dir)))


def protected(resources: frozenset[str], more: frozenset[str]) -> str:
    """The first of these resources that no run may touch; empty when there is none. `more` are subjects and paths."""
    for resource in sorted(resources):
        path = resource.removeprefix("file:")
        if path != resource:
            mine = (one.removeprefix("file:") for one in more)
            if any(_above(path, p) or _above(p, path) for p in (*PROTECTED_FILES, *mine)):
                return resource
        elif resource in ALWAYS_PROTECTED or resource.endswith(PROTECTED_SUFFIXES):
            return resource
        started = resource.rpartition(".")[0] + ".service" if resource.endswith(STARTERS) else resource
        if resource in more or started in more or started in ALWAYS_PROTECTED:
            return resource
    return ""


def _above(folder: str, path: str) -> bool:
    """Whether the path is this one, or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
