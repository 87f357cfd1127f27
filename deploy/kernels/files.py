"""Kernel tables on disk: which files of a path are tables, and what is in them. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.kernels.check import TableFile
from deploy.kernels.name import version_of
from deploy.kernels.parse import TableError, read

PROVENANCE = ".provenance.json"
"""How the file beside a table ends that says where the table is from. SGLang opens exact names alone, so never it."""


def table_files(paths: Iterable[Path]) -> tuple[TableFile, ...]:
    """Every table at or below the paths, read; a file that is none has its problems with it."""
    found = dict.fromkeys(one for path in paths for one in _below(path))
    return tuple(_file(path) for path in found)


def _below(path: Path) -> Iterator[Path]:
    """A file is taken as it is; in a folder, what is named as a table or lies where tables lie."""
    if not path.is_dir():
        yield path
        return
    for one in sorted(path.rglob("*.json")):
        placed = version_of(one.parent.name) is not None or one.parent == path
        if one.is_file() and placed and not one.name.endswith(PROVENANCE):
            yield one


def _file(path: Path) -> TableFile:
    try:
        return TableFile(path.as_posix(), read(path))
    except TableError as error:
        return TableFile(path.as_posix(), None, error.problems)
