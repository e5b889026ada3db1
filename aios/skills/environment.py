"""What a program of a step gets from us: a clean environment and, where it names one, another user.

Used by `bounded` and `commands`. Nothing of the daemon's own environment is passed on but what
the setting `limits.environment` lists.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import Any

from aios.errors import Permanent

PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""Without settings (a daemon's call always has them)."""


def clean(call_env: Mapping[str, Any], own: Mapping[str, str], user: str) -> dict[str, str]:
    """The whole environment: what is passed on, the user's own names, and what the step lists. Raises `Permanent`."""
    names = (call_env.get("limits") or {}).get("environment", PASSED_ON)
    passed = {name: os.environ[name] for name in names if name in os.environ}
    theirs = {"HOME": account(user).pw_dir, "USER": user, "LOGNAME": user} if user else {}
    return {"PATH": PATH_DEFAULT, **passed, **theirs, **own}


def account(user: str) -> pwd.struct_passwd:
    """Raises `Permanent`."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise Permanent(f"there is no user {user!r} on this machine") from None


def identity(user: str) -> dict[str, Any]:
    """What `subprocess` wants to hear to become this user; nothing for our own. Raises `Permanent`."""
    if not user:
        return {}
    found = account(user)
    if found.pw_uid == os.geteuid():
        return {}
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": os.getgrouplist(user, found.pw_gid)}
