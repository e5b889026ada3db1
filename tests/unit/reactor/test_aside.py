"""Acts that are no run's: intended before they are begun, told when they ended, and ended when they take too long."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.reactor.rig import Rig, play, playbook


def test_an_act_by_hand_is_on_the_disk_before_it_begins_and_told_when_it_ended() -> None:
    async def story(rig: Rig) -> None:
        rig.machine.units.add("web.service")
        rig.machine.units.crash("web.service")
        told = await rig.do("service_restart", subject="web.service")
        assert told["ok"]
        kinds = [s.event.type for s in rig.stored() if s.event.type.startswith("daemon.act_")]
        assert kinds == ["daemon.act_intended", "daemon.act_done"]
        (intended,) = rig.events("daemon.act_intended")
        assert (intended.data["by"], intended.data["params"]["unit"]) == ("ann", "web.service")

    play(story, playbook("mender"))


def test_the_intent_is_durable_before_hands_hears_of_it() -> None:
    """The law of `Hands.start`, for acts by hand too."""

    async def story(rig: Rig) -> None:
        before: list[bool] = []
        start = type(rig.daemon.outside.hands).start

        def spy(self: object, call: object) -> None:
            before.append(bool(rig.events("daemon.act_intended")))
            start(self, call)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(rig.daemon.outside.hands), "start", spy)
            await rig.in_daemon(rig.daemon.aside.act("mend", {"of": "x"}, by="ann", why="a test"))
        assert before == [True]

    play(story, playbook("mender"))


def test_an_act_by_hand_that_hangs_ends_at_its_timeout() -> None:
    async def story(rig: Rig) -> None:
        began = rig.loop.time()
        result = await rig.in_daemon(rig.daemon.aside.act("hang", {}, by="ann", why="a test"))
        assert not result.ok
        assert rig.loop.time() - began < 25.0
        assert not rig.events("daemon.act_done")[0].data["ok"]

    play(story, playbook("mender"))


def test_what_is_protected_is_refused_by_hand_too() -> None:
    async def story(rig: Rig) -> None:
        answer = await rig.ask("service_stop", subject="sshd.service")
        assert "protected" in answer.error
        assert rig.events("daemon.act_intended") == []

    play(story, playbook("mender"))


def test_refused_parameters_and_unknown_skills_intend_nothing() -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(ValueError, match="no parameter"):
            await rig.in_daemon(rig.daemon.aside.act("mend", {"nonsense": 1}, by="ann", why="a test"))
        with pytest.raises(KeyError):
            await rig.in_daemon(rig.daemon.aside.act("nothing", {}, by="ann", why="a test"))
        assert rig.events("daemon.act_intended") == []

    play(story, playbook("mender"))


def test_a_run_that_asks_calls_a_person_once_with_the_words_that_answer_it() -> None:
    """Whoever does not look at the terminal learns that something waits for a yes; a restart does not call again."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("approval.requested")).data["run"][:8]
        (call,) = [await rig.until_event("daemon.act_intended")]
        assert call.data["params"]["level"] == "warning"
        said = f"job:1: asker asks to act: mend of=job:1: aios runs approve {run}, or aios runs deny {run}"
        assert (call.data["skill"], call.data["params"]["message"]) == ("notify", said)
        await rig.until_event("daemon.act_done")
        await rig.restart()
        await asyncio.sleep(30.0)
        assert len(rig.events("daemon.act_intended")) == 1
        assert rig.acts == []

    play(story, playbook("asker", mode="approve"))


def test_a_person_who_was_to_be_called_when_the_daemon_died_is_called_by_the_next() -> None:
    """`reactor.called` is durable, the call itself was not begun: at least once, never in silence."""

    async def story(rig: Rig) -> None:
        def dies(stored: object) -> None:
            if any(one.event.type == "reactor.called" for one in stored):  # type: ignore[attr-defined]
                rig.kill()

        rig.daemon.spine._listeners.insert(0, dies)
        await rig.emit("service.down", "sshd.service", id="down")
        await rig.until(lambda: rig.process is not None and not rig.process.alive)
        assert rig.events("daemon.act_intended") == []
        await rig.start()
        assert (await rig.until_event("daemon.act_intended")).data["skill"] == "notify"
        await rig.until_event("daemon.act_done")
        await rig.restart()
        await asyncio.sleep(30.0)
        assert len(rig.events("daemon.act_intended")) == 1

    play(story, playbook("mender", "service.down"))
