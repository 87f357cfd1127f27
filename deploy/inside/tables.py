"""The kernel tables that SGLang would find in this image, held against the GPU they are for. The rules are kernels'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from deploy.inside.check import UNSAFE_TABLE, Check, Inside, judged
from deploy.inside.versions import running_triton
from deploy.kernels.check import Verdict, check
from deploy.kernels.files import table_files
from deploy.kernels.finding import Finding, Target
from deploy.kernels.gpu import GB10
from deploy.kernels.name import folder
from deploy.kernels.rules import rules

PAIR = ("pair", "down_alone")
NAME = ("name", "folder")
CURE = "`kernels check` says it for every batch size; mend the table in configs/ and build again"
MISPLACED = "see image.triton and the name of the file: SGLang looks for nothing else"


def checks(inside: Inside) -> Iterator[Check]:
    """That tables for the GPU are where they are looked up, readable, and fit at every batch size."""
    for one in _checks(inside):
        yield one.allowed() if UNSAFE_TABLE in inside.built_for.allow else one


def _checks(inside: Inside) -> Iterator[Check]:
    triton = running_triton() or inside.built_for.triton
    target = Target(GB10, inside.built_for.sglang, triton, fitted_default=True)
    place = home(inside.tree, target)
    verdicts = check(table_files([place] if place.is_dir() else []), target)
    ours = [one for one in verdicts if _is_for(one, target)]
    found = [one.file.path for one in ours if one.file.name]
    seen = f"{_files(found)} in {place}" if found else f"no table for {GB10.device} in {place}"
    yield judged("tables.found", bool(found), seen, f"a table for {GB10.device}", MISPLACED)
    unread = [one for verdict in verdicts for one in verdict.findings if one.code == "unreadable"]
    yield _about("tables.read", unread, "every file is a table", "a table", CURE)
    findings = [one for verdict in ours for one in verdict.findings if one.code != "unreadable"]
    names = [one for one in findings if one.code in NAME and one.level != "note"]
    yield _about("tables.name", names, "every name is one that is looked up", "a name that is looked up", MISPLACED)
    errors = [one for one in findings if one.level == "error"]
    limit = f"{GB10.shared_memory:,} bytes a block at most"
    fit = [one for one in errors if one.code not in PAIR]
    yield _about("tables.fit", fit, f"every entry fits, at every batch size: {limit}", limit, CURE)
    pairs = [one for one in findings if one.code in PAIR]
    yield _about("tables.pair", pairs, "no _down table differs from its up table", "the same BLOCK_SIZE_M", CURE)


def home(tree: Path, target: Target) -> Path:
    """The folder that this SGLang searches first under this Triton."""
    return tree / "sglang" / rules(target.sglang).home / "configs" / folder(target.triton)


def _is_for(verdict: Verdict, target: Target) -> bool:
    """A base may bring tables of other GPUs; what has no legal name may be meant for ours."""
    name = verdict.file.name
    return name is None or name.device == target.gpu.device


def _about(name: str, found: list[Finding], good: str, needed: str, hint: str) -> Check:
    words = [f"{_files([one.file])}{': ' + one.key if one.key else ''}: {one.message}" for one in found]
    rest = f"; and {len(words) - 3} more" if len(words) > 3 else ""
    return judged(name, not found, "; ".join(words[:3]) + rest or good, needed, hint)


def _files(paths: Iterable[str]) -> str:
    return ", ".join(PurePosixPath(path).name for path in paths)
