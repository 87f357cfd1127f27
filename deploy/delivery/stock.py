"""What a node has of an image's parts, read from what a script prints there. Contacts no node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.command import Command
from deploy.script import script

_SCRIPT = Path(__file__).with_name("stock.sh")
LOADED = "loaded-"
"""How the tag of an image begins whose layers came to a node by `docker load`; the rest is of its digest."""
_NOWHERE = "sha256:" + "0" * 64
_ANSWERS = ("manifest unknown", ": not found")
"""What an engine says of a digest that a registry which it may use does not have."""


@dataclass(frozen=True)
class Held:
    """An image on a node: the diff_ids of its layers from the bottom, and whether its engine pulled or pushed them.

    Only then it knows them again by the digests of a manifest; of an image that was loaded it knows none.
    """

    layers: tuple[str, ...]
    pulled: bool


@dataclass(frozen=True)
class Stock:
    """One node: its images, whether it has Python, which image store, and why it cannot use the registry; "" if so."""

    images: tuple[Held, ...] = ()
    python: bool = False
    containerd: bool = False
    obstacle: str = "it was not asked"

    def unpacked(self, layers: Sequence[str]) -> int:
        """How many layers of an image, from the bottom, lie here unpacked."""
        return max((_common(one.layers, layers) for one in self.images), default=0)

    def known(self, layers: Sequence[str]) -> int:
        """How many of them a pull leaves out."""
        return max((_common(one.layers, layers) for one in self.images if one.pulled), default=0)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def command(repository: str) -> Command:
    """Prints a node's stock; `repository`, unless empty, is tried whether the node's engine may pull from it."""
    probe = f"{repository}@{_NOWHERE}" if repository else ""
    return Command(("sh", "-c", script(_SCRIPT), "sh", probe), loose=True)


def read(text: str) -> Stock:
    """What the script printed."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        lines.setdefault(key, []).append(value)
    images = [json.loads(value) for value in lines.get("image", ())]
    held = tuple(Held(tuple(one["layers"] or ()), _pulled(one)) for one in images)
    said = lines.get("registry", [""])[0]
    answered = any(mark in said for mark in _ANSWERS)
    obstacle = "" if answered else said.removeprefix("Error response from daemon: ") or "it was not asked"
    return Stock(held, "python3" in lines, "containerd" in "".join(lines.get("store", ())), obstacle)


def _pulled(image: Mapping[str, Sequence[str] | None]) -> bool:
    tags = [name.rpartition(":")[2] for name in image["tags"] or ()]
    return bool(image["digests"]) and not any(tag.startswith(LOADED) for tag in tags)
