"""SGLang's real Python trees, from the wheels that PyPI has; fetched once and kept in the user's cache folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

from deploy import store

VERSIONS = ("0.5.4.post2", "0.5.4.post3")


def wheel(version: str) -> Path:
    """The wheel of this version."""
    return store.wheel("sglang", version)


def unpack(version: str, folder: Path) -> Path:
    """Unpack sglang/ into the folder, which is then a tree to patch."""
    with zipfile.ZipFile(wheel(version)) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("sglang/")])
    return folder
