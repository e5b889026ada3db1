"""The keeper: a tiny process that is the parent of one managed service and records how it ended.

`start_kept(spec, folder, log_path)` is called from a service's start or restart (`ManagedActs` in `aios/services/managed.py`,
inside an act's process; it gets the function as an argument). It returns once the service runs (its exec worked), and raises
`Permanent` when it cannot. The keeper outlives the act, the launcher, hands and the daemon: it has a session of its own, and so
has the service.

Two files below `folder` (the state folder's `services/`) tell the daemon. NAME is `file_name(spec.name)`. Both are plain JSON,
one object, written as temporary and rename (`NAME.json` also with fsync of the file and of the folder):

`NAME.json`, written before the service's program begins:

    {"name": "web", "pid": 4242, "start": 1234567, "boot_id": "…", "keeper": 4241, "keeper_start": 1234566,
     "started_at": 1771920000.25, "log": "/var/lib/aios/services/web.log", "argv": ["/usr/bin/web"]}

`NAME.exit`, written when it ended; it belongs to the `NAME.json` that has the same pid and start:

    {"name": "web", "pid": 4242, "start": 1234567, "boot_id": "…", "status": 1, "signal": 0, "at": 1771920009.5}

`status` is the exit status (0 to 255; 0 when a signal ended it), `signal` the number of the signal (0 when none did), `at` and
`started_at` wall time in seconds. `start` is field 22 of /proc/PID/stat. `NAME.exit` of an earlier life is removed before a new
`NAME.json` is written. When the keeper is killed, its service lives on and `NAME.exit` stays away: then pid and start tell
whether it lives, and its status is unknown.

Where there are control groups, keeper and service leave the act's: the service gets one of its own, below `services/NAME`.

Names: `file_name` keeps letters, digits, `.`, `_`, `-`, `@` and writes every other byte as `%XX` (`agent:coder` is
`agent%3Acoder`).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import resource
import signal
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from aios.clock import Clock
from aios.disk import make_dirs, remove_if_there, temporary_beside, write_all, write_small
from aios.errors import Permanent
from aios.events.codec import decode_json, encode_json
from aios.hands import proc
from aios.hands.cgroups import Groups
from aios.hands.limits import reset_oom_score, undress
from aios.hands.turn import step_forth
from aios.ports import Files, ProcessId

PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_STARTED = 127
_WORD_FD, _LOCK_FD = 3, 4
_WORD_MAX = 4096
_LIFE_MAX = 1 << 20


class KeptSpec(Protocol):
    """What is started. `folder` is where it runs, `env` comes on top of PATH, LANG and HOME, `user` "" is our own."""

    @property
    def name(self) -> str: ...
    @property
    def argv(self) -> Sequence[str]: ...
    @property
    def folder(self) -> str: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def user(self) -> str: ...


def file_name(name: str) -> str:
    """A name as a file's name: one to one, and never `.`, `..` or with a slash in it."""
    plain = "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "._-@") else f"%{byte:02X}"
        for byte in os.fsencode(name)
    )
    return "%2E" + plain[1:] if plain.startswith(".") else plain


def plain_name(file: str) -> str:
    """The name that `file_name` made this of."""
    parts = file.split("%")
    rest = (bytes.fromhex(part[:2]) + os.fsencode(part[2:]) for part in parts[1:])
    return os.fsdecode(os.fsencode(parts[0]) + b"".join(rest))


def start_kept(
    spec: KeptSpec, folder: str, log_path: str, lock: int = -1, *, files: Files, clock: Clock, groups: Groups | None = None
) -> ProcessId:
    """Start it under a keeper of its own. Raises `Permanent` when it cannot be started; then nothing of it runs.

    `lock` is a locked descriptor (flock) of the caller's. The keeper holds it until the life is written down: when the caller is
    killed, whoever starts the service next waits for that, and finds it running.
    """
    make_dirs(files, folder)
    make_dirs(files, os.path.dirname(log_path))
    word_r, word_w = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _keeper(_Keeper(spec, folder, files, clock, groups or Groups()), log_path, word_w, lock)
    os.close(word_w)
    with open(word_r, "rb") as words:
        said = words.read(_WORD_MAX)
    if not said:
        raise Permanent(f"{spec.name} was not started: its keeper ended without a word")
    word = decode_json(said)
    if "error" in word:
        os.waitpid(pid, 0)
        raise Permanent(f"{spec.name} was not started: {word['error']}")
    return ProcessId(word["pid"], word["start"], proc.boot_id())


def kept_lives(folder: str) -> set[ProcessId]:
    """Keepers and services by what is written below `folder`; who has ended since is among them."""
    found = set()
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        if entry.name.endswith(".json") and not entry.name.startswith("."):
            try:
                with open(entry.path, "rb") as file:
                    life = decode_json(file.read(_LIFE_MAX))
                found.add(ProcessId(int(life["pid"]), int(life["start"]), str(life["boot_id"])))
                found.add(ProcessId(int(life["keeper"]), int(life["keeper_start"]), str(life["boot_id"])))
            except (OSError, ValueError, KeyError, TypeError):  # being replaced, or damaged: then it names nobody
                continue
    return found


# --- the keeper -----------------------------------------------------------------------------------------------------


