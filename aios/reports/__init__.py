"""The daily report: what broke, what was healed, how long it took, what needs a person.

`build` reads events once and gives a `Report`; `to_markdown` and `to_json` are two faces of it. What is counted and how stands in
`docs/score.md`. Pure: the command line and the daemon bring the events, the days and the time.
"""

from aios.reports.as_json import from_json, to_json
from aios.reports.build import build
from aios.reports.markdown import to_markdown
from aios.reports.model import Report

__all__ = ["Report", "build", "from_json", "to_json", "to_markdown"]
