"""Settings: read once, checked whole, and every mistake answered with its place and its cure."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from aios import places
from aios.cli.docs import sections
from aios.errors import ConfigErrors
from aios.settings import Settings, load
from aios.settings.fields import variables
from aios.toml_places import key_places, nearest_place


def write(folder: Path, text: str) -> str:
    path = folder / "aios.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    """What an operator reads, with the folder's name taken out."""
    with pytest.raises(ConfigErrors) as caught:
        load(write(folder, text), environ or {})
    return str(caught.value).replace(str(folder) + "/", "")


BAD = [
    # what stands in the file, what the operator reads
    ("slot = 3", "aios.toml:1:1: there is no setting 'slot'", "did you mean 'slots'?"),
    ("[hots]\n", "aios.toml:1:2: there is no setting 'hots'", "did you mean 'host'?"),
    ("[host.cpu]\n\n  hihg = 0.5", "aios.toml:3:3: there is no setting 'host.cpu.hihg'", "did you mean 'high'?"),
    ("slots = 'many'", "aios.toml:1:1: slots: input should be a valid integer", "write, say, slots = 5: "),
    ("slots = 0", "aios.toml:1:1: slots: input should be greater than or equal to 2, not '0'", "write, say, slots = 5: "),
    ("# a comment\nsettle = 10", "aios.toml:2:1: settle: 10 is no duration; write a number with its unit", 'settle = "10s": '),
    ('mode_max = "yolo"', "aios.toml:1:1: mode_max: input should be 'observe', 'shadow', 'suggest'", 'mode_max = "auto": '),
    ('report_at = "7"', "aios.toml:1:1: report_at: '7' is no time of day; write it as 07:00", 'report_at = "07:00": '),
    ("[host.cpu]\nhigh = 0.5\nnormal = 0.9", "aios.toml:1:2: host.cpu: normal (0.9) is above high (0.5)", ""),
    ("[host.disk]\nmounts = ['var']", "aios.toml:2:1: host.disk.mounts[1]: 'var' is no absolute path; begin it with /", ""),
    ("[host.cpu]\nhigh = nan", "aios.toml:2:1: host.cpu.high: input should be a finite number", ""),
    ("[[service]]\nname = 'a'", "aios.toml:1:3: 'service[1].argv' is missing", "The command and its arguments"),
    ("[[service]]\nname='a'\nargv=['x']\n[[service]]\nname='b b'\nargv=['x']", ":5:1: service[2].name: 'b b' is no name", ""),
    (
        "[[service]]\nname='a'\nargv=['x']\n[[service]]\nname='a'\nargv=['y']",
        "aios.toml:5:1: two [[service]] have the name 'a'",
        "",
    ),
    ("[[service]]\nname='a'\nargv=[]", "aios.toml:3:1: service[1].argv: tuple should have at least 1 item", ""),
    ("[[service]]\nname='a'\nargv=['']", "argv needs a command", ""),
    ("[[service]]\nname='a'\nargv=['x']\nenv={'A=B'='c'}", "env holds a name that is empty or has = in it", ""),
    ("[[probe]]\nname='p'", "aios.toml:1:3: probe[1]: needs either url, or host and port", 'cure: give it url = "http'),
    ("[[probe]]\nname='p'\nurl='http://a'\nport=1", "needs either url, or host and port, not both", ""),
    ("[[probe]]\nname='p'\nurl='ftp://a'", "aios.toml:3:1: probe[1].url: 'ftp://a' is no HTTP URL", ""),
    ("[[probe]]\nname='p'\nhost='a'\nport=70000", ":4:1: probe[1].port: input should be less than or equal to 65535", ""),
    ("[[timer]]\nname='t'", "timer[1]: needs either cron or every", ""),
    ("[[timer]]\nname='t'\ncron='0 25 * * *'", "aios.toml:3:1: timer[1].cron: '25' is no hour; it goes from 0 to 23", ""),
    ("[[timer]]\nname='t'\ncron='daily'", "timer[1].cron: 'daily' has 1 fields, not five", ""),
    ("[[timer]]\nname='t'\ncron='*/0 * * * *'", "'*/0' is no minute", ""),
    ("[[timer]]\nname='t'\ncron='mon 3 * * *'", "timer[1].cron: 'mon' is no minute", "goes from 0 to 59"),
    (
        "[[timer]]\nname='t'\ncron='0 0 30 2 *'",
        "aios.toml:3:1: timer[1].cron: '0 0 30 2 *' never comes",
        "no such month has a day 30",
    ),
    ("[[timer]]\nname='t'\ncron='0 22-6 * * *'", "timer[1].cron: '22-6' goes backwards", "write 22-23,0-6"),
    ("[[timer]]\nname='t'\nevery='1h'\ntimezone='Mars/Olympus'", "'Mars/Olympus' is no time zone of this machine", ""),
    ("[redact]\nvalues=['abc']", "aios.toml:2:1: redact.values[1]: string should have at least 6 characters", ""),
    ("[[service]]\nname='a'\nargv=['x']\nlog='x.log'", ":4:1: service[1].log: 'x.log' is no absolute path", ""),
    ("[notify]\nwebhook='nope'", "aios.toml:2:1: notify.webhook: 'nope' is no HTTP URL", ""),
    ("service = 3", "aios.toml:1:1: service is a list of tables", "write [[service]], with two brackets"),
    ("[service]\nname='a'\nargv=['x']", "aios.toml:1:2: [service] is one table", "cure: write [[service]], with two brackets"),
    ("[[service]]\nname='a'\nargv='python3 x.py'", ":3:1: service[1].argv is a list", 'cure: write argv = ["python3", "x.py"]'),
    ("[[service]]\nname='a'\nargv='say \"'", "service[1].argv is a list", r'cure: write argv = ["say \""]'),
    ("playbooks = '/a b'", "aios.toml:1:1: playbooks is a list", 'cure: write playbooks = ["/a b"]'),
    ("slots = ", "aios.toml:1: is no TOML: Invalid value", "see https://toml.io"),
    ("slots = 3\nslots = 4", "aios.toml:2: is no TOML: Cannot overwrite a value", "each key once"),
    ('a = """never closed', "is no TOML: Unterminated string", "what is opened is closed"),
    ("a = " + "[" * 5000, "aios.toml: is nested too deeply", "no setting is deeper"),
]


