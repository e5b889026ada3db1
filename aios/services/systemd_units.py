"""What systemd's words about a unit mean for us: up, down, or stopped by a person. Pure.

`systemd` feeds it what the bus tells and asks how the unit stands. The whole judgement is here, as a value that changes with
each signal, so that every order of signals can be a test.

Rules. `failed` is down. A stop job that ended well is a person's (or a run's) wish: stopped. A unit that ended by itself without
a job is down if it ended badly, or if it is enabled and nothing else (timer, socket, path) starts it when it is needed; a unit
that did its work and ended (oneshot, or started by a timer) is stopped. While systemd itself starts a unit again, it is starting,
and each such restart counts as a fall. What was inactive when we came, and had not failed, is taken for stopped: nobody can say
any more whether a person did that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aios.ports import UnitState, UnitWord
from aios.services.systemd_bus import exit_words

FINISHED = "finished"
"""How `detail` begins when a unit did its work and ended by itself."""

_REST = ("inactive", "failed")
_RUNS: Mapping[str, UnitWord] = {
    "active": "up",
    "reloading": "up",
    "refreshing": "up",
    "activating": "starting",
    "maintenance": "starting",
    "deactivating": "stopping",
}
_BAD_JOBS = ("failed", "timeout", "dependency", "assert", "unsupported")

End = Literal["", "pending", "job", "self", "failed", "removed"]
"""How it came to rest: not at all since we came; its job will say; a stop job; by itself; it failed; its unit file is gone."""


@dataclass(slots=True)
class WatchedUnit:
    """One unit: its properties as systemd told them last, and what we remember of how it came to rest."""

    name: str
    properties: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    end: End = ""
    stop_job_done: bool = False
    job_result: str = ""
    falls: int = 0
    restarts: int | None = None
    uncounted: bool = False

    # --- what happens

    def learn(self, properties: Mapping[str, Any]) -> None:
        """The unit's properties, whole, as asked for."""
        self.complete = True
        before = self.active_state
        self.properties.update(properties)
        if self.restarts is None:
            self.restarts = properties.get("NRestarts", 0)
        self._count_restarts(properties)
        if before in _REST and self.active_state not in _REST:
            self._runs(self.active_state)

    def change(self, changed: Mapping[str, Any]) -> None:
        """One PropertiesChanged. systemd sends the service's part first and the unit's (with ActiveState) after it."""
        before = self.active_state
        self.properties.update(changed)
        self._count_restarts(changed)
        now = self.active_state
        if now not in _REST:
            self._runs(now)
        elif before not in _REST:
            self._rests(now)

    def job_removed(self, result: str) -> None:
        """A job of this unit ended; `result` is systemd's word for how."""
        if self.active_state == "deactivating" and result == "done":
            self.stop_job_done = True
        if self.active_state not in _REST:
            return
        if result == "done" and not self._finished_work():
            self.end = "job"
        elif result in _BAD_JOBS:
            self._fell("failed")
            self.job_result = result
        elif self.end == "pending":
            self._rests_by_itself(self.active_state)

    def removed(self) -> None:
        """systemd unloaded it. That alone means nothing (it forgets what rests), unless it was meant to run."""
        if self.active_state not in _REST:
            self.end = "removed"
            self.properties["ActiveState"] = "inactive"

    def _runs(self, now: str) -> None:
        if now != "deactivating":
            self.end, self.job_result, self.stop_job_done, self.uncounted = "", "", False, False

    def _rests(self, now: str) -> None:
        if self.stop_job_done:
            self.end, self.stop_job_done = "job", False
        elif self._has_job():
            self.end = "pending"
        else:
            self._rests_by_itself(now)

    def _rests_by_itself(self, now: str) -> None:
        if now == "failed":
            self._fell("failed")
        else:
            self._fell("self")

    def _fell(self, end: End) -> None:
        """It came to rest. Whether that is a fall is counted in `confirm`, or by systemd, if it starts the unit again."""
        self.uncounted = self.uncounted or self.end not in ("self", "failed")
        self.end = end

    def confirm(self) -> UnitState:
        """How it stands, told from here: a fall that systemd does not mend by itself is counted now."""
        state = self.state()
        if self.uncounted and state.state == "down":
            self.uncounted = False
            self.falls += 1
            return replace(state, falls=self.falls)
        return state

    def may_start_again(self) -> bool:
        """Whether systemd itself may be about to start it: it shows `failed` for an instant before it does."""
        return not self.complete or self.properties.get("Restart", "no") != "no"

    def _count_restarts(self, changed: Mapping[str, Any]) -> None:
        told = changed.get("NRestarts")
        if told is None:
            return
        known = self.restarts if self.restarts is not None else max(0, told - 1)
        self.falls += max(0, told - known)
        self.restarts = told

    # --- how it stands

    @property
    def active_state(self) -> str:
        return str(self.properties.get("ActiveState", "inactive"))

    def state(self) -> UnitState:
        word, detail = self._word()
        known = self.properties
        runs = word in ("up", "starting", "stopping")
        return UnitState(
            self.name,
            word,
            "systemd",
            pid=known.get("MainPID", 0) if runs else 0,
            since=known.get("StateChangeTimestamp", 0) / 1e6,
            enabled=self._enabled(),
            masked=self._masked(),
            detail=detail,
            exit_status="" if word == "up" else exit_words(known),
            falls=self.falls,
        )

    def _word(self) -> tuple[UnitWord, str]:
        active, sub = self.active_state, self.properties.get("SubState", "")
        if active in _RUNS:
            again = str(sub).startswith("auto-restart")
            return _RUNS[active], "systemd itself starts it again" if again else ""
        if self.properties.get("LoadState") == "not-found" and self.end in ("", "removed"):
            return ("down", "missing: its unit file is gone") if self.end else ("missing", "systemd knows no such unit")
        if self._masked():
            return "stopped", "masked"
        return self._resting_word()

    def _resting_word(self) -> tuple[UnitWord, str]:
        if self.end == "job":
            return "stopped", "stopped by a job"
        if self.end == "pending" or (self._has_job() and self.end == ""):
            return ("stopping" if self.end == "pending" else "starting"), "a job goes on"
        if self.end == "removed":
            return "down", "missing: systemd unloaded it"
        if self.active_state == "failed" or self.end == "failed":
            return "down", f"failed: {self.job_result or self.properties.get('Result', 'unknown')}"
        if self.end == "self" and self._was_meant_to_go_on():
            return "down", "exit: it ended by itself"
        return "stopped", FINISHED if self.end == "self" or self._finished_work() else "not running"

    def _finished_work(self) -> bool:
        return self.properties.get("Type") == "oneshot" and self.properties.get("Result", "success") == "success"

    def _was_meant_to_go_on(self) -> bool:
        known = self.properties
        return bool(self._enabled()) and not known.get("TriggeredBy") and known.get("Type") != "oneshot"

    def _has_job(self) -> bool:
        job = self.properties.get("Job")
        return bool(job and job[0])

    def _enabled(self) -> bool | None:
        word = self.properties.get("UnitFileState")
        return str(word).startswith("enabled") if word else None

    def _masked(self) -> bool:
        return self.properties.get("LoadState") == "masked" or str(self.properties.get("UnitFileState", "")).startswith("masked")
