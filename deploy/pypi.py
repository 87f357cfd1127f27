"""Packages from PyPI by pip, kept in the user's cache folder; the one place that runs pip. Imports none of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.errors import BuildError


def cache() -> Path:
    """The project's folder in the user's cache (XDG); not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sglang-spark"


def wheel(project: str, version: str, platform: str = "") -> Path:
    """The wheel of that version, of `platform` where its kind matters (manylinux2014_aarch64); BuildError from pip."""
    folder = cache() / "wheels" / f"{project}-{version}" / platform
    if found := next(folder.glob("*.whl"), None):
        return found
    words = ["download", "--only-binary=:all:", *(["--platform", platform] if platform else [])]
    return _fetch([*words, "--dest"], f"{project}=={version}", folder) / next(folder.glob("*.whl")).name


def installed(project: str, version: str) -> Path:
    """A folder for PYTHONPATH that holds this version for this Python, without its dependencies; BuildError from pip."""
    folder = cache() / "packages" / f"{project}-{version}-{sys.implementation.cache_tag}"
    return folder if folder.exists() else _fetch(["install", "--target"], f"{project}=={version}", folder)


def _fetch(words: list[str], requirement: str, folder: Path) -> Path:
    """Fetched beside and moved in whole, so that what lies in the cache is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as beside:
        command = [sys.executable, "-m", "pip", words[0], "--quiet", "--no-deps", "--disable-pip-version-check"]
        done = subprocess.run([*command, *words[1:], f"{beside}/new", requirement], capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"pip could not fetch {requirement}: {done.stderr.strip()}", "check the version and pip")
        try:
            Path(beside, "new").rename(folder)
        except OSError:
            if not any(folder.iterdir()):  # else somebody else was faster
                raise
    return folder
