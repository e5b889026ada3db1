"""The control socket: bounded, known by the kernel, and alive whatever comes over it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aios.control.client import DaemonSilent, NoDaemon, NotAllowed, ask, follow, lives
from aios.control.protocol import BadRequest, parse_request
from aios.control.server import ControlServer
from aios.errors import Refused
from aios.events.filters import EventFilter
from aios.ports import Answer, Peer

DEADLINE_S = 20.0


class House:
    """A handler that knows a few verbs, and what it saw."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.streams_open = 0
        self.stream_ended = asyncio.Event()

    async def handle(self, peer: Peer, verb: str, args: Mapping[str, Any]) -> Answer:
        self.peers.append(peer)
        match verb:
            case "echo":
                return Answer(True, dict(args))
            case "refuse":
                return Answer(False, {}, "not now", "later")
            case "raise":
                raise Refused("never", "ask somebody else")
            case "bug":
                raise LookupError("a bug")
            case "unsayable":
                return Answer(True, {"x": object()})
            case "hang":
                await asyncio.Event().wait()
            case "huge":
                return Answer(True, {"x": "y" * (33 << 20)})
        return Answer(False, {}, f"no verb {verb!r}", "status")

    async def count(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        if args.get("odd"):
            raise Refused("odd", "ask otherwise")
        self.streams_open += 1
        try:
            for number in range(args.get("to", 3)):
                yield {"n": number}
            if args.get("wait"):
                await asyncio.Event().wait()
            if args.get("refuse"):
                raise Refused("enough", "stop")
            if args.get("bug"):
                raise LookupError("a bug")
        finally:
            self.streams_open -= 1
            self.stream_ended.set()

    async def flood(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        try:
            while True:
                yield {"x": "y" * 100_000}
        finally:
            self.stream_ended.set()


def with_server(folder: Path, story: Callable[[House, str], Awaitable[None]], **limits: Any) -> list[str]:
    """Run the story against a real server on a real socket; gives the bugs that were told, and what the loop complained of."""
    bugs: list[str] = []

    def on_bug(verb: str, error: Exception) -> None:
        bugs.append(f"{verb}: {error!r}")

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(str(context)))
        house = House()
        path = str(folder / "control.sock")
        server = ControlServer(path, house.handle, {"count": house.count, "flood": house.flood}, on_bug=on_bug, **limits)
        await server.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await story(house, path)
        finally:
            await server.close()
        assert not os.path.exists(path)

    asyncio.run(run())
    return bugs


async def raw(path: str, data: bytes, *, lines: int = 1) -> list[dict[str, Any]]:
    """Send bytes as they are; gives so many answers (fewer if the server hangs up)."""
    reader, writer = await asyncio.open_unix_connection(path, limit=64 << 20)
    try:
        writer.write(data)
        try:
            await writer.drain()
        except ConnectionError:
            pass
        answers = []
        for _ in range(lines):
            try:
                line = await reader.readline()
            except ConnectionError:
                break
            if not line:
                break
            answers.append(json.loads(line))
        return answers
    finally:
        writer.close()


def test_a_question_is_answered_and_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    """`ask` from another thread, as the command line does it."""

    async def story(house: House, path: str) -> None:
        assert await asyncio.to_thread(ask, path, "echo", {"a": [1, "ü"]}) == Answer(True, {"a": [1, "ü"]})
        assert await asyncio.to_thread(ask, path, "refuse") == Answer(False, {}, "not now", "later")
        assert await asyncio.to_thread(ask, path, "raise") == Answer(False, {}, "never", "ask somebody else")
        assert lives(path)

    assert with_server(tmp_path, story) == []


def test_the_kernel_says_who_asks(tmp_path: Path) -> None:
    """No name that a client writes, but SO_PEERCRED."""

    async def story(house: House, path: str) -> None:
        await asyncio.to_thread(ask, path, "echo", {"peer": "root"})
        assert [(peer.pid, peer.uid) for peer in house.peers] == [(os.getpid(), os.getuid())]

    with_server(tmp_path, story)


def test_only_owner_and_group_may_use_the_socket(tmp_path: Path) -> None:
    """0660 from the first moment on, and the group that the settings name."""

    async def story(house: House, path: str) -> None:
        found = os.stat(path)
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == os.getgid()
        assert os.listdir(tmp_path) == ["control.sock"]

    with_server(tmp_path, story, gid=os.getgid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to a group that it is not in")
@pytest.mark.parametrize(("mode", "after"), [(0o750, (65534, 0o710)), (0o751, (os.getegid(), 0o751))])
def test_the_group_gets_through_to_the_socket(tmp_path: Path, mode: int, after: tuple[int, int]) -> None:
    """The shipped unit makes the folder 0750 and root's at each start: without passage the group would be a mere word."""
    tmp_path.chmod(mode)

    async def story(house: House, path: str) -> None:
        seen = tmp_path.stat()
        assert (seen.st_gid, seen.st_mode & 0o7777) == after
        assert os.stat(path).st_gid == 65534

    with_server(tmp_path, story, gid=65534)


BAD_REQUESTS = [
    (b"\n", "the request is not JSON"),
    (b"hello\n", "the request is not JSON"),
    (b"\xff\xfe\x00\n", "the request is not JSON"),
    (b"[1]\n", "a request is a JSON object with id, verb and args"),
    (b'"status"\n', "a request is a JSON object with id, verb and args"),
    (b"{}\n", "verb must be a word of at most 64 letters"),
    (b'{"verb": 7}\n', "verb must be a word of at most 64 letters"),
    (b'{"verb": "' + b"x" * 65 + b'"}\n', "verb must be a word of at most 64 letters"),
    (b'{"verb": "echo", "id": "1"}\n', "id must be a number from 0 to 2^53"),
    (b'{"verb": "echo", "id": true}\n', "id must be a number from 0 to 2^53"),
    (b'{"verb": "echo", "id": -1}\n', "id must be a number from 0 to 2^53"),
    (b'{"verb": "echo", "id": 99999999999999999999}\n', "an integer does not fit 64 bits"),
    (b'{"verb": "echo", "args": []}\n', "args must be a JSON object"),
    (b'{"verb": "echo", "user": "root"}\n', "a request has id, verb and args, not 'user'"),
    (b'{"verb": "echo", "args": ' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}\n", "nested deeper than 40 levels"),
    (b"[" * 500_000 + b"\n", "nested deeper than 40 levels"),
    (b'{"id": 4, "verb": "nope"}\n', "no verb 'nope'"),
]


@pytest.mark.parametrize(("line", "message"), BAD_REQUESTS, ids=[repr(line[:32]) for line, _ in BAD_REQUESTS])
def test_a_bad_request_is_answered_and_the_next_one_served(tmp_path: Path, line: bytes, message: str) -> None:
    """Every kind of hostile line: an answer that says what is wrong, and the connection lives."""

    async def story(house: House, path: str) -> None:
        bad, good = await raw(path, line + b'{"id": 2, "verb": "echo"}\n', lines=2)
        assert bad["ok"] is False
        assert message in bad["error"]
        assert good == {"id": 2, "ok": True, "result": {}}

    assert with_server(tmp_path, story) == []


def test_a_line_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    """1 MiB, then an answer and the end; the others do not notice."""

    async def story(house: House, path: str) -> None:
        answers = await raw(path, b"x" * (3 << 20))
        assert [answer["error"] for answer in answers] in ([], ["the request is longer than 1 MiB"])
        assert (await asyncio.to_thread(ask, path, "echo")).ok

    assert with_server(tmp_path, story) == []


def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    """And once another has gone, there is room again."""

    async def story(house: House, path: str) -> None:
        first = await asyncio.open_unix_connection(path)
        first[1].write(b'{"id": 1, "verb": "echo"}\n')
        await first[0].readline()
        assert (await asyncio.to_thread(ask, path, "echo")).error == "too many clients"
        first[1].close()
        while not (await asyncio.to_thread(ask, path, "echo")).ok:  # noqa: ASYNC110 - the server tells nobody of room
            await asyncio.sleep(0)

    with_server(tmp_path, story, clients_max=1)


def test_a_client_that_says_nothing_is_let_go(tmp_path: Path) -> None:
    """It does not hold its place for ever."""

    async def story(house: House, path: str) -> None:
        assert (await raw(path, b""))[0]["error"] == "no request for 0.05 s"
        assert (await raw(path, b"half a li"))[0]["error"] == "no request for 0.05 s"

    with_server(tmp_path, story, idle_s=0.05)


def test_a_bug_in_a_handler_is_answered_and_told(tmp_path: Path) -> None:
    """The client learns that it is a bug, the daemon's log where, and the daemon lives: nobody ends it by asking oddly."""

    async def story(house: House, path: str) -> None:
        answer = await asyncio.to_thread(ask, path, "bug")
        assert answer.error == "the daemon failed on this request: LookupError: a bug"
        assert answer.hint == "this is a bug in AIOS; the daemon's log says where"
        assert "cannot be written as JSON" in (await asyncio.to_thread(ask, path, "unsayable")).error
        assert (await asyncio.to_thread(ask, path, "echo")).ok

    bugs = with_server(tmp_path, story)
    assert bugs[0] == "bug: LookupError('a bug')"
    assert bugs[1].startswith("unsayable: BadLine('cannot be written as JSON")
    assert len(bugs) == 2


def test_an_answer_that_is_too_long_is_refused_with_a_cure(tmp_path: Path) -> None:
    """The client is told to ask for less."""

    async def story(house: House, path: str) -> None:
        assert (await asyncio.to_thread(ask, path, "huge")).error == "the answer is longer than 32 MiB"

    with_server(tmp_path, story)


def test_a_stream_is_pushed_until_it_ends(tmp_path: Path) -> None:
    """Items in order; then the end, or the refusal."""

    async def story(house: House, path: str) -> None:
        assert await asyncio.to_thread(lambda: list(follow(path, "count", {"to": 3}))) == [{"n": 0}, {"n": 1}, {"n": 2}]
        with pytest.raises(Refused, match="enough"):
            await asyncio.to_thread(lambda: list(follow(path, "count", {"refuse": True})))
        with pytest.raises(Refused, match="odd"):
            await asyncio.to_thread(follow, path, "count", {"odd": True})
        with pytest.raises(Refused, match="LookupError"):
            await asyncio.to_thread(lambda: list(follow(path, "count", {"bug": True})))

    assert with_server(tmp_path, story) == ["count: LookupError('a bug')"]


def test_a_follower_that_goes_ends_its_stream(tmp_path: Path) -> None:
    """Nothing is left behind in the daemon."""

    async def story(house: House, path: str) -> None:
        answers = await raw(path, b'{"id": 9, "verb": "count", "args": {"to": 1, "wait": true}}\n', lines=2)
        assert answers == [{"id": 9, "ok": True, "stream": True}, {"id": 9, "item": {"n": 0}}]
        await house.stream_ended.wait()
        assert house.streams_open == 0

    assert with_server(tmp_path, story) == []


def test_a_follower_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    """The daemon's memory is not its client's buffer."""

    async def story(house: House, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b'{"verb": "flood"}\n')
            await house.stream_ended.wait()

    with_server(tmp_path, story, slow_s=0.05)


def test_a_daemon_that_ends_cuts_its_clients_off(tmp_path: Path) -> None:
    """A follower learns of it; `close` does not wait for it."""

    async def run() -> None:
        house = House()
        path = str(tmp_path / "control.sock")
        server = ControlServer(path, house.handle, {"count": house.count})
        await server.start()
        follower = asyncio.create_task(asyncio.to_thread(lambda: list(follow(path, "count", {"wait": True}))))
        asker = asyncio.create_task(asyncio.to_thread(ask, path, "hang"))
        async with asyncio.timeout(DEADLINE_S):
            while not (house.streams_open and house.peers):  # noqa: ASYNC110 - two things, and a deadline
                await asyncio.sleep(0)
            await server.close()
            for task in (follower, asker):
                with pytest.raises(DaemonSilent, match="hung up"):
                    await task

    asyncio.run(run())


def test_without_a_daemon_the_client_says_so(tmp_path: Path) -> None:
    """No folder, no socket, a socket that nobody listens at, a file in its place: each with what to do."""
    dead = tmp_path / "control.sock"
    for path in (tmp_path / "no" / "control.sock", dead):
        with pytest.raises(NoDaemon) as caught:
            ask(str(path), "status")
        assert "aios run" in caught.value.hint
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(dead))
    left.close()
    with pytest.raises(NoDaemon, match=f"no daemon runs on {tmp_path}"):
        ask(str(dead), "status")
    assert not lives(str(dead))


def test_a_daemon_that_does_not_answer_in_time_is_silent(tmp_path: Path) -> None:
    """The command ends, and says so."""

    async def story(house: House, path: str) -> None:
        with pytest.raises(DaemonSilent, match=r"does not answer 'hang' within 0.05 s"):
            await asyncio.to_thread(ask, path, "hang", {}, 0.05)

    with_server(tmp_path, story)


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_who_may_not_use_the_socket_is_told_so() -> None:
    """Another user, not in the group."""

    async def story(house: House, path: str) -> None:
        os.chmod(os.path.dirname(path), 0o755)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                ask(path, "echo")
            except NotAllowed:
                os._exit(7)
            os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert house.peers == []

    with tempfile.TemporaryDirectory() as folder:
        with_server(Path(folder), story)


def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    """And so is one that was left half made."""
    for name in ("control.sock", f"control.sock.{os.getpid()}"):
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(tmp_path / name))
        left.close()

    async def story(house: House, path: str) -> None:
        assert (await asyncio.to_thread(ask, path, "echo")).ok

    with_server(tmp_path, story)


