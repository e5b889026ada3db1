"""The daemon's side of hands: starts it, gives it calls, and tells what came of each, whatever dies in between.

Implements the `Hands` port; wired by `daemon.assemble`. A result comes by the socket when all is well. The safety net is one and
the same for everything else: each launcher is watched by pidfd, and when it ends without a word, or hands ends before it has said
who the launcher is, the attempt is recovered from its folder (`recovery.py`, carried out by hands).
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.backoff import delay_s
from aios.entropy import Entropy
from aios.events.calls import SkillCall, SkillResult
from aios.events.codec import decode_json, encode_json
from aios.log import get_logger
from aios.ports import AttemptFate, Processes, ProcessId

PACKET_MAX = 256 * 1024
CALL_MAX = 128 * 1024
"""A call that is larger than this is refused: a packet is sent whole or not at all."""
HELD_MAX = 10_000
BACKOFF_S, BACKOFF_CEILING_S = 0.02, 5.0
STEADY_S = 10.0
"""Hands that lived so long has shown that it can: the backoff begins anew."""
HOPELESS = 6
"""After so many quick deaths in a row, a recovery is answered with `hands_lost`; it is still started again."""
CLOSE_S = 2.0
LOOK_AGAIN_S = 1.0
UNANSWERED_S = 30.0
"""Hands says at once whom it sent. One that says nothing for so long is stopped, or hangs: it is killed, and started anew."""
UNHEARD_S = 20.0
"""A launcher that was told to end its act and lives so long after the act's grace is stopped, or hangs: it is killed, and its
act with it, and the recovery ends what is left."""
BY_HANDS = frozenset(("launched", "recovering", "pong"))
"""What hands itself says; the rest comes from the processes that it sent."""
SIGTERM, SIGKILL = 15, 9

Done = Callable[[str, SkillResult], None]

_log = get_logger("hands")


@dataclass(slots=True)
class _Attempt:
    """A call that has been given to hands and not told yet."""

    call: SkillCall
    who: ProcessId | None = None
    unwatch: Callable[[], None] | None = None
    cancelled: bool = False
    recovering: bool = False


class HandsClient:
    """`argv` starts hands; the number of its socket's descriptor is added to it. `cgroup` is the setting `limits.cgroup`."""

    def __init__(
        self,
        state_dir: str,
        processes: Processes,
        entropy: Entropy,
        *,
        argv: Sequence[str] = (),
        cgroup: str = "",
    ) -> None:
        self._argv = (*(argv or (sys.executable, "-P", "-m", "aios.hands_main")), state_dir, cgroup)
        self._processes = processes
        self._entropy = entropy
        self._callbacks: list[Done] = []
        self._lost_callbacks: list[Callable[[str], None]] = []
        self._attempts: dict[str, _Attempt] = {}
        self._asked: dict[str, tuple[SkillCall, asyncio.Future[AttemptFate]]] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._ping = 0
        self._link: _Link | None = None
        self._old_links: set[_Link] = set()
        self._deaths = 0
        self._closing = False
        self._restart: asyncio.TimerHandle | None = None
        self._heard_at = 0.0

    # --- its life

    def open(self) -> None:
        """Start hands (about 2 ms) and return: calls may be given at once, the socket holds them until it is warm."""
        self._link = _Link(self._argv, self._told, self._ended, self._drained)

    async def close(self) -> None:
        """Let hands end. Launchers go on; the next daemon recovers them."""
        self._closing = True
        if self._restart is not None:
            self._restart.cancel()
        for attempt in self._attempts.values():
            if attempt.unwatch is not None:
                attempt.unwatch()
        self._attempts.clear()
        for link in (*self._old_links, *([self._link] if self._link else [])):
            await link.close()
        self._link = None
        for _, future in self._asked.values():
            future.cancel()
        for ping in self._pings.values():
            ping.cancel()

    @property
    def pid(self) -> int:
        """Of the hands process; 0 while there is none."""
        return self._link.pid if self._link else 0

    def _ended(self, link: _Link, status: str) -> None:
        if link is not self._link or self._closing:
            return
        self._link = None
        self._old_links.add(link)  # launchers that it had started still speak through it
        loop = asyncio.get_running_loop()
        self._deaths = 1 if loop.time() - link.born > STEADY_S else self._deaths + 1
        for callback in self._lost_callbacks:
            callback(status)
        if self._deaths >= HOPELESS:
            self._give_up_recoveries()
        wait_s = delay_s(
            self._deaths, base_s=BACKOFF_S, factor=2.0, ceiling_s=BACKOFF_CEILING_S, chance=self._entropy.uniform(0.0, 1.0)
        )
        self._restart = loop.call_later(wait_s, self._start_again)

    def _drained(self, link: _Link) -> None:
        self._old_links.discard(link)

    def _start_again(self) -> None:
        self._restart = None
        self.open()
        for call, _ in list(self._asked.values()):
            self._send({"do": "recover", "call": call.to_json()})
        for attempt in list(self._attempts.values()):
            if attempt.who is None or attempt.recovering:
                self._look_after(attempt)

    def _give_up_recoveries(self) -> None:
        for _, future in self._asked.values():
            if not future.done():
                future.set_result(AttemptFate("hands_lost"))
        self._asked.clear()

    # --- the port

    def on_done(self, callback: Done) -> None:
        self._callbacks.append(callback)

    def on_lost(self, callback: Callable[[str], None]) -> None:
        self._lost_callbacks.append(callback)

    def start(self, call: SkillCall) -> None:
        if call.key in self._attempts:
            raise ValueError(f"attempt {call.key} has been started before")
        attempt = self._attempts[call.key] = _Attempt(call)
        message = {"do": "start", "call": call.to_json()}
        size = len(encode_json(message))
        if size > CALL_MAX:
            why = f"its parameters are too large ({size} bytes, at most {CALL_MAX}); nothing was done"
            asyncio.get_running_loop().call_soon(self._settle, attempt, SkillResult(False, {"begun": False}, error=why))
        elif self._link is None:
            attempt.recovering = True  # never sent: the recovery after the restart voids it
        else:
            self._send(message)

    async def recover(self, call: SkillCall) -> AttemptFate:
        # Asked once more, somebody is sent to look once more: whoever was sent before may have died on the way.
        known = self._attempts.get(call.key)
        if known is not None:
            if known.recovering:
                self._look_after(known)
            return AttemptFate("running")
        asked = self._asked.get(call.key)
        if asked is None:
            asked = self._asked[call.key] = (call, asyncio.get_running_loop().create_future())
        self._send({"do": "recover", "call": call.to_json()})
        return await asyncio.shield(asked[1])

    def cancel(self, key: str) -> None:
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.cancelled = True
            self._end(attempt)

    def _end(self, attempt: _Attempt) -> None:
        if attempt.who is None:
            return  # as soon as it is known who carries it out
        self._processes.signal(attempt.who, SIGTERM)
        asyncio.get_running_loop().call_later(attempt.call.grace_s + UNHEARD_S, self._kill, attempt, attempt.who)

    def _kill(self, attempt: _Attempt, who: ProcessId) -> None:
        if self._attempts.get(attempt.call.key) is attempt and attempt.who == who and not self._closing:
            _log.warning("a launcher that did not end its act when it was told to is killed", attempt=attempt.call.key)
            self._processes.signal(who, SIGKILL)

    async def answers(self, within_s: float) -> bool:
        self._ping += 1
        number = self._ping
        self._pings[number] = asyncio.get_running_loop().create_future()
        self._send({"do": "ping", "n": number})
        try:
            async with asyncio.timeout(within_s):
                await self._pings[number]
        except TimeoutError:
            return False
        finally:
            self._pings.pop(number, None)
        return True

    # --- what is heard

    def _send(self, message: Mapping[str, Any]) -> None:
        link, loop = self._link, asyncio.get_running_loop()
        if link is not None:
            link.send(encode_json(message))
            loop.call_later(UNANSWERED_S, self._is_answered, link, loop.time())

    def _is_answered(self, link: _Link, asked_at: float) -> None:
        if link is self._link and self._heard_at < asked_at and not self._closing:
            _log.warning("hands does not answer, and is killed", pid=link.pid)
            link.kill()

    def _told(self, message: Mapping[str, Any]) -> None:
        if message["say"] in BY_HANDS:
            self._heard_at = asyncio.get_running_loop().time()
        match message["say"]:
            case "launched":
                self._launched(message)
            case "done":
                attempt = self._attempts.get(message["key"])
                if attempt is not None:
                    self._settle(attempt, SkillResult.from_json(message["result"]))
            case "recovering":
                self._recovering(message)
            case "fate":
                self._fate(message)
            case "pong":
                ping = self._pings.get(message["n"])
                if ping is not None and not ping.done():
                    ping.set_result(None)

    def _launched(self, message: Mapping[str, Any]) -> None:
        attempt = self._attempts.get(message["key"])
        if attempt is not None and attempt.who is None:
            self._watch(attempt, ProcessId(message["pid"], message["start"], message["boot_id"]))

    def _watch(self, attempt: _Attempt, who: ProcessId) -> None:
        attempt.who = who
        if attempt.unwatch is not None:
            attempt.unwatch()
        attempt.unwatch = self._processes.on_exit(who, lambda: self._launcher_gone(attempt))
        if attempt.cancelled:
            self._end(attempt)

    def _launcher_gone(self, attempt: _Attempt) -> None:
        attempt.unwatch = None
        self._read_last_words()
        if self._attempts.get(attempt.call.key) is attempt:
            self._look_after(attempt)

    def _recovering(self, message: Mapping[str, Any]) -> None:
        """A recovery is a process too, and may be killed before it has told what it found."""
        key = message["key"]
        if key in self._asked or (key in self._attempts and self._attempts[key].recovering):
            who = ProcessId(message["pid"], message["start"], message["boot_id"])
            self._processes.on_exit(who, lambda: self._recovery_gone(key))

    def _recovery_gone(self, key: str) -> None:
        self._read_last_words()
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.recovering:
            self._later(lambda: self._look_after_again(attempt), "the process that looked was killed")
        if key in self._asked:
            self._later(lambda: self._ask_again(key), "the process that looked was killed")

    def _read_last_words(self) -> None:
        for link in (*self._old_links, *([self._link] if self._link else [])):
            link.read()

    def _look_after(self, attempt: _Attempt) -> None:
        """Nobody will tell any more: have its folder looked at. While hands is away, that happens when it is back."""
        attempt.recovering = True
        self._send({"do": "recover", "call": attempt.call.to_json()})

    def _fate(self, message: Mapping[str, Any]) -> None:
        raw = message.get("result")
        result = SkillResult.from_json(raw) if raw else None
        who = ProcessId(**message["who"]) if message.get("who") else None
        key, fate = message["key"], message["fate"]
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.recovering:
            self._settle_lost(attempt, fate, result, who, message.get("error", ""))
        asked = self._asked.pop(key, None)
        if asked is not None and not asked[1].done():
            done = AttemptFate("done", result, float(message.get("at") or 0.0))
            self._answer(asked[0], asked[1], fate, done, who, message.get("error", ""))

    def _settle_lost(self, attempt: _Attempt, fate: str, result: SkillResult | None, who: ProcessId | None, error: str) -> None:
        """An attempt of this daemon's life that was lost sight of."""
        attempt.recovering = False
        if fate == "running" and who is not None:
            self._watch(attempt, who)
        elif fate == "done" and result is not None:
            self._settle(attempt, result)
        elif fate == "voided":
            self._settle(attempt, VOIDED)
        elif fate == "died":
            self._settle(attempt, DIED)
        else:
            self._later(lambda: self._look_after_again(attempt), error)

    def _look_after_again(self, attempt: _Attempt) -> None:
        if self._attempts.get(attempt.call.key) is attempt:
            self._look_after(attempt)

    def _answer(
        self,
        call: SkillCall,
        future: asyncio.Future[AttemptFate],
        fate: str,
        done: AttemptFate,
        who: ProcessId | None,
        error: str,
    ) -> None:
        """An attempt of an earlier daemon's life, for `recover`."""
        if fate == "running" and who is not None:
            attempt = self._attempts[call.key] = _Attempt(call)
            self._watch(attempt, who)
            future.set_result(AttemptFate("running"))
        elif fate == "done":
            future.set_result(done)
        elif fate == "died":
            future.set_result(AttemptFate("died"))
        elif fate == "voided":
            future.set_result(AttemptFate("voided"))
        else:  # the disk refused the look: neither void nor dead until it can be seen
            self._asked[call.key] = (call, future)
            self._later(lambda: self._ask_again(call.key), error)

    def _ask_again(self, key: str) -> None:
        asked = self._asked.get(key)
        if asked is not None:
            self._send({"do": "recover", "call": asked[0].to_json()})

    def _later(self, again: Callable[[], None], error: str) -> None:
        _log.warning("an attempt's folder cannot be looked at; trying again", error=error)
        if not self._closing:
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, again)

    def _settle(self, attempt: _Attempt, result: SkillResult) -> None:
        if self._attempts.get(attempt.call.key) is not attempt:
            return
        del self._attempts[attempt.call.key]
        if attempt.unwatch is not None:
            attempt.unwatch()
        for callback in self._callbacks:
            callback(attempt.call.key, result)


