"""A managed service or agent as a value: what the settings say about one that AIOS itself starts and watches.

The daemon's wiring makes it from the settings; as JSON it crosses to hands inside a call's `env`. Reading is strict, because it
decides what is executed. How one is started is the keeper's business, how it stands is `managed`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ServiceKind = Literal["service", "agent"]

STOP_TIMEOUT_S = 2.0
"""From SIGTERM to SIGKILL where nobody says otherwise: what hangs must be back soon."""

_SUFFIX = ".service"
_AGENT = "agent:"


@dataclass(frozen=True, slots=True)
class ManagedService:
    """`log` is where its output goes (empty: the wiring chooses). `needs` are subjects that must run for it to run."""

    name: str
    kind: ServiceKind
    argv: tuple[str, ...]
    folder: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    needs: tuple[str, ...] = ()
    autostart: bool = True
    log: str = ""
    stop_timeout_s: float = STOP_TIMEOUT_S

    def __post_init__(self) -> None:
        _refuse_bad_name(self.name)
        if self.kind not in ("service", "agent"):
            raise ValueError(f"service {self.name}: kind must be 'service' or 'agent', not {self.kind!r}")
        if not self.argv or not self.argv[0] or any("\0" in word for word in self.argv):
            raise ValueError(f"service {self.name}: argv needs a command, and no argument may hold a NUL")

    @property
    def subject(self) -> str:
        return _AGENT + self.name if self.kind == "agent" else self.name.removesuffix(_SUFFIX) + _SUFFIX

    @property
    def key(self) -> str:
        """Names it among both kinds, and to the keeper: `web`, or `agent:coder`."""
        return self.subject.removesuffix(_SUFFIX) if self.kind == "service" else self.subject

    @property
    def stem(self) -> str:
        """Names its files below `services/`, as the keeper spells them: `web`, or `agent%3Acoder`."""
        return self.key.replace(":", "%3A")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "argv": list(self.argv),
            "folder": self.folder,
            "env": dict(self.env),
            "user": self.user,
            "needs": list(self.needs),
            "autostart": self.autostart,
            "log": self.log,
            "stop_timeout_s": self.stop_timeout_s,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ManagedService:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            name=_text(raw["name"]),
            kind=raw["kind"],
            argv=tuple(_text(word) for word in raw["argv"]),
            folder=_text(raw["folder"]),
            env={_text(key): _text(value) for key, value in raw["env"].items()},
            user=_text(raw["user"]),
            needs=tuple(_text(subject) for subject in raw["needs"]),
            autostart=bool(raw["autostart"]),
            log=_text(raw["log"]),
            stop_timeout_s=float(raw["stop_timeout_s"]),
        )


def _refuse_bad_name(name: str) -> None:
    plain = name.isascii() and all(sign.isalnum() or sign in "_.@-" for sign in name)
    if not plain or not 1 <= len(name) <= 64 or not name[0].isalnum():
        raise ValueError(
            f"{name[:80]!r} is no name of a service; use up to 64 letters, digits and _ . @ -, and begin with a letter or digit"
        )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} must be text")
    return value