@pytest.mark.parametrize(("text", "message", "cure"), BAD, ids=[repr(row[0][:40]) for row in BAD])
def test_a_mistake_in_the_file_is_answered_with_place_and_cure(tmp_path: Path, text: str, message: str, cure: str) -> None:
    """Whatever an operator gets wrong, the answer says where it stands and what to write instead."""
    said = refusal(tmp_path, text)
    assert message in said
    assert cure in said


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One look at the file mends them all."""
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, "slot = 1\nsettle = 3\n"), {"AIOS_QUEUE_MXA": "1"})
    assert len(caught.value.errors) == 3


def test_the_line_is_shown_with_a_mark_below_it(tmp_path: Path) -> None:
    """The golden form: place, message, the line, the mark, the cure."""
    assert refusal(tmp_path, "[log]\nlevle = 'debug'\n") == (
        "aios.toml:2:1: there is no setting 'log.levle'\n    levle = 'debug'\n    ^\n  cure: did you mean 'level'?"
    )


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"AIOS_SLOTSS": "3"}, "AIOS_SLOTSS: no setting has this variable\n  cure: did you mean 'AIOS_SLOTS'?"),
        ({"AIOS_SLOTS": "x"}, "AIOS_SLOTS: slots: input should be a valid integer"),
        ({"AIOS_HOST_CPU_HIGH": "7"}, "AIOS_HOST_CPU_HIGH: host.cpu.high: input should be less than or equal to 1, not '7'"),
        ({"AIOS_SETTLE": "5"}, "AIOS_SETTLE: settle: '5' is no duration"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    """Not the file, and not a line of it."""
    assert message in refusal(tmp_path, "", environ)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """An operator who names a file means it."""
    with pytest.raises(ConfigErrors, match="cannot be read: No such file"):
        load(str(tmp_path / "none.toml"), {})
    with pytest.raises(ConfigErrors, match="cannot be read: No such file"):
        load(None, {"AIOS_SETTINGS": str(tmp_path / "none.toml")})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, and files that are far too large."""
    path = tmp_path / "aios.toml"
    path.write_bytes(b"# fine\nslots = 3 # \xff\n")
    with pytest.raises(ConfigErrors, match=r"aios.toml:2: is not UTF-8"):
        load(str(path), {})
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigErrors, match="larger than 1 MiB"):
        load(str(path), {})


