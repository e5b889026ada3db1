"""Rollback with proof, last-good copies, and files written and deleted by acts, through real hands."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.events.calls import ROLLBACK_MORE_MAX_S, SkillCall, Touches
from aios.events.codec import decode_json
from aios.hands import after, keep
from aios.hands.attempt import MANIFEST
from aios.hands.rollback import more_time_s
from tests.integration.hands_kit import Rig, bring_outsider, call, job, play


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_outsider(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def writing(run: str, path: Path, content: str, attempt: int = 1) -> SkillCall:
    params = {"path": str(path), "content": content, "mode": None}
    return call(run, "write_file", params, touches=Touches(files=(str(path),)), attempt=attempt)


def rollback(run: str, *calls: SkillCall) -> SkillCall:
    return replace(
        call(run, "rollback", {"attempts": [it.folder for it in reversed(calls)]}),
        step="rollback",
        folder=f"runs/{run}/rollback.1",
    )


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_two_attempts_are_taken_back_to_before_the_first(tmp_path: Path) -> None:
    """The proof names the bytes before, after the act, and now."""
    path = tmp_path / "app.conf"
    path.write_text("good")
    os.chmod(path, 0o640)

    async def story(rig: Rig) -> None:
        first, second = writing("r", path, "one"), writing("r", path, "two", attempt=2)
        assert (await rig.act(first)).result["sha256"] == sha("one")
        assert (await rig.act(second)).ok
        assert path.read_text() == "two"
        assert path.stat().st_mode & 0o777 == 0o640
        result = await rig.act(rollback("r", first, second))
        assert result.ok, result.error
        (line,) = result.result["proof"]
        assert line["path"] == str(path)
        assert sha("good") in line["before"]
        assert line["restored"] == line["before"]
        assert sha("two") in line["after_act"]
        assert path.read_text() == "good"
        again = replace(rollback("r", first, second), attempt=2, folder="runs/r/rollback.2")
        repeated = await rig.act(again)
        assert repeated.result["proof"] == result.result["proof"]

    play(tmp_path / "state", story)


def test_a_file_that_was_not_there_is_gone_again_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "app.conf"

    async def story(rig: Rig) -> None:
        it = writing("r", path, "one")
        result = await rig.act(it)
        assert result.ok, result.error
        assert path.read_text() == "one"
        assert (await rig.act(rollback("r", it))).result["proof"][0]["restored"] == "absent"
        assert not (tmp_path / "new").exists()

    play(tmp_path / "state", story)


def test_an_act_whose_snapshot_is_another_name_of_one_before_is_told_and_taken_back(tmp_path: Path) -> None:
    """Two acts change nothing, the third does: all three have one manifest, and it says what was there."""
    path = tmp_path / "app.conf"

    async def story(rig: Rig) -> None:
        quiet = [job(f"quiet{n}", "true", files=(str(path),)) for n in range(2)]
        it = writing("r", path, "one")
        for each in (*quiet, it):
            result = await rig.act(each)
            assert result.ok, result.error
        assert len({(rig.folder(each) / MANIFEST).stat().st_ino for each in (*quiet, it)}) == 1
        assert next(proof for proof in result.evidence if proof["kind"] == "changes")["files"] == 1
        undone = await rig.act(rollback("r", it))
        assert undone.result["proof"][0]["restored"] == "absent"
        assert not path.exists()

    play(tmp_path / "state", story)


def test_an_act_whose_manifest_is_spoiled_meanwhile_still_tells_its_result(tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    manifest = tmp_path / "state" / "runs" / "r" / "step.1" / MANIFEST

    async def story(rig: Rig) -> None:
        await rig.act(job("quiet", "true", files=(str(path),)))
        result = await rig.act(job("r", "sh", "-c", 'echo spoiled > "$0"', str(manifest), files=(str(path),)))
        assert result.ok
        assert any("cannot be told" in proof.get("error", "") for proof in result.evidence)

    play(tmp_path / "state", story)


def test_an_attempt_whose_launcher_died_is_taken_back_too(tmp_path: Path) -> None:
    """Its manifest was durable before the act, so half an act can be undone."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "a").write_text("good")

    async def story(rig: Rig) -> None:
        script = 'echo bad > "$0/a"; echo extra > "$0/b"; sleep 600'
        it = job("r", "sh", "-c", script, str(folder), files=(str(folder),))
        rig.hands.start(it)
        await rig.watch(lambda: (folder / "b").exists() and (folder / "b").read_text())
        os.kill(decode_json((rig.folder(it) / "started").read_bytes())["pid"], signal.SIGKILL)
        assert (await rig.result(it)).result["died"]
        result = await rig.act(rollback("r", it))
        assert result.ok, result.error
        assert os.listdir(folder) == ["a"]
        assert (folder / "a").read_text() == "good"
        assert {line["path"] for line in result.result["proof"]} >= {f"{folder}/a", f"{folder}/b"}

    play(tmp_path / "state", story)


