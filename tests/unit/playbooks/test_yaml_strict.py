"""YAML is read by version 1.2's rules, with every value's place; what is hostile is refused and never harms."""

from __future__ import annotations

import random
import time

import pytest
import yaml

from aios.errors import ConfigError
from aios.playbooks.yaml_strict import BYTES_MAX, DEPTH_MAX, Source, parse, to_json
from tests.unit.playbooks.mistakes import GOOD


def read(text: str) -> object:
    return to_json(parse(Source("p.yaml", text)))


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"), ("on", "on"), ("off", "off"), ("yes", "yes"), ("y", "y"), ("1:30", "1:30"), ("0644", "0644"),
        ("1_000", "1_000"),
        ("2026-02-24", "2026-02-24"), ("=", "="), ("12e", "12e"), ("true", True), ("False", False), ("null", None), ("~", None),
        ("", None), ("0", 0), ("-7", -7), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("'5'", "5"),
        ('"a\\nb"', "a\nb"), ("0.0.0.0", "0.0.0.0"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(written: str, value: object) -> None:
    """`no` is a word and 1:30 a text; the surprises of YAML 1.1 do not exist."""
    assert read(f"key: {written}") == {"key": value}


def test_keys_are_text_as_written() -> None:
    """`on:` is the key `on`, and 404 is a name."""
    assert read("on: 1\n404: 2\ntrue: 3\nnull: 4") == {"on": 1, "404": 2, "true": 3, "null": 4}


def test_every_value_knows_its_place() -> None:
    """Line and column count from 1, in characters."""
    root = parse(Source("p.yaml", "ä: ü\nlist:\n  - {é: x, y: [1,  2]}\n"))
    inner = root.entries["list"][1].items[0].entries["y"][1].items[1]
    assert (inner.line, inner.column) == (3, 20)
    assert (root.entries["ä"][1].line, root.entries["ä"][1].column) == (1, 4)


def test_a_machine_without_the_c_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML has it in most wheels, not in all; values, places and refusals are the same."""
    fast = parse(Source("p.yaml", GOOD))
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert parse(Source("p.yaml", GOOD)) == fast
    for text in ("a: *x", "a: &x 1", "a: !!str 1", "a: 1\na: 2", "a: 1\n---\nb: 2", "[" * 100_000, ""):
        assert refusal(text).hint


def test_a_byte_order_mark_moves_nothing() -> None:
    """A file from another editor has the same columns."""
    assert refusal("\ufeffa: *x").column == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested deeper"),
        ("{" * 100_000, "cannot be a key"),
        ("- " * 100_000, "nested deeper"),
        ("? " * 100_000, "cannot be a key"),
        ("{a: " * 60_000, "nested deeper"),
        ("a:\n" + "".join(" " * n + "a:\n" for n in range(1, 600)), "nested deeper"),
        ("[" + "a," * 100_000 + "]", "more than 20,000"),
        ("a: " + "x" * BYTES_MAX, "larger than 256 KB"),
        ("a: " + "é" * (BYTES_MAX // 2), "larger than 256 KB"),
        ("a: &x [*x]", "anchors"),
        ("a: *x", "aliases"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("a: ! x", "tags"),
        ("<<: {a: 1}", "merge keys"),
        ("a: 1\n'a': 2", "second time"),
        ("{[1]: 2}", "cannot be a key"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: \x00", "U+0000"),
        ("a: \ud800", "U+D800"),
        ("a: 1e999", "too large"),
        ("a: 9223372036854775808", "64 bits"),
        ("a: .nan", "do not have"),
        ("a: 0o17", "do not have"),
        ("", "empty"),
        ("# nothing\n---\n", "empty"),
        ("\t\t\t", "empty|not YAML"),
        ("%YAML 1.1\n" * 1000, "not YAML"),
    ],
)
def test_hostile_yaml_is_refused_at_once(text: str, said: str) -> None:
    """Bombs, nesting, aliases, tags, twice the same key: each is refused with a message, and fast."""
    began = time.process_time()
    error = refusal(text)
    assert time.process_time() - began < 2.0
    assert any(part in error.message for part in said.split("|")), error.message
    str(error).encode()  # it can be printed


def test_depth_up_to_the_limit_is_read() -> None:
    """The limit refuses what is deeper, and nothing else."""
    value: object = read("[" * DEPTH_MAX + "]" * DEPTH_MAX)
    for _ in range(DEPTH_MAX - 1):
        assert isinstance(value, list)
        value = value[0]
    assert value == []


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_an_error_and_never_a_crash(seed: int) -> None:
    """Random bytes of YAML's own signs either load or are refused; nothing else comes out, and none is slow."""
    chance = random.Random(seed)
    signs = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "\n",
        "  ",
        "\n  ",
        "a",
        '"',
        "'",
        "|",
        ">",
        "#",
        "&a",
        "*a",
        "!",
        "%",
        "@",
        ",",
        "?",
        "\t",
        "é",
        "---",
        "1",
    ]
    for _ in range(1500):
        text = "".join(chance.choice(signs) for _ in range(chance.randrange(1, 60)))
        began = time.process_time()
        try:
            read(text)
        except ConfigError as error:
            str(error).encode()
        assert time.process_time() - began < 0.5, f"seed {seed}: {text!r}"
