"""Kernel tables that cannot run are refused before an image is built or a rank starts. Contacts nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.cluster.load import Document
from deploy.cluster.spec import Cluster
from deploy.errors import ConfigError, KernelError
from deploy.kernels.check import TableFile, check, errors
from deploy.kernels.files import table_files
from deploy.kernels.finding import Finding, Target
from deploy.kernels.gpu import GB10
from deploy.kernels.name import folder
from deploy.kernels.rules import UnknownVersionError

UNSAFE_TABLE = "unsafe-table"
SHOWN = 12


def allowing_unsafe(document: Document, *, asked: bool) -> Document:
    """The document with `unsafe-table` among image.allow where that is asked for, as if the file said so."""
    image = document.cluster.image
    if not asked or UNSAFE_TABLE in image.allow:
        return document
    more = image.model_copy(update={"allow": [*image.allow, UNSAFE_TABLE]})
    return replace(document, cluster=document.cluster.model_copy(update={"image": more}))


def gate(cluster: Cluster, root: Path) -> tuple[str, ...]:
    """What cannot run and is let pass by image.allow, a line an entry. Raises KernelError where it is not allowed."""
    wrong = unsafe(cluster, root)
    if wrong and UNSAFE_TABLE not in cluster.image.allow:
        hint = "; ".join(dict.fromkeys(one.hint for one in wrong if one.hint))
        hint += (
            "; `kernels check` shows every batch size. To go on regardless: --allow-unsafe, which is said in a label"
        )
        lines = "".join(f"\n  {line}" for line in _lines(wrong))
        raise KernelError(f"kernel tables that cannot run on {GB10.name}:{lines}", hint.removeprefix("; "))
    return _lines(wrong)


def unsafe(cluster: Cluster, root: Path) -> tuple[Finding, ...]:
    """Errors in the tables that the image carries for its GPU, at every batch size. Raises ConfigError."""
    image = cluster.image
    target = Target(GB10, image.sglang, image.triton, fitted_default=True, native_fp8=cluster.kernels.native_fp8)
    try:
        _ = target.rules
    except UnknownVersionError as error:
        raise ConfigError(f"image.sglang: {error}", "name the version that the base image carries") from None
    files = [file for file in table_files([root / "configs" / folder(image.triton)]) if _is_for_target(file)]
    return errors(check(files, target))


def _is_for_target(file: TableFile) -> bool:
    """The table of another GPU is never taken; what has no name that tells may be meant for ours."""
    return file.name is None or file.name.device == GB10.device


def _lines(found: tuple[Finding, ...]) -> tuple[str, ...]:
    shown = [f"{Path(one.file).name}{': ' + one.key if one.key else ''}: {one.message}" for one in found[:SHOWN]]
    return (*shown, *([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []))
