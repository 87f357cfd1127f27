"""Whether SGLang would find a table where it lies, under its name. Looks at no disk and into no table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from deploy.kernels.finding import Finding, Target
from deploy.kernels.name import TableName, folder, read_name, searched, version_of
from deploy.kernels.shape import BYTES


def place_findings(path: str, name: TableName | None, present: Iterable[str], target: Target) -> Iterator[Finding]:
    """Findings on a file's name and folder. `present`: the folders that there are."""
    yield from _name(PurePosixPath(path).name, name, target)
    yield from _folder(PurePosixPath(path).parent.name, present, target)


def _name(file: str, name: TableName | None, target: Target) -> Iterator[Finding]:
    if name is None:
        hint = "name it E=..,N=..,device_name=..[,dtype=..][,block_shape=[n, k]][_down].json"
        yield Finding("warning", "name", f"{file} is no name that SGLang looks for" + _near(file), hint)
        return
    if name.device != target.gpu.device:
        message = f"is for {name.device}: on {target.gpu.name} SGLang looks for {target.gpu.device}"
        yield Finding("note", "device", message)
    if name.per_channel and not target.rules.per_channel_in_name:
        right = replace(name, per_channel=False)
        message = f"SGLang {target.sglang} never looks for per_channel_quant=True"
        yield Finding("warning", "name", message, f"rename it: {right}")
    if name.shape.dtype not in BYTES or (not name.dtype and name.block):
        yield Finding("warning", "name", f"dtype={name.dtype or '(none)'} is no data type of a table")


def _near(file: str) -> str:
    """The names differ from the right one in a blank more often than in anything else."""
    tried = re.sub(r"\[(\d+),\s*(\d+)\]", r"[\1, \2]", re.sub(r",\s+(?=[a-z])", ",", file))
    return f"; {tried} is one" if read_name(tried) else ""


def _folder(found: str, present: Iterable[str], target: Target) -> Iterator[Finding]:
    version = version_of(found)
    if version is None or version == target.triton:
        return
    others = [other for other in map(version_of, present) if other]
    own = f"configs/{folder(target.triton)}"
    if version in searched(target.rules, target.triton, others):
        message = f"Triton {target.triton} reads {found} only where {own} has no such file, with a warning in the log"
        yield Finding("note", "fallback", message, f"made for Triton {version}: tune it anew and move it to {own}")
    else:
        message = f"SGLang {target.sglang} with Triton {target.triton} never reads {found}"
        yield Finding("warning", "folder", message, f"move it to {own}, if its entries were made for that Triton")
