"""What runs inside the image needs nothing that the image may lack."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[3] / "deploy" / "inside").glob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_standard_library_and_what_the_image_carries_is_imported(path: Path) -> None:
    for name in imported(ast.parse(path.read_text(), feature_version=(3, 10))):
        carried = name.startswith(("deploy.inside.", "deploy.kernels."))
        assert carried or name.partition(".")[0] in sys.stdlib_module_names, name