def test_force_goes_over_what_was_asked_about_and_over_nothing_else(tmp_path: Path) -> None:
    """A file beside it that somebody made or changed since is theirs."""
    folder = tmp_path / "conf"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text("good")

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'echo bad > "$0/a"', str(folder), files=(str(folder),))
        assert (await rig.act(it)).ok
        (folder / "a").write_text("theirs")
        (folder / "b").write_text("theirs")
        (folder / "new").write_text("theirs")
        asked = await rig.act(rollback("r", it))
        assert asked.result["conflicts"] == [f"{folder}/a"]
        forced = rollback("r", it)
        forced = replace(forced, params={**forced.params, "force": True}, attempt=2, folder="runs/r/rollback.2")
        result = await rig.act(forced)
        assert result.ok, result.error
        assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "good", "b": "theirs", "new": "theirs"}
        assert "changed" in result.result
        assert [line["path"] for line in result.result["proof"]] == [f"{folder}/a"]

    play(tmp_path / "state", story)


def test_a_rollback_that_failed_shows_no_difference_that_it_did_not_make(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(f"good {name}")

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'echo bad > "$0/a"; echo bad > "$0/b"', str(folder), files=(str(folder),))
        assert (await rig.act(it)).ok
        (bulk,) = (rig.state_dir / "blobs").glob("*/*.bulk")
        bulk.write_bytes(bulk.read_bytes().replace(b"good b", b"rotten"))
        result = await rig.act(rollback("r", it))
        assert not result.ok
        assert "/b" in result.error
        assert ((folder / "a").read_text(), (folder / "b").read_text()) == ("good a", "bad\n")
        assert [proof["kind"] for proof in result.evidence if proof["kind"] in ("proof", "diff")] == ["proof"]

    play(tmp_path / "state", story)


def test_a_record_of_an_act_that_is_too_long_to_read_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With none, all below what the act touched would count as the act's, and what others did since would go."""
    folder = str(tmp_path / "step.1")
    os.mkdir(folder)
    after.record(OsFiles(), folder, {})
    assert after.undone(OsFiles(), folder, {"roots": []}).after == {}
    monkeypatch.setattr(after, "RECORD_MAX", 10)
    with pytest.raises(OSError, match="longer than 10 bytes"):
        after.undone(OsFiles(), folder, {"roots": []})


