"""Applies patches/ to a tree that holds sglang/, all or nothing. Runs alone: Python 3.10, standard library only."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any


class PatchError(Exception):
    """A file is not what the manifest knows; nothing was written."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"{path}\n  expected: {expected}\n  found:    {found}")


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
    """All sets together. `edits` and `known` by path; `added` maps the path of a new file to its content."""

    edits: Mapping[str, tuple[Edit, ...]]
    known: Mapping[str, Mapping[str, State]]
    added: Mapping[str, bytes]


@dataclass(frozen=True)
class Plan:
    """What is still to be written, what is so already, and which bases the tree may be."""

    writes: Mapping[str, bytes]
    done: tuple[str, ...]
    bases: frozenset[str] = field(default_factory=frozenset)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def plan(files: Mapping[str, bytes], manifest: Manifest) -> Plan:
    """Pure: which files change, and into what. `files` lacks what the tree lacks. Raises PatchError."""
    writes: dict[str, bytes] = {}
    done: list[str] = []
    bases = frozenset(base for states in manifest.known.values() for base in states)
    for path in manifest.edits:
        content, found = _edited(path, files.get(path), manifest)
        if not bases & found:
            raise PatchError(path, f"a file of {_names(bases)}, as the files before it", f"one of {_names(found)}")
        bases &= found
        done.append(path) if content is None else writes.update({path: content})
    for path, content in manifest.added.items():
        if path not in files:
            writes[path] = _compiled(path, content)
        elif files[path] == content:
            done.append(path)
        else:
            raise PatchError(path, f"no such file, or sha256 {sha256(content)}", f"sha256 {sha256(files[path])}")
    return Plan(writes, tuple(done), bases)


def _edited(path: str, content: bytes | None, manifest: Manifest) -> tuple[bytes | None, frozenset[str]]:
    """(new content or None where it is patched already, the bases that the file may come from)."""
    states = manifest.known.get(path, {})
    if content is None:
        raise PatchError(path, "a file", "none: is this the folder that holds sglang/?")
    found = sha256(content)
    after = frozenset(base for base, state in states.items() if state.after == found)
    if after:
        return None, after
    before = frozenset(base for base, state in states.items() if state.before == found)
    if not before:
        known = "; ".join(f"{base} {state.before}" for base, state in states.items())
        raise PatchError(path, f"sha256 of a known base ({known or 'none is known'})", f"sha256 {found}")
    new = produce(path, content, manifest.edits[path])
    wanted = {states[base].after for base in before}
    if wanted != {sha256(new)}:
        raise PatchError(path, f"sha256 {_names(wanted)} once patched", f"sha256 {sha256(new)}")
    return new, before


def produce(path: str, content: bytes, edits: tuple[Edit, ...]) -> bytes:
    """The patched content. Raises PatchError where an anchor does not stand exactly once, or no Python comes out."""
    for edit in edits:
        anchor, text = edit.anchor.encode(), edit.text.encode()
        count = content.count(anchor)
        if count != 1:
            raise PatchError(path, f"the anchor {edit.anchor!r} exactly once", f"it {count} times")
        new = {"before": text + anchor, "after": anchor + text, "replace": text}[edit.where]
        content = content.replace(anchor, new)
    return _compiled(path, content)


