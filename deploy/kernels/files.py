"""Kernel tables on disk: which files of a path are tables, and what is in them. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.kernels import provenance
from deploy.kernels.check import TableFile
from deploy.kernels.name import version_of
from deploy.kernels.parse import TableError, parse, read


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
        if one.is_file() and placed and not one.name.endswith(provenance.SUFFIX):
            yield one


def _file(path: Path) -> TableFile:
    try:
        content = read(path)
        table = parse(content, str(path))
    except TableError as error:
        return TableFile(path.as_posix(), None, error.problems)
    return TableFile(path.as_posix(), table, (), provenance.checksum(content), _beside(path))


def _beside(path: Path) -> provenance.Provenance | str | None:
    try:
        return provenance.parse(path.with_name(provenance.file_name(path.name)).read_bytes())
    except FileNotFoundError:
        return None
    except provenance.ProvenanceError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
