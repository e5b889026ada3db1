"""Everything that an operator decides: the sections of the settings file, each setting with its help.

`docs/settings.md` is made of it. Attributes carry their units (`settle_s`), the file has the plain word (`settle = "10s"`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from aios.events.limits import BOUNDS
from aios.playbooks.maintenance import calendar, zone_of
from aios.settings.values import (
    AbsolutePath,
    Cron,
    Duration,
    HttpUrl,
    LogLevel,
    LongDuration,
    Name,
    OptionalPath,
    Port,
    Secret,
    Share,
    TimeOfDay,
    Zone,
    limit_of,
)

SECRET = "***"
NAME_TWICE, NO_ADDRESS = "name_twice", "no_address"
"""Kinds of mistakes that have words of their own (`mistakes`)."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, str_max_length=4096, allow_inf_nan=False)


class Journal(Section):
    """How the journal is written, and how long what is in it is kept."""

    clock_trusted: bool = Field(
        default=False,
        description="Believe the clock when it leaps forward over a day, even without a sign that it is in sync (NTP).",
    )
    raw_days: int = Field(
        default=7, ge=2, le=3650, description="Days for which a day stays as plain lines; then it is compressed."
    )
    keep_days: int = Field(default=30, ge=2, le=36_500, description="Days after which a day goes; its digest stays.")
    low_keep_days: int = Field(
        default=7, ge=2, le=36_500, description="The same, while the file system runs low; at most `keep_days`."
    )
    size_max_mb: int = Field(
        default=4096,
        ge=0,
        le=1 << 30,
        description="What the journal may take on the disk, in MB; it wins over all else but the newest two days. 0: no limit.",
    )
    free_low: Share = Field(default=0.05, description="Share of its file system (0 to 1) below which room runs low.")
    free_enough_mb: int = Field(
        default=1024, ge=0, le=1 << 30, description="Never low while so much is free, in MB, however small a share that is."
    )
    reserve_mb: int = Field(
        default=16, ge=0, le=4096, description="Room that is kept for what matters most when the disk is full, in MB; 0: none."
    )
    consumer_quiet_days: int = Field(
        default=30,
        ge=1,
        le=36_500,
        description="A named cursor that has not moved for so long keeps nothing from going by its age.",
    )

    @model_validator(mode="after")
    def _days_in_order(self) -> Journal:
        if self.raw_days > self.keep_days:
            raise ValueError(f"raw_days ({self.raw_days}) is above keep_days ({self.keep_days})")
        return self


class Inbox(Section):
    """How the files that other programs append to are taken."""

    lines_per_s: float = Field(
        default=0.0,
        ge=0,
        description="Lines a second that one source may bring on the whole; what is over waits in its own file. 0: no limit.",
    )
    kb_per_s: float = Field(default=0.0, ge=0, description="The same in kB a second. 0: no limit.")
    limits: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description='Lines a second of single sources, instead: `{"web" = 100}` is for `inbox/web…`.'
    )
    remove_after_s: Duration = Field(
        default=604_800.0,
        alias="remove_after",
        description="Daily files (`inbox/NAME/2026-02-24.jsonl`) that were taken whole go after so long; `0s`: never. "
        "Files that are appended to for good (`inbox/NAME.jsonl`) are never removed.",
    )
    large_mb: int = Field(default=1024, ge=1, le=1 << 30, description="A file larger than this, in MB, is told of once.")


def _in_order(normal: float, high: float) -> None:
    if normal > high:
        raise ValueError(f"normal ({normal}) is above high ({high}); it would never be well again")


class Threshold(Section):
    """Alarm above `high` for as long as `for`; well again below `normal`."""

    high: Share = Field(default=0.95, description="Share in use (0 to 1) above which there is an alarm.")
    normal: Share = Field(default=0.80, description="Share in use below which it is well again; at most `high`.")
    for_s: Duration = Field(default=60.0, alias="for", description="For how long it must be above `high`.")

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Threshold:
        _in_order(self.normal, self.high)
        return self


class Memory(Threshold):
    """Memory in use: what is not available to a new program."""

    high: Share = Field(default=0.92, description="Share in use (0 to 1) above which there is an alarm.")
    normal: Share = Field(default=0.85, description="Share in use below which it is well again; at most `high`.")
    for_s: Duration = Field(default=30.0, alias="for", description="For how long it must be above `high`.")


