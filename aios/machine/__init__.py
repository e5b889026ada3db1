"""The real machine: what each port of the daemon is on it. `outside` is the page that says so.

`daemon_main` runs on it; what a simulation has instead stands in `aios.testing`.
"""
