"""`aios playbook import`: the original's JSON playbooks as YAML that loads and lints, with what is left out said in it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from aios.playbooks.lint import lint
from aios.playbooks.load import load_many
from aios.playbooks.original import Carried, carry_over
from aios.playbooks.trial import try_playbook
from aios.skills.catalogue import load_catalogue
from tests.acceptance.cli_kit import Done, aios


def original(**more: Any) -> dict[str, Any]:
    return {
        "id": "pb-1-net",
        "name": "retry",
        "description": "when the net is away",
        "trigger": {"rule": "network_error", "keywords": ["502", "time out"], "severity": ["WARN", "CRIT"]},
        "action": {"type": "auto", "command": 'powershell -Command "Remove-Item $env:TEMP\\*"', "risk": "low"},
        "cooldown_min": 5,
        "enabled": True,
        "success_count": 3,
        "fail_count": 0,
        **more,
    }


RESTART = original(
    id="pb-2-web",
    trigger={"rule": "service_unhealthy", "keywords": ["unhealthy"], "severity": ["ERR"]},
    action={"type": "confirm", "command": "systemctl restart nginx", "risk": "medium"},
    enabled=False,
)
TELLS = original(
    id="pb-3-tell",
    trigger={"rule": "disk_full", "keywords": [], "severity": ["WARN"]},
    action={"type": "notify", "command": "echo 'disk is full'", "risk": "low"},
)


def taken(folder: Path, *entries: Any, words: tuple[str, ...] = ()) -> Done:
    (folder / "old.json").write_text(json.dumps(list(entries)))
    return aios("playbook", "import", str(folder / "old.json"), "--out", str(folder / "new"), *words)


def test_what_comes_over_loads_lints_and_passes_its_own_test(tmp_path: Path) -> None:
    """Without a warning; a remark that a type is somebody else's may stand."""
    assert taken(tmp_path, original(), RESTART, TELLS).code == 0
    skills = load_catalogue()
    loaded = load_many({path.name: path.read_text() for path in (tmp_path / "new").glob("*.yaml")}, skills)
    assert (tmp_path / "new" / "playbook.schema.json").is_file(), "the first line of each names it"
    assert [playbook.name for playbook in loaded.playbooks] == ["pb-1-net", "pb-2-web", "pb-3-tell"]
    assert {(finding.level, finding.code) for finding in lint(loaded, skills)} <= {("info", "unknown-type")}
    results = [try_playbook(playbook, test, skills) for playbook in loaded.playbooks for test in playbook.tests]
    assert len(results) == 3
    assert all(result.ok for result in results), [result.differences for result in results]


def test_trigger_mode_cooldown_and_a_restart_are_carried_over(tmp_path: Path) -> None:
    """What AIOS's own sensors say is named by their type; a restart becomes a skill, with a proof."""
    taken(tmp_path, RESTART, original())
    (web, net) = load_many(
        {path.name: path.read_text() for path in sorted((tmp_path / "new").iterdir(), reverse=True)}, load_catalogue()
    ).playbooks[::-1]
    assert (web.types, web.mode, web.enabled, web.guard.cooldown_s) == (("service.down",), "approve", False, 300.0)
    assert [(step.kind, step.skill) for step in web.steps] == [("observe", "service_status"), ("act", "restart_service")]
    assert web.steps[1].params.source == {"unit": "nginx.service"}
    assert (net.types, net.mode, net.match) == (("original.network_error",), "auto", {"severity": ["warning", "critical"]})
    assert not net.acts, "a shell line is never run"


def test_what_is_left_out_stands_in_the_file_and_in_the_answer(tmp_path: Path) -> None:
    """The command, the keywords, the counts: each as a comment."""
    done = taken(tmp_path, original(metadata={"x": 1}), words=("--json",))
    text = (tmp_path / "new" / "pb-1-net.yaml").read_text()
    (row,) = json.loads(done.out)["written"]
    comments = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    for said in row["left_out"]:
        assert f"Not carried over: {said}" in comments
    told = " ".join(row["left_out"])
    assert all(word in told for word in ("Remove-Item", "'502', 'time out'", "3 well", "'metadata'", "'low'"))


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    """All or none; with --force they are written anew, and never through a link."""
    assert taken(tmp_path, original()).code == 0
    mine = tmp_path / "new" / "pb-1-net.yaml"
    mine.write_text("mine")
    refused = taken(tmp_path, TELLS, original())
    assert refused.code == 1
    assert "--force" in refused.err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "new" / "pb-3-tell.yaml").exists()
    outside = tmp_path / "outside"
    outside.write_text("outside")
    mine.unlink()
    mine.symlink_to(outside)
    assert taken(tmp_path, original(), words=("--force",)).code == 0
    assert outside.read_text() == "outside"
    assert "pb-1-net" in mine.read_text()


def test_an_entry_that_is_none_is_told_and_the_others_come_over(tmp_path: Path) -> None:
    """Exit code 1, and its number."""
    done = taken(tmp_path, original(), {"id": "x"}, 7)
    assert done.code == 1
    assert "entry 2: it has no trigger" in done.err
    assert "entry 3: it is not an object" in done.err
    assert (tmp_path / "new" / "pb-1-net.yaml").exists()


@pytest.mark.parametrize("raw", [b"{", b"7", b'{"playbooks": 3}', b"[" * 40, b"\xff\xfe[]"])
def test_a_file_that_is_no_list_of_playbooks_is_refused_in_a_sentence(tmp_path: Path, raw: bytes) -> None:
    """Whatever its bytes."""
    (tmp_path / "old.json").write_bytes(raw)
    done = aios("playbook", "import", str(tmp_path / "old.json"), "--out", str(tmp_path / "new"))
    assert done.code == 1
    assert "cannot be taken" in done.err
    assert not (tmp_path / "new").exists()


def test_two_of_one_name_get_two_files(tmp_path: Path) -> None:
    """The second is numbered."""
    assert taken(tmp_path, original(), original()).code == 0
    assert sorted(path.name for path in (tmp_path / "new").glob("*.yaml")) == ["pb-1-net-2.yaml", "pb-1-net.yaml"]


HOSTILE = (
    "\n- evil: 1",
    "'",
    '"',
    "\\",
    "${event.id}",
    "#",
    ": ",
    "\x85",
    "\u2028",
    "\x00",
    "😀",
    "\ud800",
    "&a",
    "*a",
    "!!x",
    "]}",
    "\t",
    "%",
    "{{",
)


def test_no_text_of_an_old_playbook_gets_out_of_its_place() -> None:
    """Names, descriptions, keywords and commands of any characters: what is written loads, and says what was said."""
    chance, skills = random.Random(5), load_catalogue()
    for seed in range(150):
        bits = [chance.choice(HOSTILE) + chance.choice("ab ") for _ in range(6)]
        text = "".join(bits)
        entry = original(id=f"x{text}", name=text, description=text, action={"type": text, "command": text, "risk": text})
        entry["trigger"] = {"rule": text + "r", "keywords": bits, "severity": ["WARN", text]}
        (carried,) = carry_over([entry])
        assert isinstance(carried, Carried)
        loaded = load_many({"x.yaml": carried.text}, skills)
        assert not loaded.errors, (seed, carried.text, [str(error) for error in loaded.errors])
        assert not loaded.playbooks[0].acts
