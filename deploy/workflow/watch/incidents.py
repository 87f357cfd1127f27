"""The folders in which incidents are kept on this machine: private, bounded, and all that a watch remembers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.launch.watch import incident as form
from deploy.launch.watch.incident import Incident

FILE = "incident.json"
_HIDDEN = "."


def state() -> Path:
    """The project's folder for what is kept (XDG); not made here."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "sglang-spark"


@dataclass(frozen=True)
class Kept:
    """An incident and its folder."""

    folder: Path
    incident: Incident

    def save(self, changed: Incident) -> Kept:
        """The incident as it is now; whole or not at all."""
        beside = self.folder / f".{FILE}"
        _private(beside, form.write(changed).encode())
        beside.replace(self.folder / FILE)
        return Kept(self.folder, changed)

    def add(self, name: str, content: bytes) -> None:
        """One more file, readable by its owner alone."""
        _private(self.folder / name, content)


class Incidents:
    """The incidents of one cluster."""

    def __init__(self, cluster: str) -> None:
        self.folder = state() / cluster

    def __iter__(self) -> Iterator[Kept]:
        """The newest first; folders that are no incident's are passed over."""
        for folder in sorted(self.folder.glob("*"), reverse=True):
            file = folder / FILE
            found = form.read(file.read_text()) if file.is_file() else None
            if found:
                yield Kept(folder, found)

    def begin(self, incident: Incident) -> Kept:
        """A folder of its own for a new incident."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        folder = self._made(incident.folder)
        return Kept(folder, incident).save(incident)

    def _made(self, name: str) -> Path:
        for number in range(1, 1000):
            folder = self.folder / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return folder
        raise FileExistsError(name)

    def prune(self, most: int, most_bytes: float) -> None:
        """Let the oldest go until there are no more than `most`, of no more than `most_bytes` together."""
        sizes = [(folder.name, _size(folder)) for folder in self.folder.glob("*") if folder.is_dir()]
        for name in form.surplus(sizes, most, most_bytes):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _private(file: Path, content: bytes) -> None:
    """Readable by its owner alone before it has content."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
