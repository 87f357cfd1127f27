"""Files that may be kernel tables, out of a folder, an archive or a tar stream. Unpacks nothing and judges nothing."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from deploy.errors import KernelError
from deploy.kernels.parse import MAX_BYTES
from deploy.kernels.provenance import SUFFIX, file_name

MOST_FILES = 5000
MOST_BYTES = 4 << 30
"""An archive that unpacks to more is refused: reading on would only cost time."""
ENDS = (".json",)
Found = Mapping[str, bytes]
"""Contents by path in the source, with slashes; of a file too large for a table only the beginning."""


def of_folder(folder: Path) -> Found:
    """Tables at or below a folder, or a single file. Raises KernelError where one cannot be read."""
    if folder.is_file():
        beside = folder.with_name(file_name(folder.name))
        return _gathered((one.name, _read(one)) for one in (folder, beside) if one.is_file())
    paths = [one for one in sorted(folder.rglob("*.json")) if one.is_file() and _wanted(one.as_posix())]
    return _gathered((one.relative_to(folder).as_posix(), _read(one)) for one in paths)


def of_archive(path: Path) -> Found:
    """Tables in a .zip, or in a tar with any compression. Raises KernelError for links and odd paths too."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _gathered(_zipped(archive, path))
        with tarfile.open(path) as archive:
            return _gathered(_tarred(archive, str(path)))
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise KernelError(
            f"{path}: cannot be read as an archive: {reason}", "name a .zip or a .tar, packed or not"
        ) from None


def of_tar(stream: IO[bytes], where: str) -> Found:
    """Tables in a tar stream. Raises KernelError as `of_archive`."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            return _gathered(_tarred(archive, where))
    except (tarfile.TarError, OSError) as error:
        raise KernelError(f"{where}: cannot be read: {error}", "try again") from None


def _gathered(files: Iterable[tuple[str, bytes]]) -> Found:
    found: dict[str, bytes] = {}
    for path, content in files:
        found[path] = content
        if len(found) > MOST_FILES:
            raise KernelError(f"more than {MOST_FILES} files could be tables", "name the folder that holds the tables")
    return found


def _zipped(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, bytes]]:
    for member in archive.infolist():
        if member.is_dir() or not _wanted(member.filename):
            continue
        _safe(member.filename, str(path), link=(member.external_attr >> 16) & 0o170000 == 0o120000)
        with archive.open(member) as file:
            yield member.filename, file.read(MAX_BYTES + 1)


def _tarred(archive: tarfile.TarFile, where: str) -> Iterator[tuple[str, bytes]]:
    unpacked = 0
    for member in archive:
        unpacked += member.size
        if unpacked > MOST_BYTES:
            raise KernelError(f"{where}: unpacks to more than {MOST_BYTES >> 30} GiB", "pack the tables alone")
        if member.isdir() or not _wanted(member.name):
            continue
        _safe(member.name, where, link=not member.isreg())
        yield member.name, cast(IO[bytes], archive.extractfile(member)).read(MAX_BYTES + 1)


def _wanted(path: str) -> bool:
    """What is named as a table, or lies where tables lie."""
    one = PurePosixPath(path)
    placed = one.parent.name.startswith("triton_") or one.name.startswith("E=")
    return one.suffix in ENDS and (placed or one.name.endswith(SUFFIX))


def _safe(path: str, where: str, *, link: bool) -> None:
    """Nothing is unpacked, but a path is recorded; and a link's content is somewhere else."""
    if link:
        raise KernelError(f"{where}: {path!r} is a link, not a file", "pack the files themselves")
    if path.startswith("/") or ".." in PurePosixPath(path).parts or not path.isprintable():
        raise KernelError(f"{where}: {path!r} is no path inside of an archive", "pack the folder anew")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KernelError(f"{path}: {error.strerror}", "name a folder that can be read") from None
