"""What a person may ask and say at the control socket: each answer is right, each refusal says what to do, no word is a bug.

Runs, approvals, pause and dead letters are told with the reactor's tests; here are the words themselves.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios.verbs import acts
from aios.verbs.events import EMIT_MAX
from aios.verbs.followers import FOLLOWER_QUEUE_MAX
from aios.verbs.handler import VERBS
from tests.unit.reactor.rig import PEER, Rig, play, playbook


def test_status_says_what_stands() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("service.down", "a.service")
        await rig.do("pause", reason="tests")
        said = await rig.do("status")
        assert said["playbooks"] == 1
        assert [one["subject"] for one in said["symptoms"]] == ["a.service"]
        assert (said["paused"]["by"], said["paused"]["since"]) == ("ann", rig.events("daemon.paused")[0].arrival)
        assert said["mode_max"] == "auto"

    play(story, playbook("mender"))


def test_a_playbook_in_force_is_told_with_its_text_and_whether_its_file_is_broken() -> None:
    """The last good version stays in force; a person can read it."""

    async def story(rig: Rig) -> None:
        (path,) = rig.texts
        good = rig.texts[path]
        assert (await rig.do("playbook", name="mender"))["text"] == good
        rig.texts[path] = good.replace("act: mend,", "act: medn,")
        await rig.do("reload")
        said = await rig.do("playbook", name="mender")
        assert (said["text"], said["broken"]) == (good, True)
        rig.texts["/playbooks/new.yaml"] = playbook("new")
        answer = await rig.do("reload")
        assert (answer["playbooks"], answer["waiting"]) == (1, {"/playbooks": ["/playbooks/new.yaml"]})
        assert (await rig.do("playbooks"))["waiting"] == (await rig.do("doctor"))["waiting"] == answer["waiting"]
        refused = await rig.ask("playbook", name="mend")
        assert (refused.error, refused.hint) == ("there is no playbook 'mend' in force", "did you mean 'mender'?")

    play(story, playbook("mender"))


def test_a_service_is_found_by_its_name_and_one_that_nobody_knows_is_refused() -> None:
    """Before anything is tried, and with what was meant."""

    async def story(rig: Rig) -> None:
        unit = "web.service"
        rig.machine.units.add(unit)
        house = rig.daemon.verbs.house
        assert await acts.subject_of(house, unit.removesuffix(".service")) == unit
        assert await acts.subject_of(house, unit) == unit
        near = await rig.ask("service_start", subject=unit.replace(".service", ".servce"))
        assert (near.ok, near.hint) == (False, f"did you mean {unit!r}?")
        for name in ("nope.service", "qqqqqqqq"):
            answer = await rig.ask("service_stop", subject=name)
            assert answer.error == f"there is no service {name!r}"
            assert "the settings list" in answer.hint
        by_skill = await rig.ask("skill_run", skill="stop_service", params={"unit": "qqqqqqqq.service"}, dry=False)
        assert by_skill.error == "there is no service 'qqqqqqqq.service'"

    play(story, playbook("mender"))


def test_a_silence_of_what_nobody_knows_is_set_and_said() -> None:
    """A subject may come later; what is like it, and known, is named."""

    async def story(rig: Rig) -> None:
        await rig.emit("service.down", "web.service")
        rig.machine.units.add("db.service")
        for known in ("web.service", "db.service", "w*.service", "host", "mender"):
            assert "unknown" not in await rig.do("silence", what=known, **{"for": "1h"})
        said = await rig.do("silence", what="wbe.service", **{"for": "1h"})
        assert said["unknown"] == "no subject wbe.service is known so far, and no playbook; did you mean 'web.service'?"
        assert "'mender'" in (await rig.do("silence", what="mendr", **{"for": "1h"}))["unknown"]
        assert len((await rig.do("silences"))["silences"]) == 7

    play(story, playbook("mender"))


def test_runs_are_listed_open_first_then_newest_first() -> None:
    async def story(rig: Rig) -> None:
        for n in range(3):
            rig.ill.add(f"job:{n}")
            await rig.emit(subject=f"job:{n}")
            await rig.until_event("run.healed", count=n + 1)
        listed = (await rig.do("runs", limit=2))["runs"]
        assert [one["subject"] for one in listed] == ["job:2", "job:1"]
        assert (await rig.do("runs", open=True))["runs"] == []
        whole = await rig.do("run", run=listed[0]["id"][:8])
        assert (whole["id"], whole["run"]["status"]) == (listed[0]["id"], "healed")

    play(story, playbook("mender"))


def test_explain_says_what_was_considered_and_what_was_decided() -> None:
    """For every event: which playbooks were looked at, why each ran or did not."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        event = await rig.emit()
        await rig.until_event("run.healed")
        said = await rig.do("explain", event=event)
        assert {one["playbook"]: one["matched"] for one in said["considered"]} == {"mender": True, "picky": False}
        assert [one["type"] for one in said["decisions"]] == ["run.opened"]
        refused = await rig.ask("explain", event="nobody")
        assert "no event" in refused.error
        assert refused.hint

    play(story, playbook("mender"), playbook("picky", "work.broken, match: {subject: [other]}"))


