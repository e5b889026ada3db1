"""The playbooks in force: a folder is reloaded as a whole or not at all, and what was in force is found again."""

from __future__ import annotations

import asyncio

import pytest

from aios.events.event import Draft
from aios.playbooks.run import Run
from aios.playbooks.yaml_strict import unreadable
from aios.reactor import shelf as shelf_room
from aios.reactor.shelf import Shelf, names_of
from aios.testing.blobs import SimBlobs
from aios.testing.bodies import specs
from tests.unit.reactor.rig import Rig, play, playbook

SKILLS = specs()


def text(name: str, on: str = "a.b", more: str = "") -> str:
    return f"playbook: {name}\ndescription: d\non: {{type: {on}}}\nsteps: [{{id: l, observe: read_logs}}]\n{more}"


def loaded(drafts: tuple[Draft, ...]) -> dict[str, str]:
    (draft,) = [draft for draft in drafts if draft.type == "playbook.loaded"]
    return dict(draft.data["playbooks"])


def test_a_broken_file_keeps_its_last_good_version_and_says_where_it_broke() -> None:
    shelf = Shelf(SimBlobs(), SKILLS)
    shelf.reload({"/a.yaml": text("a"), "/b.yaml": text("b")})
    good = shelf.by_name["a"]
    (invalid,) = shelf.reload({"/a.yaml": text("a") + "nonsense: 1\n", "/b.yaml": text("b")})
    assert (invalid.type, invalid.data["path"], invalid.data["line"]) == ("playbook.invalid", "/a.yaml", 5)
    assert shelf.by_name["a"] == good
    assert shelf.reload({"/a.yaml": text("a") + "nonsense: 1\n", "/b.yaml": text("b")}) == ()
    assert loaded(shelf.reload({"/a.yaml": text("a", "c.d"), "/b.yaml": text("b")}))["a"] != good.hash
    assert shelf.errors == ()


def test_a_change_of_one_file_reads_no_other_again() -> None:
    """A folder of a thousand must not hold up the daemon each time that somebody saves."""
    shelf = Shelf(SimBlobs(), SKILLS)
    shelf.reload({"/a.yaml": text("a"), "/b.yaml": text("b")})
    before = dict(shelf.by_name)
    shelf.reload({"/a.yaml": text("a"), "/b.yaml": text("b", "c.d")})
    assert shelf.by_name["a"] is before["a"]
    assert shelf.by_name["b"].types == ("c.d",)
    shelf.reload({"/a.yaml": text("a"), "/b.yaml": text("b", "e.f"), "/broken.yaml": "["})
    (waits,) = [playbook for (path, _), playbook in shelf._known.items() if playbook.types == ("e.f",)]
    shelf.reload({"/a.yaml": text("a"), "/b.yaml": text("b", "e.f")})
    assert (shelf.by_name["a"], shelf.by_name["b"]) == (before["a"], waits)
    assert shelf.by_name["b"] is waits
    shelf.reload({"/moved.yaml": text("a"), "/b.yaml": text("b")})
    assert (shelf.by_name["a"].path, shelf.by_name["b"].types) == ("/moved.yaml", ("a.b",))


def test_a_folder_comes_into_force_as_a_whole_or_not_at_all() -> None:
    """One file is broken: no other change of its folder counts, be it a changed, a new or a removed file, until it is mended."""
    shelf = Shelf(SimBlobs(), SKILLS)
    shelf.reload({"/p/a.yaml": text("a"), "/p/b.yaml": text("b"), "/p/c.yaml": text("c"), "/q/d.yaml": text("d")})
    before = dict(shelf.by_name)
    after = {"/p/a.yaml": "[", "/p/b.yaml": text("b", "x.y"), "/p/new.yaml": text("new"), "/q/d.yaml": text("d", "x.y")}
    invalid, told = shelf.reload(after)
    assert (invalid.data["path"], invalid.data["waiting"]) == ("/p/a.yaml", ["/p/b.yaml", "/p/c.yaml", "/p/new.yaml"])
    assert shelf.waiting == {"/p": ("/p/b.yaml", "/p/c.yaml", "/p/new.yaml")}
    assert {name: shelf.by_name[name] for name in "abc"} == {name: before[name] for name in "abc"}
    assert (set(shelf.by_name), shelf.by_name["d"].types) == ({"a", "b", "c", "d"}, ("x.y",)), "the other folder is not held up"
    assert set(loaded((told,))) == {"a", "b", "c", "d"}
    (told,) = shelf.reload({**after, "/p/a.yaml": text("a", "x.y")})
    assert set(loaded((told,))) == {"a", "b", "d", "new"}
    assert ({p.types for name, p in shelf.by_name.items() if name != "new"}, shelf.waiting) == ({("x.y",)}, {})


