"""What goes into a build: files, recipe (their hash), archive, reference. Reads files and builds nothing."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.dockerfile import KERNELS, PINS, TUNING_FOLDERS, TUNING_MODULES, fields, render, templates
from deploy.image.pinned import Pinned, not_pinned, pinned
from deploy.patchset import unknown

INSIDE = ("deploy/__init__.py", "deploy/inside", *KERNELS)
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

    @property
    def pins(self) -> Mapping[str, bytes]:
        """The hashes of the wheels that go into the image, by path."""
        return {path: self.files[path].content for path in self.sources if path.startswith(PINS)}

    def archive(self, wheels: Mapping[str, Path] | None = None) -> IO[bytes]:
        """An uncompressed tar, the same to the byte wherever it is made; `wheels` are files here by path in it."""
        buffer: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, file in sorted(self.files.items()):
                _add(tar, path, file.mode, io.BytesIO(file.content))
            for path, wheel in sorted((wheels or {}).items()):
                with wheel.open("rb") as content:
                    _add(tar, path, 0o644, content)
        buffer.seek(0)
        return buffer


def _add(tar: tarfile.TarFile, path: str, mode: int, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = content.seek(0, io.SEEK_END), mode
    content.seek(0)
    tar.addfile(entry, content)


class _Rendered(Mapping[str, ContextFile]):
    """The parts and the Dockerfile, which is rendered when it is asked for: not every engine does."""

    def __init__(self, image: Image, parts: Mapping[str, ContextFile]) -> None:
        self._image, self._parts = image, parts

    @cached_property
    def _dockerfile(self) -> ContextFile:
        return ContextFile(render(self._image).encode())

    def __getitem__(self, path: str) -> ContextFile:
        return self._dockerfile if path == "Dockerfile" else self._parts[path]

    def __iter__(self) -> Iterator[str]:
        return iter(("Dockerfile", *self._parts))

    def __len__(self) -> int:
        return len(self._parts) + 1


def build_context(image: Image, root: Path) -> Context:
    """The context of this image, from the project's folder. Raises ConfigError where a part is missing."""
    return collect(image, folder(root))


def collect(image: Image, read: Reader) -> Context:
    """The same from any reader. Raises ConfigError where a part is missing."""
    parts = _parts(image, read)
    return Context(_Rendered(image, parts), _recipe(image, parts))


def recipe(image: Image, root: Path) -> str:
    """The recipe of `build_context`, without the cost of rendering. Raises ConfigError where a part is missing."""
    return _recipe(image, _parts(image, folder(root)))


def _recipe(image: Image, parts: Mapping[str, ContextFile]) -> str:
    """The templates and what fills them stand for the Dockerfile."""
    text = b"".join(one.read_bytes() for one in templates(image))
    filled = text + b"\0" + json.dumps(fields(image), sort_keys=True).encode()
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
    tuning = (*TUNING_MODULES, *TUNING_FOLDERS)
    no_tables = f"SGLang reads the tables of its own Triton version alone: is image.triton right? Else make {tables}/"
    not_whole = "run from a whole checkout of the project"
    for path, missing, hint in (
        (tables, tables, no_tables),
        ("patches", "patches/manifest.json", not_whole),
        *((path, path, not_whole) for path in (*INSIDE, *(tuning if image.tune else ()))),
    ):
        found = read(path)
        if not found:
            raise ConfigError(f"{missing}: is missing or empty, and the image is built from it", hint)
        files.update(found)
    _known(image, files)
    for one in pinned(image):
        files.update(_pin(one, read))
    return files


def _known(image: Image, files: Mapping[str, ContextFile]) -> None:
    """Raises ConfigError for an optional set of patches that there is not."""
    for name in unknown(files["patches/manifest.json"].content.decode(), image.patches) if image.patches else ():
        hint = "`python build-and-deploy.py patches sets` lists them"
        raise ConfigError(f"image.patches: {name} is no optional set of patches/", hint)


def _pin(one: Pinned, read: Reader) -> Mapping[str, ContextFile]:
    """The hashes of the wheels; they stand for the wheels, so that naming a build downloads nothing."""
    found = read(one.pin)
    if not found:
        raise not_pinned(one, [PurePosixPath(path).parent.name for path in read(PINS)])
    return found


def reference(image: Image, recipe: str) -> str:
    """REPOSITORY:TAG; the tag names SGLang's version, the tuning layer and the recipe, so the same inputs give the same
    reference."""
    version = re.sub(r"[^A-Za-z0-9_.-]", "-", image.sglang)[:100].lstrip(".-")
    return f"{image.repository}:{version or 'sglang'}-{'tune-' if image.tune else ''}{recipe[:12]}"


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