def test_what_others_do_when_a_dead_act_was_found_is_theirs(tmp_path: Path) -> None:
    """The launcher could not write down how its act left things; who found it dead has."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "a").write_text("good")
    (folder / "b").write_text("good")

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'echo bad > "$0/a"; sleep 600', str(folder), files=(str(folder),))
        rig.hands.start(it)
        await rig.watch(lambda: (folder / "a").read_text() == "bad\n")
        os.kill(decode_json((rig.folder(it) / "started").read_bytes())["pid"], signal.SIGKILL)
        assert (await rig.result(it)).result["died"]
        (folder / "b").write_text("theirs")
        (folder / "new").write_text("theirs")
        result = await rig.act(rollback("r", it))
        assert result.ok, result.error
        assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "good", "b": "theirs", "new": "theirs"}
        assert [line["path"] for line in result.result["proof"]] == [f"{folder}/a"]

    play(tmp_path / "state", story)


def test_an_attempt_that_never_acted_has_nothing_to_take_back(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        it = writing("r", tmp_path / "x", "one")
        assert (await rig.hands.recover(it)).fate == "voided"
        result = await rig.act(rollback("r", it))
        assert result.ok
        assert result.result == {"proof": [], "changed": 0, "attempts": 0, "irreversible": []}

    play(tmp_path / "state", story)


def test_a_rollback_that_cannot_reach_its_file_calls_a_person(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "a").write_text("good")

    async def story(rig: Rig) -> None:
        it = writing("r", folder / "a", "bad")
        assert (await rig.act(it)).ok
        folder.rename(tmp_path / "moved")
        folder.symlink_to(tmp_path / "moved")
        result = await rig.act(rollback("r", it))
        assert not result.ok
        assert str(folder) in result.error
        assert result.next == ("human_check",)
        assert (tmp_path / "moved" / "a").read_text() == "bad"

    play(tmp_path / "state", story)


# --- what somebody else changed ---------------------------------------------------------------------------------------


def test_what_somebody_else_changed_since_our_act_is_asked_about_and_nothing_is_put_back(tmp_path: Path) -> None:
    """Not even the other file: half a configuration is worse than either. Forced, all of it is."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("good one")
    two.write_text("good two")

    async def story(rig: Rig) -> None:
        first, second = writing("r", one, "bad one"), replace(writing("r", two, "bad two"), step="b", folder="runs/r/b.1")
        assert (await rig.act(first)).ok
        assert (await rig.act(second)).ok
        two.write_text("a person's own")
        asked = await rig.act(rollback("r", first, second))
        assert not asked.ok
        assert asked.result["conflicts"] == [str(two)]
        assert "--force" in asked.error
        assert (one.read_text(), two.read_text()) == ("bad one", "a person's own")
        it = rollback("r", first, second)
        forced = replace(it, params={**it.params, "force": True}, attempt=2, folder="runs/r/rollback.2")
        result = await rig.act(forced)
        assert result.ok, result.error
        assert (one.read_text(), two.read_text()) == ("good one", "good two")

    play(tmp_path / "state", story)


def test_a_refused_rollback_shows_what_stands_there_against_what_the_act_left(tmp_path: Path) -> None:
    """Line by line, without secrets; with the whole command that goes over it."""
    path = tmp_path / "app.conf"
    path.write_text("good\n")

    async def story(rig: Rig) -> None:
        it = writing("r", path, "listen 81\npassword=geheim123\n")
        assert (await rig.act(it)).ok
        path.write_text("listen 82\npassword=geheim123\n")
        asked = await rig.act(rollback("r", it))
        assert asked.error.endswith("aios runs rollback r --force")
        blobs = BlobFolder(OsFiles(), str(rig.state_dir / "blobs"))
        (shown,) = [one for one in asked.evidence if one["kind"] == "conflict"]
        text = blobs.get(shown["blob"]).decode()
        assert text.startswith(f"{path}: the act left it sha256:")
        assert "-listen 81\n+listen 82\n" in text
        assert "geheim" not in text

    play(tmp_path / "state", story)


