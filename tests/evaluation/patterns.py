"""Recorded cases of Amazon's event-ruler and of quamina, asked of our patterns: `python -m tests.evaluation.patterns FOLDER`.

Reads what of these is in the folder: `*_cases.jsonl` (rules, event, the names that match) and `*_rule_validity.json` (rule texts
with the compiler's verdict). Every case is asked twice, of the patterns themselves and of the index over all rules of the case.

The product speaks event-ruler's language. What differs is translated here, in the open:

- quamina's `shellstyle` is a `wildcard` without escapes.
- quamina's `regexp` (I-Regexp, RFC 9485, with ~ for the backslash) we leave to `when`. So it is asked there, of CEL's `matches`,
  for every value of its field; the values that fit take its place in the pattern as exact values.
- `check_flat` is event-ruler's older compiler: it has no `$or` (a field like any other), no `wildcard` inside `anything-but`,
  and inside `anything-but` only one `prefix` or `suffix`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aios.events.event import Event
from aios.playbooks.condition import compile_condition
from aios.playbooks.index import Index
from aios.playbooks.model import Condition, Playbook, variables
from aios.playbooks.pattern import MISSING, BadPattern, compile_pattern, values_at

Failure = tuple[str, str]
MOMENT = "2026-02-24T08:00:00.000000Z"


def main(folder: Path) -> int:
    failures: list[Failure] = []
    passed: Counter[str] = Counter()
    for path in sorted(folder.glob("*_cases.jsonl")):
        cases = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        _run(path.name, cases, _try_case, passed, failures)
    for path in sorted(folder.glob("*_rule_validity.json")):
        _run(path.name, json.loads(path.read_text()), _try_verdict, passed, failures)
    for name, count in passed.items():
        print(f"{name}: {count} passed, {sum(of == name for of, _ in failures)} failed")
    for name, what in failures:
        print(f"FAILED {name} {what}")
    if not passed:
        print(f"no *_cases.jsonl and no *_rule_validity.json in {folder}")
    return 1 if failures or not passed else 0


def _run(name: str, cases: list[Any], ask: Callable[[Any], str], passed: Counter[str], failures: list[Failure]) -> None:
    passed[name] = 0
    for case in cases:
        said = ask(case)
        if said:
            failures.append((name, said))
        else:
            passed[name] += 1


# --- matches --------------------------------------------------------------------------------------------------------


def _try_case(case: Mapping[str, Any]) -> str:
    event = case["event"] if isinstance(case["event"], dict) else json.loads(case["event"])
    expected = sorted(case["expect"])
    try:
        rules = {name: [translated(pattern, event) for pattern in patterns] for name, patterns in case["rules"].items()}
        asked = sorted(name for name, patterns in rules.items() if any(compile_pattern(p).matches(event) for p in patterns))
        found = _from_index(rules, event)
    except BadPattern as error:
        return f"{case['id']} {case['source']}: refused at {error.where}: {error.message}"
    if asked == found == expected:
        return ""
    return f"{case['id']} {case['source']}: expected {expected}, the patterns say {asked}, the index {found}"


def _from_index(rules: Mapping[str, list[Any]], event: dict[str, Any]) -> list[str]:
    """The same rules as playbooks, over an event that holds the case's event as its data."""
    books = []
    for name, patterns in rules.items():
        for number, pattern in enumerate(patterns):
            match = {"data": pattern}
            books.append(Playbook(f"{number}:{name}", "", "", "", ("case",), compile_pattern(match), match))
    seen = Event("1", "evaluation", "case", "host", MOMENT, event, MOMENT)
    return sorted({book.name.partition(":")[2] for book in Index(books).match(seen)})


def translated(pattern: Any, event: Any, path: tuple[str, ...] = ()) -> Any:
    """quamina's words in ours."""
    if isinstance(pattern, Mapping):
        return {name: translated(value, event, (*path, *name.split("."))) for name, value in pattern.items()}
    return [one for entry in pattern for one in _entries(entry, event, path)]


def _entries(entry: Any, event: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(entry, Mapping) and "shellstyle" in entry:
        yield {"wildcard": entry["shellstyle"].replace("\\", "\\\\")}
    elif isinstance(entry, Mapping) and "regexp" in entry:
        condition = _regexp(entry["regexp"])
        texts = [value for value in values_at(event, path) if value is not MISSING and isinstance(value, str)]
        fitting = [value for value in texts if _holds(condition, value)]
        yield from ({"exactly": value} for value in fitting)
        if not fitting:
            yield {"exactly": "\0"}  # a list of values may not be empty
    else:
        yield entry


@cache
def _regexp(text: str) -> Condition:
    plain = re.sub(r"~(.)|\\", lambda found: _escaped(found.group(1)), text, flags=re.DOTALL)
    return compile_condition(f"event.data.text.matches({json.dumps(f'^(?:{plain})$', ensure_ascii=False)})")


def _escaped(character: str | None) -> str:
    if character is None:
        return "\\\\"
    return "\\" + character if character in "nrtpPdDsSwW" else re.escape(character)


def _holds(condition: Condition, value: str) -> bool:
    event = {"data": {"text": value}}
    return condition.evaluate(variables(event, now=0.0, score=None, system_score=None, steps={})).value is True


# --- verdicts -------------------------------------------------------------------------------------------------------


def _try_verdict(case: Mapping[str, Any]) -> str:
    why = verdict(case["rule_text"], case["api"])
    if (not why) == case["valid"]:
        return ""
    return (
        f"{case['source']} {case['rule_text']!r}: expected {'valid' if case['valid'] else case['error']}, we say {why or 'valid'}"
    )


def verdict(rule_text: str, api: str) -> str:
    """Why a rule text is refused; empty when it is taken."""
    try:
        raw = _DECODER.raw_decode(rule_text.lstrip())[0]  # their parser stops behind the object, too
        compile_pattern(_flat(raw) if api == "check_flat" else raw)
    except ValueError as error:  # BadPattern is one, and so is what json raises
        return str(error) or "refused"
    return ""


def _number(text: str) -> float:
    """A number that no double can tell from 0 is none to compare with: `nan`, which a pattern refuses."""
    number = float(text)
    return math.nan if number == 0 and any(digit in "123456789" for digit in text.lower().partition("e")[0]) else number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_refuse_constant)


def _flat(raw: Any) -> Any:
    """The older compiler's language in ours, as far as it goes."""
    if isinstance(raw, list):
        return [_flat(item) for item in raw]
    if not isinstance(raw, Mapping):
        return raw
    form = raw.get("anything-but")
    if isinstance(form, Mapping) and (
        "wildcard" in form or any(isinstance(form.get(name), list) for name in ("prefix", "suffix"))
    ):
        raise BadPattern((), "the older compiler does not know this form of anything-but")
    return {"or" if name == "$or" else name: _flat(value) for name, value in raw.items()}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.evaluation.patterns FOLDER")
    sys.exit(main(Path(sys.argv[1])))