def test_an_option_beats_a_variable_beats_the_file(tmp_path: Path) -> None:
    """What is more particular wins."""
    file = write(tmp_path, "data = 'state'\nslots = 3\n[log]\nlevel = 'DEBUG'\n")
    assert load(file, {}).data == str(tmp_path / "state")
    assert load(file, {"AIOS_DATA": "/v", "AIOS_SLOTS": "4"}).data == "/v"
    assert load(file, {"AIOS_DATA": "/v"}, "/o").data == "/o"
    settings = load(file, {"AIOS_SLOTS": "4", "AIOS_PLAYBOOKS": "/a,/b"})
    assert (settings.slots, settings.log.level, settings.playbooks) == (4, "debug", ("/a", "/b"))
    assert settings.file == file


def test_a_relative_folder_counts_from_the_file(tmp_path: Path) -> None:
    """So that it means the same wherever the daemon is started."""
    settings = load(write(tmp_path, "playbooks = ['books', '/abs']"), {})
    assert settings.playbooks == (str(tmp_path / "books"), "/abs")


def test_the_light_way_to_the_state_folder_says_the_same(tmp_path: Path) -> None:
    """The command line finds the daemon where the daemon is."""
    file = write(tmp_path, "data = 'state'")
    for path, environ, data in [
        (file, {}, None),
        (file, {"AIOS_DATA": "d"}, None),
        (None, {"AIOS_SETTINGS": file}, None),
        (file, {}, "x"),
        (None, {}, None),
        (None, {"STATE_DIRECTORY": "/var/lib/aios:/other"}, None),
    ]:
        assert places.state_folder(path, environ, data) == load(path, environ, data).data


def test_settings_are_still() -> None:
    """Nobody changes them under a running daemon."""
    settings = load(None, {})
    with pytest.raises(Exception, match="frozen"):
        settings.slots = 9  # type: ignore[misc]


def test_durations_are_seconds_inside_and_text_outside(tmp_path: Path) -> None:
    """`settle_s` is a number; what is kept of the settings reads as the file did."""
    settings = load(write(tmp_path, "settle = '1m'\n[host.cpu]\nfor = '500ms'\n[[timer]]\nname='t'\nevery='1h'"), {})
    assert (settings.settle_s, settings.host.cpu.for_s, settings.timer[0].every_s) == (60.0, 0.5, 3600.0)
    said = settings.to_json()
    assert (said["settle"], said["host"]["cpu"]["for"], said["timer"][0]["every"]) == ("1m", "500ms", "1h")


def test_what_is_kept_of_settings_can_be_read_again(tmp_path: Path) -> None:
    """`to_json` is the file's own form: all defaults pass their own checks."""
    said = load(None, {}).to_json()
    assert Settings.model_validate(said).to_json() == said


def test_secrets_do_not_leave_the_settings(tmp_path: Path) -> None:
    """What goes to the journal shows that there is a secret, never which."""
    text = (
        "[notify]\nheaders = {Authorization = 'hush-1'}\n[redact]\nvalues = ['hush-2']\n"
        "[[service]]\nname='a'\nargv=['x']\nenv={KEY='hush-3'}"
    )
    assert "hush" not in str(load(write(tmp_path, text), {}).to_json())