def test_what_a_held_folder_breaks_in_another_holds_that_one_too() -> None:
    """Its ladder would lead to a playbook that is not in force yet: both wait, and come together."""
    shelf = Shelf(SimBlobs(), SKILLS)
    shelf.reload({"/p/a.yaml": text("a"), "/q/d.yaml": text("d")})
    leans = text("d", more="on_failure: [{fallback: new}]\n")
    errors = shelf.reload({"/p/a.yaml": "[", "/p/new.yaml": text("new"), "/q/d.yaml": leans, "/q/e.yaml": text("e")})
    assert [(draft.type, draft.data["path"]) for draft in errors] == [
        ("playbook.invalid", "/p/a.yaml"),
        ("playbook.invalid", "/q/d.yaml"),
    ]
    assert shelf.waiting == {"/p": ("/p/new.yaml",), "/q": ("/q/e.yaml",)}
    shelf.reload({"/p/a.yaml": text("a"), "/p/new.yaml": text("new"), "/q/d.yaml": leans, "/q/e.yaml": text("e")})
    assert (set(shelf.by_name), shelf.errors, shelf.waiting) == ({"a", "d", "e", "new"}, (), {})


def test_a_ladder_that_another_folder_leaves_without_its_end_stays_in_force() -> None:
    """The playbook that it fell back to was removed: it heals on, its folder waits, and a restart changes nothing of that."""
    blobs = SimBlobs()
    shelf = Shelf(blobs, SKILLS)
    leans = text("d", more="on_failure: [{fallback: a}]\n")
    shelf.reload({"/p/a.yaml": text("a"), "/q/d.yaml": leans})
    invalid, told = shelf.reload({"/p/b.yaml": text("b"), "/q/d.yaml": leans})
    assert (invalid.data["path"], set(loaded((told,)))) == ("/q/d.yaml", {"b", "d"})
    again = Shelf(blobs, SKILLS)
    assert {one.name for one in again.recall(told.data["playbooks"], told.data["paths"]).playbooks} == {"b", "d"}
    again.reload({"/p/b.yaml": text("b"), "/q/d.yaml": leans})
    assert set(again.by_name) == {"b", "d"}


def test_where_nothing_is_in_force_yet_what_can_be_used_is_taken() -> None:
    """At the first start, and of a folder that is new, there is no set to keep."""
    shelf = Shelf(SimBlobs(), SKILLS)
    broken_ladder = text("c", more="on_failure: [{fallback: a}]\n")
    invalid, also, told = shelf.reload({"/p/a.yaml": "[", "/p/b.yaml": text("b"), "/p/c.yaml": broken_ladder})
    assert [(d.data["path"], d.data["waiting"]) for d in (invalid, also)] == [("/p/a.yaml", []), ("/p/c.yaml", [])]
    assert (set(loaded((told,))), shelf.waiting) == ({"b"}, {})
    shelf.reload({"/p/a.yaml": "[", "/p/b.yaml": text("b"), "/p/c.yaml": broken_ladder, "/q/d.yaml": text("d"), "/q/e.yaml": "["})
    assert set(shelf.by_name) == {"b", "d"}


