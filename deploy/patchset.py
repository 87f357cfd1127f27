"""What patches/ changes for the rest of the toolkit; applying them is deploy/inside's."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.errors import ConfigError


def added_choices(folder: Path) -> dict[str, tuple[str, ...]]:
    """The values that all sets in `folder` make legal, by flag without dashes. Raises ConfigError."""
    path = folder / "manifest.json"
    try:
        return choices(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        hint = "patches/ belongs to the project: run from a whole checkout of it"
        raise ConfigError(f"{path}: cannot be read: {error}", hint) from None


def choices(manifest: str) -> dict[str, tuple[str, ...]]:
    """The same, from the text of a manifest."""
    found: dict[str, tuple[str, ...]] = {}
    for one in json.loads(manifest)["sets"].values():
        for flag, values in one.get("flags", {}).items():
            found[flag] = (*found.get(flag, ()), *values)
    return found
