"""Carries out the act itself: a body in a process, a session and (where one can be had) a control group of its own.

Called by the launcher's driver (`server.py`) at the step `ACT`. The body is a function in a fork of the launcher. It cannot
outlive its limits: TERM to all that is of it, after a grace KILL, and then the proof that nothing is left. Of it is who is in its
group; and who descends from it, whatever session it went to, for the launcher adopts whom the act leaves behind. Only what a
keeper keeps (a managed service) lives on.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from aios.clock import Clock
from aios.errors import Permanent, Temporary
from aios.events.calls import GRACE_S, SkillResult, failed
from aios.events.codec import decode_json, encode_json
from aios.events.limits import format_limit
from aios.hands import limits, proc, turn
from aios.hands.cgroups import Group
from aios.hands.limits import Hold
from aios.hands.pace import Pace
from aios.ports import Blobs, ProcessId

LOOKS = 3
KILL_WAIT_S = 5.0
"""After KILL a process is gone at once, or it hangs in the kernel and nobody can end it."""
RESULT_MAX = 32 * 1024
TOLD_MAX = 4000
"""Bytes of the end of what it printed, in the result of an act that was cut off."""
PIPE_MAX = 60 * 1024
HASTE = -15
DROP_PAUSE_S = 0.005
"""Between two reads of what is dropped: who prints for ever costs us no processor, and who prints much is held up little."""
_CHUNK = 65536

Body = Callable[[], SkillResult]


class NotBegun(Exception):
    """The body has not run, and will not: no process, no room for its record, or its process was killed before the first word."""


@dataclass(slots=True)
class Cancel:
    """Whether somebody asked for an end: TERM to the launcher sets it and wakes the wait, as does the end of a child."""

    asked: bool = False
    wake_fd: int = -1


@dataclass(slots=True)
class _Act:
    """What the launcher holds of the running child."""

    who: ProcessId
    pidfd: int
    output_fd: int
    result_fd: int
    hold: Hold
    kept_lives: Callable[[], set[ProcessId]]
    kept: int = 0
    printed: int = 0
    newest: bytes = b""
    """The end of what it has printed."""
    raw: bytearray = field(default_factory=bytearray)
    status: int | None = None


def carry_out(
    body: Body,
    blobs: Blobs,
    hold: Hold,
    clock: Clock,
    cancel: Cancel,
    output: str,
    record: Callable[[ProcessId], None],
    kept_lives: Callable[[], set[ProcessId]] = set,
) -> SkillResult:
    """Run it to its end. `record(leader)` is called before the body begins: it can be found again from then on.

    `kept_lives` are the keepers and services that live on. Raises NotBegun.
    """
    if cancel.asked:
        return failed("cancelled before it began", cancelled=True)
    act, output_fd = _begin(body, blobs, hold, output, record, kept_lives)
    looks = limits.Looks.of(hold, partial(_descendants, act), clock.monotonic())
    try:
        ended = _wait(act, clock.monotonic() + hold.timeout_s, clock, cancel, output_fd, looks)
        at = clock.monotonic()
        looks.pace.end(at)
        left = end_session(act.who, clock, hold.group, grace_s=_grace_s(ended, hold), act=act, output_fd=output_fd)
        took_s = clock.monotonic() - at
        _drain(act, output_fd)
        reached = hold.group.reached() if ended == "ended" else ended
    finally:
        for fd in (output_fd, act.pidfd, act.output_fd, act.result_fd):
            os.close(fd)
    return _slowed(_judged(act, reached, left, took_s), looks.pace)


def _grace_s(ended: str, hold: Hold) -> float:
    """None for what grows while it is asked to end, where no group holds it."""
    return 0.0 if ended in hold.looked_at else hold.grace_s


def _begin(
    body: Body,
    blobs: Blobs,
    hold: Hold,
    output: str,
    record: Callable[[ProcessId], None],
    kept_lives: Callable[[], set[ProcessId]],
) -> tuple[_Act, int]:
    """All that can go wrong before the body runs. Raises NotBegun."""
    try:
        output_fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        act, go = _fork(body, blobs, hold, kept_lives)
        try:
            hold.group.enter(act.who.pid)
            record(act.who)
            os.write(go, b"!")  # without this word the child ends: a launcher killed until here has begun nothing
        finally:
            os.close(go)
    except OSError as error:
        raise NotBegun(str(error)) from error
    return act, output_fd


# --- the child ------------------------------------------------------------------------------------------------------


def _fork(body: Body, blobs: Blobs, hold: Hold, kept_lives: Callable[[], set[ProcessId]]) -> tuple[_Act, int]:
    output_r, output_w = os.pipe2(os.O_CLOEXEC)
    result_r, result_w = os.pipe2(os.O_CLOEXEC)
    go_r, go_w = os.pipe2(os.O_CLOEXEC)
    launcher = os.getpid()
    # TERM waits until the child can die of it: else it would be heard by the launcher's own handler, and be nothing there.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        os.close(go_w)
        _child(body, blobs, hold, launcher, go_r, output_w, result_w)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for fd in (output_w, result_w, go_r):
        os.close(fd)
    stat = proc.read_stat(pid)  # it is our child and not waited for, so it is there, if only as a zombie
    who = ProcessId(pid, stat.start if stat else 0, proc.boot_id())
    os.set_blocking(output_r, False)
    os.set_blocking(result_r, False)
    return _Act(who, os.pidfd_open(pid), output_r, result_r, hold, kept_lives), go_w


def _child(body: Body, blobs: Blobs, hold: Hold, launcher: int, go: int, output: int, result: int) -> None:
    """Never returns."""
    status = 1
    try:
        os.setsid()
        proc.die_with_parent(launcher)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        gc.enable()  # a body may run for long
        if os.read(go, 1) == b"!":
            _dress(output, hold)
            _write_whole(result, _packed(_result_of(body), blobs))
            status = 0
    except BaseException:  # noqa: BLE001 - the last line of a process: whatever it was is shown, and nothing of the launcher's code runs here
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _dress(output: int, hold: Hold) -> None:
    """Streams, limits and the kernel's priorities of a process that is none of the daemon's own."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    limits.dress(hold)
    limits.reset_oom_score()