def test_subjects_are_canonical(tmp_path: Path) -> None:
    """`web` is `web.service`, an agent is `agent:NAME`, a probe without a subject is its address."""
    text = (
        "[[service]]\nname='web'\nargv=['x']\n[[service]]\nname='bot'\nkind='agent'\nargv=['x']\n"
        "[[service]]\nname='db.service'\nargv=['x']\n"
        "[[probe]]\nname='p'\nurl='http://127.0.0.1/'\n[[probe]]\nname='q'\nhost='h'\nport=5\n[[probe]]\nname='r'\nhost='h'\nport=6\nsubject='web.service'"
    )
    settings = load(write(tmp_path, text), {})
    assert [s.subject for s in settings.service] == ["web.service", "agent:bot", "db.service"]
    assert [p.about for p in settings.probe] == ["url:http://127.0.0.1/", "tcp:h:5", "web.service"]


def test_each_variable_stands_for_one_setting() -> None:
    """No two settings share a variable, and the ones people need are there."""
    paths = [variable.path for variable in variables().values()]
    assert len(set(paths)) == len(paths) > 30
    assert {"AIOS_MODE_MAX", "AIOS_DATA", "AIOS_LOG_LEVEL", "AIOS_PLAYBOOKS", "AIOS_HOST_CPU_HIGH"} <= set(variables())


def test_keys_are_found_wherever_toml_lets_them_stand() -> None:
    """Dotted, quoted, indented, after texts with brackets and headers inside; entries of arrays count."""
    text = (
        'a = 1\n"b c" = """\n[no]\nx = 1\n"""\n'
        "'d'.e = [ # ]\n  '[[n]]',\n  {f = 1},\n]\n"
        "[t]\n  g = '''\nh = 1\n'''\n [[t.u]] # [[v]]\ni = 1\n[[t.u]]\nj.k = 2\n[t.u.w]\nl = 3\n"
    )
    places_ = key_places(text)
    assert {path: tuple(place) for path, place in places_.items()} == {
        ("a",): (1, 1),
        ("b c",): (2, 1),
        ("d",): (6, 1),
        ("d", "e"): (6, 1),
        ("t", "g"): (11, 3),
        ("t", "u", 0, "i"): (15, 1),
        ("t", "u", 1, "j"): (17, 1),
        ("t", "u", 1, "j", "k"): (17, 1),
        ("t", "u", 1, "w", "l"): (19, 1),
        ("t",): (10, 2),
        ("t", "u"): (14, 4),
        ("t", "u", 0): (14, 4),
        ("t", "u", 1): (16, 3),
        ("t", "u", 1, "w"): (18, 2),
    }
    assert nearest_place(places_, ("d", "e", 1, "f")) == (6, 1)
    assert nearest_place(places_, ("nowhere",)) == (0, 0)


def test_every_setting_is_read_by_somebody() -> None:
    """A setting that nothing reads would be a promise that nobody keeps."""
    home = Path(places.__file__).parent
    code = "".join(path.read_text() for path in sorted(home.rglob("*.py")) if path.parent.name != "settings")
    owners = {"service": "s", "probe": "p", "timer": "t", "window": "s", "cpu": "t", "memory": "t", "disk": "disk|t"}
    unread = []
    for path, model in [(("settings",), Settings), *((path, model) for path, model, _ in sections(Settings, ()))]:
        owner = owners.get(path[-1], path[-1])
        unread += [(*path, name) for name in model.model_fields if not re.search(rf"\b({owner})\.{name}\b", code)]
    assert unread == []


def test_an_installed_aios_brings_its_playbooks_and_lets_the_operators_replace_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed is what is no checkout."""
    monkeypatch.setattr(places, "checkout", lambda: None)
    shipped, own = places.default_playbooks()
    assert shipped == os.path.join(os.path.dirname(places.__file__), "shipped")
    assert own == "/etc/aios/playbooks"


def test_a_checkout_keeps_its_state_at_home() -> None:
    """`./data` and `./playbooks` of the checkout, whatever the working folder."""
    folder = places.checkout()
    assert folder is not None
    settings = load(None, {})
    assert settings.data == os.path.join(folder, "data")
    assert settings.playbooks == (os.path.join(folder, "playbooks"),)
