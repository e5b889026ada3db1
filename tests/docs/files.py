"""Every file of AIOS with the sentence that it says of itself, room by room: `make files` prints it, so it cannot be stale."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.docs.pages import HOME


def sentences() -> Iterator[tuple[str, str]]:
    """The path below `aios/`, and what the file says first; empty where it says nothing."""
    for path in sorted((HOME / "aios").rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path.name)):
        head = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        yield path.relative_to(HOME / "aios").as_posix(), " ".join(head.split("\n\n")[0].split())


if __name__ == "__main__":
    for file, sentence in sentences():
        if file.endswith("/__init__.py"):
            print(f"\n{file.removesuffix('__init__.py')}  {sentence}")
        else:
            print(f"  {file.rpartition('/')[2]:<22} {sentence}")
