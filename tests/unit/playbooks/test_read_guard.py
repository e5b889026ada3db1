"""The `guard` of a playbook as it is written: what it means, and what a mistake in it is told, with its place and its cure."""

from __future__ import annotations

import pytest

from aios.errors import ConfigErrors
from aios.playbooks.load import load
from aios.playbooks.model import Concurrency, Guard
from aios.playbooks.schema import schema
from aios.playbooks.yaml_strict import Source, parse, to_json
from tests.unit.playbooks.json_schema import problems
from tests.unit.playbooks.playbook_skills import SKILLS

SCHEMA = schema(SKILLS)
TEXT = """playbook: p
on: {type: service.down}
guard:
  %s
steps: [{id: a, observe: read_logs, with: {unit: a.service}}]
"""


def guard(written: str) -> Guard:
    return load(TEXT % written, "p.yaml", SKILLS).guard


def agrees(written: str) -> bool:
    return not problems(SCHEMA, to_json(parse(Source("p.yaml", TEXT % written))))


GOOD = {
    "concurrency: 2": Guard(concurrency=Concurrency(2)),
    "concurrency: {at_most: 1, by: data.at.cluster}": Guard(concurrency=Concurrency(1, "data.at.cluster")),
    "depends_on: [db.service, db.service]": Guard(depends_on=("db.service",)),
    "breaker: {open: 10m, ceiling: 2h}": Guard(open_s=600.0, open_max_s=7200.0),
}


@pytest.mark.parametrize("written", GOOD)
def test_a_guard_is_what_it_says(written: str) -> None:
    assert guard(written) == GOOD[written]
    assert agrees(written)


@pytest.mark.parametrize(
    "written",
    [
        'windows: {never: [{cron: "0 2 * * *", for: 3h, timezone: Europe/Berlin}]}',
        "windows: {only: [{from: 2026-12-24, to: 2026-12-24}]}",
        "windows: {only: [{from: 2026-12-24T18:00, to: 2026-12-25T06:00}], never: [{cron: 0 4 * * sun, for: 30m}]}",
    ],
)
def test_windows_are_read(written: str) -> None:
    assert guard(written).windows
    assert agrees(written)


BAD = [
    (
        "concurrency: none",
        '4:16: concurrency must be a whole number from 1 to 1000, and this is the text "none"',
        "write a number",
    ),
    ("concurrency: {by: subject}", "4:16: concurrency needs the key 'at_most'", "add `at_most: …`"),
    ("concurrency: {at_most: 1, by: cluster}", '"cluster" is no field of an event', "subject or data.cluster"),
    ("depends_on: db.service", "depends_on must be a list", "write [a, b]"),
    ('depends_on: ["db-*"]', "depends_on names exact subjects", "write db.service"),
    ("limit: none\n  breaker: {open: 5m}", "5:12: breaker never opens: limit is none", "remove breaker, or give a limit"),
    ("breaker: {open: 2h, ceiling: 1h}", "ceiling is shorter than open", "write a longer ceiling"),
    ("windows: {}", "windows says neither only nor never", "write only: […], or never: […]"),
    ("windows: {sometimes: []}", 'windows has no key "sometimes"', ""),
    ("windows: {never: []}", "never is an empty list", "write {cron:"),
    ('windows: {never: [{cron: "0 2 * * *"}]}', "a window has either cron and for, or from and to", "write {cron:"),
    ('windows: {never: [{cron: "0 2 * *", for: 1h}]}', "has 4 fields, not five", "minute hour day month weekday"),
    ('windows: {never: [{cron: "0 2 30 2 *", for: 1h}]}', "never comes", "the third field is the day"),
    ("windows: {never: [{cron: 0 2 * * *, for: 40d}]}", "for must lie between 1m and 31d", "another length"),
    ("windows: {never: [{cron: 0 2 * * *, for: 1h, timezone: Berlin}]}", "'Berlin' is no time zone", "Europe/Berlin"),
    ("windows: {never: [{from: christmas, to: 2026-12-26}]}", '"christmas" is no day and no time', "write 2026-12-24"),
    ("windows: {never: [{from: 2026-12-24, to: 2026-12-23}]}", "the window ends before it begins", "counts whole"),
    ("windows: {never: [daily]}", "a window must be a mapping", ""),
    ("cooldwon: 5m", 'guard has no key "cooldwon"', "did you mean 'cooldown'?"),
]


@pytest.mark.parametrize(("written", "message", "cure"), BAD, ids=[case[0] for case in BAD])
def test_a_mistake_is_told_with_its_place_and_its_cure(written: str, message: str, cure: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        guard(written)
    assert len(caught.value.errors) == 1
    told = str(caught.value)
    assert message in told
    assert cure in told
