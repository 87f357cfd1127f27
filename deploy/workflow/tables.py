"""Where `kernels import` takes tables from: a folder, an archive, an image or a git repository. Judges none of them."""

from __future__ import annotations

import io
from pathlib import Path

from deploy.errors import KernelError
from deploy.image.dockerfile import TREE
from deploy.kernels import candidates, repository
from deploy.kernels.candidates import Found
from deploy.kernels.finding import Target
from deploy.kernels.provenance import Source, checksum


def fetched(source: str, target: Target) -> tuple[Found, Source]:
    """The files of a source, and what it was. Raises KernelError, and BuildError where an image cannot be read."""
    path = Path(source).expanduser()
    if path.is_dir():
        return candidates.of_folder(path), Source("folder", path.as_posix())
    if path.is_file() and path.suffix == ".json":
        return candidates.of_folder(path), Source("folder", path.parent.as_posix())
    if path.is_file():
        return candidates.of_archive(path), Source("archive", path.name, f"sha256:{checksum(path.read_bytes())}")
    if repository.is_address(source):
        found, address, commit = repository.fetch(source)
        return found, Source("git", address, commit)
    return _in_image(source, target)


def _in_image(source: str, target: Target) -> tuple[Found, Source]:
    from deploy.image.engine import read_folder

    home = f"{TREE}/sglang/{target.rules.home}/configs"
    packed, image = read_folder(source, home)
    if packed is None:
        raise KernelError(f"{source}: has no {home}", "is it an image of SGLang, of the version that --sglang names?")
    return candidates.of_tar(io.BytesIO(packed), source), Source("image", source, image)
