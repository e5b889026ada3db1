"""A real systemd as PID 1 in a throw-away copy of this machine: an overlay over `/`, booted by systemd-nspawn in a few seconds.

Nothing that is written inside reaches the host. Needs root and Debian's systemd-container, dbus and polkitd; `why_not` says what
is missing. The box shares the host's kernel and files, so the checkout and its Python are there under the same paths.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

BOOT_WITHIN_S = 60.0
DISK = "/mnt/disk"
"""Inside: a folder on a real disk, where this machine has one."""
_LOOK_EVERY_S = 0.05
_MADE_ANEW = ("/tmp/", "/run/", "/var/run/", "/dev/")
_MASKED = (
    "systemd-udevd.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-logind.service",
    "console-getty.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
)
_CGROUPS = Path("/sys/fs/cgroup")


def why_not() -> str:
    """Why there can be no box here; empty when there can."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    for program in ("systemd-nspawn", "nsenter", "mount"):
        if shutil.which(program) is None:
            return f"{program} is missing (Debian: systemd-container, util-linux)"
    if not Path("/lib/systemd/systemd").exists() and not Path("/usr/lib/systemd/systemd").exists():
        return "systemd is not installed here"
    if shutil.which("dbus-daemon") is None:
        return "dbus-daemon is missing (Debian: dbus)"
    return ""


def _hidden_paths() -> list[str]:
    """The checkout and its Python, where they lie below folders that a booted system has anew (a clone in /tmp, say)."""
    needed = {str(Path(__file__).resolve().parents[2]), sys.prefix, sys.base_prefix}
    return sorted(path for path in needed if path.startswith(_MADE_ANEW))


class CannotBoot(Exception):
    """The box did not come up; the text has the end of its log."""


class Box:
    """`with Box("name") as box:` boots it and takes it away again, whatever happens."""

    def __init__(self, name: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix=f"aios-box-{name}-"))
        self.root = self.base / "root"
        self.disk = Path(tempfile.mkdtemp(prefix=f"aios-box-{name}-", dir="/var/tmp"))  # the rest of the box is in memory
        self.leader = 0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._cgroups: list[Path] = []

    def __enter__(self) -> Box:
        try:
            self._lay_out()
            self._boot()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.down()

    # --- what tests use

    @property
    def bus_address(self) -> str:
        """The box's system bus, as seen from the host."""
        return f"unix:path=/proc/{self.leader}/root/run/dbus/system_bus_socket"

    def run(self, *argv: str, check: bool = True, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", *argv], check=check, capture_output=True, text=True, timeout=timeout_s
        )

    def run_online(self, *argv: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside that reaches the network as the host does; nothing else in the box does."""
        words = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", *argv]
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=timeout_s)

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.run("systemctl", *words, check=check).stdout.strip()

    def unit(self, name: str, text: str, enable: bool = True) -> None:
        """Install a unit, and make it known."""
        self.write(f"/etc/systemd/system/{name}", text)
        self.systemctl("daemon-reload")
        if enable:
            self.systemctl("enable", name)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Through the box's own root, so that what runs there sees it at once."""
        target = Path(f"/proc/{self.leader}/root") / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        return (Path(f"/proc/{self.leader}/root") / path.lstrip("/")).read_text()

    def main_pid(self, unit: str) -> int:
        """The main process, by its number inside the box."""
        return int(self.systemctl("show", "-P", "MainPID", unit))

    def down(self) -> None:
        if self.leader:
            _kill(self.leader)
        if self._nspawn is not None:
            if self._nspawn.poll() is None and not self.leader:
                self._nspawn.kill()
            self._nspawn.wait(timeout=20)
            self._nspawn = None
        for place in (self.root, self.base):
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
        for cgroup in reversed(self._cgroups):
            _remove_cgroup(cgroup)
        for place in (self.base, self.disk):
            shutil.rmtree(place, ignore_errors=True)

    # --- how

    def _lay_out(self) -> None:
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self.base))
        for name in ("up", "work", "root"):
            (self.base / name).mkdir()
        _mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={self.base}/up,workdir={self.base}/work", str(self.root))
        (self.root / "etc/machine-id").write_text("")
        units = self.root / "etc/systemd/system"
        units.mkdir(parents=True, exist_ok=True)
        for name in _MASKED:
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to("/dev/null")

    def _boot(self) -> None:
        cgroups = self._make_cgroups()

        def move_into_cgroups() -> None:
            for cgroup in cgroups:
                try:
                    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
                except OSError:
                    pass  # a controller that takes no process here: the box does without it

        argv = ["systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit", "-b", "--console=pipe"]
        argv += [f"--bind-ro={path}" for path in _hidden_paths()] + [f"--bind={self.disk}:{DISK}"]
        with open(self.base / "log", "wb") as log:
            self._nspawn = subprocess.Popen(
                [*argv, "--kill-signal=SIGRTMIN+3", "--private-network"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=move_into_cgroups,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_WITHIN_S
        while time.monotonic() < deadline:
            if self._nspawn is None or self._nspawn.poll() is not None:
                break
            self.leader = _only_child(self._nspawn.pid)  # anew each time: the first child is a helper that is soon gone
            if self.leader:
                said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if said in ("running", "degraded"):
                    return
            time.sleep(_LOOK_EVERY_S)  # nobody tells that a foreign systemd has booted
        tail = (self.base / "log").read_text(errors="replace")[-2000:]
        raise CannotBoot(f"the box did not boot within {BOOT_WITHIN_S:g} s:\n{tail}")

    def _make_cgroups(self) -> list[Path]:
        """On cgroup v1 the box gets a group of its own in every hierarchy; on v2 nspawn sees to it."""
        if (_CGROUPS / "cgroup.controllers").exists() or not _CGROUPS.is_dir():
            return []
        made = []
        for hierarchy in sorted(_CGROUPS.iterdir()):
            group = hierarchy / self.base.name
            try:
                group.mkdir()
            except OSError:
                continue
            made.append(group)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists():
                    (group / name).write_text((hierarchy / name).read_text())
        self._cgroups = made
        return made


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _only_child(pid: int) -> int:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _remove_cgroup(group: Path) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for inner in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
            try:
                inner.rmdir()
            except OSError:
                pass
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_LOOK_EVERY_S)  # its last process is being taken away
            continue
        return
