"""Settings of the kernel: saved before an act, put back after it, on a real kernel in a network of the test's own."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles, make_dirs, write_small
from aios.errors import Permanent
from aios.events.calls import Touches
from aios.events.codec import decode_json, encode_json
from aios.hands import kernel
from aios.hands.attempt import MANIFEST
from aios.hands.rollback import rollback
from aios.hands.safe_files import SafeFolder
from aios.ports import ServiceActs
from tests.integration.hands_kit import taken

CLONE_NEWNET = 0x40000000
SETTING = "net.ipv4.conf.lo.rp_filter"
NO_INVERSES: Any = None


def no_services() -> ServiceActs:
    raise AssertionError("no service is touched")


def story(folder: str) -> dict[str, Any]:
    """Save, change, take back, in this process's own network."""
    blobs = BlobFolder(OsFiles(), f"{folder}/blobs")
    before = kernel.read(SETTING)
    manifest = taken(Touches(settings=(SETTING,)), blobs, no_services)
    attempt = f"{folder}/runs/r/a.1"
    make_dirs(OsFiles(), attempt)
    write_small(OsFiles(), f"{attempt}/{MANIFEST}", encode_json(manifest))
    SafeFolder(manifest, "", OsFiles(), blobs).set_kernel_setting(SETTING, "2" if before != "2" else "1")
    changed = kernel.read(SETTING)
    result = rollback(["runs/r/a.1"], folder, OsFiles(), blobs, no_services, NO_INVERSES)
    return {"before": before, "changed": changed, "after": kernel.read(SETTING), "result": result.to_json()}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a network of its own")
def test_a_setting_that_an_act_changed_is_put_back_with_proof(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
                os._exit(77)
            (tmp_path / "told").write_bytes(encode_json(story(str(tmp_path))))
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 77:
        pytest.skip("this sandbox gives nobody a network of its own")
    told = decode_json((tmp_path / "told").read_bytes())
    assert told["changed"] != told["before"]
    assert told["after"] == told["before"]
    assert told["result"]["ok"], told["result"]["error"]
    (line,) = told["result"]["result"]["proof"]
    assert (line["path"], line["before"], line["restored"]) == (f"setting:{SETTING}", told["before"], told["before"])


@pytest.mark.parametrize("name", ["", "swappiness", "../etc/passwd", "vm/../../etc/passwd", "vm.\n", "/proc/sys/vm/swappiness"])
def test_what_is_no_setting_is_refused_before_anything_is_opened(name: str) -> None:
    with pytest.raises(Permanent, match="no kernel setting"):
        kernel.read(name)


def test_an_act_may_change_only_what_it_said_that_it_touches(tmp_path: Path) -> None:
    safe = SafeFolder({"settings": []}, "", OsFiles(), BlobFolder(OsFiles(), str(tmp_path)))
    with pytest.raises(Permanent, match="not among what this act touches"):
        safe.set_kernel_setting("vm.swappiness", "10")


def test_a_setting_that_this_kernel_does_not_have_is_no_act(tmp_path: Path) -> None:
    blobs = BlobFolder(OsFiles(), str(tmp_path))
    with pytest.raises(FileNotFoundError):
        taken(Touches(settings=("vm.no_such_thing",)), blobs, no_services)
