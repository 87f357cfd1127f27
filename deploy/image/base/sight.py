"""What was seen of a base, layer by layer, and what the whole of it then is. Pure; reads no layer."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_PYTHON = re.compile(r"(?:^|/)python(3\.\d+)(?:$|/)")


@dataclass(frozen=True)
class Wanted:
    """What is looked for. `needed` and `possible` are files below `tree`; all paths are relative to the image's root.

    Of `folders` it is asked whether the base has them, and `nccl` whether its package is to be replaced.
    """

    tree: str
    needed: tuple[str, ...]
    possible: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    nccl: bool = False

    @property
    def paths(self) -> frozenset[str]:
        """The files, from the image's root."""
        return frozenset(f"{self.tree}/{path}" for path in (*self.needed, *self.possible))


@dataclass(frozen=True)
class File:
    """A file of the base: its content, its permissions, and the digest of the layer that it came from."""

    content: bytes
    mode: int
    layer: str


@dataclass
class Sight:
    """What one layer has of it. `odd` are wanted paths that are no plain files there; `whole`: nothing was left unread.

    `hidden` are paths that the layer takes from those below, `emptied` folders of which it does so with all in them.
    """

    files: dict[str, File] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    compiled: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    nccl: set[str] = field(default_factory=set)
    pythons: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    whole: bool = False

    @property
    def found(self) -> dict[str, set[str]]:
        """All that it has, by kind."""
        more = {"compiled": self.compiled, "folders": self.folders, "nccl": self.nccl, "pythons": self.pythons}
        return {"files": set(self.files), "odd": set(self.odd), **more}


@dataclass(frozen=True)
class Base:
    """The base as far as it matters. `files` by path below the tree; the other paths are from the image's root.

    `compiled` is bytecode of files that change, `folders` are those of the wanted that exist, `nccl` the folders
    *.dist-info of its package. `python` is like "3.12", "" where nothing told. `unread` layers were not looked at.
    """

    files: Mapping[str, File]
    compiled: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    nccl: tuple[str, ...] = ()
    python: str = ""
    unread: int = 0


def merged(sights: Mapping[int, Sight], wanted: Wanted, layers: int) -> tuple[Base, dict[str, str]]:
    """The base that layers make together, by their place from the bottom; and wanted paths that are no plain files."""
    kinds: dict[str, dict[str, int]] = {name: {} for name in Sight().found}
    seen: list[Sight] = []
    for place in sorted(sights, reverse=True):
        for kind, paths in sights[place].found.items():
            fresh = {path for path in paths if path not in kinds[kind] and not covered(path, seen)}
            kinds[kind].update(dict.fromkeys(fresh, place))
        seen.append(sights[place])
    odd = {path: sights[at].odd[path] for path, at in kinds["odd"].items() if at >= kinds["files"].get(path, -1)}
    whole = sum(one.whole for one in seen)
    start = len(wanted.tree) + 1
    files = {path[start:]: sights[at].files[path] for path, at in kinds["files"].items() if path not in odd}
    nccl = tuple(sorted(kinds["nccl"]))
    python = _python([*nccl, *sorted(kinds["pythons"])])
    return Base(files, _sorted(kinds["compiled"]), _sorted(kinds["folders"]), nccl, python, layers - whole), odd


def _sorted(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(found))


def covered(path: str, above: Iterable[Sight]) -> bool:
    """Is it gone by what a layer above says?"""
    around = list(_around(path))
    return any(
        path in one.hidden or any(parent in one.hidden or parent in one.emptied for parent in around) for one in above
    )


def _around(path: str) -> Iterator[str]:
    """The folders that it lies in."""
    while path := posixpath.dirname(path):
        yield path


def _python(places: Iterable[str]) -> str:
    """The version of the Python that packages are installed for, else the one that `python3` is."""
    return next((match[1] for one in places if (match := _PYTHON.search(one))), "")


def enough(found: Base, wanted: Wanted) -> bool:
    """Is all there that must be?"""
    return set(wanted.needed) <= set(found.files) and (bool(found.nccl) or not wanted.nccl)


def hinted(history: Sequence[Mapping[str, object]], tree: str, layers: int) -> tuple[int, ...]:
    """The layers that a COPY made below the first folder of `tree`, from the top; none where the history tells less."""
    lines = [str(one.get("created_by", "")) for one in history if not one.get("empty_layer")]
    if len(lines) != layers:
        return ()
    top = re.escape(f"/{tree.partition('/')[0]}")
    copied = re.compile(rf"\b(?:COPY|ADD)\b.*\s{top}(?:/\S*)?(?:\s|$)")
    return tuple(place for place in reversed(range(layers)) if copied.search(lines[place]))