def _keeper(keeper: _Keeper, log_path: str, word: int, lock: int) -> NoReturn:
    try:
        os.setsid()
        word = _alone(word, lock)
        proc.prctl(proc.PR_SET_NAME, b"aios-keeper")
        undress()
        keeper.keep(log_path, word)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - the last line of a process: it says why, and nothing of the act's code runs here
        try:
            os.write(word, encode_json({"error": f"{type(error).__name__}: {error}"[:2000]}))
        finally:
            os._exit(1)


def _alone(word: int, lock: int) -> int:
    """Let go of everything else of the act's: its streams, its pipes, its signals. Gives the word's descriptor."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOCK_FD + 1) for fd in (word, lock if lock >= 0 else null)]
    for fd, kept in zip(moved, (_WORD_FD, _LOCK_FD), strict=True):
        os.dup2(fd, kept, inheritable=False)
    os.closerange(_LOCK_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return _WORD_FD


class _Keeper:
    """Starts one service, writes down its life, waits, writes down its end."""

    def __init__(self, spec: KeptSpec, folder: str, files: Files, clock: Clock, groups: Groups) -> None:
        self._spec = spec
        self._files = files
        self._clock = clock
        self._groups = groups
        self._path = f"{folder}/{file_name(spec.name)}"

    def keep(self, log_path: str, word: int) -> None:
        log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        go_r, go_w = os.pipe2(os.O_CLOEXEC)
        exec_r, exec_w = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(go_w)
            _service(self._spec, log, go_r, exec_w)
        for fd in (log, go_r, exec_w):
            os.close(fd)
        who = ProcessId(pid, _start_of(pid), proc.boot_id())
        self._groups.service(file_name(self._spec.name), os.getpid(), pid)
        self._write_life(who, log_path)
        os.close(_LOCK_FD)
        os.write(go_w, b"!")
        os.close(go_w)
        with open(exec_r, "rb") as trouble:
            error = trouble.read(_WORD_MAX).decode(errors="replace")  # ends when its exec worked
        os.write(word, encode_json({"error": error} if error else {"pid": who.pid, "start": who.start}))
        os.close(word)
        status = os.waitpid(pid, 0)[1]
        self._write_end(who, status)
        self._groups.service_over(file_name(self._spec.name))

    def _write_life(self, who: ProcessId, log_path: str) -> None:
        remove_if_there(self._files, f"{self._path}.exit")
        keeper = proc.myself()
        life: dict[str, Any] = {"name": self._spec.name, **who._asdict(), "keeper": keeper.pid, "keeper_start": keeper.start}
        life |= {"started_at": self._clock.now(), "log": log_path, "argv": list(self._spec.argv)}
        write_small(self._files, f"{self._path}.json", encode_json(life))

    def _write_end(self, who: ProcessId, status: int) -> None:
        signalled = os.WIFSIGNALED(status)
        end: dict[str, Any] = {"name": self._spec.name, **who._asdict()}
        end |= {"status": 0 if signalled else os.WEXITSTATUS(status), "signal": os.WTERMSIG(status) if signalled else 0}
        end["at"] = self._clock.now()
        self._show(f"{self._path}.exit", encode_json(end))

    def _show(self, path: str, data: bytes) -> None:
        """Whole, and at once: the daemon waits for it. Not synced: after a power cut its boot id says that it is over."""
        temporary = temporary_beside(path)
        fd = self._files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        try:
            write_all(self._files, fd, data)
        finally:
            self._files.close(fd)
        self._files.rename(temporary, path)


def _start_of(pid: int) -> int:
    stat = proc.read_stat(pid)  # our own child, not waited for: it is there, if only as a zombie
    return stat.start if stat else 0


# --- the service, until its exec ------------------------------------------------------------------------------------


def _service(spec: KeptSpec, log: int, go: int, trouble: int) -> NoReturn:
    try:
        os.setsid()
        if os.read(go, 1) != b"!":  # the keeper died first: a life that is not written down must not begin
            os._exit(NOT_STARTED)
        os.dup2(log, 1)
        os.dup2(log, 2)
        reset_oom_score()
        step_forth()  # again: it has a session of its own
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        environment = _environment(spec)
        _become(spec.user)
        os.chdir(spec.folder or "/")
        os.execvpe(spec.argv[0], list(spec.argv), environment)
    except BaseException as error:  # noqa: BLE001 - the last line before exec: the keeper passes it on
        os.write(trouble, f"{spec.argv[0]}: {_why(error)}".encode(errors="replace")[:_WORD_MAX])
    os._exit(NOT_STARTED)


def _why(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _environment(spec: KeptSpec) -> dict[str, str]:
    home = _account(spec.user).pw_dir if spec.user else os.environ.get("HOME", "/")
    base = {"PATH": os.environ.get("PATH") or PATH_DEFAULT, "LANG": os.environ.get("LANG", "C.UTF-8"), "HOME": home}
    return {**base, **({"USER": spec.user, "LOGNAME": spec.user} if spec.user else {}), **spec.env}


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise Permanent(f"there is no user {user!r} on this machine") from None


def _become(user: str) -> None:
    """Groups first: without root they can no longer be changed."""
    if not user:
        return
    account = _account(user)
    if os.geteuid() == account.pw_uid:
        return
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
