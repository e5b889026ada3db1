"""Carries out the act itself: a body in a process and a session of its own, bounded in time and in what it prints.

Called by the launcher's driver (`server.py`) at the step `ACT`. The body is a function in a fork of the launcher. It cannot
outlive its time: TERM to everything in its session, a second later KILL, and then the proof that nothing of it is left. What a
body starts in another session (a managed service) lives on, and nothing else.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from aios.clock import Clock
from aios.errors import Permanent, Temporary
from aios.events.calls import SkillResult, failed
from aios.events.codec import decode_json, encode_json
from aios.hands import proc
from aios.ports import Blobs, ProcessId

GRACE_S = 1.0
LOOKS = 3
KILL_WAIT_S = 5.0
"""After KILL a process is gone at once, or it hangs in the kernel and nobody can end it."""
OUTPUT_MAX = 256 * 1024
RESULT_MAX = 32 * 1024
PIPE_MAX = 60 * 1024
OPEN_FILES_MAX = 4096
_CHUNK = 65536

Body = Callable[[], SkillResult]


class NotBegun(Exception):
    """The body has not run, and will not: no process, no room for its record, or its process was killed before the first word."""


@dataclass(slots=True)
class Cancel:
    """Whether somebody asked for an end: TERM to the launcher sets it and wakes the wait."""

    asked: bool = False
    wake_fd: int = -1


@dataclass(slots=True)
class _Act:
    """What the launcher holds of the running child."""

    who: ProcessId
    pidfd: int
    output_fd: int
    result_fd: int
    kept: int = 0
    printed: int = 0
    raw: bytearray = field(default_factory=bytearray)
    status: int | None = None


def carry_out(
    body: Body, blobs: Blobs, timeout_s: float, clock: Clock, cancel: Cancel, output: str, record: Callable[[ProcessId], None]
) -> SkillResult:
    """Run it to its end. `record(leader)` is called before the body begins: its session can be found again from then on.

    Raises NotBegun.
    """
    if cancel.asked:
        return failed("cancelled before it began", cancelled=True)
    act, output_fd = _begin(body, blobs, output, record)
    try:
        ended = _wait(act, clock.monotonic() + timeout_s, clock, cancel, output_fd)
        left = end_session(act.who, clock, act=act, output_fd=output_fd)
        _drain(act, output_fd)
    finally:
        for fd in (output_fd, act.pidfd, act.output_fd, act.result_fd):
            os.close(fd)
    return _judged(act, ended, left, timeout_s)


def _begin(body: Body, blobs: Blobs, output: str, record: Callable[[ProcessId], None]) -> tuple[_Act, int]:
    """All that can go wrong before the body runs. Raises NotBegun."""
    try:
        output_fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        act, go = _fork(body, blobs)
        try:
            record(act.who)
            os.write(go, b"!")  # without this word the child ends: a launcher killed until here has begun nothing
        finally:
            os.close(go)
    except OSError as error:
        raise NotBegun(str(error)) from error
    return act, output_fd


# --- the child ------------------------------------------------------------------------------------------------------


def _fork(body: Body, blobs: Blobs) -> tuple[_Act, int]:
    output_r, output_w = os.pipe2(os.O_CLOEXEC)
    result_r, result_w = os.pipe2(os.O_CLOEXEC)
    go_r, go_w = os.pipe2(os.O_CLOEXEC)
    launcher = os.getpid()
    # TERM waits until the child can die of it: else it would be heard by the launcher's own handler, and be nothing there.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        os.close(go_w)
        _child(body, blobs, launcher, go_r, output_w, result_w)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for fd in (output_w, result_w, go_r):
        os.close(fd)
    stat = proc.read_stat(pid)  # it is our child and not waited for, so it is there, if only as a zombie
    who = ProcessId(pid, stat.start if stat else 0, proc.boot_id())
    os.set_blocking(output_r, False)
    os.set_blocking(result_r, False)
    return _Act(who, os.pidfd_open(pid), output_r, result_r), go_w


def _child(body: Body, blobs: Blobs, launcher: int, go: int, output: int, result: int) -> None:
    """Never returns."""
    status = 1
    try:
        os.setsid()
        proc.die_with_parent(launcher)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        gc.enable()  # a body may run for long
        if os.read(go, 1) == b"!":
            _dress(output)
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


def _dress(output: int) -> None:
    """Streams, limits and the kernel's priorities of a process that is none of the daemon's own."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(OPEN_FILES_MAX, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    reset_oom_score()


