"""SGLang's real Python trees, from the wheels that PyPI has; fetched once and kept in the user's cache folder."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from deploy.errors import BuildError
from deploy.launch.derive import download

VERSIONS = ("0.5.4.post2", "0.5.4.post3")


def wheel(version: str) -> Path:
    """The wheel of this version; skips the test where it is neither cached nor to be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sglang-spark" / "wheels" / version
    found = next(cache.glob("*.whl"), None)
    try:
        return found or download(version, cache)
    except BuildError as error:
        pytest.skip(error.message)


def unpack(version: str, folder: Path) -> Path:
    """Unpack sglang/ into the folder, which is then a tree to patch."""
    with zipfile.ZipFile(wheel(version)) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("sglang/")])
    return folder