def test_a_folder_that_was_broken_while_the_daemon_was_down_stays_as_it_was_before() -> None:
    """The journal knows what was in force, also of the files that are well and were changed."""
    blobs = SimBlobs()
    (told,) = Shelf(blobs, SKILLS).reload({"/p/a.yaml": text("a"), "/p/b.yaml": text("b")})
    shelf = Shelf(blobs, SKILLS)
    shelf.recall(told.data["playbooks"], told.data["paths"])
    shelf.reload({"/p/a.yaml": "[", "/p/b.yaml": text("b", "x.y"), "/p/c.yaml": text("c")})
    assert {name: playbook.types for name, playbook in shelf.by_name.items()} == {"a": ("a.b",), "b": ("a.b",)}


def test_a_folder_that_cannot_be_read_changes_nothing() -> None:
    """Neither what it holds nor that it holds nothing is known."""
    shelf = Shelf(SimBlobs(), SKILLS)
    shelf.reload({"/p/a.yaml": text("a"), "/q/b.yaml": text("b")})
    (invalid, told) = shelf.reload({"/p/": unreadable("it cannot be read"), "/q/b.yaml": text("b", "x.y")})
    assert (invalid.data["path"], invalid.data["message"]) == ("/p/", "it cannot be read")
    assert set(loaded((told,))) == {"a", "b"}
    assert shelf.by_name["b"].types == ("x.y",)


def test_a_removed_file_leaves_even_when_it_was_broken() -> None:
    shelf = Shelf(SimBlobs(), SKILLS)
    shelf.reload({"/a.yaml": text("a"), "/b.yaml": text("b")})
    shelf.reload({"/a.yaml": "broken: [", "/b.yaml": text("b")})
    assert set(loaded(shelf.reload({"/b.yaml": text("b")}))) == {"b"}
    assert loaded(shelf.reload({})) == {}


def test_the_texts_are_blobs_before_they_are_named() -> None:
    blobs = SimBlobs()
    shelf = Shelf(blobs, SKILLS)
    for name, blob in loaded(shelf.reload({"/a.yaml": text("a")})).items():
        assert blobs.get(blob).decode() == text(name)
    assert names_of({"/a.yaml": text("a")}) == {shelf.by_name["a"].hash}


def test_what_was_in_force_before_a_restart_is_the_last_good_version_after_it() -> None:
    """The file was broken while the daemon was down: its version from before stays in force."""
    blobs = SimBlobs()
    (told,) = Shelf(blobs, SKILLS).reload({"/a.yaml": text("a")})
    shelf = Shelf(blobs, SKILLS)
    before = shelf.recall(told.data["playbooks"], told.data["paths"])
    assert [one.name for one in before.playbooks] == ["a"]
    drafts = shelf.reload({"/a.yaml": "broken: ["})
    assert [draft.type for draft in drafts] == ["playbook.invalid", "playbook.loaded"]
    assert loaded(drafts) == told.data["playbooks"]
    assert drafts[1].data["invalid"] == ["/a.yaml"]
    assert set(shelf.by_name) == {"a"}


def test_a_file_that_is_put_back_as_it_was_is_told_mended() -> None:
    """Nothing else is in force than before, but one error is gone: so says a load, and which errors are left."""
    shelf = Shelf(SimBlobs(), SKILLS)
    well = {"/a.yaml": text("a"), "/b.yaml": text("b")}
    shelf.reload(well)
    assert [d.type for d in shelf.reload({"/a.yaml": "", "/b.yaml": "["})] == ["playbook.invalid", "playbook.invalid"]
    *invalid, again = shelf.reload({"/a.yaml": text("a"), "/b.yaml": "["})
    assert ([d.data["path"] for d in invalid], again.data["invalid"]) == (["/b.yaml"], ["/b.yaml"])
    (again,) = shelf.reload(well)
    assert (again.type, again.data["invalid"]) == ("playbook.loaded", [])