def reset_oom_score() -> None:
    """The daemon is the last to be killed when memory runs out; what it starts is not."""
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
            if int(file.read()) < 0:
                file.seek(0)
                file.write("0")
    except OSError:  # a sandbox without it: then nobody has lowered it either
        return


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


def _wait(act: _Act, deadline: float, clock: Clock, cancel: Cancel, output_fd: int) -> str:
    """Until it `ended`, was `cancelled` or is `late`."""
    poll = select.poll()
    for fd in (act.pidfd, act.output_fd, act.result_fd):
        poll.register(fd, select.POLLIN)
    if cancel.wake_fd >= 0:
        poll.register(cancel.wake_fd, select.POLLIN)
    while True:
        if cancel.asked:
            return "cancelled"
        left_s = deadline - clock.monotonic()
        if left_s <= 0:
            return "late"
        for fd, _ in poll.poll(left_s * 1000):
            if fd == act.pidfd:
                return "ended"
            if fd == cancel.wake_fd:
                os.read(fd, 512)
            elif not _take(act, fd, output_fd):
                poll.unregister(fd)


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
        _keep(act, data[: OUTPUT_MAX - act.kept], output_fd)
    return bool(data)


def _keep(act: _Act, data: bytes, output_fd: int) -> None:
    try:
        while data:
            done = os.write(output_fd, data)
            act.kept += done
            data = data[done:]
    except OSError:  # a full disk: what it prints is the least important of what is written
        act.kept = OUTPUT_MAX


def _drain(act: _Act, output_fd: int) -> None:
    """What was said before the end and not read yet; at most one pipe full."""
    for fd in (act.result_fd, act.output_fd):
        for _ in range(2 * 1024 * 1024 // _CHUNK):
            before = act.printed + len(act.raw)
            if not _take(act, fd, output_fd) or act.printed + len(act.raw) == before:
                break


# --- the end --------------------------------------------------------------------------------------------------------


def end_session(leader: ProcessId, clock: Clock, *, act: _Act | None = None, output_fd: int = -1) -> list[int]:
    """TERM, grace, KILL to all that is in this session; returns who could not be ended (nobody, or what hangs in the kernel)."""
    for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, KILL_WAIT_S)):
        deadline = clock.monotonic() + wait_s
        told: set[int] = set()
        pause_ms = 1
        while members := _members(leader, act):
            proc.signal_all([pid for pid in members if pid not in told], number)  # each once; who is born meanwhile, too
            told.update(members)
            if clock.monotonic() >= deadline:
                break
            if act is not None:
                _drain(act, output_fd)
            select.select([], [], [], pause_ms / 1000)
            pause_ms = min(50, pause_ms * 2)
        else:
            return []
    return members


def _members(leader: ProcessId, act: _Act | None) -> list[int]:
    """The living members, and nobody is missed: one look at /proc may pass by who is just being forked by one that just ends.

    The launcher has adopted what the act left behind. No children, then nothing is left; else who was passed by is a child by
    now. A recovery has adopted nobody, and looks several times.
    """
    if act is not None and not _reap(act):
        return []
    if proc.alive(leader):  # it may not have begun its session yet
        return sorted({leader.pid, *proc.in_session(leader.pid)})
    for _ in range(1 if act is not None else LOOKS):
        if proc.session_is_over(leader):
            return []
        members = list(proc.in_session(leader.pid))
        if members:
            return members
    return proc.children_in_session(leader.pid) if act is not None else []


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


def _judged(act: _Act, ended: str, left: list[int], timeout_s: float) -> SkillResult:
    """`cut_off` says that the act did not end by itself, so that nobody knows how far it came."""
    if left:
        return failed(
            f"it cannot be ended: processes {left[:10]} hang in the kernel", left=left[:10], printed=act.printed, cut_off=True
        )
    if ended == "late":
        return failed(f"it did not end within {timeout_s:g} s and was killed", timed_out=True, printed=act.printed, cut_off=True)
    if ended == "cancelled" and not act.raw:
        return failed("cancelled, and ended", cancelled=True, printed=act.printed, cut_off=True)
    try:
        return SkillResult.from_json(decode_json(bytes(act.raw)))
    except (ValueError, KeyError, TypeError):
        return failed(f"it ended without a result ({_how(act.status)})", printed=act.printed, cut_off=True)


def _how(status: int | None) -> str:
    if status is None:
        return "how is not known"
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"
