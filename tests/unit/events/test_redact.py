"""Secrets do not reach the journal, and what is no secret stays as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.events.codec import decode, encode
from aios.events.event import Event
from aios.events.redact import REDACTED, Redactor

PLAIN = Event(
    "e1",
    "web",
    "service.down",
    "nginx.service",
    "2026-02-24T08:15:30Z",
    {"failures": 3, "status": "refused"},
    "2026-02-24T08:15:30Z",
)
REDACTOR = Redactor(["hunter2-hunter2", 'with "quotes"\n'])
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.abc-DEF_123"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAB\n-----END RSA PRIVATE KEY-----"


def cleaned(data: dict[str, Any]) -> Any:
    return REDACTOR.clean(PLAIN._replace(data=data)).data


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "passwd",
        "db_password",
        "PGPASSWORD",
        "token",
        "access_token",
        "accessToken",
        "secret",
        "clientSecret",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "authorization",
        "Proxy-Authorization",
        "private_key",
        "cookie",
        "Set-Cookie",
        "credentials",
        "passphrase",
    ],
)
def test_values_under_secret_names_are_struck_out(name: str) -> None:
    assert cleaned({name: "abc", "n": {name: ["abc"]}, "l": [{name: 7}]}) == {
        name: REDACTED,
        "n": {name: REDACTED},
        "l": [{name: REDACTED}],
    }


@pytest.mark.parametrize(
    "name", ["tokens", "token_count", "max_tokens", "passwords_changed", "key", "keyboard", "secretary", "compass"]
)
def test_names_that_only_sound_alike_are_left(name: str) -> None:
    assert cleaned({name: "abc"}) == {name: "abc"}


def test_nothing_is_made_of_nothing() -> None:
    """That a password is missing is worth knowing, and no secret."""
    assert cleaned({"password": None, "token": "", "secret": False}) == {"password": None, "token": "", "secret": False}


@pytest.mark.parametrize(
    "secret",
    [
        AWS,
        GITHUB,
        JWT,
        PEM,
        "hunter2-hunter2",
        "glpat-0123456789abcdefghij",
        "sk-" + "ant-api03-0123456789abcdef",
        "xoxb-1234567890-abc",
    ],
)
def test_known_values_and_shapes_are_struck_out_of_any_text(secret: str) -> None:
    assert cleaned({"log": f"before {secret} after"}) == {"log": f"before {REDACTED} after"}
    assert cleaned({"l": [{"deep": secret}]}) == {"l": [{"deep": REDACTED}]}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET / Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("connecting to postgres://bob:s3cr3t@db/x", "s3cr3t"),
        ("mysql --password s3cr3t -u root", "s3cr3t"),
        ("PGPASSWORD=s3cr3t psql", "s3cr3t"),
        ("https://x/?access_token=s3cr3t&b=1", "s3cr3t"),
        ('{"password": "s3cr3t"}', "s3cr3t"),
    ],
)
def test_text_keeps_what_tells_which_secret_it_was(text: str, secret: str) -> None:
    found = cleaned({"log": text})["log"]
    assert secret not in found
    assert REDACTED in found
    assert found.startswith(text[:4])


def test_an_argument_after_a_secret_flag_is_one() -> None:
    assert cleaned({"argv": ["mysql", "--password", "s3cr3t", "-u", "root"]}) == {
        "argv": ["mysql", "--password", REDACTED, "-u", "root"]
    }


def test_escapes_do_not_hide_a_secret() -> None:
    """The look is at what the bytes mean, not at how a producer wrote them: escapes are gone before."""
    line = encode(PLAIN._replace(data={"a": 'with "quotes"\n'}))
    assert "quotes" not in str(REDACTOR.clean(decode(line), line).data)


def test_a_subject_may_hold_one_too() -> None:
    assert REDACTOR.clean(PLAIN._replace(subject="url:https://u:pw@h/")).subject == f"url:https://u:{REDACTED}@h/"


def test_striking_out_never_makes_an_event_that_no_line_can_hold() -> None:
    """Thousands of short secrets grow by being struck out: a stranger must not stop the journal with them."""
    many = PLAIN._replace(data={"l": [{"pwd": 1}] * 6000})
    clean = REDACTOR.clean(many, encode(many))
    assert decode(encode(clean)).data == {"all": REDACTED}


def test_an_ordinary_event_comes_back_itself() -> None:
    assert REDACTOR.clean(PLAIN) is PLAIN


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))))
def test_the_quick_look_never_misses_what_the_slow_one_finds(data: dict[str, str]) -> None:
    one = PLAIN._replace(data={**data, "x": data})
    if REDACTOR.value(one.data) != one.data:
        assert REDACTOR.suspicious(encode(one))


@pytest.mark.parametrize(
    "secret",
    [
        AWS,
        GITHUB,
        JWT,
        PEM,
        "Bearer abcdef0123456789",
        "a://b:c@d",
        "pwd=x",
        "dsn=x",
        "connection-string=x",
        "github_pat_0123456789abcdefghijk",
        "rk_live_0123456789abcdef",
        "AIza" + "a" * 35,
    ],
)
def test_the_quick_look_knows_every_shape(secret: str) -> None:
    assert REDACTOR.value({"x": secret}) != {"x": secret}
    assert REDACTOR.suspicious(encode(PLAIN._replace(data={"x": secret})))


@pytest.mark.parametrize(
    "unit", ["password", "://", "://a:", "eyJ", "-----BEGIN ", "--", "--a-", "authorization:", "sk-", "gh", "'password:'"]
)
def test_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    """64 KiB of any beginning of a secret: seconds or minutes were any expression quadratic."""
    REDACTOR.text(unit * (65_000 // len(unit)))