def _result_of(body: Body) -> SkillResult:
    try:
        return body()
    except Temporary as error:
        return SkillResult(ok=False, next=("retry",), error=str(error)[:2000])
    except Permanent as error:
        return failed(str(error)[:2000])
    except Exception as error:  # noqa: BLE001 - a body is anybody's code: its bug is a result, and its traceback stands in the output
        traceback.print_exc()
        return failed(f"{type(error).__name__}: {error}"[:2000])


def _packed(result: SkillResult, blobs: Blobs) -> bytes:
    data = encode_json(result.to_json())
    if len(data) <= RESULT_MAX:
        return data
    whole = {"kind": "result", "blob": blobs.put(data)}
    return encode_json(SkillResult(result.ok, {"truncated": True}, (whole,), result.next, result.error[:2000]).to_json())


def _write_whole(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# --- the wait -------------------------------------------------------------------------------------------------------


def _wait(act: _Act, deadline: float, clock: Clock, cancel: Cancel, output_fd: int, looks: limits.Looks) -> str:
    """Until it `ended`, was `cancelled`, is `late`, or reached the limit that is named."""
    poll = select.poll()
    for fd in (act.pidfd, act.output_fd, act.result_fd):
        poll.register(fd, select.POLLIN)
    if cancel.wake_fd >= 0:
        poll.register(cancel.wake_fd, select.POLLIN)
    while True:
        if cancel.asked:
            return "cancelled"
        now = clock.monotonic()
        if now >= deadline:
            return "late"
        if now >= looks.next_at and (reached := looks.look(clock)):
            return reached
        for fd, _ in poll.poll(max(0.0, min(deadline, looks.next_at) - clock.monotonic()) * 1000):
            if fd == act.pidfd:
                return "ended"
            if fd == cancel.wake_fd:
                os.read(fd, 512)
                _reap(act)  # whom the act left behind is ours to bury, at once: who is dead counts among its processes, too
            elif not _take(act, fd, output_fd):
                poll.unregister(fd)
            elif act.printed > act.hold.output_max:
                select.select([], [], [], DROP_PAUSE_S)


def _take(act: _Act, fd: int, output_fd: int) -> bool:
    """One read of what it says; False at its end. What is over the bounds is read and dropped, so that it is not held up."""
    try:
        data = os.read(fd, _CHUNK)
    except BlockingIOError:
        return True
    if fd == act.result_fd:
        act.raw += data[: PIPE_MAX - len(act.raw)]
    elif data:
        act.printed += len(data)
        act.newest = (act.newest + data)[-TOLD_MAX:]
        _keep(act, data[: act.hold.output_max - act.kept], output_fd)
    return bool(data)


def _keep(act: _Act, data: bytes, output_fd: int) -> None:
    try:
        while data:
            done = os.write(output_fd, data)
            act.kept += done
            data = data[done:]
    except OSError:  # a full disk: what it prints is the least important of what is written
        act.kept = act.hold.output_max


def _drain(act: _Act, output_fd: int) -> None:
    """What was said before the end and not read yet; at most one pipe full."""
    for fd in (act.result_fd, act.output_fd):
        for _ in range(2 * 1024 * 1024 // _CHUNK):
            before = act.printed + len(act.raw)
            if not _take(act, fd, output_fd) or act.printed + len(act.raw) == before:
                break


# --- the end --------------------------------------------------------------------------------------------------------


def end_session(
    leader: ProcessId,
    clock: Clock,
    group: Group,
    *,
    grace_s: float = GRACE_S,
    act: _Act | None = None,
    output_fd: int = -1,
) -> list[int]:
    """TERM, grace, KILL to all that is of this act; returns who could not be ended (nobody, or what hangs in the kernel).

    Without an `act` it is a recovery: the launcher is gone, and with it the list of whom it had adopted.
    """
    group.freeze(False)  # a launcher that was killed may have left it held
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_WAIT_S)):
        deadline = clock.monotonic() + wait_s
        if number == signal.SIGKILL and not group.folders:
            _stop_all(partial(_members, leader, act, group), clock, deadline)
        told: set[int] = set()
        pause_ms = 1
        while members := _members(leader, act, group):
            if number == signal.SIGKILL:
                group.kill()
            fresh = [pid for pid in members if pid not in told]
            turn.hurry(fresh)
            proc.signal_all(fresh, number)  # each once; who is born meanwhile, too
            if number == signal.SIGTERM:
                proc.signal_all(fresh, signal.SIGCONT)  # who is stopped hears no TERM
            told.update(fresh)
            if clock.monotonic() >= deadline:
                break
            if act is not None:
                _drain(act, output_fd)
            select.select([], [], [], 0 if fresh and number == signal.SIGKILL else pause_ms / 1000)
            pause_ms = min(50, pause_ms * 2)
        else:
            return []
    return members


