"""The manifest of patches/: what changes in which file, and which bases are known. Judges no tree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A file that is not what the manifest knows."""

    path: str
    expected: str
    found: str


class PatchError(Exception):
    """Files are not what the manifest knows; nothing was written."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(
            "\n".join(f"{one.path}\n  expected: {one.expected}\n  found:    {one.found}" for one in problems)
        )


@dataclass(frozen=True)
class Edit:
    """Put `text` before or after `anchor`, or in its place; the anchor stands exactly once in the file."""

    where: str
    anchor: str
    text: str


@dataclass(frozen=True)
class State:
    """sha256 of one file of one base, as it comes and once it is patched."""

    before: str
    after: str


@dataclass(frozen=True)
class Manifest:
    """The sets of an image together. `edits` and `known` by path; `added` maps a new file's path to its content."""

    edits: Mapping[str, tuple[Edit, ...]]
    known: Mapping[str, Mapping[str, State]]
    added: Mapping[str, bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest(edits: tuple[Edit, ...]) -> str:
    """sha256 of the edits of one file: two releases that change it differently have two."""
    return sha256(json.dumps([[edit.where, edit.anchor, edit.text] for edit in edits]).encode())


def produce(path: str, content: bytes, edits: tuple[Edit, ...]) -> bytes:
    """The patched content. Raises PatchError unless every anchor stands once, not edited yet, and Python comes out."""
    for edit in edits:
        anchor, text = edit.anchor.encode(), edit.text.encode()
        count = content.count(anchor)
        new = {"before": text + anchor, "after": anchor + text, "replace": text}[edit.where]
        if anchor in new and anchor != new and new in content:
            raise PatchError(Problem(path, "a file without the edit", f"the edit at {edit.anchor!r}, made already"))
        if count != 1:
            raise PatchError(Problem(path, f"the anchor {edit.anchor!r} exactly once", f"it {count} times"))
        content = content.replace(anchor, new)
    return compiled(path, content)


def compiled(path: str, content: bytes) -> bytes:
    """The content again. Raises PatchError where a .py file is no Python."""
    if path.endswith(".py"):
        try:
            compile(content, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise PatchError(Problem(path, "Python source once patched", str(error))) from None
    return content


def load(folder: Path, chosen: Collection[str] = ()) -> Manifest:
    """Read manifest.json and the new files beside it, of optional sets those that are chosen by name.

    Raises PatchError where the files disagree, and where no optional set has a name that is chosen.
    """
    raw = _raw(folder)
    sets = _sets(raw, chosen)
    added: dict[str, bytes] = {}
    for one in sets:
        for path, new in one.get("files", {}).items():
            content = (folder / _inside(new["source"])).read_bytes()
            if sha256(content) != new["sha256"]:
                raise PatchError(Problem(new["source"], f"sha256 {new['sha256']}", f"sha256 {sha256(content)}"))
            if path in added:
                raise PatchError(Problem(path, "one set that adds it", "two"))
            added[_inside(path)] = content
    edits, states = _edits(sets), raw["known"]
    known = {path: {base: State(**one) for base, one in states[path].items()} for path in edits if path in states}
    return Manifest(edits, known, added)


def _sets(raw: dict[str, Any], chosen: Collection[str]) -> list[dict[str, Any]]:
    """The sets that every image has, and the chosen ones, in the manifest's order."""
    optional = [name for name, one in raw["sets"].items() if one.get("optional")]
    for name in sorted(set(chosen) - set(optional)):
        raise PatchError(Problem(name, f"an optional set ({', '.join(optional) or 'there is none'})", "none so called"))
    return [one for name, one in raw["sets"].items() if not one.get("optional") or name in chosen]


def _edits(sets: list[dict[str, Any]]) -> dict[str, tuple[Edit, ...]]:
    """The edits of sets, a file's in the order of the sets. Raises PatchError where an optional set shares a file.

    A file would have as many known checksums as there are choices.
    """
    edits: dict[str, tuple[Edit, ...]] = {}
    for one in sets:
        for path, changes in one.get("edits", {}).items():
            if one.get("optional") and path in edits:
                raise PatchError(Problem(path, "one set that edits it, as one of them is optional", "two"))
            edits[_inside(path)] = edits.get(path, ()) + tuple(Edit(**change) for change in changes)
    return edits


def _raw(folder: Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if raw.get("format") != 1:
        raise PatchError(Problem(str(folder / "manifest.json"), "format 1", f"format {raw.get('format')}"))
    return raw


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise PatchError(Problem(path, "a path inside the tree", "one that leads out of it"))
    return path


def record(folder: Path, trees: Mapping[str, Path]) -> None:
    """For developers: write the checksums of the unpatched trees, by name of base, into the manifest."""
    raw = _raw(folder)
    for one in raw["sets"].values():
        for new in one.get("files", {}).values():
            new["sha256"] = sha256((folder / new["source"]).read_bytes())
    raw["known"] = {}
    for path, edits in _edits(list(raw["sets"].values())).items():
        contents = {base: (tree / path).read_bytes() for base, tree in trees.items()}
        raw["known"][path] = {
            base: {"before": sha256(content), "after": sha256(produce(path, content, edits))}
            for base, content in contents.items()
        }
    (folder / "manifest.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
