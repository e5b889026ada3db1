"""The daemon's process: runs `Daemon` on the real machine, and turns how it ended into an exit code. Called by `aios run`.

What is wired to what stands in `daemon/assemble.py`, what the ports are on a real machine in `machine/outside.py`.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from dataclasses import replace
from functools import partial
from typing import Any

from aios.daemon.assemble import assemble
from aios.daemon.life import Daemon
from aios.disk import OsFiles
from aios.hands import proc, turn
from aios.journal.lock import InstanceLock
from aios.journal.thread import JournalGone
from aios.log import configure, get_logger
from aios.machine.memory import limit_memory, spare_the_collector
from aios.machine.outside import real_outside
from aios.settings import Settings
from aios.told import Teller, paused_words

EXIT_OK, EXIT_DISK = 0, 74
DISK_CURE = "look at the disk: mount, dmesg, df"
_BROKEN_DISK = frozenset((errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT))
"""What says that a disk fails under the state folder, and not that a program or a setting is wrong."""

log = get_logger("daemon")


def main(settings: Settings) -> int:
    """Run the daemon until it is told to stop. Raises Refused when another one has the state folder."""
    configure(settings.log.format, settings.log.level)
    limit_memory(settings.memory_max_mb)
    turn.ask_for_short_turns()
    files = OsFiles()
    lock = InstanceLock(files, settings.data, proc.myself())
    try:
        return asyncio.run(_life(settings, files))
    except OSError as error:
        if error.errno not in _BROKEN_DISK:
            raise
        log.error(f"{error.filename or settings.data}: {error.strerror}; ending, so that it is started anew", cure=DISK_CURE)
        return EXIT_DISK
    finally:
        lock.release()


async def _life(settings: Settings, files: OsFiles) -> int:
    daemon = assemble(settings, real_outside(settings, files))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(partial(_on_loop_error, daemon))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop, signal.Signals(number).name)
    loop.add_signal_handler(signal.SIGHUP, lambda: daemon.reload_now())
    log.info("starting", state=settings.data, playbooks=len(daemon.shelf.by_name))
    spare_the_collector()
    hello = asyncio.create_task(_say_hello(settings, daemon))
    try:
        reason = await daemon.run()
    except JournalGone as error:
        log.error(f"{error.strerror}; ending, so that it is started anew", cure=DISK_CURE)
        return EXIT_DISK
    finally:
        hello.cancel()
    log.info("stopped", reason=reason)
    return EXIT_OK


async def _say_hello(settings: Settings, daemon: Daemon) -> None:
    await daemon.ready.wait()
    daemon.spine.listen(Teller(log, daemon.outside.clock).heard)
    log.info("ready", state=settings.data, mode_max=settings.mode_max, playbooks=len(daemon.shelf.by_name))
    if settings.mode_max in ("observe", "shadow", "suggest"):
        log.info(f"mode_max is {settings.mode_max}: it watches this machine and proposes; it changes nothing by itself")
    log.info("what it sees and does is told here; in another shell: aios status, aios events --follow")
    if daemon.world.is_paused(daemon.outside.clock.now()):
        log.warning(paused_words(daemon.world.paused or {}))
    for error in daemon.shelf.errors:
        log.warning(f"playbook left out: {replace(error, snippet='', hint='')!s}: aios playbook lint")


def _on_loop_error(daemon: Daemon, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback failed: that is a bug, and the daemon must not go on as if it had not been."""
    error = context.get("exception")
    log.error(f"a part failed: {context.get('message')}", error=repr(error))
    daemon.fail(error if error is not None else RuntimeError(str(context.get("message"))))
