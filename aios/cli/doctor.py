"""`aios doctor`: looks at everything that AIOS stands on, and says of each ill thing what to do.

Each check is a function that gives `Finding`s and changes nothing that stays. They need no daemon; a living one is asked for
its own findings too.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import platform
import pwd
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from aios.cli import exits
from aios.cli.parser import finish
from aios.cli.reach import ask_daemon, folder, settings, wants_json
from aios.cli.terminal import Terminal
from aios.cli.waiting import waiting_words
from aios.control.client import DaemonSilent, NoDaemon, NotAllowed
from aios.errors import ConfigError, ConfigErrors, Refused
from aios.hands import cgroups
from aios.journal.lock import holder
from aios.places import SYSTEM_PLAYBOOKS

if TYPE_CHECKING:
    from aios.settings.sections import Service

Word = Literal["ok", "warning", "bad"]
ROOM_MIN_MB = 200
INODES_MIN = 1000
SYNC_SLOW_S = 0.5
INOTIFY_INSTANCES_MIN = 32
INOTIFY_WATCHES_MIN = 4096
PYTHON_MIN = (3, 11)
_SYS_OPENAT2 = 437
_STA_UNSYNC = 0x0040
SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a program without a folder is looked for, unless the service's own PATH says otherwise."""
DBUS_SOCKET = "/run/dbus/system_bus_socket"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do when it is not well. A warning costs a feature, not the service."""

    what: str
    word: Word
    said: str
    cure: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, doctor, examples="aios doctor\naios doctor --json | jq '.findings[] | select(.word != \"ok\")'")


def doctor(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when nothing is bad."""
    findings = list(examine(args, terminal))
    if wants_json(args):
        terminal.json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            terminal.say(
                f"{finding.word:8} {finding.what}: {finding.said}",
                {"ok": "", "warning": "yellow", "bad": "red"}[finding.word],
            )
            if finding.cure:
                terminal.say(f"         cure: {finding.cure}")
    return exits.NO if any(finding.word == "bad" for finding in findings) else exits.OK


def examine(args: argparse.Namespace, terminal: Terminal) -> Iterator[Finding]:
    state = folder(args, terminal)
    yield from check_python()
    yield from check_settings(args, terminal)
    yield from check_folder(state)
    if os.path.isdir(state):
        yield from check_room(state)
        yield from check_sync(state, terminal.clock.monotonic)
    yield from check_daemon(args, terminal, state)
    yield from check_limits(args, terminal, state)
    yield from check_kernel()
    yield from check_clock()
    yield from check_systemd()


# --- ours -------------------------------------------------------------------------------------------------------------


def check_python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        yield Finding("python", "bad", version, "AIOS needs Python 3.11 or newer")
    else:
        yield Finding("python", "ok", version)


def check_settings(args: argparse.Namespace, terminal: Terminal) -> Iterator[Finding]:
    """Settings, then the playbooks and skills that they name."""
    try:
        found = settings(args, terminal)
    except ConfigErrors as errors:
        for error in errors.errors:
            yield _of_config("settings", error)
        return
    yield Finding("settings", "ok", found.file or "none, so the defaults are in force")
    yield from check_playbooks(found.playbooks)
    for service in found.service:
        yield from check_service(service)


def check_service(service: Service) -> Iterator[Finding]:
    """What it needs to be started at all: its user, its folder, its program."""
    what = f"service {service.subject}"
    if service.user and not _is_user(service.user):
        yield Finding(what, "bad", f"there is no user {service.user}", f"useradd --system {service.user}, or name another")
        return
    if not os.path.isdir(service.folder):
        yield Finding(what, "bad", f"there is no folder {service.folder}", f"mkdir -p {service.folder}, or name another")
        return
    program, path = service.argv[0], service.env.get("PATH") or os.environ.get("PATH") or SERVICE_PATH
    beside = os.path.join(service.folder, program) if "/" in program else program
    if shutil.which(beside, path=path) is None:
        where = "is no program that can be run" if os.path.exists(beside) else "is not there"
        cure = "write its whole path" if "/" not in program else f"chmod +x {beside}" if os.path.exists(beside) else "install it"
        yield Finding(what, "bad", f"{program} {where}", f"{cure}, or name another in argv")
        return
    yield Finding(what, "ok", "its program, its folder and its user are there")


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def check_playbooks(folders: tuple[str, ...]) -> Iterator[Finding]:
    from aios.playbook_files import read_folders  # CEL and YAML: only who looks at playbooks pays for them

    loaded = read_folders(path for path in folders if os.path.isdir(path))
    for error in loaded.errors:
        yield _of_config("playbook", error)
    for path in (path for path in folders if not os.path.isdir(path) and path != SYSTEM_PLAYBOOKS):
        yield Finding("playbooks", "warning", f"there is no folder {path}", f"mkdir -p {path}, or name another in the settings")
    if not loaded.errors:
        yield Finding("playbooks", "ok", f"{len(loaded.playbooks)} can be used")


