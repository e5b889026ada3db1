"""A thin way to systemd over the system's D-Bus: calls and signals as plain Python values. The one module that uses dbus-fast.

Both sides of the systemd backend (`systemd`, `systemd_acts`) come here; what the values mean is theirs. dbus-fast is loaded by
`open_bus`, so that a machine without systemd does not pay for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

SYSTEMD = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
UNIT = "org.freedesktop.systemd1.Unit"
PROPERTIES = "org.freedesktop.DBus.Properties"
KINDS = (".service", ".socket", ".timer", ".path")
"""The units that can be asked about, started and stopped. Only services are watched for falls."""

CALL_TIMEOUT_S = 25.0
_BUS = "org.freedesktop.DBus"
_DEFAULT_SOCKET = "/run/dbus/system_bus_socket"
_UNIT_FOLDER = "/org/freedesktop/systemd1/unit/"


class BusError(Exception):
    """The other side said no: `name` is D-Bus's word for it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{text} ({name})" if text else name)
        self.name, self.text = name, text


class BusLost(Exception):
    """There is no bus, or no longer."""


class Signal(NamedTuple):
    path: str
    interface: str
    member: str
    body: list[Any]


class Bus:
    """One connection; made by `open_bus`."""

    def __init__(self, connection: Any, message: Any, variant: Any) -> None:
        self._connection, self._message, self._variant = connection, message, variant
        self._owner = ""
        """systemd's own name on the bus: any user may send us a signal that only looks like one of systemd's."""

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any, to: str = SYSTEMD) -> list[Any]:
        """The body of the answer. Raises `BusError` when the answer is an error, `BusLost` when there is none."""
        request = self._message(
            destination=to, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await self._connection.call(request)
        except (OSError, EOFError, TimeoutError) as error:
            raise BusLost(f"no answer to {member}: {error or type(error).__name__}") from error
        if reply is None:
            raise BusLost(f"no answer to {member}: the connection was closed")
        if reply.error_name:
            raise BusError(reply.error_name, str(reply.body[0]) if reply.body else "")
        return [self._plain(value) for value in reply.body]

    async def manager(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        return await self.call(MANAGER_PATH, MANAGER, member, signature, *body)

    async def properties(self, unit: str, interface: str) -> dict[str, Any]:
        """All properties of a unit; systemd loads a unit that is not loaded to answer."""
        (found,) = await self.call(unit_path(unit), PROPERTIES, "GetAll", "s", interface)
        return dict(found)

    async def properties_of(self, unit: str) -> dict[str, Any]:
        """Those of its kind (`…systemd1.Timer`) and those that all units have."""
        kind = f"{SYSTEMD}.{unit.rpartition('.')[2].capitalize()}"
        of_kind, of_unit = await asyncio.gather(self.properties(unit, kind), self.properties(unit, UNIT))
        return {**of_kind, **of_unit}

    def variant(self, signature: str, value: Any) -> Any:
        """A value that says its own type, as `v` in a signature wants it."""
        return self._variant(signature, value)

    async def match(self, rule: str) -> None:
        await self.call("/org/freedesktop/DBus", _BUS, "AddMatch", "s", rule, to=_BUS)

    async def unmatch(self, rule: str) -> None:
        await self.call("/org/freedesktop/DBus", _BUS, "RemoveMatch", "s", rule, to=_BUS)

    async def on_signal(self, callback: Callable[[Signal], None]) -> None:
        """`callback(signal)` on the loop, in order, for what systemd and the bus itself say.

        In a turn of its own: dbus-fast would swallow what it raises. Raises `BusError` where systemd is not on the bus.
        """
        loop = asyncio.get_running_loop()

        def handle(message: Any) -> None:
            if message.message_type.name != "SIGNAL" or message.sender not in (self._owner, _BUS):
                return
            body = [self._plain(value) for value in message.body]
            if message.member == "NameOwnerChanged" and body[0] == SYSTEMD:
                self._owner = body[2]
            loop.call_soon(callback, Signal(message.path, message.interface, message.member, body))

        self._connection.add_message_handler(handle)
        await self.match(OWNER_RULE)
        (self._owner,) = await self.call("/org/freedesktop/DBus", _BUS, "GetNameOwner", "s", SYSTEMD, to=_BUS)

    async def until_lost(self) -> None:
        try:
            await self._connection.wait_for_disconnect()
        except Exception:  # noqa: BLE001  whatever broke it (the far side, a damaged message): lost is lost
            pass

    def close(self) -> None:
        self._connection.disconnect()

    def _plain(self, value: Any) -> Any:
        if isinstance(value, self._variant):
            return self._plain(value.value)
        if isinstance(value, dict):
            return {key: self._plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._plain(inner) for inner in value]
        return value


async def open_bus(address: str | None = None) -> Bus:
    """Connect to the system's bus. Raises `BusLost` where there is none."""
    target = address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or f"unix:path={_DEFAULT_SOCKET}"
    path = target.removeprefix("unix:path=").partition(",")[0]
    if target.startswith("unix:path=") and not os.path.exists(path):
        raise BusLost(f"there is no system bus at {path}")
    # Loaded only now: 12 ms and 1.5 MB that a machine without systemd does not pay.
    from dbus_fast import AuthError, DBusFastError, Message, Variant
    from dbus_fast.aio import MessageBus

    try:
        connection = await MessageBus(bus_address=target, auth_timeout=CALL_TIMEOUT_S).connect()
    except (OSError, EOFError, AuthError, DBusFastError) as error:
        raise BusLost(f"the system bus at {target} cannot be used: {error}") from error
    return Bus(connection, Message, Variant)


def unit_path(unit: str) -> str:
    """The object of a unit: letters and digits stay, all else is `_` and two hexadecimal digits (sd_bus_path_encode(3))."""
    escaped = "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() and not (i == 0 and chr(byte).isdigit()) else f"_{byte:02x}"
        for i, byte in enumerate(unit.encode())
    )
    return _UNIT_FOLDER + escaped


def properties_rule(unit: str) -> str:
    """What the bus is asked for, to hear of changes of this unit alone."""
    return f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='PropertiesChanged',path='{unit_path(unit)}'"


MANAGER_RULE = f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',path='{MANAGER_PATH}'"
OWNER_RULE = f"type='signal',sender='{_BUS}',interface='{_BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'"


def exit_words(service: Mapping[str, Any]) -> str:
    """How the main process ended: `exit 1`, `signal 9`; empty when it did not. Codes are those of waitid(2)."""
    code, status = service.get("ExecMainCode", 0), service.get("ExecMainStatus", 0)
    if code == os.CLD_EXITED:
        return f"exit {status}"
    return f"signal {status}" if code in (os.CLD_KILLED, os.CLD_DUMPED) else ""
