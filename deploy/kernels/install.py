"""Tables from elsewhere under the right names: which are for this GPU, whether they run, and what is written."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from deploy.errors import KernelError
from deploy.kernels import provenance
from deploy.kernels.candidates import Found
from deploy.kernels.check import TableFile, Verdict, check, errors
from deploy.kernels.finding import Target
from deploy.kernels.name import TableName, folder, read_name, searched, version_of
from deploy.kernels.parse import TableError, parse
from deploy.kernels.provenance import Proof, Provenance, Source


@dataclass(frozen=True)
class Import:
    """One table to install: its place in the source, its name here, and the Triton that it was made for."""

    path: str
    content: bytes
    name: TableName
    triton: str
    beside: Provenance | None = None


def selected(found: Found, target: Target) -> tuple[Import, ...]:
    """The tables for the target's GPU, the one of the nearest Triton where there are several. Raises KernelError."""
    every = [one for path, content in found.items() if (one := _import(path, content, found, target))]
    ours = [one for one in every if one.name.device == target.gpu.device]
    if not ours:
        devices = sorted({one.name.device for one in every})
        seen = f"there are tables for {', '.join(devices[:8])}" if devices else "there is no table at all"
        raise KernelError(f"no table for {target.gpu.device}: {seen}", "name another source, or another GPU with --gpu")
    best: dict[TableName, Import] = {}
    for one in sorted(ours, key=lambda one: _distance(one.triton, [other.triton for other in ours], target)):
        first = best.setdefault(one.name, one)
        if first.triton == one.triton and first.content != one.content:
            message = f"{first.path} and {one.path} are different tables of one name"
            raise KernelError(message, "name the folder of the one that you want")
    return tuple(best.values())


def judged(imports: Sequence[Import], target: Target, place: Path) -> tuple[Verdict, ...]:
    """Verdicts on the tables as they would be installed at `place`."""
    return check([_file(one, _path(one, target, place)) for one in imports], target)


def written(
    imports: Sequence[Import], verdicts: Sequence[Verdict], target: Target, source: Source, made: str
) -> dict[str, bytes]:
    """What goes into the folder: tables to the byte, each with its provenance; `made` is the time, RFC 3339."""
    files: dict[str, bytes] = {}
    for one, verdict in zip(imports, verdicts, strict=True):
        kept = _provenance(one, verdict, target, source)
        files[str(one.name)] = one.content
        files[provenance.file_name(str(one.name))] = replace(kept, made=made).to_json().encode()
    return files


def refuse(verdicts: Sequence[Verdict]) -> None:
    """Raise KernelError where a table cannot run."""
    wrong = errors(verdicts)
    if wrong:
        lines = [f"{Path(one.file).name}: {one.key + ': ' if one.key else ''}{one.message}" for one in wrong]
        more = f"\nand {len(lines) - 5} more" if len(lines) > 5 else ""
        hint = "nothing was installed; --allow-unsafe installs it all the same"
        raise KernelError("\n".join(lines[:5]) + more, hint)


def put(files: dict[str, bytes], place: Path, *, force: bool) -> tuple[str, ...]:
    """Write the files, all or none, and no other table over one that is there; the names that were written anew.

    Raises KernelError. A provenance is replaced with its table, and left alone where the table is there already.
    """
    tables = {name: content for name, content in files.items() if not name.endswith(provenance.SUFFIX)}
    new = {name: content for name, content in tables.items() if _content(place / name) != content}
    taken = [name for name in new if (place / name).exists()]
    if taken and not force:
        raise KernelError(f"{place / taken[0]}: another table is there already", "--force replaces it")
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, content in new.items():
            _replace(place / provenance.file_name(name), files[provenance.file_name(name)])
            _replace(place / name, content)
    except OSError as error:
        raise KernelError(f"{place}: {error.strerror}", "name a folder that can be written with --into") from None
    return tuple(new)


def _import(path: str, content: bytes, found: Found, target: Target) -> Import | None:
    name = _mended(PurePosixPath(path).name, target)
    if name is None or path.endswith(provenance.SUFFIX):
        return None
    made_for = version_of(PurePosixPath(path).parent.name)
    return Import(path, content, name, made_for or target.triton, _beside(path, content, found))


def _mended(file: str, target: Target) -> TableName | None:
    """The name under which this SGLang looks for what a file is named for."""
    name = read_name(re.sub(r"\[(\d+),\s*(\d+)\]", r"[\1, \2]", file))
    if name is None:
        return None
    return replace(name, per_channel=name.per_channel and target.rules.per_channel_in_name)


def _distance(triton: str, present: Sequence[str], target: Target) -> int:
    """How late SGLang would look into that version's folder."""
    order = searched(target.rules, target.triton, present)
    return order.index(triton) if triton in order else len(order)


def _beside(path: str, content: bytes, found: Found) -> Provenance | None:
    """What the source says of the table, where that is of this very content."""
    try:
        read = provenance.parse(found.get(provenance.file_name(path), b""))
    except provenance.ProvenanceError:
        return None
    return read if read.sha256 == provenance.checksum(content) else None


def _path(one: Import, target: Target, place: Path) -> str:
    return (place / folder(target.triton) / str(one.name)).as_posix()


def _file(one: Import, path: str) -> TableFile:
    try:
        return TableFile(path, parse(one.content, path), (), provenance.checksum(one.content), one.beside)
    except TableError as error:
        return TableFile(path, None, error.problems)


def _provenance(one: Import, verdict: Verdict, target: Target, source: Source) -> Provenance:
    largest = max((row.bytes for row in verdict.rows), default=0)
    versions = {"sglang": target.sglang, "triton": target.triton}
    entries = len(verdict.file.table.entries) if verdict.file.table else 0
    proof = Proof("fast", target.gpu.name, largest, target.gpu.shared_memory, entries, verdict.runs, versions)
    how = one.beside.how if one.beside else "as it was found; how its entries were found there is not known"
    return Provenance(
        sha256=provenance.checksum(one.content),
        origin="imported",
        how=how,
        lowering=one.beside.lowering if one.beside else None,
        versions=dict(one.beside.versions) if one.beside else {"triton": one.triton},
        source=replace(source, path=one.path),
        proofs=(proof,),
    )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
