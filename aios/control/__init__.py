"""The control socket: how a person, known by the kernel, asks the living daemon and tells it what to do.

`protocol` says what a line is, `server` runs in the daemon's loop, `client` is what the command line uses (no asyncio). What
the verbs mean is not known here: the daemon hands in a `ControlHandler`.
"""