def test_explain_says_which_of_several_goes_first_and_in_what_mode() -> None:
    """By priority, then by how narrowly it says what it is for, then by name."""

    async def story(rig: Rig) -> None:
        event = await rig.emit(subject="job:1")
        said = {one["playbook"]: one for one in (await rig.do("explain", event=event))["considered"]}
        assert said["urgent"]["order"] == "first"
        assert said["narrow"]["order"] == "after urgent: its priority is 0, not 1"
        assert said["a-wide"]["order"].startswith("after narrow: it says less narrowly what it is for")
        assert said["b-wide"]["order"] == "after a-wide: by its name, for all else is the same"
        assert (said["urgent"]["mode"], said["urgent"]["mode_in_force"]) == ("auto", "suggest")

    urgent = playbook("urgent", head="priority: 1")
    narrow = playbook("narrow", "work.broken, match: {subject: ['job:1']}")
    play(story, playbook("a-wide"), playbook("b-wide"), urgent, narrow, mode_max="suggest")


def test_emit_takes_all_or_nothing_and_never_an_own_type() -> None:
    async def story(rig: Rig) -> None:
        taken = await rig.do("emit", events=[{"type": "a.b", "id": "x1"}, {"type": "a.b", "id": "x2"}])
        assert len(taken["positions"]) == 2
        (first, _) = rig.events("a.b")
        assert (first.source, first.subject) == ("control/ann", "host")
        for bad in ({"type": "run.healed"}, {"no": "type"}, "text", {"type": "a.b", "data": [1]}):
            answer = await rig.ask("emit", events=[{"type": "a.b"}, bad])
            assert "event 2" in answer.error
        assert len(rig.events("a.b")) == 2
        for events in (None, [], "text", [{"type": "a.b"}] * (EMIT_MAX + 1)):
            assert not (await rig.ask("emit", events=events)).ok

    play(story, playbook("mender"))


def test_playbooks_are_switched_off_and_on_and_that_outlives_a_restart() -> None:
    async def story(rig: Rig) -> None:
        await rig.do("playbook_disable", name="mender")
        await rig.restart()
        event = await rig.emit()
        await rig.until_quiet()
        assert rig.verdicts(event) == []
        (listed,) = (await rig.do("playbooks"))["playbooks"]
        assert listed["enabled"] is False
        await rig.do("playbook_enable", name="mender")
        rig.ill.add("job:2")
        await rig.emit(subject="job:2")
        await rig.until_event("run.healed")
        assert "no playbook" in (await rig.ask("playbook_disable", name="nobody")).error

    play(story, playbook("mender"))


def test_what_its_own_file_switches_off_is_not_said_to_be_on() -> None:
    """The file is the place to switch it on; that is said, and nothing else happens."""

    async def story(rig: Rig) -> None:
        answer = await rig.ask("playbook_enable", name="mender")
        assert (answer.error, answer.hint) == (
            "/playbooks/0.yaml itself says enabled: false",
            "write enabled: true there",
        )
        assert rig.events("playbook.enabled") == []

    play(story, playbook("mender", head="enabled: false"))


