"""Wheels as the files of a layer, as pip would lay them out, with any Python and for any platform. Installs nothing.

No scripts are made of entry points, and no bytecode: the first follow pip's version, the second the base's Python.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from deploy.errors import BuildError
from deploy.image.layer import Entry, file

INSTALLER = b"pip\n"
"""Who is said to have installed it: pip itself can then remove or replace it."""


def entries(wheel: Path, folder: str) -> list[Entry]:
    """The files of a wheel below `folder`, which is relative to the image's root. Raises BuildError."""
    try:
        # Open as long as an entry may be read: its list of files would else be read anew for each of them.
        archive = zipfile.ZipFile(wheel)
        members = [one for one in archive.infolist() if not one.is_dir()]
        info = _info(wheel, members)
        written = _written(archive.read(f"{info}/RECORD").decode(), info)
    except (zipfile.BadZipFile, OSError, KeyError, UnicodeDecodeError) as error:
        raise BuildError(f"{wheel}: is no wheel: {error}", "remove it; it is fetched anew") from None
    kept = [_entry(archive, one, folder) for one in members if one.filename not in written]
    return kept + [file(f"{folder}/{path}", content) for path, content in written.items()]


def folders(found: list[Entry], above: str) -> set[str]:
    """All folders that hold one of the entries and lie below `above`."""
    parents = {str(parent) for one in found for parent in Path(one.path).parents}
    return {parent for parent in parents if parent.startswith(f"{above}/")}


def _info(wheel: Path, members: list[zipfile.ZipInfo]) -> str:
    """The folder *.dist-info. Raises BuildError where there are parts for other places than one folder."""
    tops = {one.filename.partition("/")[0] for one in members}
    found = [top for top in tops if top.endswith(".dist-info")]
    strange = sorted(one.filename for one in members if _leads_out(one.filename))
    if len(found) != 1 or strange:
        what = f"has {strange[0]}" if strange else f"has {len(found)} folders *.dist-info"
        raise BuildError(f"{wheel.name}: {what}, and only plain wheels are unpacked here", "build with --engine docker")
    return found[0]


def _leads_out(name: str) -> bool:
    return bool(re.search(r"\.data/|(^|/)\.\.(/|$)|^/", name))


def _entry(archive: zipfile.ZipFile, one: zipfile.ZipInfo, folder: str) -> Entry:
    """Like pip, keep the executable bit alone of what the archive says of the mode."""
    mode = 0o755 if one.external_attr >> 16 & 0o111 else 0o644
    return Entry(f"{folder}/{one.filename}", mode, one.file_size, partial(archive.open, one))


def _written(record: str, info: str) -> dict[str, bytes]:
    """What pip writes beside the wheel's own files: INSTALLER, REQUESTED, and RECORD with these two in it."""
    own = {f"{info}/INSTALLER": INSTALLER, f"{info}/REQUESTED": b""}
    rows = [row for row in csv.reader(io.StringIO(record)) if row and row[0] not in own]
    rows += [[path, *_hashed(content)] for path, content in own.items()]
    text = io.StringIO()
    csv.writer(text).writerows(sorted(rows))
    return {**own, f"{info}/RECORD": text.getvalue().encode()}


def _hashed(content: bytes) -> Iterator[str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    yield from (f"sha256={digest}", str(len(content)))