def _of_config(what: str, error: ConfigError) -> Finding:
    return Finding(
        what, "bad", f"{error.path}:{error.line}: {error.message}" if error.line else f"{error.path}: {error.message}", error.hint
    )


def check_folder(state: str) -> Iterator[Finding]:
    try:
        found = os.stat(state)
    except FileNotFoundError:
        yield Finding("state folder", "warning", f"{state} is not there yet", "`aios run` makes it, if it may")
        return
    except OSError as error:
        yield Finding("state folder", "bad", f"{state}: {error.strerror}", "ask as root, or as the user that the daemon runs as")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding("state folder", "bad", f"{state} is no folder", "move it away, or name another with --data")
    elif found.st_mode & stat.S_IWOTH:
        yield Finding("state folder", "bad", f"everybody may write in {state}", f"chmod o-w {state}")
    elif not os.access(state, os.W_OK | os.X_OK):
        yield Finding(
            "state folder", "warning", f"you may not write in {state}", "what needs the folder, ask as root or its owner"
        )
    else:
        yield Finding("state folder", "ok", state)


def check_room(state: str) -> Iterator[Finding]:
    room = os.statvfs(state)
    free_mb = room.f_bavail * room.f_frsize / 1e6
    if free_mb < ROOM_MIN_MB:
        yield Finding(
            "disk room",
            "bad",
            f"{free_mb:.0f} MB free",
            f"make room: below {ROOM_MIN_MB} MB the journal may stop, and with it all acts",
        )
    elif room.f_files and room.f_favail < INODES_MIN:
        yield Finding("disk room", "bad", f"{room.f_favail} inodes free", "delete many small files on that file system")
    else:
        yield Finding("disk room", "ok", f"{free_mb / 1000:.1f} GB free")


