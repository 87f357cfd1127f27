"""Reads the runs that lie in a file or a folder, and writes what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.bench.results import Run, from_json
from deploy.errors import BenchError


@dataclass(frozen=True)
class Gathered:
    """Runs by the name of their file, oldest first, and why each other .json was not taken."""

    runs: dict[str, Run]
    refused: tuple[str, ...] = ()


def gathered(place: Path) -> Gathered:
    """The run of a file, or all runs in a folder and those below it. Raises BenchError where there is none."""
    if not place.is_dir():
        return Gathered({place.name: _read(place)})
    runs: dict[str, Run] = {}
    refused = []
    for file in sorted(place.rglob("*.json")):
        try:
            runs[str(file.relative_to(place))] = _read(file)
        except BenchError as error:
            refused.append(error.message)
    if not runs:
        why = f": {refused[0]}" if refused else ""
        raise BenchError(f"{place} holds no result of `bench run`{why}", "name a folder that `bench run` wrote into")
    return Gathered(dict(sorted(runs.items(), key=lambda one: (one[1].began, one[0]))), tuple(refused))


def _read(file: Path) -> Run:
    try:
        return from_json(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise BenchError(f"{file}: cannot be read: {why}", "name a file that `bench run` wrote") from None


def keep(file: Path, text: str) -> None:
    """Write a report. Raises BenchError."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{file}: cannot be written: {error.strerror}", "name another file") from None