class Disk(Threshold):
    """File systems in use."""

    high: Share = Field(default=0.90, description="Share in use (0 to 1) above which there is an alarm.")
    normal: Share = Field(default=0.85, description="Share in use below which it is well again; at most `high`.")
    for_s: Duration = Field(default=0.0, alias="for", description="For how long it must be above `high`.")
    mounts: tuple[AbsolutePath, ...] = Field(
        default=(), max_length=64, description="Mount points that are watched; empty: every one that is on a disk."
    )


class Pressure(Section):
    """Work that stalls for want of processor, memory or disk (pressure stall information, `avg10`)."""

    enabled: bool = Field(default=True, description="Watch it, where the kernel tells it.")
    high: float = Field(default=40.0, gt=0, le=100, description="Percent of the last 10 s above which there is an alarm.")
    normal: float = Field(default=20.0, gt=0, le=100, description="Percent below which it is well again; at most `high`.")
    for_s: Duration = Field(default=30.0, alias="for", description="For how long it must be above `high`.")

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Pressure:
        _in_order(self.normal, self.high)
        return self


class Host(Section):
    """When the machine itself counts as ill."""

    enabled: bool = Field(default=True, description="Watch processor, memory and disks.")
    every_s: LongDuration = Field(default=5.0, alias="every", description="How often it is looked at.")
    cpu: Threshold = Field(default_factory=Threshold, description="Processor time in use.")
    memory: Memory = Field(default_factory=Memory, description="Memory in use.")
    disk: Disk = Field(default_factory=Disk, description="File systems in use.")
    pressure: Pressure = Field(default_factory=Pressure, description="Work that stalls.")


class Service(Section):
    """A service or agent that AIOS itself starts and watches."""

    name: Name = Field(description="Its name; its subject is `NAME.service`, or `agent:NAME`.")
    kind: Literal["service", "agent"] = Field(default="service", description="`service` or `agent`.")
    argv: tuple[str, ...] = Field(min_length=1, max_length=256, description="The command and its arguments; no shell reads it.")
    folder: AbsolutePath = Field(default="/", description="Working folder.")
    env: Mapping[str, str] = Field(default_factory=dict, description="Environment variables, besides PATH, LANG and HOME.")
    user: str = Field(default="", max_length=64, description="The user it runs as; empty: the daemon's own.")
    needs: tuple[str, ...] = Field(default=(), max_length=64, description="Subjects that must run for it to run.")
    autostart: bool = Field(default=True, description="Start it with the daemon, if it does not run yet.")
    log: OptionalPath = Field(
        default="",
        description="File for its output; empty: `logs/NAME.log` (agents: `logs/agent%3ANAME.log`) in the state folder.",
    )
    stop_timeout_s: LongDuration = Field(
        default=2.0, alias="stop_timeout", description="How long it has to end after SIGTERM, before SIGKILL."
    )

    @property
    def subject(self) -> str:
        return f"agent:{self.name}" if self.kind == "agent" else f"{self.name.removesuffix('.service')}.service"

    @model_validator(mode="after")
    def _usable(self) -> Service:
        if any("\0" in word for word in self.argv) or not self.argv[0]:
            raise ValueError("argv needs a command, and no argument may hold a NUL")
        if any(not key or "=" in key or "\0" in key + value for key, value in self.env.items()):
            raise ValueError("env holds a name that is empty or has = in it, or a NUL")
        return self


class Probe(Section):
    """An address that is asked again and again whether it answers: HTTP (`url`) or TCP (`host` and `port`)."""

    name: Name = Field(description="Its name.")
    url: HttpUrl | None = Field(default=None, description="Address of an HTTP probe.")
    host: str = Field(default="", max_length=255, description="Host of a TCP probe.")
    port: Port | None = Field(default=None, description="Port of a TCP probe.")
    subject: str = Field(default="", max_length=256, description="What is ill when it fails; empty: the address itself.")
    every_s: LongDuration = Field(default=10.0, alias="every", description="How often it is asked.")
    timeout_s: LongDuration = Field(default=3.0, alias="timeout", description="No answer within this time is a failure.")
    failures: int = Field(default=2, ge=1, le=1000, description="So many failures in a row make it ill.")
    status: int = Field(default=200, ge=100, le=599, description="The HTTP status that counts as well.")
    contains: str = Field(default="", max_length=1024, description="Text that the answer must hold.")

    @property
    def about(self) -> str:
        """The subject of its events."""
        return self.subject or (f"url:{self.url}" if self.url else f"tcp:{self.host}:{self.port}")

    @model_validator(mode="after")
    def _one_address(self) -> Probe:
        if (self.url is None) == (not self.host or self.port is None):
            raise PydanticCustomError(NO_ADDRESS, "needs either url, or host and port")
        if self.url is not None and (self.host or self.port is not None):
            raise PydanticCustomError(NO_ADDRESS, "needs either url, or host and port, not both")
        return self


