"""Every benchmark, one after the other, as one JSON document: `make bench` or `python -m tests.bench [NAME …]`.

Each `bench_NAME.py` here has `run() -> dict`: figures with their unit in the name, and the baseline that was measured in the same
run. Nothing is asserted: a machine that is busy with something else gives other figures, and ratios hold longer than times.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path


def main(names: list[str]) -> None:
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release(), "load": os.getloadavg()}
    figures = {}
    for name in names or known:
        began = time.perf_counter()
        print(f"{name} …", file=sys.stderr, flush=True)
        figures[name] = importlib.import_module(f"tests.bench.bench_{name}").run()
        print(f"{name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    print(json.dumps({"machine": machine, "figures": figures}, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
