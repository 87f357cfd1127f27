"""Fetches wheels with pip, the only place that does. What is wanted, and what is done with it, is said elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.errors import BuildError


def fetch(wanted: tuple[str, ...], folder: Path, name: str) -> Path:
    """Wheels in `folder`, of which the first is given: `wanted` are pip's words for them, `name` is what errors call
    them. Raises BuildError."""
    said = _pip("download", "--no-deps", "--dest", str(folder), *wanted, name=name)
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise BuildError(f"pip could not download {name}: {said}", _hint(said))
    return found[0]


def found(wanted: tuple[str, ...], name: str) -> list[tuple[str, str]]:
    """What pip would install with all that it needs, and keeps nothing of: PROJECT==VERSION and SHA-256 of each wheel.
    Raises BuildError."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        words = ("--dry-run", "--ignore-installed", "--target", folder, "--report", str(report))
        _pip("install", *words, *wanted, name=name)
        every = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        (f"{one['metadata']['name']}=={one['metadata']['version']}", one["download_info"]["archive_info"]["hash"][7:])
        for one in every
    ]


def _pip(verb: str, *words: str, name: str) -> str:
    """What pip said. Raises BuildError."""
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    said = "\n".join(line for line in done.stderr.strip().splitlines() if not line.startswith("WARNING"))
    if done.returncode:
        raise BuildError(f"pip could not download {name}: {said}", _hint(said))
    return said


def _hint(said: str) -> str:
    if "No module named pip" in said:
        return f"this Python has no pip: `{sys.executable} -m ensurepip`"
    if "DO NOT MATCH THE HASHES" in said:
        return "what the index has is not what was recorded: do not use it before you know why"
    return "check the version, and that pip reaches its index (`pip config list`)"
