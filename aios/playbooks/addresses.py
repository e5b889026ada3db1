"""IP addresses as texts: which spellings are the same address, and which addresses a network holds.

`operators.py` asks for every text of a pattern, and matching asks for texts of events, so a text that is none must cost next
to nothing. Written here and not taken from `ipaddress`: it takes one spelling for each address where a pattern must know
all of them (010.0.0.1, ::ffff:a00:1), and costs the daemon a module that nothing else needs.
"""

from __future__ import annotations

import re

Address = tuple[int, int]
"""(32 or 128, the address as a number). An IPv4 address that is wrapped in IPv6 is the IPv4 address."""

_FOUR = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})\.(\d{1,9})", re.ASCII)
_SIX = re.compile(r"[0-9a-fA-F:]{2,39}")
_MAPPED = 0xFFFF << 32
_BITS = re.compile(r"\d{1,3}", re.ASCII)


def address_of(text: str) -> Address | None:
    """The address that a text spells, None for any other text."""
    if ":" in text:
        return _six(text) if _SIX.fullmatch(text) else None
    found = _FOUR.fullmatch(text) if text[:1].isdigit() else None
    if found is None:
        return None
    number = 0
    for part in found.groups():
        if int(part) > 255:
            return None
        number = number << 8 | int(part)
    return 32, number


def _six(text: str) -> Address | None:
    """Eight groups of up to four hexadecimal digits; `::` once stands for the missing ones."""
    before, gap, after = text.partition("::")
    left = before.split(":") if before else []
    right = after.split(":") if after else []
    missing = 8 - len(left) - len(right)
    if (missing < 1 if gap else missing != 0) or any(not 1 <= len(group) <= 4 for group in (*left, *right)):
        return None
    number = int("".join(group.zfill(4) for group in (*left, *["0"] * missing, *right)), 16)
    return (32, number & 0xFFFFFFFF) if number & ~0xFFFFFFFF == _MAPPED else (128, number)


def network_of(text: str) -> tuple[Address, Address] | None:
    """The first and the last address of `10.0.0.0/24`; None for any other text."""
    written, slash, bits = text.partition("/")
    address = address_of(written)
    if not slash or address is None or not _BITS.fullmatch(bits) or int(bits) > address[0]:
        return None
    width, number = address
    free = (1 << (width - int(bits))) - 1
    return (width, number & ~free), (width, number | free)
