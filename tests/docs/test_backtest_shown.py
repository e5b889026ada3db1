"""The backtest that `docs/playbooks.md` shows is made by a run: its first playbook on a small journal of a month."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.cli.main import main
from aios.cli.terminal import Terminal
from tests.docs.pages import blocks
from tests.unit.backtest.past import MIDNIGHT, Past

DAY = 86_400.0
HEAD = "$ aios playbook backtest web.yaml --since 30d --limit 5"


class Clock:
    def now(self) -> float:
        return MIDNIGHT + 30 * DAY

    def monotonic(self) -> float:
        return 0.0

    async def sleep_until(self, deadline: float) -> None:
        raise AssertionError("a command does not sleep")


@pytest.fixture
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def a_month_of_falls(folder: Path) -> None:
    """Some go by themselves, some stand until a person comes, and one evening it falls again and again."""
    past = Past(folder)
    past.settings(-60)
    falls = [
        (2 * DAY + 3600, 45),
        (5 * DAY + 7000, 4200),
        (9 * DAY + 50_000, 30),
        (17 * DAY + 100, 9000),
        (24 * DAY + 40_000, 70),
    ]
    falls += [(12 * DAY + 64_000 + n * 700, 240) for n in range(5)]
    for at, stands_s in sorted(falls):
        for n in range(1, min(4, 2 + int(stands_s // 60))):
            past.tell(at + (n - 1) * 30, "service.down", "nginx.service", failures=n, reason="exit", backend="systemd")
        past.tell(at + max(stands_s, 95), "service.up", "nginx.service", backend="systemd", pid=1)


@pytest.mark.usefixtures("_utc")
def test_the_backtest_on_the_page_is_what_a_run_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word."""
    (shown,) = [block.text for block in blocks("docs/playbooks.md", "text") if block.text.startswith(HEAD)]
    (tmp_path / "web.yaml").write_text(next(block.text for block in blocks("docs/playbooks.md", "yaml")))
    a_month_of_falls(tmp_path / "state")
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    environ = {"AIOS_DATA": str(tmp_path / "state"), "AIOS_PLAYBOOKS": str(tmp_path)}
    terminal = Terminal(out, io.StringIO(), io.StringIO(), environ, Clock())
    assert main(HEAD.split()[2:], terminal) == 0
    assert f"{HEAD}\n{out.getvalue()}".splitlines() == shown.rstrip("\n").splitlines()