class Timer(Section):
    """Emits `timer.due` with its name, for playbooks to answer."""

    name: Name = Field(description="Its name; the subject is `host`, and `data.timer` is this name.")
    cron: Cron | None = Field(default=None, description="When: `minute hour day month weekday`, such as `0 3 * * *`.")
    every_s: LongDuration | None = Field(default=None, alias="every", description="Instead of `cron`: how often.")
    timezone: Zone = Field(default="", description="Time zone of `cron`; empty: the machine's own.")

    @model_validator(mode="after")
    def _one_plan(self) -> Timer:
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("needs either cron or every")
        return self


class Window(Section):
    """A maintenance window of the whole machine: from each time of `cron` on for `for`, or once, `from` to `to`."""

    name: Name = Field(description="Its name; decisions say it.")
    acts: Literal["never", "only"] = Field(
        default="never", description="`never`: nothing acts in this window. `only`: everything acts in such windows only."
    )
    cron: Cron | None = Field(
        default=None, description="When it begins: `minute hour day month weekday`, such as `0 22 * * fri`."
    )
    for_s: LongDuration | None = Field(default=None, alias="for", description="How long it lasts from then on.")
    begins: str = Field(
        default="", alias="from", max_length=40, description="Instead of `cron`: a day, or a time such as 2026-12-24T18:00."
    )
    ends: str = Field(default="", alias="to", max_length=40, description="Until then; a day counts whole.")
    timezone: Zone = Field(default="", description="Time zone of all these; empty: the machine's own.")

    @model_validator(mode="after")
    def _one_plan(self) -> Window:
        once = bool(self.begins)
        if (self.cron is None) != (self.for_s is None) or once != bool(self.ends) or (self.cron is None) != once:
            raise ValueError("needs either cron and for, or from and to")
        if once and self._moment(self.begins, end=False) >= self._moment(self.ends, end=True):
            raise ValueError("ends before it begins")
        return self

    def _moment(self, text: str, *, end: bool) -> float:
        try:
            return calendar(text, zone_of(self.timezone) if self.timezone else None, end=end)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is no day and no time; write 2026-12-24, or 2026-12-24T18:00") from None


class Storm(Section):
    """When so much is ill at once that acting is left to a person: runs look and wait, and somebody is called once."""

    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3,
        description="The share of the watched subjects (services, probes, the host) that makes a storm when it is ill; 0: never. "
        "It is over below half of that.",
    )
    at_least: int = Field(
        default=5, ge=2, le=10_000, description="Fewer ill subjects than this are no storm, whatever their share."
    )


class Trust(Section):
    """When a playbook has earned its next mode, and when it loses the one it has."""

    runs: int = Field(
        default=10, ge=3, le=50, description="So many results at least speak for or against a playbook; of the newest 50."
    )
    earned: Share = Field(
        default=0.7,
        description="It has earned the next mode when its true share of successes surely (95 of 100) lies above this.",
    )
    lost: Share = Field(
        default=0.5,
        description="It falls back by itself, to its file's mode or one below, when that share surely lies below this.",
    )
    watch_s: Duration = Field(
        default=600.0, alias="watch", description="For how long a run in `shadow` watches whether the symptom goes by itself."
    )


class Skills(Section):
    """What skills may do on this machine."""

    look_commands: tuple[str, ...] = Field(
        default=("df", "du", "free", "lsblk", "ps", "uname", "uptime"),
        max_length=256,
        description="Commands (`argv[0]`, as playbooks write it) of which `run_command` counts as looking. "
        "What you write takes the place of the whole list: name those that you still want.",
    )
    disposable: tuple[AbsolutePath, ...] = Field(
        default=("/var/cache/apt/archives", "/var/cache/dnf", "/var/cache/pacman/pkg"),
        max_length=256,
        description="Folders below which `cleanup_files` may delete in mode `auto`; what is deleted there does not come back.",
    )


