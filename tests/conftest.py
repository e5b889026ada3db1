"""What all tests share: none is judged by how busy the machine is, and none pays for compiling AIOS."""

from __future__ import annotations

import compileall
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Bytecode of AIOS, once: tests start a thousand daemons and commands, and each would compile it again where the environment
    keeps Python from writing it (PYTHONDONTWRITEBYTECODE): half of what the crash tests cost."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(__file__).parents[1] / "aios", quiet=2)