def test_a_skill_by_hand_looks_at_once_and_acts_only_when_told_twice() -> None:
    """Acts are dry unless it is said otherwise; nothing protected is touched."""

    async def story(rig: Rig) -> None:
        looked = await rig.do("skill_run", skill="ill_check", params={"of": "x"})
        assert looked["result"]["verdict"] == "well"
        dry = await rig.do("skill_run", skill="stop_service", params={"unit": "web.service"})
        assert (dry["dry"], rig.events("daemon.act_intended")) == (True, [])
        assert "protected" in (await rig.ask("skill_run", skill="stop_service", params={"unit": "sshd.service"}, dry=False)).error
        assert "no skill" in (await rig.ask("skill_run", skill="nothing")).error
        assert "no parameter" in (await rig.ask("skill_run", skill="fact", params={"odd": 1})).error

    play(story, playbook("mender"))


def test_refusals_of_runs_say_what_to_do_instead() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.healed")).data["run"]
        for verb in ("approve", "deny", "cancel"):
            assert not (await rig.ask(verb, run=run)).ok
        assert "aios runs rollback" in (await rig.ask("cancel", run=run)).hint
        unknown = await rig.ask("approve", run="ffffffff")
        assert "aios runs list" in unknown.hint

    play(story, playbook("mender"))


def test_followers_hear_what_they_asked_for_and_a_slow_one_is_let_go() -> None:
    """One who cannot keep up costs the daemon nothing: the journal has it all."""

    async def story(rig: Rig) -> None:
        verbs = rig.daemon.verbs
        heard: list[str] = []

        async def follow() -> None:
            async for one in verbs.follow(PEER, {"types": ["work.*"]}):
                heard.append(one["event"]["id"])  # noqa: PERF401  it never ends by itself

        assert rig.process is not None
        task = rig.process.life.spawn(follow())
        slow = verbs.follow(PEER, {})
        await asyncio.sleep(0.1)
        await rig.emit("other.type", id="other")
        await rig.emit(id="mine")
        assert heard == ["mine"]
        for _ in range(FOLLOWER_QUEUE_MAX // EMIT_MAX + 1):
            await rig.do("emit", events=[{"type": "a.b"}] * EMIT_MAX)
        assert len(verbs.house.followers) == 1
        task.cancel()
        await slow.aclose()  # type: ignore[attr-defined]

    play(story, playbook("mender"))


def test_stop_ends_the_daemon_in_order() -> None:
    async def story(rig: Rig) -> None:
        await rig.do("stop")
        await rig.until(lambda: rig.process is not None and not rig.process.alive)
        assert rig.stored()[-1].event.type == "daemon.stopped"
        await rig.start()
        assert rig.events("daemon.started")[1].data["clean"] is True

    play(story, playbook("mender"))


def test_an_unknown_verb_is_refused() -> None:
    async def story(rig: Rig) -> None:
        assert "no verb" in (await rig.ask("fly")).error
        assert "no verb" in (await rig.ask("__init__")).error

    play(story, playbook("mender"))


ODD: Any = st.none() | st.booleans() | st.integers() | st.text(max_size=600) | st.lists(st.text(max_size=5), max_size=3)
NAMES = (
    *("run", "name", "event", "events", "letter", "subject", "skill", "params", "for", "reason", "limit", "open", "dry"),
    *("what", "all", "playbook", "silence", "to", "anyway", "from", "choice", "force", "files", "generation"),
)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "stop"])
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(args=st.lists(st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4), min_size=3, max_size=6))
def test_any_arguments_are_answered_and_end_nothing(verb: str, args: list[dict[str, Any]]) -> None:
    """Right or refused: whatever stands in a request, no word is a bug."""

    async def story(rig: Rig) -> None:
        for one in args:
            answer = await rig.ask(verb, **one)
            assert answer.ok or answer.error
        assert rig.died == []
        await rig.do("status")

    play(story, playbook("mender"))
