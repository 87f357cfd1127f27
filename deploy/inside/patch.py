"""The command that patches a tree, as the build of the image runs it. What it does is tree.py's and plan.py's."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from deploy.inside.journal import JOURNAL, UNKNOWN_BASE
from deploy.inside.manifest import PatchError, load, record
from deploy.inside.plan import HALF, PATCHED, UNKNOWN, Plan, Status, names, plan, status
from deploy.inside.tree import HalfWrittenError, apply, read_tree, write_all

__all__ = ["apply", "described", "load", "main", "plan", "read_tree", "reported", "status", "write_all"]


def described(done: Plan) -> dict[str, Any]:
    """What `apply` did, or would do, as plain values for JSON."""
    return {
        "format": 1,
        "was": done.state,
        "written": [path for path in done.writes if path != JOURNAL],
        "patched_already": list(done.done),
        "bases": sorted(done.bases),
        "unknown_base": list(done.unknown),
        "allowed": [UNKNOWN_BASE] if done.unknown else [],
    }


def reported(found: Status) -> dict[str, Any]:
    """What `status` found, as plain values for JSON; `expected` and `found` where a file is unknown."""
    files = [
        {"path": one.path, "state": one.state, "bases": sorted(one.bases)}
        | ({"expected": one.expected, "found": one.found} if one.state == UNKNOWN else {})
        for one in found.files
    ]
    bases, allowed = sorted(found.bases), list(found.allowed)
    return {"format": 1, "state": found.state, "bases": bases, "allowed": allowed, "files": files}


def written(done: Plan, verb: str = "patched") -> str:
    """What `apply` did as lines for people."""
    new = [path for path in done.writes if path != JOURNAL]
    lines = [f"{verb} {path}" for path in new] + [f"patched already {path}" for path in done.done]
    if not new:
        lines.append("nothing to do: the tree is patched")
    elif done.state == HALF or (done.done and done.unknown):
        lines.append(f"the tree was half patched: {len(done.done)} of {len(done.done) + len(new)} files")
    lines += [f"unknown base, allowed: {path}" for path in done.unknown]
    return "\n".join([*lines, f"base: {names(done.bases)}"])


def shown(found: Status) -> str:
    """What `status` found as lines for people."""
    lines: list[str] = []
    for one in found.files:
        lines.append(f"{one.state} {one.path}")
        if one.state == UNKNOWN:
            lines += [f"  expected: {one.expected}", f"  found:    {one.found}"]
    allowed = [f"allowed: {name}" for name in found.allowed]
    return "\n".join([*lines, *allowed, f"base: {names(found.bases)}", f"the tree is {found.state}"])


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m deploy.inside.patch", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    applier = verbs.add_parser("apply", help="patch TREE")
    applier.add_argument(
        "--allow-unknown-base", action="store_true", help="patch files of unknown checksums by anchors"
    )
    applier.add_argument("--dry-run", action="store_true", help="write nothing")
    teller = verbs.add_parser("status", help="say what TREE lacks; exit code 1 if anything")
    for one in (applier, teller):
        one.add_argument("tree", type=Path, metavar="TREE", help="the folder that holds sglang/")
        one.add_argument("--json", action="store_true", help="one JSON object")
    recorder = verbs.add_parser("record", help="recompute the manifest's checksums from unpatched trees")
    recorder.add_argument("trees", nargs="+", metavar="BASE=TREE")
    for one in (applier, teller):
        one.add_argument(
            "--with", dest="chosen", action="append", default=[], metavar="SET", help="an optional set too"
        )
    for one in verbs.choices.values():
        one.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="the folder of manifest.json")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0: done, or patched already. 1: refused, with the file, what was expected and what was found on stderr."""
    asked = _arguments(argv)
    try:
        return _run(asked)
    except PatchError as error:
        print(f"patch.py: refused, nothing was changed: {error}", file=sys.stderr)
    except (OSError, KeyError, TypeError, ValueError) as error:
        changed = "" if isinstance(error, HalfWrittenError) else ", nothing was changed"
        print(f"patch.py: failed{changed}: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


def _run(asked: argparse.Namespace) -> int:
    if asked.verb == "record":
        record(asked.manifest, {base: Path(tree) for base, _, tree in (one.partition("=") for one in asked.trees)})
        return 0
    manifest = load(asked.manifest, asked.chosen)
    if asked.verb == "status":
        found = status(read_tree(asked.tree, manifest), manifest)
        print(json.dumps(reported(found), indent=2) if asked.json else shown(found))
        return 0 if found.state == PATCHED else 1
    done = apply(asked.tree, manifest, allow_unknown_base=asked.allow_unknown_base, dry_run=asked.dry_run)
    print(
        json.dumps(described(done), indent=2)
        if asked.json
        else written(done, "would patch" if asked.dry_run else "patched")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