def test_a_rollback_tells_what_it_changed_from_what_stood_to_what_is_back(tmp_path: Path) -> None:
    """Not what the act did; and nothing of what others changed beside it."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "ours").write_text("good\n")
    (folder / "theirs").write_text("old\n")

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'echo bad > "$0/ours"', str(folder), files=(str(folder),))
        assert (await rig.act(it)).ok
        (folder / "theirs").write_text("new\n")
        result = await rig.act(rollback("r", it))
        (diff,) = [one for one in result.evidence if one["kind"] == "diff"]
        text = BlobFolder(OsFiles(), str(rig.state_dir / "blobs")).get(diff["blob"]).decode()
        assert "-bad\n+good\n" in text
        assert "theirs" not in text

    play(tmp_path / "state", story)


def test_an_act_that_never_began_has_nothing_that_stands(tmp_path: Path) -> None:
    """Without a snapshot there is no act: a rollback does not say then that what it did is not taken back."""

    async def story(rig: Rig) -> None:
        it = call("r", "run_job", {"argv": ["true"]}, touches=Touches(units=("nobody-knows.service",)))
        refused = await rig.act(it)
        assert "so no act" in refused.error
        result = await rig.act(rollback("r", it))
        assert "unsaved" not in result.result

    play(tmp_path / "state", story)


def test_an_act_that_named_nothing_is_said_to_stand(tmp_path: Path) -> None:
    """A command's work of which nothing was saved is not taken back, and the rollback does not pretend so."""

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'echo x > "$0"', str(tmp_path / "made"))
        assert (await rig.act(it)).ok
        result = await rig.act(rollback("r", it))
        assert result.ok, result.error
        assert result.result["unsaved"] == ["step.1"]
        assert (tmp_path / "made").exists()

    play(tmp_path / "state", story)


