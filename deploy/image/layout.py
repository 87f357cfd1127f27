"""Which files an image has over its base, as the Dockerfile would lay them. Pure; reads no base and builds nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from deploy.cluster.spec import Image
from deploy.image.base.sight import Base, Wanted
from deploy.image.context import Context, ContextFile
from deploy.image.dockerfile import KERNELS, TREE, TUNING, TUNING_FOLDERS, TUNING_MODULES
from deploy.image.layer import Entry, emptied, file, folder, hidden
from deploy.image.unpacked import folders
from deploy.inside.journal import JOURNAL
from deploy.inside.manifest import Manifest

HOME = "opt/sglang-spark"
"""Where deploy/ and patches/ lie in the image."""
ROOT = TREE.lstrip("/")
CONFIGS = f"{ROOT}/sglang/srt/layers/moe/fused_moe_triton"
_OWN = (HOME, TUNING.lstrip("/"))
"""No base has these."""


def wanted(image: Image, context: Context, patches: Manifest) -> Wanted:
    """What has to be known of a base before this image can be laid on it."""
    possible = (JOURNAL, *patches.added)
    new = [file(path, b"") for path in (*placed(image, context), *(f"{ROOT}/{path}" for path in patches.added))]
    above = {parent for one in new for parent in _above(one.path)}
    asked = tuple(sorted(one for one in above if one == "opt" or one.startswith(f"{ROOT}/")))
    return Wanted(ROOT, tuple(patches.edits), possible, asked, nccl=image.nccl is not None)


def placed(image: Image, context: Context) -> dict[str, ContextFile]:
    """The project's own files by their place in the image: tables in SGLang's tree, the rest in a folder of its own."""
    tables = f"configs/triton_{image.triton.replace('.', '_')}/"
    home = ("deploy/__init__.py", "deploy/inside/", "patches/", *KERNELS)
    tuning = (*TUNING_MODULES, *(f"{one}/" for one in TUNING_FOLDERS)) if image.tune else ()
    found: dict[str, ContextFile] = {}
    for path in context.sources:
        if path.startswith(tables):
            found[f"{CONFIGS}/{path}"] = context.files[path]
        elif path.startswith((*home, *tuning)):
            found[f"{HOME}/{path}"] = context.files[path]
    return found


def project(own: Mapping[str, ContextFile], base: Base, writes: Mapping[str, bytes]) -> list[Entry]:
    """The small layer: the project's files, the patched ones, and no bytecode of what they were before."""
    new = [file(path, one.content, one.mode) for path, one in own.items()]
    new += [file(f"{ROOT}/{path}", content) for path, content in writes.items() if path not in base.files]
    changed = [file(f"{ROOT}/{path}", writes[path], one.mode) for path, one in base.files.items() if path in writes]
    stale = [hidden(path) for path in base.compiled if _source(path) in writes]
    return [*new, *changed, *stale, *_lacking(new, base)]


def nccl(base: Base, found: list[Entry], site: str) -> list[Entry]:
    """NCCL's files in `site`, in the place of the base's own, of which nothing remains."""
    made = folders(found, site) - {f"{site}/nvidia"}
    # A package of the same version has its papers in the same folder.
    replaced = {f"{site}/nvidia/nccl", *made.intersection(base.nccl)}
    gone = [hidden(one) for one in base.nccl if one not in replaced]
    new = [folder(one) for one in made - replaced]
    return [*found, *gone, *new, *(two for one in sorted(replaced) for two in emptied(one))]


def tuning(found: list[Entry]) -> list[Entry]:
    """Ray and what it needs, in a folder that no base has."""
    above = TUNING.lstrip("/")
    return [*found, folder(above), *(folder(one) for one in folders(found, above))]


def _lacking(entries: Iterable[Entry], base: Base) -> list[Entry]:
    """Folders that the entries lie in and the base has not, as far as that is known of it."""
    above = {parent for one in entries for parent in _above(one.path)} - set(base.folders)
    certain = (*_OWN, f"{ROOT}/sglang", *(() if base.unread else ("opt",)))
    return [folder(one) for one in sorted(above) if f"{one}/".startswith(tuple(f"{top}/" for top in certain))]


def _above(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents][:-1]


def _source(compiled: str) -> str:
    """The file below the tree that a .pyc was compiled from."""
    path = PurePosixPath(compiled).relative_to(ROOT)
    return str(path.parent.parent / f"{path.name.partition('.')[0]}.py")
