"""The keeper: a tiny process that is the parent of one managed service and records how it ended.

`start_kept(spec, folder, log_path)` is called from a service's start or restart (`ManagedActs` in `aios/services/managed.py`,
inside an act's process; it gets the function as an argument). It returns once the service runs (its exec worked), and raises
`Permanent` when it cannot. The keeper outlives the act, the launcher, hands and the daemon: it has a session of its own, and so
has the service.

Two files below `folder` (the state folder's `services/`) tell the daemon. NAME is `file_name(spec.name)`. Both are plain JSON,
one object, written as temporary, fsync, rename, fsync of the folder:

`NAME.json`, written before the service's program begins:

    {"name": "web", "pid": 4242, "start": 1234567, "boot_id": "…", "keeper": 4241, "keeper_start": 1234566,
     "started_at": 1771920000.25, "log": "/var/lib/aios/services/web.log", "argv": ["/usr/bin/web"]}

`NAME.exit`, written when it ended; it belongs to the `NAME.json` that has the same pid and start:

    {"name": "web", "pid": 4242, "start": 1234567, "boot_id": "…", "status": 1, "signal": 0, "at": 1771920009.5}

`status` is the exit status (0 to 255; 0 when a signal ended it), `signal` the number of the signal (0 when none did), `at` and
`started_at` wall time in seconds. `start` is field 22 of /proc/PID/stat. `NAME.exit` of an earlier life is removed before a new
`NAME.json` is written. When the keeper is killed, its service lives on and `NAME.exit` stays away: then pid and start tell
whether it lives, and its status is unknown.

Names: `file_name` keeps letters, digits, `.`, `_`, `-`, `@` and writes every other byte as `%XX` (`agent:coder` is
`agent%3Acoder`).
"""
