"""What the image carries to judge its tables needs the standard library of Python 3.10 alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FIRST = ("check", "files")


def imports(path: Path) -> set[str]:
    """Modules named by a file, read as Python 3.10; those for type checkers alone are named too."""
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    found = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {f"{module}.{one.name}" for one in node.names} if module == "deploy.kernels" else {module}
    return found


def test_the_judging_modules_import_each_other_and_the_standard_library(root: Path) -> None:
    seen: set[str] = set()
    waiting = {f"deploy.kernels.{name}" for name in FIRST}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        needed = imports(root / f"{name.replace('.', '/')}.py")
        ours = {one for one in needed if one.startswith("deploy")}
        assert all(one.startswith("deploy.kernels.") for one in ours), (name, ours)
        assert {one.partition(".")[0] for one in needed - ours} <= sys.stdlib_module_names, (name, needed)
        waiting |= ours - seen
    assert len(seen) > 10
