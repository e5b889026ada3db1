"""What the exit code of `aios` says. Scripts and systemd read it; the table in the docs is made from here."""

from __future__ import annotations

from collections.abc import Mapping

OK = 0
NO = 1
USAGE = 2
NO_DAEMON = 3
INVALID = 4
NOT_ALLOWED = 5
SILENT = 6
BUG = 70
DISK = 74
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: Mapping[int, str] = {
    OK: "it is done, or all is well",
    NO: "it was refused, or problems were found; the output says which",
    USAGE: "the command line is not understood",
    NO_DAEMON: "this needs a living daemon, and there is none",
    INVALID: "settings or a playbook cannot be used; the output names file, line and cure",
    NOT_ALLOWED: "you may not do this: the socket or a file belongs to somebody else",
    SILENT: "the daemon is there and does not answer in time",
    BUG: "a bug in AIOS",
    DISK: "the journal's disk is broken, read-only or gone; the daemon ended so that it is started anew",
    INTERRUPTED: "ended by Ctrl-C",
    BROKEN_PIPE: "whoever read the output went away (`aios events | head`)",
}
