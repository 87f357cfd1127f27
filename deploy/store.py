"""What is fetched from PyPI once and kept in the user's cache folder: wheels, and packages unpacked from them."""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from deploy.wheel import fetch


def cache() -> Path:
    """The project's folder in the user's cache (XDG); not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sglang-spark"


def wheel(project: str, version: str, platform: str = "") -> Path:
    """The wheel of that version, for `platform` where it is not this machine's; BuildError where pip fails."""
    folder = cache() / "wheels" / f"{project}-{version}" / platform
    wanted = (*(("--platform", platform) if platform else ()), f"{project}=={version}")
    keep(folder, lambda new: fetch(wanted, new, f"{project} {version}"))
    return next(folder.glob("*.whl"))


def package(project: str, version: str) -> Path:
    """A folder for PYTHONPATH with this version for this Python, without its dependencies; BuildError from pip."""
    folder = cache() / "packages" / f"{project}-{version}-{sys.implementation.cache_tag}"
    keep(folder, lambda new: _unpack(fetch((f"{project}=={version}",), new, f"{project} {version}"), new))
    return folder


def keep(folder: Path, fill: Callable[[Path], object]) -> None:
    """Make the folder unless it is there; filled beside and moved in whole, so that what is kept is complete."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as beside:
        new = Path(beside) / "whole"
        new.mkdir()
        fill(new)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise


def _unpack(wheel: Path, folder: Path) -> None:
    """With the executable bits, which a wheel keeps in its ZIP's attributes."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            unpacked = Path(archive.extract(member, folder))
            if member.external_attr >> 16 & 0o111:
                unpacked.chmod(unpacked.stat().st_mode | 0o111)
    wheel.unlink()