class StepLimits(Section):
    """What a step's act may use where neither its playbook nor its skill says otherwise; `none` is no limit."""

    memory: Annotated[int, *limit_of("memory")] = Field(default=1 << 30, description=BOUNDS["memory"].doc)
    processes: Annotated[int, *limit_of("processes")] = Field(default=256, description=BOUNDS["processes"].doc)
    cpu: Annotated[int, *limit_of("cpu")] = Field(default=0, description=BOUNDS["cpu"].doc)
    nice: Annotated[int, *limit_of("nice")] = Field(default=10, description=BOUNDS["nice"].doc)
    output: Annotated[int, *limit_of("output")] = Field(default=256 << 10, description=BOUNDS["output"].doc)
    file_size: Annotated[int, *limit_of("file_size")] = Field(default=4 << 30, description=BOUNDS["file_size"].doc)
    write_bandwidth: Annotated[int, *limit_of("write_bandwidth")] = Field(
        default=16 << 20, description=BOUNDS["write_bandwidth"].doc
    )
    grace_s: Duration = Field(
        default=1.0, alias="grace", description="What reached a limit has so long between SIGTERM and SIGKILL; at most 30s."
    )
    environment: tuple[str, ...] = Field(
        default=("PATH", "HOME", "LANG", "LC_ALL", "TZ"),
        max_length=64,
        description="Variables of the daemon's own that programs of steps get; they get no others but those their step lists.",
    )
    cgroup: OptionalPath | Literal["none"] = Field(
        default="",
        description="The control group in which acts get groups of their own, as a path below each mounted hierarchy, handed "
        "over to AIOS; empty: what systemd delegated to the unit; `none`: none.",
    )

    @field_validator("grace_s")
    @classmethod
    def _not_too_long(cls, seconds: float) -> float:
        if seconds > 30:
            raise ValueError("must be at most 30s; a step that takes long to end needs an act of its own")
        return seconds


class Notify(Section):
    """How a person is called."""

    webhook: HttpUrl | None = Field(default=None, description="Each call is also posted here, as JSON.")
    headers: Mapping[str, str] = Field(default_factory=dict, description="HTTP headers that go with it, such as Authorization.")
    timeout_s: LongDuration = Field(default=10.0, alias="timeout", description="How long the other side has to answer.")


class Score(Section):
    """How health is measured."""

    window_s: LongDuration = Field(default=900.0, alias="window", description="The time that a score looks back on.")
    latency_target_ms: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="By subject: the 95th percentile of its answers, in ms, that counts as well."
    )


class Redact(Section):
    """Secrets that are struck out before anything is written; names such as password and known shapes are built in."""

    values: tuple[Secret, ...] = Field(
        default=(), max_length=256, description="Known secrets of six or more characters, struck out wherever they appear."
    )


class Snapshots(Section):
    """What is saved before acts and as last-good copies, and how long it is kept."""

    keep_days: int = Field(
        default=14,
        ge=1,
        le=3650,
        description="Days for which what an ended run saved is kept: so long `aios runs rollback` can take it back.",
    )
    size_max_mb: int = Field(
        default=4096,
        ge=1,
        le=1 << 30,
        description="What all of it may take in MB; beyond that the oldest ended runs go sooner, never within a day.",
    )
    one_max_mb: int = Field(
        default=2048, ge=1, le=1 << 20, description="What one snapshot may hold, in MB; an act that touches more is not begun."
    )
    files_max: int = Field(default=20_000, ge=1, le=200_000, description="How many files one snapshot may hold.")
    generations: int = Field(default=3, ge=1, le=100, description="Last-good copies that are kept of each subject, newest first.")


class Systemd(Section):
    """Which of systemd's units are watched."""

    enabled: bool = Field(default=True, description="Watch systemd over D-Bus, where it is.")
    watch: tuple[str, ...] = Field(default=("*.service",), max_length=256, description="Patterns (* and ?) of unit names.")


class Control(Section):
    """Who may use the control socket, besides root and the daemon's own user."""

    group: str = Field(
        default="",
        max_length=64,
        description="A group whose members may use it, and so pass through the state folder; empty: the daemon's own.",
    )


class Log(Section):
    """What the daemon writes on standard error."""

    level: LogLevel = Field(default="info", description="The least that is written: debug, info, warning or error.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`console` for people, `json` for machines; `auto`: console on a terminal."
    )


