"""What the files of a tree are by the manifest, and what is to be written. Pure: touches no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from deploy.inside.journal import JOURNAL, UNKNOWN_BASE, Journal, journal_of
from deploy.inside.manifest import Manifest, PatchError, Problem, compiled, digest, produce, sha256

PATCHED, UNPATCHED, HALF, UNKNOWN = "patched", "not patched", "half patched", "unknown"


@dataclass(frozen=True)
class FileState:
    """One file: its state, the bases that have it; where it is unknown, what was expected, and can it be allowed."""

    path: str
    state: str
    bases: frozenset[str] = frozenset()
    expected: str = ""
    found: str = ""
    can_be_allowed: bool = False
    is_new: bool = False


@dataclass(frozen=True)
class Status:
    """All files. `bases` are those that the whole tree may be of, `allowed` what was allowed when it was patched."""

    state: str
    files: tuple[FileState, ...]
    bases: frozenset[str]
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is still to be written, what is so already, which bases the tree may be, and files that are of none."""

    writes: Mapping[str, bytes]
    done: tuple[str, ...]
    bases: frozenset[str] = field(default_factory=frozenset)
    unknown: tuple[str, ...] = ()
    state: str = UNPATCHED


def status(files: Mapping[str, bytes], manifest: Manifest) -> Status:
    """What every file is. `files` lacks what the tree lacks. Raises nothing: what is not known is a state."""
    journal = journal_of(files)
    edited = tuple(_edited(path, files.get(path), manifest, journal) for path in manifest.edits)
    bases, mixed = _common(edited, manifest)
    allowed = (UNKNOWN_BASE,) if journal.allowed and (mixed or _patched_blindly(edited)) else ()
    if mixed and not allowed:
        edited = tuple(mixed if one.path == mixed.path else one for one in edited)
    states = edited + tuple(_added(path, files.get(path), manifest, journal) for path in manifest.added)
    return Status(_overall(states), states, bases, allowed)


def plan(files: Mapping[str, bytes], manifest: Manifest, *, allow_unknown_base: bool = False) -> Plan:
    """Which files change, and into what. Raises PatchError with every file that stands in the way."""
    found = status(files, manifest)
    refused = [one for one in found.files if one.state == UNKNOWN and not (allow_unknown_base and one.can_be_allowed)]
    if refused:
        raise PatchError(*(Problem(one.path, one.expected, one.found) for one in refused))
    writes = dict(_writes(found, files, manifest))
    unknown = tuple(one.path for one in found.files if one.state == UNKNOWN or _patched_blindly((one,)))
    done = tuple(one.path for one in found.files if one.path not in writes)
    if writes:
        allowed = bool(unknown or found.allowed)
        writes = {JOURNAL: journal_of(files).continued(files, manifest, writes, allowed=allowed), **writes}
    return Plan(writes, done, found.bases, unknown, found.state)


def _patched_blindly(states: tuple[FileState, ...]) -> bool:
    """Is one of them an edited file of no known base, which was patched all the same?"""
    return any(one.state == PATCHED and not (one.bases or one.is_new) for one in states)


def _edited(path: str, content: bytes | None, manifest: Manifest, journal: Journal) -> FileState:
    """A file that the manifest edits."""
    if content is None:
        return FileState(path, UNKNOWN, expected="a file", found="none: is this the folder that holds sglang/?")
    found, states = sha256(content), manifest.known.get(path, {})
    for state, side in ((PATCHED, "after"), (UNPATCHED, "before")):
        bases = frozenset(base for base, known in states.items() if getattr(known, side) == found)
        if bases:
            return FileState(path, state, bases)
    entry = journal.entries.get(path)
    if entry and entry.after == found and entry.edits == digest(manifest.edits[path]):
        return FileState(path, PATCHED)
    known = _told({base: known.before for base, known in states.items()})
    said = entry.said(found) if entry else ""
    return FileState(path, UNKNOWN, frozenset(), f"sha256 of a known base ({known})", f"sha256 {found}{said}", not said)


def _told(checksums: Mapping[str, str]) -> str:
    """The checksums that are known, each with the bases that have it."""
    bases = {one: {base for base, other in checksums.items() if other == one} for one in checksums.values()}
    return "; ".join(f"{names(bases[one])} {one}" for one in bases) or "none is known"


def _added(path: str, content: bytes | None, manifest: Manifest, journal: Journal) -> FileState:
    """A file that the manifest brings."""
    if content is None:
        return FileState(path, UNPATCHED, is_new=True)
    if content == manifest.added[path]:
        return FileState(path, PATCHED, is_new=True)
    entry, found = journal.entries.get(path), sha256(content)
    said = entry.said(found) if entry else ""
    expected = f"no such file, or sha256 {sha256(manifest.added[path])}"
    return FileState(path, UNKNOWN, frozenset(), expected, f"sha256 {found}{said}", is_new=True)


def _common(states: tuple[FileState, ...], manifest: Manifest) -> tuple[frozenset[str], FileState | None]:
    """(the bases that all files of known bases may be of, the first file that fits no base of those before it)."""
    bases = frozenset(base for known in manifest.known.values() for base in known)
    seen = [one for one in states if one.bases]
    for one in seen:
        if not bases & one.bases:
            expected = f"a file of {names(bases)}, as the files before it"
            words = f"one of {names(one.bases)}"
            return frozenset(), FileState(one.path, UNKNOWN, one.bases, expected, words, can_be_allowed=True)
        bases &= one.bases
    return (bases, None) if seen else (frozenset(), None)


def _overall(states: tuple[FileState, ...]) -> str:
    found = {one.state for one in states}
    if UNKNOWN in found:
        return UNKNOWN
    return HALF if len(found) > 1 else next(iter(found), PATCHED)


def _writes(found: Status, files: Mapping[str, bytes], manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """The files that are not patched yet, as they become. Raises PatchError."""
    for one in found.files:
        if one.is_new and one.state == UNPATCHED:
            yield one.path, compiled(one.path, manifest.added[one.path])
        elif not one.is_new and one.state != PATCHED:
            yield from _changed(one, files[one.path], manifest)


def _changed(one: FileState, content: bytes, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """The edited file, unless it is so already, as a file of another base than the rest may be."""
    wanted = {manifest.known[one.path][base].after for base in one.bases}
    if sha256(content) in wanted:
        return
    new = produce(one.path, content, manifest.edits[one.path])
    if wanted and wanted != {sha256(new)}:
        raise PatchError(Problem(one.path, f"sha256 {names(wanted)} once patched", f"sha256 {sha256(new)}"))
    yield one.path, new


def names(found: frozenset[str] | set[str]) -> str:
    """Names as a reader wants them; says so where there is none."""
    return " or ".join(sorted(found)) or "no known base"
