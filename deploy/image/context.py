"""What goes into a build: files, recipe (their hash), archive, reference. Reads files and builds nothing."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.dockerfile import TEMPLATE, fields, render

INSIDE = ("deploy/__init__.py", "deploy/inside")
"""What runs inside the image; it lies there as it lies here."""


@dataclass(frozen=True)
class ContextFile:
    """One file of the context; of its mode only the executable bit travels, so that no umask shows."""

    content: bytes
    executable: bool = False

    @property
    def mode(self) -> int:
        return 0o755 if self.executable else 0o644


Reader = Callable[[str], Mapping[str, ContextFile]]
"""Gives the files at or below a path, by path; all paths relative to the project, with slashes."""


@dataclass(frozen=True)
class Context:
    """The files of a build by path, the Dockerfile among them, and the recipe that they follow from."""

    files: Mapping[str, ContextFile]
    recipe: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The paths that come from the project, not from rendering."""
        return tuple(sorted(path for path in self.files if path != "Dockerfile"))

    def archive(self) -> bytes:
        """An uncompressed tar, the same to the byte wherever it is made."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, file in sorted(self.files.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(file.content), file.mode
                tar.addfile(entry, io.BytesIO(file.content))
        return buffer.getvalue()


def build_context(image: Image, root: Path) -> Context:
    """The context of this image, from the project's folder. Raises ConfigError where a part is missing."""
    return collect(image, folder(root))


def collect(image: Image, read: Reader) -> Context:
    """The same from any reader. Raises ConfigError where a part is missing."""
    parts = _parts(image, read)
    return Context({"Dockerfile": ContextFile(render(image).encode()), **parts}, _recipe(image, parts))


def recipe(image: Image, root: Path) -> str:
    """The recipe of `build_context`, without the cost of rendering. Raises ConfigError where a part is missing."""
    return _recipe(image, _parts(image, folder(root)))


def _recipe(image: Image, parts: Mapping[str, ContextFile]) -> str:
    """The template and what fills it stand for the Dockerfile."""
    filled = TEMPLATE.read_bytes() + b"\0" + json.dumps(fields(image), sort_keys=True).encode()
    return hashed({"Dockerfile": ContextFile(filled), **parts})


def hashed(files: Mapping[str, ContextFile]) -> str:
    """sha256 over paths, modes and contents: 64 hex digits."""
    digest = hashlib.sha256()
    for path, file in sorted(files.items()):
        content = hashlib.sha256(file.content).hexdigest()
        digest.update(f"{path}\0{file.mode:o}\0{content}\n".encode())
    return digest.hexdigest()


def _parts(image: Image, read: Reader) -> dict[str, ContextFile]:
    """What comes from the project's folder."""
    files: dict[str, ContextFile] = {}
    tables = f"configs/triton_{image.triton.replace('.', '_')}"
    no_tables = f"SGLang reads the tables of its own Triton version alone: is image.triton right? Else make {tables}/"
    not_whole = "run from a whole checkout of the project"
    for path, missing, hint in (
        (tables, tables, no_tables),
        ("patches", "patches/manifest.json", not_whole),
        *((path, path, not_whole) for path in INSIDE),
    ):
        found = read(path)
        if not found:
            raise ConfigError(f"{missing}: is missing or empty, and the image is built from it", hint)
        files.update(found)
    return files


def reference(image: Image, recipe: str) -> str:
    """REPOSITORY:TAG; the tag names SGLang's version and the recipe, so the same inputs give the same reference."""
    version = re.sub(r"[^A-Za-z0-9_.-]", "-", image.sglang)[:100].lstrip(".-")
    return f"{image.repository}:{version or 'sglang'}-{recipe[:12]}"


def folder(root: Path) -> Reader:
    """A reader of the files below `root`. Links are refused: what they lead to may differ from machine to machine."""

    def read(path: str) -> dict[str, ContextFile]:
        start = root / path
        found = [start] if start.is_file() else sorted(start.rglob("*"))
        kept = {one.relative_to(root): one for one in found if not one.is_dir()}
        return {place.as_posix(): _file(one) for place, one in kept.items() if not any(map(_waste, place.parts))}

    return read


def _waste(name: str) -> bool:
    """What editors and Python leave behind."""
    return name.startswith(".") or name.endswith("~") or name == "__pycache__"


def _file(path: Path) -> ContextFile:
    if path.is_symlink() or not path.is_file():
        raise ConfigError(
            f"{path}: is not a plain file", "an image is built from plain files: put the file itself there"
        )
    return ContextFile(path.read_bytes(), bool(path.stat().st_mode & 0o100))