def test_a_folder_is_read_when_it_is_still_and_within_a_second_at_most() -> None:
    """An editor empties a file before it writes it: nobody is told of an empty playbook."""

    async def story(rig: Rig) -> None:
        whole = rig.texts["/playbooks/0.yaml"]
        rig.texts["/playbooks/0.yaml"] = ""
        rig.daemon.reload_soon()
        await asyncio.sleep(0.025)
        rig.texts["/playbooks/0.yaml"] = whole.replace("work.broken", "work.other")
        rig.daemon.reload_soon()
        await rig.until(lambda: rig.daemon.shelf.by_name["first"].types == ("work.other",))
        assert rig.events("playbook.invalid") == []
        rig.texts["/playbooks/0.yaml"] = ""
        for _ in range(10):  # it is never still
            rig.daemon.reload_soon()
            await asyncio.sleep(0.15)
        assert len(rig.events("playbook.invalid")) == 1

    play(story, playbook("first"))


def test_that_everything_was_removed_while_it_was_down_is_told() -> None:
    blobs = SimBlobs()
    (told,) = Shelf(blobs, SKILLS).reload({"/a.yaml": text("a")})
    shelf = Shelf(blobs, SKILLS)
    shelf.recall(told.data["playbooks"], told.data["paths"])
    assert loaded(shelf.reload({})) == {}


def test_own_types_are_told_where_they_are_named_exactly() -> None:
    shelf = Shelf(SimBlobs(), SKILLS)
    (draft,) = shelf.reload({"/a.yaml": text("a", "timer.due"), "/b.yaml": text("b", "[score.degraded, service.down]")})
    assert draft.data["own_types"] == ["score.degraded", "timer.due"]


def test_a_runs_own_text_is_found_by_its_hash_and_a_lost_one_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts came since."""
    monkeypatch.setattr(shelf_room, "TEXTS_MAX", 3)
    blobs = SimBlobs()
    shelf = Shelf(blobs, SKILLS)
    shelf.reload({"/a.yaml": text("a")})
    first = shelf.by_name["a"]
    for n in range(10):
        shelf.reload({"/a.yaml": text("a", f"x.y{n}")})
    assert shelf.of(Run("r", playbook="a", hash=first.hash)).types == ("a.b",)
    lost = shelf.of(Run("r", playbook="a", hash="0" * 64))
    assert (lost.steps, lost.verify) == ((), ())


def test_hot_reload_in_the_living_daemon() -> None:
    """A new file is in force at once; a broken one changes nothing; a removed one matches no more."""

    async def story(rig: Rig) -> None:
        rig.texts["/playbooks/new.yaml"] = playbook("new", "work.new")
        assert (await rig.do("reload"))["playbooks"] == 2
        rig.ill.add("job:1")
        await rig.emit("work.new")
        await rig.until_event("run.healed")
        rig.texts["/playbooks/new.yaml"] = "playbook: ["
        assert len((await rig.do("reload"))["errors"]) == 1
        rig.ill.add("job:2")
        await rig.emit("work.new", "job:2")
        await rig.until_event("run.healed", count=2)
        await rig.restart()
        rig.ill.add("job:3")
        await rig.emit("work.new", "job:3")
        await rig.until_event("run.healed", count=3)
        del rig.texts["/playbooks/new.yaml"]
        await rig.do("reload")
        gone = await rig.emit("work.new", "job:4")
        await rig.until_quiet()
        assert rig.verdicts(gone) == []

    play(story, playbook("first"))


def test_so_many_playbooks_that_their_names_fit_no_line_survive_a_restart() -> None:
    """The journal's line names a blob; the world reads it, so that what was in force is known after a restart."""

    async def story(rig: Rig) -> None:
        (told,) = rig.events("playbook.loaded")
        assert set(told.data["playbooks"]) == {"blob", "bytes"}
        assert len(rig.daemon.world.playbooks) == 520
        rig.texts["/playbooks/0.yaml"] = playbook("a" * 64, "c.d")
        await rig.restart()
        assert rig.daemon.world.playbooks["a" * 64] == rig.daemon.shelf.by_name["a" * 64].hash
        assert len(rig.daemon.world.playbooks) == 520

    def looks(name: str) -> str:
        return text(name).replace("read_logs", "fact")

    play(story, looks("a" * 64), *(looks(f"{n:03d}{'b' * 61}") for n in range(519)))