def check_sync(state: str, monotonic: Callable[[], float]) -> Iterator[Finding]:
    """A file of 4 KiB, written and synced, then removed: what each commit of the journal costs here."""
    path = os.path.join(state, f".doctor-{os.getpid()}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except PermissionError:
        yield Finding("sync", "warning", "cannot be tried: you may not write there", "ask as root or the folder's owner")
        return
    except OSError as error:
        yield Finding("sync", "bad", error.strerror or str(error), "see `dmesg` for the disk's own words")
        return
    try:
        begin = monotonic()
        os.write(fd, bytes(4096))
        os.fdatasync(fd)
        took = monotonic() - begin
    except OSError as error:
        yield Finding("sync", "bad", error.strerror or str(error), "the disk cannot keep what is written: see `dmesg`")
        return
    finally:
        os.close(fd)
        os.unlink(path)
    word: Word = "warning" if took > SYNC_SLOW_S else "ok"
    cure = "a slow disk makes each act wait: put the state folder on another, or see what else writes" if word != "ok" else ""
    yield Finding("sync", word, f"{took * 1000:.1f} ms", cure)


def check_daemon(args: argparse.Namespace, terminal: Terminal, state: str) -> Iterator[Finding]:
    try:
        who = holder(state)
    except OSError as error:
        yield Finding("lock", "warning", f"cannot be read: {error.strerror}", "ask as root or the folder's owner")
        who = None
    try:
        answer = ask_daemon(args, terminal, "doctor", timeout=15.0)
    except NoDaemon:
        if who:
            yield Finding(
                "daemon",
                "bad",
                f"process {who.pid} holds the lock and has no control socket",
                "restart it: systemctl restart aios",
            )
        else:
            yield Finding("daemon", "warning", "none runs", "aios run, or systemctl start aios")
    except (NotAllowed, DaemonSilent, Refused) as error:
        yield Finding("daemon", "bad", str(error).split("\n")[0], getattr(error, "hint", ""))
    else:
        yield Finding("daemon", "ok", f"answers, pid {who.pid}" if who else "answers")
        if answer.get("hands_answer"):
            yield Finding("hands", "ok", "answers")
        else:
            yield Finding("hands", "bad", "does not answer", "the daemon starts it again by itself; if this stays, see its log")
        for line in waiting_words(answer.get("waiting")):
            yield Finding("playbooks", "warning", line, "mend the file that cannot be used, or move it out of the folder")


def check_limits(args: argparse.Namespace, terminal: Terminal, state: str) -> Iterator[Finding]:
    """What holds acts to their limits: seen from the daemon's process, for it is the daemon's unit that systemd delegates to."""
    try:
        told, who = settings(args, terminal).limits.cgroup, holder(state)
    except (ConfigErrors, OSError):
        return  # told above
    groups = cgroups.find(told, who.pid if who else "self")
    held = sorted(cgroups.CONTROLLERS[name] for name in groups.bases)
    if not groups.tree:
        if who is None and not told:
            yield Finding("limits", "warning", "cannot be said while no daemon runs", "start it, and ask again")
            return
        said = f"rlimits hold acts; should a launcher be killed, what had left its act's session would not be found: {groups.why}"
        yield Finding("limits", "warning", said, "run it as the shipped unit, or name a control group in limits.cgroup")
    elif len(held) < len(cgroups.CONTROLLERS):
        said = f"acts are ended by cgroup {groups.kind}, which holds {', '.join(held) or 'no limit'}; rlimits hold the rest"
        yield Finding("limits", "warning", f"{said}: {groups.why}", "see docs/systemd.md, “Limits of acts”")
    else:
        yield Finding("limits", "ok", f"cgroup {groups.kind} holds {', '.join(held)}, and nothing gets away")


# --- the machine ------------------------------------------------------------------------------------------------------


def check_kernel() -> Iterator[Finding]:
    yield from _check_pidfd()
    yield from _check_openat2()
    yield from check_inotify()
    if os.path.exists("/proc/pressure/cpu"):
        yield Finding("pressure", "ok", "the kernel tells of stalls")
    else:
        yield Finding("pressure", "warning", "the kernel does not tell of stalls", "boot with psi=1; all else works without")


def _check_pidfd() -> Iterator[Finding]:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        yield Finding("pidfd", "bad", error.strerror or str(error), "AIOS needs Linux 5.3, and a sandbox that allows pidfd_open")
    else:
        yield Finding("pidfd", "ok", "processes are watched without polling")


def _check_openat2() -> Iterator[Finding]:
    """With a size of 0 the call must say EINVAL; where it does not exist or is forbidden, something else."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_SYS_OPENAT2, -100, b".", None, ctypes.c_size_t(0))
    found = ctypes.get_errno()
    if found == errno.EINVAL:
        yield Finding("openat2", "ok", "files are put back without following links")
    else:
        yield Finding("openat2", "bad", os.strerror(found), "AIOS needs Linux 5.6, and a sandbox that allows openat2")


def check_inotify(proc: str = "/proc/sys/fs/inotify") -> Iterator[Finding]:
    for name, least in (("max_user_instances", INOTIFY_INSTANCES_MIN), ("max_user_watches", INOTIFY_WATCHES_MIN)):
        try:
            with open(f"{proc}/{name}", encoding="ascii") as file:
                value = int(file.read())
        except (OSError, ValueError):
            yield Finding(f"inotify {name}", "warning", "cannot be read", "is /proc mounted?")
            continue
        if value < least:
            yield Finding(f"inotify {name}", "warning", f"{value}, less than {least}", f"sysctl fs.inotify.{name}={least}")
        else:
            yield Finding(f"inotify {name}", "ok", str(value))


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read; the rest is room."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


def check_clock() -> Iterator[Finding]:
    """Only reads: modes is 0."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        yield Finding("clock", "warning", os.strerror(ctypes.get_errno()), "a sandbox forbids to ask; see `timedatectl`")
    elif timex.status & _STA_UNSYNC:
        cure = "run chrony or systemd-timesyncd; until then a leap over a day is not believed (journal.clock_trusted)"
        yield Finding("clock", "warning", "is not in sync with any time server", cure)
    else:
        yield Finding("clock", "ok", "in sync")


def check_systemd(run: str = "/run/systemd/system", bus: str = DBUS_SOCKET) -> Iterator[Finding]:
    if not os.path.isdir(run):
        yield Finding("systemd", "warning", "does not run here", "services are watched if the settings list them: [[service]]")
        return
    yield Finding("systemd", "ok", "runs")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2.0)
        try:
            sock.connect(bus)
        except OSError as error:
            yield Finding("D-Bus", "bad", f"{bus}: {error.strerror or error}", "systemctl start dbus.socket")
        else:
            yield Finding("D-Bus", "ok", "reachable")