def test_a_state_folder_with_a_long_name_works(tmp_path: Path) -> None:
    """The kernel takes 107 bytes; we take any path."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)

    async def story(house: House, path: str) -> None:
        assert (await asyncio.to_thread(ask, path, "echo")).ok

    with_server(folder, story)


def test_a_request_that_json_cannot_say_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """Half characters from a command line, say."""

    async def story(house: House, path: str) -> None:
        with pytest.raises(BadRequest):
            await asyncio.to_thread(ask, path, "echo", {"a": "\ud800"})

    with_server(tmp_path, story)


def test_a_stream_listens_before_its_follower_is_told(tmp_path: Path) -> None:
    """Who reads the journal after `follow` returned, then the stream, misses nothing."""

    async def story(house: House, path: str) -> None:
        stream = await asyncio.to_thread(follow, path, "count", {"to": 1, "wait": True})
        assert house.streams_open == 1
        assert await asyncio.to_thread(next, stream) == {"n": 0}
        stream.close()  # type: ignore[attr-defined]
        await house.stream_ended.wait()

    with_server(tmp_path, story)


@pytest.mark.parametrize(
    ("args", "seen"),
    [
        ({}, True),
        ({"types": ["service.down"]}, True),
        ({"types": ["service.*"]}, True),
        ({"types": ["service"]}, False),
        ({"types": ["agent.*", "run.*"]}, False),
        ({"subject": "nginx.service"}, True),
        ({"subject": "nginx"}, False),
        ({"severity": "warning"}, True),
        ({"severity": "critical"}, False),
    ],
)
def test_a_follower_sees_what_it_asked_for(args: dict[str, Any], seen: bool) -> None:
    """Exact types or a remainder; exact subjects; severity is the least."""
    assert EventFilter.from_args(args).passes("service.down", "nginx.service", "error") is seen
    assert EventFilter.from_args(EventFilter.from_args(args).to_args()) == EventFilter.from_args(args)


@pytest.mark.parametrize("args", [{"types": "x"}, {"types": [1]}, {"types": ["x"] * 101}, {"subject": 5}, {"severity": "bad"}])
def test_a_filter_that_makes_no_sense_is_refused(args: dict[str, Any]) -> None:
    """With a cure."""
    with pytest.raises(Refused) as caught:
        EventFilter.from_args(args)
    assert caught.value.hint


def test_what_a_request_is_may_be_left_short() -> None:
    """Id and args may be missing: a person types at it with socat."""
    request = parse_request(b'{"verb": "status"}')
    assert (request.id, request.verb, request.args) == (0, "status", {})