def _compiled(path: str, content: bytes) -> bytes:
    if path.endswith(".py"):
        try:
            compile(content, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise PatchError(path, "Python source once patched", str(error)) from None
    return content


def _names(names: frozenset[str] | set[str]) -> str:
    return " or ".join(sorted(names)) or "no known base"


def load(folder: Path) -> Manifest:
    """Read manifest.json and the new files beside it. Raises PatchError where they disagree."""
    raw = _raw(folder)
    added: dict[str, bytes] = {}
    for one in raw["sets"].values():
        for path, new in one.get("files", {}).items():
            content = (folder / _inside(new["source"])).read_bytes()
            if sha256(content) != new["sha256"]:
                raise PatchError(new["source"], f"sha256 {new['sha256']}", f"sha256 {sha256(content)}")
            added[_inside(path)] = content
    known = {path: {base: State(**state) for base, state in states.items()} for path, states in raw["known"].items()}
    return Manifest(_edits(raw), known, added)


def _edits(raw: dict[str, Any]) -> dict[str, tuple[Edit, ...]]:
    """The edits of all sets, a file's in the order of the sets."""
    edits: dict[str, tuple[Edit, ...]] = {}
    for one in raw["sets"].values():
        for path, changes in one.get("edits", {}).items():
            edits[_inside(path)] = edits.get(path, ()) + tuple(Edit(**change) for change in changes)
    return edits


def _raw(folder: Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if raw.get("format") != 1:
        raise PatchError(str(folder / "manifest.json"), "format 1", f"format {raw.get('format')}")
    return raw


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise PatchError(path, "a path inside the tree", "one that leads out of it")
    return path


def read_tree(tree: Path, manifest: Manifest) -> dict[str, bytes]:
    """The files of the tree that the manifest speaks of, as far as they are there."""
    paths = [*manifest.edits, *manifest.added]
    return {path: (tree / path).read_bytes() for path in paths if (tree / path).is_file()}


def write_all(tree: Path, writes: Mapping[str, bytes]) -> None:
    """Write every file beside its place, then rename all of them into place."""
    waiting: list[tuple[Path, Path]] = []
    try:
        for path, content in writes.items():
            target = (tree / path).resolve()
            new = target.with_name(f".{target.name}.{os.getpid()}")
            waiting.append((new, target))
            new.write_bytes(content)
            new.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        for new, target in waiting:
            os.replace(new, target)
    finally:
        for new, _ in waiting:
            new.unlink(missing_ok=True)


def record(folder: Path, trees: Mapping[str, Path]) -> None:
    """For developers: write the checksums of the unpatched trees, by name of base, into the manifest."""
    raw = _raw(folder)
    for one in raw["sets"].values():
        for new in one.get("files", {}).values():
            new["sha256"] = sha256((folder / new["source"]).read_bytes())
    raw["known"] = {}
    for path, edits in _edits(raw).items():
        contents = {base: (tree / path).read_bytes() for base, tree in trees.items()}
        raw["known"][path] = {
            base: {"before": sha256(content), "after": sha256(produce(path, content, edits))}
            for base, content in contents.items()
        }
    (folder / "manifest.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")


def _report(todo: Plan, verb: str) -> str:
    lines = [f"{verb} {path}" for path in todo.writes] + [f"patched already {path}" for path in todo.done]
    if not todo.writes:
        lines.append("nothing to do: the tree is patched")
    elif todo.done:
        lines.append(f"the tree was half patched: {len(todo.done)} of {len(todo.done) + len(todo.writes)} files")
    return "\n".join([*lines, f"base: {_names(todo.bases)}"])


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, what in (("apply", "patch TREE"), ("status", "say what TREE lacks; exit code 1 if anything")):
        verbs.add_parser(verb, help=what).add_argument("tree", type=Path, metavar="TREE")
    recorder = verbs.add_parser("record", help="recompute the manifest's checksums from unpatched trees")
    recorder.add_argument("trees", nargs="+", metavar="BASE=TREE")
    for one in verbs.choices.values():
        one.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="the folder of manifest.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0: done, or patched already. 1: refused, with the file, what was expected and what was found on stderr."""
    asked = _arguments(argv)
    try:
        if asked.verb == "record":
            record(asked.manifest, {base: Path(tree) for base, _, tree in (one.partition("=") for one in asked.trees)})
            return 0
        manifest = load(asked.manifest)
        todo = plan(read_tree(asked.tree, manifest), manifest)
        if asked.verb == "apply":
            write_all(asked.tree, todo.writes)
    except PatchError as error:
        print(f"patch.py: refused, nothing was changed: {error}", file=sys.stderr)
        return 1
    except (OSError, KeyError, TypeError, ValueError) as error:
        print(f"patch.py: failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(_report(todo, "patched" if asked.verb == "apply" else "not patched"))
    return 1 if asked.verb == "status" and todo.writes else 0


if __name__ == "__main__":
    sys.exit(main())
