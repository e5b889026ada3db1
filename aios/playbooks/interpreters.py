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

INTERPRETERS: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(("sh", "bash", "dash", "zsh", "ash", "ksh", "mksh", "fish", "csh", "tcsh", "su", "runuser"), _SHELL),
    **dict.fromkeys(("python", "python2", "python3", "pypy", "pypy3"), _PYTHON),
    **dict.fromkeys(("perl", "ruby", "jruby"), _PERL),
    **dict.fromkeys(("node", "nodejs", "deno", "bun"), _NODE),
    **dict.fromkeys(("lua", "luajit", "Rscript", "groovy", "osascript"), _LUA),
    "php": _PHP,
}
_WRAPPERS = frozenset((
    "env", "nice", "ionice", "nohup", "setsid", "timeout", "stdbuf", "sudo", "doas", "chroot", "unshare", "nsenter",
    "systemd-run", "busybox", "xargs", "watch", "script", "strace", "taskset", "flock", "runuser", "su", "prlimit",
    "time", "exec", "command",
))  # fmt: skip
_TAKES_ARGUMENT = frozenset(("-W", "-X", "-o", "+o", "-O", "+O", "-I", "-r", "--require", "--rcfile", "--init-file", "-u", "-s"))


def code_flag(argv: list[str]) -> int | None:
    """The position of the option that hands code to an interpreter; None when there is none."""
    for position, program in _programs(argv):
        pattern = INTERPRETERS.get(re.sub(r"[0-9.]+\Z", "", program)) or INTERPRETERS.get(program)
        if pattern is None:
            continue
        skip = False
        for at in range(position + 1, len(argv)):
            word = argv[at]
            if skip or word == "":
                skip = False
            elif pattern.match(word) or (pattern is _SHELL and word == "--command"):
                return at
            elif word[0] not in "-+" and program not in ("su", "runuser"):
                break  # the script; what follows are its own arguments
            else:
                skip = word in _TAKES_ARGUMENT
    return None


def _programs(argv: list[str]) -> Iterator[tuple[int, str]]:
    """The program, and those that a wrapper (env, timeout, sudo, …) may start in its stead."""
    wrapped = True
    for position, word in enumerate(argv):
        if not wrapped:
            return
        name = word.rsplit("/", 1)[-1]
        if position == 0 or name in INTERPRETERS or re.sub(r"[0-9.]+\Z", "", name) in INTERPRETERS or name in _WRAPPERS:
            yield position, name
        if position == 0:
            wrapped = name in _WRAPPERS
