"""Patches of a tree on disk or in an image, with errors in the toolkit's words. What a patch is, deploy/inside says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import BuildError, ConfigError
from deploy.image.dockerfile import TREE
from deploy.inside import tree as files
from deploy.inside.manifest import Manifest, PatchError, load
from deploy.inside.plan import Plan, Status, plan, status


def manifest(folder: Path, chosen: Collection[str] = ()) -> Manifest:
    """The sets of patches/ that every image has, and the chosen ones. Raises ConfigError."""
    try:
        return load(folder, chosen)
    except (PatchError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        hint = "after a change of a set: `python -m deploy.inside.patch record`; docs/patches.md has all of it"
        raise ConfigError(f"{folder}: cannot be used: {error}", hint) from None


def is_folder(place: str) -> bool:
    """A folder that exists, or what looks like the path of one; anything else is an image."""
    path = Path(place).expanduser()
    return path.exists() or place.startswith(("/", "./", "../", "~")) or place in (".", "..")


def tree(place: str) -> Path:
    """The folder that holds sglang/. Raises ConfigError, with the right folder where it is near."""
    given = Path(place).expanduser().absolute()
    if not given.is_dir():
        raise ConfigError(f"{place}: there is no such folder", "name the folder that holds sglang/")
    if (given / "sglang" / "srt").is_dir():
        return given
    near = next((one for one in (given.parent, given.parent.parent, given / "python") if _holds(one, given)), None)
    hint = f"did you mean {near}?" if near else "name the folder that holds sglang/, with sglang/srt in it"
    raise ConfigError(f"{place}: holds no sglang/", hint)


def _holds(folder: Path, given: Path) -> bool:
    """Is the folder a tree, of which the given one is a part, or which it holds?"""
    package = folder / "sglang"
    return (package / "srt").is_dir() and (given == package or given.parent == package or folder.parent == given)


def status_of_tree(place: Path, known: Manifest) -> Status:
    """What every file of a tree is. Raises BuildError where a file cannot be read."""
    with _translated(place):
        return status(files.read_tree(place, known), known)


def status_of_image(reference: str, known: Manifest) -> Status:
    """The same for an image that is here. Raises BuildError."""
    from deploy.image.engine import read_files

    found = read_files(reference, TREE, files.paths(known))
    if not found:
        hint = "is it a SGLang image? Another layout: copy its sglang/ out (`docker cp`) and name that folder"
        raise BuildError(f"{reference}: has none of the files to patch at {TREE}", hint)
    return status(found, known)


def apply(place: Path, known: Manifest, *, allow_unknown_base: bool = False, dry_run: bool = False) -> Plan:
    """Patch a tree. Raises BuildError, which says so in the rare case that something was changed."""
    with _translated(place):
        return files.apply(place, known, allow_unknown_base=allow_unknown_base, dry_run=dry_run)


def planned(place: str, found: Mapping[str, bytes], known: Manifest, *, allow_unknown_base: bool = False) -> Plan:
    """What is to be written into a tree whose files are `found`. Raises BuildError."""
    with _translated(place):
        return plan(found, known, allow_unknown_base=allow_unknown_base)


@contextmanager
def _translated(place: Path | str) -> Iterator[None]:
    try:
        yield
    except PatchError as error:
        raise BuildError(f"{place}: refused, nothing was changed\n{error}", _hint(str(error))) from None
    except OSError as error:
        changed = "" if isinstance(error, files.HalfWrittenError) else "; nothing was changed"
        words = f"{error.filename or place}: {error.strerror}{changed}"
        raise BuildError(words, "the folder must be yours to write, with room") from None


def _hint(words: str) -> str:
    if "begin with an unpatched tree" in words or "made already" in words:
        return "unpack or install SGLang anew there, then apply"
    if "known base" in words or "files before it" in words:
        return "docs/patches.md says how to record a new base; --allow-unknown-base patches it by its anchors alone"
    return "docs/patches.md says what is looked at"