def _stop_all(members: Callable[[], list[int]], clock: Clock, deadline: float) -> None:
    """Where no group ends all at once: who is stopped forks no more and keeps its place among its user's processes, so that a
    bomb that is bounded at all comes to rest; killed one by one, those that are left would fill each place at once.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, HASTE)  # else each of the bomb's processes has as much of the processor as we
    except PermissionError:  # not root: then it takes longer
        pass
    stopped: set[int] = set()
    while (fresh := [pid for pid in members() if pid not in stopped]) and clock.monotonic() < deadline:
        proc.signal_all(fresh, signal.SIGSTOP)
        stopped.update(fresh)


def _members(leader: ProcessId, act: _Act | None, group: Group) -> list[int]:
    """The living members, and nobody is missed: one look at /proc may pass by who is just being forked by one that just ends.

    The launcher has adopted what the act left behind, so who was passed by is its child by now: it is looked at again until it
    has no child. A recovery has adopted nobody, and looks at the session several times; a group misses nobody.
    """
    found = group.pids()
    if act is not None:
        return sorted(found | set(_descendants(act))) if _reap(act) else sorted(found)
    if proc.alive(leader):  # it may not have begun its session yet
        return sorted({leader.pid, *proc.in_session(leader.pid)} | found)
    for _ in range(LOOKS):
        if proc.session_is_over(leader):
            break
        if members := set(proc.in_session(leader.pid)):
            return sorted(members | found)
    return sorted(found)


def _descendants(act: _Act) -> dict[int, proc.Stat]:
    """Of the launcher: all of them are the act's, but for those that a keeper keeps."""
    kept = {who.pid: who for who in act.kept_lives()}
    return proc.descendants(os.getpid(), lambda pid: pid in kept and proc.alive(kept[pid]))


def _reap(act: _Act) -> bool:
    """Wait for every child that has ended; False when there is none left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == act.who.pid:
            act.status = status


def _judged(act: _Act, ended: str, left: list[int], took_s: float) -> SkillResult:
    """`cut_off` says that the act did not end by itself, so that nobody knows how far it came."""
    more: dict[str, Any] = {"printed": act.printed, "cut_off": True, "ended_in_s": round(took_s, 3)}
    if act.newest:
        more["output"] = act.newest.decode(errors="replace")
    if left:
        return failed(f"it cannot be ended: processes {left[:10]} hang in the kernel", left=left[:10], **more)
    if ended == "late":
        error = f"it did not end within {act.hold.timeout_s:g} s and was killed"
        return failed(error, timed_out=True, limit="time", **more)
    if ended == "cancelled" and not act.raw:
        return failed("cancelled, and ended", cancelled=True, **more)
    said = _said(act)
    if ended in ("memory", "processes") and (said is None or not said.ok):
        bound = format_limit(ended, getattr(act.hold.limits, ended) or 0)
        return failed(f"it reached its limit of {ended} ({bound}) and was ended", limit=ended, **more)
    return said or failed(f"it ended without a result ({_how(act.status)})", **more)


def _slowed(result: SkillResult, pace: Pace) -> SkillResult:
    """With what it lost by writing more than its share; where its time was the limit, that is a part of the error."""
    if not pace.slowed_s:
        return result
    error = result.error
    if result.result.get("limit") == "time":
        share = format_limit("write_bandwidth", pace.bandwidth)
        error += f"; it was held back for {pace.slowed_s:.1f} s of these, for it wrote more than its write_bandwidth of {share}"
    return replace(result, error=error, evidence=(*result.evidence, pace.told()))


def _said(act: _Act) -> SkillResult | None:
    try:
        return SkillResult.from_json(decode_json(bytes(act.raw)))
    except (ValueError, KeyError, TypeError):
        return None


def _how(status: int | None) -> str:
    if status is None:
        return "how is not known"
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"
