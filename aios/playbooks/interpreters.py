"""Whether an argument list hands code to an interpreter (`sh -c`, `python -c`, `perl -e` …). Used by `read_steps.py`.

Event data is never code. An argument is safe as long as the program takes it as a name or a number; an interpreter that is
given its program as an argument turns whatever is put into that text into code. So a playbook may run scripts, not text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_SHELL = re.compile(r"-[A-Za-z]*c")
_PYTHON = re.compile(r"-[bBdEhiIOPqsSuvVx]*c")
_PERL = re.compile(r"-[acflnpsStTuUvw0-7]*[eE]")
_NODE = re.compile(r"(-p?e|-pe?|--eval|--print)(=.*)?\Z")
_PHP = re.compile(r"-[rBRE]|--run\Z")
_LUA = re.compile(r"-e")
_JULIA = re.compile(r"-[eE]|--(eval|print)(=.*)?\Z")
_POWERSHELL = re.compile(r"-(c|e|ec|command|encodedcommand)\Z", re.IGNORECASE)
_EVAL = re.compile(r"eval\Z|-p?e|--eval(=.*)?\Z|--print(=.*)?\Z")
_HANDS_ON = re.compile(r"-[A-Za-z]*c\Z|--command(=.*)?\Z")
_SPLITS = re.compile(r"-[A-Za-z0]*S|--split-string")

INTERPRETERS: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(("sh", "bash", "rbash", "dash", "zsh", "ash", "ksh", "mksh", "fish", "csh", "tcsh", "su", "runuser"), _SHELL),
    **dict.fromkeys(("python", "python2", "python3", "pypy", "pypy3"), _PYTHON),
    **dict.fromkeys(("perl", "ruby", "jruby"), _PERL),
    **dict.fromkeys(("node", "nodejs", "bun"), _NODE),
    **dict.fromkeys(("lua", "luajit", "R", "Rscript", "groovy", "osascript"), _LUA),
    **dict.fromkeys(("pwsh", "powershell"), _POWERSHELL),
    **dict.fromkeys(("flock", "script"), _HANDS_ON),
    "deno": _EVAL,
    "julia": _JULIA,
    "env": _SPLITS,
    "php": _PHP,
}
_WRAPPERS = frozenset((
    "env", "nice", "ionice", "nohup", "setsid", "setpriv", "timeout", "stdbuf", "sudo", "doas", "gosu", "chroot", "unshare",
    "nsenter",
    "systemd-run", "systemd-nspawn", "machinectl", "busybox", "xargs", "parallel", "find", "watch", "script", "strace", "ltrace",
    "taskset", "chrt", "numactl", "flock", "runuser", "su", "prlimit", "cgexec", "bwrap", "firejail", "fakeroot", "time", "exec",
    "command", "start-stop-daemon", "screen", "tmux", "ssh", "docker", "podman", "nerdctl", "crictl", "kubectl", "oc", "lxc",
    "lxc-attach", "ip",
))  # fmt: skip
"""What starts another program that its arguments name."""
_REMOTE = frozenset(("ssh", "autossh", "sshpass", "dbclient", "plink", "rsh"))
_RUN_THEIR_OPERAND = frozenset((
    "env", "nice", "ionice", "nohup", "setsid", "timeout", "stdbuf", "sudo", "doas", "chroot", "xargs", "time", "exec", "command",
    "systemd-run", "busybox", "flock",
))  # fmt: skip
_OWN_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "nice": ("-n",),
    "ionice": ("-c", "-n"),
    "xargs": ("-n", "-I", "-P", "-L", "-d", "-a"),
    "timeout": ("-k",),
    "sudo": ("-g", "-h", "-p", "-C", "-T", "-D", "-R"),
    "env": ("-C",),
    "stdbuf": ("-i", "-e"),
    "systemd-run": ("-p", "-M", "-H", "-E"),
}
"""Options of theirs that take the next word."""
_BEFORE: Mapping[str, int] = {"timeout": 1, "chroot": 1, "flock": 1}
"""Operands that stand before the program."""
_TAKES_ARGUMENT = frozenset(("-W", "-X", "-o", "+o", "-O", "+O", "-I", "-r", "--require", "--rcfile", "--init-file", "-u", "-s"))

_OPERANDS: Mapping[str, int] = {"su": 99, "runuser": 99, "flock": 1}
"""How many words may stand before the option; elsewhere the first word is the script."""


def code_flag(argv: list[str]) -> int | None:
    """The position of the option that hands code to an interpreter; None when there is none."""
    for position, program in _programs(argv):
        pattern = INTERPRETERS.get(re.sub(r"[0-9.]+\Z", "", program)) or INTERPRETERS.get(program)
        if pattern is None:
            continue
        skip, operands = False, _OPERANDS.get(program, 0)
        for at in range(position + 1, len(argv)):
            word = argv[at]
            if skip or word == "":
                skip = False
            elif pattern.match(word) or (pattern is _SHELL and word == "--command"):
                return at
            elif word[0] in "-+":
                skip = word in _TAKES_ARGUMENT
            elif (operands := operands - 1) < 0:
                break  # the script; what follows are its own arguments
    return None


def named_programs(argv: list[str]) -> Iterator[int]:
    """The positions of the words that say what is run: the program, the one behind `sudo` or `env`, the script of a shell."""
    position: int | None = 0
    while position is not None and position < len(argv):
        yield position
        name = re.sub(r"[0-9.]+\Z", "", argv[position].rsplit("/", 1)[-1])
        runs_its_operand = name in _RUN_THEIR_OPERAND or (name in INTERPRETERS and name not in _OPERANDS and name != "deno")
        position = _operand(argv, position, name) if runs_its_operand else None


def _operand(argv: list[str], program: int, name: str) -> int | None:
    """The position of the operand that this program runs, past options, their arguments and `NAME=value`."""
    number, takes, skip = _BEFORE.get(name, 0), (*_TAKES_ARGUMENT, *_OWN_ARGUMENTS.get(name, ())), False
    for at in range(program + 1, len(argv)):
        word = argv[at]
        if skip or (word[:1] in ("-", "+") and word != "-") or re.match(r"[A-Za-z_]\w*=", word):
            skip = not skip and word in takes
        elif number == 0:
            return at
        else:
            number -= 1
    return None


def remote_shell(argv: list[str]) -> int | None:
    """The position of a program that joins its arguments and gives them to a shell elsewhere; None when there is none."""
    for position, word in enumerate(argv):
        name = word.rsplit("/", 1)[-1]
        if name in _REMOTE:
            return position
        if position == 0 and name not in _WRAPPERS:
            return None
    return None


def _programs(argv: list[str]) -> Iterator[tuple[int, str]]:
    """The program, and those that a wrapper (env, timeout, sudo, docker exec, …) may start in its stead."""
    for position, word in enumerate(argv):
        name = word.rsplit("/", 1)[-1]
        if position == 0 or name in INTERPRETERS or re.sub(r"[0-9.]+\Z", "", name) in INTERPRETERS:
            yield position, name
        if position == 0 and name not in _WRAPPERS:
            return
