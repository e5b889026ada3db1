"""Which processor the disks tell when they are done: found in trees that are laid out as a kernel lays them out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from aios.hands.interrupts import busiest, processor_of_disks

TABLE = """\
           CPU0       CPU1
 24:          1          0  IO-APIC   5-edge      ACPI:Ged
 35:          0          7  PCI-MSIX-0000:00:02.0   0-edge      virtio1-config
 36:          4    9000123  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 41:   99999999          0  PCI-MSIX-0000:00:04.0   1-edge      virtio3-rx
LOC:   12345678   12345678   Local timer interrupts
ERR:          0
"""


@pytest.fixture(autouse=True)
def _forget() -> None:
    busiest.cache_clear()


def lay_out(root: Path, disks: Mapping[str, str], irqs: Mapping[str, str], table: str = TABLE) -> tuple[str, str]:
    """`disks`: name -> its device's folder below /sys/devices; `irqs`: number -> the processors that it goes to."""
    (root / "sys" / "block").mkdir(parents=True)
    for name, device in disks.items():
        folder = root / "sys" / "devices" / device / "block" / name
        folder.mkdir(parents=True)
        os.symlink(folder, root / "sys" / "block" / name)
    for number, processors in irqs.items():
        (root / "proc" / "irq" / number).mkdir(parents=True)
        (root / "proc" / "irq" / number / "effective_affinity_list").write_text(processors + "\n")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "interrupts").write_text(table)
    return str(root / "sys"), str(root / "proc")


def test_the_busiest_interrupt_of_a_disk_and_of_no_other_device(tmp_path: Path) -> None:
    """A disk's controller is the nearest device above it that has interrupts: not its own settings' one, and no network card."""
    disk = "pci0000:00/0000:00:02.0/virtio1"
    sys, proc = lay_out(tmp_path, {"vda": disk, "loop0": "virtual"}, {"35": "0", "36": "1", "41": "0"})
    for number in ("35", "36"):
        (tmp_path / "sys/devices/pci0000:00/0000:00:02.0/msi_irqs").mkdir(exist_ok=True)
        (tmp_path / "sys/devices/pci0000:00/0000:00:02.0/msi_irqs" / number).touch()
    (tmp_path / "sys/devices/pci0000:00/msi_irqs").mkdir()
    (tmp_path / "sys/devices/pci0000:00/msi_irqs/41").touch()  # the bridge's own: further away
    assert busiest(sys, proc) == "36"
    assert processor_of_disks(sys, proc) == 1
    (tmp_path / "proc/irq/36/effective_affinity_list").write_text("0\n")  # somebody balances interrupts
    assert processor_of_disks(sys, proc) == 0


def test_a_controller_with_one_plain_interrupt(tmp_path: Path) -> None:
    sys, proc = lay_out(tmp_path, {"sda": "pci0000:00/0000:00:1f.2/ata1/host0"}, {"24": "3-5"})
    (tmp_path / "sys/devices/pci0000:00/0000:00:1f.2/irq").write_text("24\n")
    assert processor_of_disks(sys, proc) == 3


@pytest.mark.parametrize("table", ["", TABLE, "CPU0\n36: not a number\n", "\n\n36:\n"])
def test_nobody_can_say(tmp_path: Path, table: str) -> None:
    """No disk but virtual ones, no table, or one of another kernel."""
    sys, proc = lay_out(tmp_path, {"loop0": "virtual"}, {}, table)
    assert processor_of_disks(sys, proc) is None


def test_no_such_files_at_all(tmp_path: Path) -> None:
    assert processor_of_disks(str(tmp_path / "sys"), str(tmp_path / "proc")) is None


def test_on_this_machine_it_is_one_of_its_processors() -> None:
    found = processor_of_disks()
    assert found is None or 0 <= found < (os.cpu_count() or 1)