VOIDED = SkillResult(False, {"begun": False}, next=("retry",), error="hands ended before the act had begun; nothing was done")
"""What is told of an attempt that never started, and now never will."""

DIED = SkillResult(False, {"died": True}, error="the launcher ended without a result; what the act did is not known")
"""What is told of an attempt that began and left no result: the skill's re-run class says what may be done."""


class _Link:
    """One hands process and the socket to it. It is over when hands and all its launchers have let go of their end."""

    def __init__(
        self,
        argv: Sequence[str],
        told: Callable[[Mapping[str, Any]], None],
        ended: Callable[[_Link, str], None],
        drained: Callable[[_Link], None],
    ) -> None:
        self._told, self._ended, self._drained = told, ended, drained
        self._loop = asyncio.get_running_loop()
        self.born = self._loop.time()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PACKET_MAX)
        self._socket.setblocking(False)
        self._held: deque[bytes] = deque()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [*argv, str(number)], pass_fds=(number,), stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._process_ended)
        self._loop.add_reader(self._socket, self.read)

    def send(self, packet: bytes) -> None:
        self._held.append(packet)
        if len(self._held) == 1:
            self._flush()
        elif len(self._held) > HELD_MAX:
            self.kill()  # it has not listened for ten thousand calls: a new one will

    def kill(self) -> None:
        """Its launchers go on, and are found again."""
        self._process.kill()

    def _flush(self) -> None:
        try:
            while self._held:
                self._socket.send(self._held[0], socket.MSG_NOSIGNAL)
                self._held.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._flush)
            return
        except OSError:  # hands is gone; its end is told by the pidfd, and what was not sent is recovered then
            self._held.clear()
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)

    def read(self) -> None:
        """Everything that lies there."""
        while self._socket.fileno() >= 0:
            try:
                packet = self._socket.recv(PACKET_MAX)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._close_socket()
                self._drained(self)
                return
            self._told(decode_json(packet))

    def _process_ended(self) -> None:
        self._unwatch()
        self.read()
        code = self._process.wait()
        self._ended(self, f"signal {-code}" if code < 0 else f"exit status {code}")

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _close_socket(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    async def close(self) -> None:
        """The end of the socket is the end of hands; one that does not hear it is killed."""
        self._close_socket()
        if self._pidfd < 0:
            return
        gone = asyncio.Event()
        self._loop.remove_reader(self._pidfd)
        self._loop.add_reader(self._pidfd, gone.set)
        try:
            async with asyncio.timeout(CLOSE_S):
                await gone.wait()
        except TimeoutError:
            self._process.kill()
        self._unwatch()
        self._process.wait()
