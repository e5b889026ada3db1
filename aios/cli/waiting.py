"""Which folders of playbooks stay in force as they were, in sentences: for `playbook list`, `reload` and `doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN_MAX = 5


def waiting_words(waiting: Any) -> Iterator[str]:
    """A sentence for each folder: what the daemon said of them (folder -> files whose changes wait)."""
    for folder, files in (waiting if isinstance(waiting, Mapping) else {}).items():
        names = [os.path.basename(str(file)) for file in files]
        shown = ", ".join(names[:SHOWN_MAX]) + (f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else "")
        others = f" The changes of {shown} wait for that." if names else ""
        yield f"{folder} stays in force as it was, until every file in it can be used.{others}"
