"""A playbook tried on the past: the real engine in virtual time over the journal, acts stubbed. For anyone's Python.

    from aios.backtest import backtest
    found = backtest("/var/lib/aios", playbooks, since="2026-02-01T00:00:00Z")
    for run in found.runs:
        print(run.at, run.playbook, run.subject, run.acts)

What it takes to be known, and what it assumes, stands in `docs/playbooks.md`.
"""

from aios.backtest.compare import Comparison, compare
from aios.backtest.play import backtest, load_for
from aios.backtest.result import Backtest
from aios.backtest.terms import Terms, terms_of

__all__ = ["Backtest", "Comparison", "Terms", "backtest", "compare", "load_for", "terms_of"]
