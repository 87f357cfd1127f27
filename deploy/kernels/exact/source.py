"""SGLang's module of kernel and launcher, in the tree that is installed here or in a wheel. Imports neither."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from deploy import store
from deploy.errors import BuildError

MODULE = "fused_moe_triton_kernels.py"


def installed() -> Path | None:
    """In SGLang's tree on this machine, wherever its version keeps it."""
    spec = importlib.util.find_spec("sglang")
    roots = [Path(one) for one in (spec.submodule_search_locations or ())] if spec else []
    return next((found for root in roots for found in sorted(root.rglob(MODULE))), None)


def of_wheel(sglang: str) -> bytes:
    """From PyPI. BuildError where that version has none."""
    with zipfile.ZipFile(store.wheel("sglang", sglang)) as archive:
        found = [name for name in archive.namelist() if name.endswith(f"/{MODULE}")]
        if len(found) != 1:
            raise BuildError(f"sglang {sglang} has {len(found)} files {MODULE}", "name another version: --sglang")
        return archive.read(found[0])