class Settings(Section):
    """Everything that an operator decides. `file` is where it came from; empty when there is none."""

    data: str = Field(default="", description="The state folder. A relative path counts from the settings file.")
    playbooks: tuple[str, ...] = Field(
        default=(), max_length=64, description="Folders of playbooks; of two with one name, the one in the later folder wins."
    )
    mode_max: Literal["observe", "shadow", "suggest", "approve", "auto"] = Field(
        default="auto", description="The highest mode that any playbook may run in."
    )
    slots: int = Field(default=5, ge=2, le=64, description="How many runs may go on at once; the last is kept for P0.")
    acts_per_hour: int = Field(default=30, ge=0, le=100_000, description="Acts on the whole machine in a sliding hour.")
    concurrency: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How many runs that may act are open at once on the whole machine; 0: no limit but `slots`.",
    )
    depends_on: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="By subject: subjects that it depends on. Nothing is done about it while one of these is ill. "
        "What systemd knows, and `needs` of a service, need not be said again.",
    )
    settle_s: Duration = Field(
        default=10.0, alias="settle", description="For so long after a run, what is seen on its resources is put down to the run."
    )
    approval_expires_s: LongDuration = Field(
        default=86400.0, alias="approval_expires", description="No answer to a question within this time is a no."
    )
    queue_max: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="Events that may wait in memory; more are read again later.",
    )
    memory_max_mb: int = Field(
        default=512,
        ge=64,
        le=65_536,
        description="MB that the daemon itself may use; beyond that it ends and is started anew. What it starts is not limited.",
    )
    report_at: TimeOfDay = Field(default="07:00", description="When the daily report is written; the machine's own time.")
    protected: tuple[str, ...] = Field(
        default=(),
        max_length=1000,
        description="Subjects, and files or folders by their path, that AIOS never acts on, besides those that are built in.",
    )
    journal: Journal = Field(default_factory=Journal, description="How the journal is written and kept.")
    inbox: Inbox = Field(default_factory=Inbox, description="How other programs' files are taken.")
    host: Host = Field(default_factory=Host, description="When the machine itself counts as ill.")
    service: tuple[Service, ...] = Field(
        default=(), max_length=1000, description="Services and agents that AIOS itself starts and watches."
    )
    probe: tuple[Probe, ...] = Field(default=(), max_length=1000, description="Addresses that are asked whether they answer.")
    timer: tuple[Timer, ...] = Field(default=(), max_length=1000, description="Timers that emit `timer.due`.")
    window: tuple[Window, ...] = Field(default=(), max_length=100, description="Maintenance windows of the whole machine.")
    storm: Storm = Field(default_factory=Storm, description="When so much is ill at once that nothing is done.")
    trust: Trust = Field(default_factory=Trust, description="How playbooks earn and lose their mode.")
    skills: Skills = Field(default_factory=Skills, description="What skills may do on this machine.")
    limits: StepLimits = Field(default_factory=StepLimits, description="What a step's act may use.")
    notify: Notify = Field(default_factory=Notify, description="How a person is called.")
    score: Score = Field(default_factory=Score, description="How health is measured.")
    redact: Redact = Field(default_factory=Redact, description="Secrets that are struck out.")
    snapshots: Snapshots = Field(default_factory=Snapshots, description="What is saved before acts, and how long it is kept.")
    systemd: Systemd = Field(default_factory=Systemd, description="Which of systemd's units are watched.")
    control: Control = Field(default_factory=Control, description="Who may use the control socket.")
    log: Log = Field(default_factory=Log, description="What the daemon writes on standard error.")

    _file: str = PrivateAttr(default="")

    @property
    def file(self) -> str:
        return self._file

    @model_validator(mode="after")
    def _names_once(self) -> Settings:
        _each_once("service", self.service)
        _each_once("probe", self.probe)
        _each_once("timer", self.timer)
        _each_once("window", self.window)
        return self

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Settings:
        """What `to_json` gave; secrets stay struck out, and known ones are none any more. Raises ValueError."""
        return cls.model_validate({**plain, "redact": {}})

    def to_json(self) -> dict[str, Any]:
        """All that is in force, as the file would say it, with what may be secret struck out."""
        plain = self.model_dump(mode="json", by_alias=True)
        plain["notify"]["headers"] = dict.fromkeys(plain["notify"]["headers"], SECRET)
        plain["redact"]["values"] = [SECRET] * len(plain["redact"]["values"])
        for service in plain["service"]:
            service["env"] = dict.fromkeys(service["env"], SECRET)
        return plain


def _each_once(what: str, entries: Sequence[Service | Probe | Timer | Window]) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry.subject if isinstance(entry, Service) else entry.name
        if name in seen:
            told = {"what": what, "index": index, "name": repr(entry.name)}
            raise PydanticCustomError(NAME_TWICE, "two [[{what}]] have the name {name}; give one of them another", told)
        seen.add(name)
