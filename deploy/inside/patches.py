"""Whether the tree in this image is patched as the manifest beside it says. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.inside.check import ALLOWED, FAILED, PASSED, Check, Inside
from deploy.inside.manifest import load
from deploy.inside.plan import PATCHED, Status, status
from deploy.inside.tree import read_tree

CURE = "something changed the files after they were patched: build again from an untouched base"


@dataclass(frozen=True)
class Patches:
    """The check, and the bases that the tree may be of."""

    check: Check
    bases: frozenset[str] = frozenset()


def patches(inside: Inside) -> Patches:
    """Every patched file, by its checksum."""
    needed = "every file as the manifest says"
    try:
        manifest = load(inside.home / "patches", inside.built_for.patches)
        found = status(read_tree(inside.tree, manifest), manifest)
    except Exception as error:  # whatever it is, the other checks go on without it
        return Patches(Check("patches", FAILED, f"{type(error).__name__}: {error}", needed, CURE))
    if found.state != PATCHED:
        return Patches(Check("patches", FAILED, _wrong(found), needed, CURE))
    seen = f"{len(found.files)} files patched; base: {' or '.join(sorted(found.bases)) or 'none that is known'}"
    if found.allowed:
        hint = "the files were patched by their text alone, as image.allow said"
        return Patches(Check("patches", ALLOWED, f"{seen}; allowed: {', '.join(found.allowed)}", needed, hint))
    return Patches(Check("patches", PASSED, seen, needed), found.bases)


def _wrong(found: Status) -> str:
    wrong = [one for one in found.files if one.state != PATCHED]
    return "; ".join(f"{one.path} is {one.state}{' (' + one.found + ')' if one.found else ''}" for one in wrong)
