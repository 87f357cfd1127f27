"""Loads some files of SGLang's or vLLM's tree as they are; all else that they import is stood in for. Runs nothing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Collection, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.kernels.exact.launcher import StandIns


class Borrowed(StandIns):
    """Serves the modules of one package: those of `real` from the tree, every other one as a stand-in that holds
    `given` and says so where anything else in it is called."""

    def __init__(self, tree: Path, package: str, real: Collection[str], given: Mapping[str, Any]) -> None:
        super().__init__(0, (package,))
        self._tree, self._real, self._given = tree, frozenset(real), dict(given)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self._real:
            return super().find_spec(name, path, target)
        return importlib.util.spec_from_file_location(name, self._tree / f"{name.replace('.', '/')}.py")

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self._given)


def load(finder: Borrowed, name: str) -> Any:
    """A module of the tree; the finder stays, since such modules import more when they are called."""
    if finder not in sys.meta_path:
        _forget(finder.roots)
        sys.meta_path.insert(0, finder)
    return importlib.import_module(name)


def _forget(roots: Collection[str]) -> None:
    """What is installed under this name, and was imported before."""
    for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
        del sys.modules[name]
