"""What patches/ changes for the rest of the toolkit; applying them is deploy/inside's."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import ConfigError


@dataclass(frozen=True)
class Set:
    """One set: what it is for, whether an image has it only when it is asked for, and what it makes legal.

    `flags` are further values by flag, `new_flags` the fields of flags that SGLang does not have without it.
    """

    name: str
    description: str
    optional: bool
    flags: Mapping[str, tuple[str, ...]]
    new_flags: tuple[Mapping[str, Any], ...]


def sets(folder: Path) -> tuple[Set, ...]:
    """All sets of `folder`, in the manifest's order. Raises ConfigError."""
    path = folder / "manifest.json"
    try:
        return tuple(_sets(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        hint = "patches/ belongs to the project: run from a whole checkout of it"
        raise ConfigError(f"{path}: cannot be read: {error}", hint) from None


def unknown(manifest: str, chosen: Collection[str]) -> list[str]:
    """The chosen names that no optional set of this manifest's text has."""
    return sorted(set(chosen) - {one.name for one in _sets(manifest) if one.optional})


def in_image(every: Collection[Set], chosen: Collection[str]) -> list[Set]:
    """The sets that an image has: those that are not optional, and the chosen ones."""
    return [one for one in every if not one.optional or one.name in chosen]


def added_choices(every: Collection[Set]) -> dict[str, tuple[str, ...]]:
    """The values that these sets make legal, by flag without dashes."""
    found: dict[str, tuple[str, ...]] = {}
    for one in every:
        for flag, values in one.flags.items():
            found[flag] = (*found.get(flag, ()), *values)
    return found


def _sets(manifest: str) -> Iterator[Set]:
    for name, one in json.loads(manifest)["sets"].items():
        flags = {flag: tuple(values) for flag, values in one.get("flags", {}).items()}
        optional, new = bool(one.get("optional")), tuple(one.get("new_flags", ()))
        yield Set(name, one.get("description", ""), optional, flags, new)
