"""The modules of the glm47 patch that need no SGLang, loaded from where they are kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FILES = Path(__file__).resolve().parents[3] / "patches" / "glm47" / "files"


def part(name: str) -> ModuleType:
    """One module by its file's name; loaded once."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
