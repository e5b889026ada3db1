"""One box for all tests here; each test uses units of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .box import Box, CannotBoot, why_not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "systemd" and {"box", "fresh"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.systemd)


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    try:
        booted = Box("tests").__enter__()
    except CannotBoot as error:
        pytest.skip(str(error))
    yield booted
    booted.down()