def test_what_our_act_did_not_change_is_left_to_who_did(tmp_path: Path) -> None:
    """A folder that an act wrote one file in; since then somebody else wrote another, and added a third."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "ours").write_text("good")
    (folder / "theirs").write_text("old")

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'echo bad > "$0/ours"', str(folder), files=(str(folder),))
        assert (await rig.act(it)).ok
        (folder / "theirs").write_text("new")
        (folder / "added").write_text("new")
        result = await rig.act(rollback("r", it))
        assert result.ok, result.error
        assert [line["path"] for line in result.result["proof"]] == [f"{folder}/ours"]
        assert [(folder / name).read_text() for name in ("ours", "theirs", "added")] == ["good", "new", "new"]

    play(tmp_path / "state", story)


def test_what_somebody_put_into_a_folder_that_our_act_made_is_asked_about(tmp_path: Path) -> None:
    folder = tmp_path / "new"

    async def story(rig: Rig) -> None:
        it = job("r", "sh", "-c", 'mkdir "$0"; echo x > "$0/ours"', str(folder), files=(str(folder),))
        assert (await rig.act(it)).ok
        (folder / "theirs").write_text("precious")
        asked = await rig.act(rollback("r", it))
        assert asked.result["conflicts"] == [f"{folder}/theirs"]
        assert (folder / "ours").exists()
        (folder / "theirs").unlink()
        again = replace(rollback("r", it), attempt=2, folder="runs/r/rollback.2")
        assert (await rig.act(again)).ok
        assert not folder.exists()

    play(tmp_path / "state", story)


def test_an_act_tells_what_it_changed_as_text_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    path.write_text("listen 80\npassword=geheim123\n")

    async def story(rig: Rig) -> None:
        result = await rig.act(writing("r", path, "listen 81\npassword=geheim123\nuser=me\n"))
        blobs = BlobFolder(OsFiles(), str(rig.state_dir / "blobs"))
        (changes,) = [one for one in result.evidence if one["kind"] == "changes"]
        (diff,) = [one for one in result.evidence if one["kind"] == "diff"]
        assert changes["files"] == 1
        (line,) = decode_json(blobs.get(changes["blob"]))
        assert line["path"] == str(path)
        text = blobs.get(diff["blob"]).decode()
        assert "-listen 80\n+listen 81\n" in text
        assert "geheim" not in text

    play(tmp_path / "state", story)


def test_a_rollback_whose_bytes_are_gone_says_so_and_touches_nothing(tmp_path: Path) -> None:
    """Days later, when the time of what was saved is over."""
    path = tmp_path / "app.conf"
    path.write_text("good")

    async def story(rig: Rig) -> None:
        it = writing("r", path, "bad")
        assert (await rig.act(it)).ok
        for bulk in (rig.state_dir / "blobs").glob("*/*.bulk"):
            bulk.unlink()
        result = await rig.act(rollback("r", it))
        assert not result.ok
        assert "snapshots.keep_days" in result.error
        assert path.read_text() == "bad"
        shutil.rmtree(rig.state_dir / "runs" / "r" / "step.1")
        gone = await rig.act(replace(rollback("r", it), attempt=2, folder="runs/r/rollback.2"))
        assert "is gone" in gone.error

    play(tmp_path / "state", story)


# --- last-good copies -----------------------------------------------------------------------------------------------

OWNER = {"playbook": "web-down", "subject": "web.service"}


def test_a_rollback_may_take_longer_the_more_bytes_were_saved(tmp_path: Path) -> None:
    """Ten megabytes a second: gigabytes are put back even where its call has no time at all."""
    path = tmp_path / "large"
    path.write_bytes(bytes(300 << 20))

    async def story(rig: Rig) -> None:
        large = writing("r", path, "one")
        assert (await rig.act(large)).ok
        state = str(tmp_path / "state")
        assert more_time_s([large.folder], state, OsFiles()) == 30.0
        assert more_time_s([large.folder] * 200, state, OsFiles()) == ROLLBACK_MORE_MAX_S
        assert more_time_s(["../elsewhere"], state, OsFiles()) == 0.0
        result = await rig.act(replace(rollback("r", large), timeout_s=0.0))
        assert result.ok, result.error
        assert path.stat().st_size == 300 << 20

    play(tmp_path / "state", story)


def keeping(run: str, *paths: Path, **more: Any) -> SkillCall:
    return call(run, "keep_copy", {"files": [str(path) for path in paths], **OWNER, **more})


def restoring(run: str, *paths: Path, **env: Any) -> SkillCall:
    files = [str(path) for path in paths]
    params = {"files": files, "from": "last_good"}
    return call(run, "restore_files", params, touches=Touches(files=tuple(files)), env={**OWNER, **env})


def test_a_last_good_copy_heals_what_something_else_broke(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    (folder / "d").mkdir(parents=True)
    (folder / "main").write_text("good")
    (folder / "d" / "x").write_text("good too")

    async def story(rig: Rig) -> None:
        kept = await rig.act(keeping("k", folder))
        assert kept.ok, kept.error
        assert kept.result["kept"]
        name = kept.result["manifest"]
        assert (tmp_path / "state" / "blobs" / name[:2] / name).exists()
        (folder / "main").write_text("corrupt")
        (folder / "extra").write_text("?")
        healed = await rig.act(restoring("r", folder))
        assert healed.ok, healed.error
        assert (folder / "main").read_text() == "good"
        assert sorted(os.listdir(folder)) == ["d", "main"]
        (line,) = [line for line in healed.result["proof"] if line["path"] == f"{folder}/main"]
        assert sha("good") in line["restored"]
        assert sha("corrupt") in line["after_act"]
        (folder / "d" / "x").write_text("corrupt")
        assert (await rig.act(restoring("r2", folder / "d"))).ok
        assert (folder / "d" / "x").read_text() == "good too"
        # It is an act like any other: a run that does not heal takes it back.
        undone = await rig.act(rollback("r2", restoring("r2", folder / "d")))
        assert undone.ok, undone.error
        assert (folder / "d" / "x").read_text() == "corrupt"

    play(tmp_path / "state", story)


def test_some_generations_are_kept_and_the_newest_is_used_unless_another_is_named(tmp_path: Path) -> None:
    path = tmp_path / "conf"

    async def story(rig: Rig) -> None:
        for n in range(4):
            path.write_text(f"good {n}")
            for run in (f"k{n}", f"again{n}"):
                it = keeping(run, path)
                assert (await rig.act(replace(it, env={**it.env, "generations": 2}))).ok
        folder = keep.folder_of(str(rig.state_dir), OWNER["playbook"], OWNER["subject"])
        assert sorted(os.listdir(folder)) == ["00000003.manifest.json", "00000004.manifest.json"]
        path.write_text("bad")
        assert (await rig.act(restoring("r", path))).ok
        assert path.read_text() == "good 3"
        older = restoring("r2", path)
        assert (await rig.act(replace(older, params={**older.params, "generation": 3}))).ok
        assert path.read_text() == "good 2"
        gone = replace(restoring("r3", path), params={**older.params, "generation": 1})
        assert "no last-good copy" in (await rig.act(gone)).error

    play(tmp_path / "state", story)


def test_a_file_that_changed_since_its_subject_started_is_not_known_to_be_good(tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("spoiled under a running service")

    async def story(rig: Rig) -> None:
        refused = await rig.act(keeping("k", path, older_than=path.stat().st_ctime - 1))
        assert not refused.ok
        assert refused.result["kept"] is False
        nothing = await rig.act(keeping("k2", tmp_path / "nowhere"))
        assert "nothing to keep" in nothing.error
        assert (await rig.act(keeping("k3", path, older_than=path.stat().st_ctime + 1))).ok

    play(tmp_path / "state", story)


def test_what_was_never_kept_cannot_be_restored_and_nothing_is_touched(tmp_path: Path) -> None:
    path, other = tmp_path / "conf", tmp_path / "other"
    path.write_text("good")
    other.write_text("mine")

    async def story(rig: Rig) -> None:
        assert (await rig.act(keeping("k", path))).ok
        path.write_text("bad")
        result = await rig.act(restoring("r", path, other))
        assert "no last-good copy" in result.error
        assert path.read_text() == "bad"
        elsewhere = await rig.act(restoring("r2", path, playbook="another"))
        assert "no last-good copy" in elsewhere.error

    play(tmp_path / "state", story)


# --- cleanup --------------------------------------------------------------------------------------------------------


def cleaning(run: str, *paths: Path, keep: int = 0, **env: Any) -> SkillCall:
    files = tuple(map(str, paths))
    params = {"paths": list(files), "older_than": 3600.0, "keep": keep}
    return call(run, "cleanup_files", params, touches=Touches(files=files), env=env)


def test_only_old_files_go_and_a_manifest_with_hashes_stays(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "sub").mkdir(parents=True)
    for n, name in enumerate(["old1", "old2", "sub/old3", "new"]):
        (folder / name).write_text(name * 100)
        if name != "new":
            os.utime(folder / name, (1000 + n, 1000 + n))
    (folder / "link").symlink_to("new")

    async def story(rig: Rig) -> None:
        refused = await rig.act(cleaning("no", folder, disposable=[str(tmp_path / "other")]))
        assert "disposable" in refused.error
        assert len(list(folder.iterdir())) == 5
        it = cleaning("yes", folder, keep=2, disposable=[str(tmp_path)])
        result = await rig.act(it)
        assert result.ok, result.error
        assert result.result["deleted"] == 2
        lines = [decode_json(line) for line in Path(result.evidence[0]["path"]).read_bytes().splitlines()]
        assert {line["path"]: line["sha256"] for line in lines} == {
            f"{folder}/{name}": sha(name * 100) for name in ("old1", "old2")
        }
        assert sorted(path.name for path in folder.iterdir()) == ["link", "new", "sub"]
        assert not (rig.state_dir / "blobs").exists()
        undone = await rig.act(rollback("yes", it))
        assert undone.ok
        assert undone.result["irreversible"] == [str(folder)]
        approved = await rig.act(cleaning("approved", folder, approved=True))
        assert approved.result["deleted"] == 1

    play(tmp_path / "state", story)


def test_a_folder_that_is_not_there_has_nothing_to_delete(tmp_path: Path) -> None:
    """A machine without apt has no old downloads of apt: that is no failure."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "old").write_text("x")
    os.utime(there / "old", (1000, 1000))

    async def story(rig: Rig) -> None:
        alone = await rig.act(cleaning("alone", tmp_path / "no" / "such" / "folder", disposable=[str(tmp_path)]))
        assert alone.ok, alone.error
        assert alone.result == {"deleted": 0, "freed_mb": 0.0, "left": 0}
        beside = await rig.act(cleaning("beside", tmp_path / "none", there, disposable=[str(tmp_path)]))
        assert beside.ok, beside.error
        assert beside.result["deleted"] == 1

    play(tmp_path / "state", story)
