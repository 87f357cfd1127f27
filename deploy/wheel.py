"""Fetches wheels with pip, the only place that does. What is wanted, and what is done with it, is said elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.errors import BuildError


def fetch(wanted: tuple[str, ...], folder: Path, name: str) -> Path:
    """One wheel in `folder`: `wanted` are pip's words for it, `name` is what errors call it. Raises BuildError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        said = "\n".join(line for line in done.stderr.strip().splitlines() if not line.startswith("WARNING"))
        raise BuildError(f"pip could not download {name}: {said}", _hint(said))
    return found[0]


def _hint(said: str) -> str:
    if "No module named pip" in said:
        return f"this Python has no pip: `{sys.executable} -m ensurepip`"
    if "DO NOT MATCH THE HASHES" in said:
        return "what the index has is not what was recorded: do not use it before you know why"
    return "check the version, and that pip reaches its index (`pip config list`)"
