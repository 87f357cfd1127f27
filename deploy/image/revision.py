"""Where a build comes from, as git says: the last commit of its files, and the project's address. Never fails."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

UNKNOWN = "unknown"


def revision(root: Path, paths: Sequence[str]) -> str:
    """The last commit that changed one of `paths`, with -dirty where they differ from it; "unknown" outside git."""
    commit = _git(root, "log", "-1", "--format=%H", "--", *paths)
    if not commit:
        return UNKNOWN
    return commit + ("-dirty" if _git(root, "status", "--porcelain", "--", *paths) else "")


def source(root: Path) -> str:
    """The address of the project's origin as a web address without credentials, or "unknown"."""
    return web_address(_git(root, "remote", "get-url", "origin"))


def web_address(remote: str) -> str:
    """git@HOST:PATH.git and https://USER:TOKEN@HOST/PATH.git both become https://HOST/PATH."""
    match = re.fullmatch(
        r"(?:(?:ssh|https?)://)?(?:[^@/]*@)?([A-Za-z0-9][\w.-]*)(?::\d+(?=/))?[:/](.+?)(?:\.git)?/?", remote
    )
    return f"https://{match[1]}/{match[2].lstrip('/')}" if match else UNKNOWN


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
