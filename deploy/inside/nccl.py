"""Which NCCL a process of this image loads, by loading it: `python3 -m deploy.inside.nccl` prints what was found."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deploy.inside.check import Check, Inside, judged
from deploy.inside.child import Child, ChildError
from deploy.inside.versions import numbers

LIBRARY = "libnccl.so.2"
_MAPPED = re.compile(r"\S+ \S+ \S+ \S+ \S+\s+(/.*/libnccl\.so[.\d]*)(?: \(deleted\))?$")
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda/lib64")
CURE = "set image.nccl in cluster.yaml to a version that is pinned, and build again"
TWO = "two NCCLs in one process: see LD_PRELOAD, LD_LIBRARY_PATH and SGLANG_NCCL_SO_PATH, and leave one"


def checks(inside: Inside, child: Child) -> Iterator[Check]:
    """What pip says is installed, and what is really loaded."""
    oldest, built = inside.built_for.oldest_nccl, inside.built_for.nccl
    needed = f"{built}, as image.nccl says" if built else f"{oldest} or newer, since older ones can hang on aarch64"
    found = dict(distributions())
    seen = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    if found:
        hint = "two packages own the same files: leave the one that torch was made for" if len(found) > 1 else CURE
        yield judged("nccl.installed", len(found) == 1 and _fits(inside, *found.values()), seen, needed, hint)
    try:
        said = child.answer()
    except ChildError as error:
        yield judged("nccl.loaded", False, f"a process that loads it ended: {error}", needed, CURE)
        return
    if said["torch"]:
        hint = "no server runs where torch cannot be imported: take another base"
        yield judged("torch.import", said["torch"] == "imported", said["torch"], "an import", hint)
    yield _loaded(inside, said, needed)


def _loaded(inside: Inside, said: Mapping[str, Any], needed: str) -> Check:
    loaded: dict[str, str] = said["loaded"]
    how = f"{said['how']}{''.join(f'; also here, not loaded: {path}' for path in said['others'])}"
    if not loaded:
        words = said["error"] or f"no {LIBRARY}"
        return inside.absent("nccl.loaded", f"{words} ({how})", needed, CURE)
    seen = f"{', '.join(f'{version} from {path}' for path, version in loaded.items())} ({how})"
    if len(loaded) > 1:
        return judged("nccl.loaded", False, seen, needed, TWO)
    return judged("nccl.loaded", _fits(inside, *loaded.values()), seen, needed, CURE)


def _fits(inside: Inside, version: str) -> bool:
    built = inside.built_for.nccl
    return numbers(version) >= numbers(inside.built_for.oldest_nccl) and (not built or version == built)


def distributions() -> Iterator[tuple[str, str]]:
    """(name, version) of the installed packages that bring NCCL."""
    for found in metadata.distributions():
        name = str(found.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith("nvidia-nccl-"):
            yield name, found.version


def load() -> dict[str, Any]:
    """Load NCCL as SGLang does: torch first, then by name; without torch, the file that torch would take."""
    torch = _torch()
    name = os.environ.get("SGLANG_NCCL_SO_PATH") or LIBRARY
    how = "as SGLang loads it, after torch" if torch == "imported" else "by name, without torch"
    package = next(iter(packaged()), None)
    if torch != "imported" and package and name == LIBRARY:
        name, how = str(package), "the package's file, which torch would load; torch itself was not"
    import ctypes

    error = ""
    try:
        ctypes.CDLL(name)
    except OSError as problem:
        error = str(problem)
    loaded = {path: version(path) for path in mapped(Path("/proc/self/maps").read_text(encoding="utf-8"))}
    others = sorted(set(mappable()) - {os.path.realpath(path) for path in loaded})
    return {"torch": torch, "how": how, "loaded": loaded, "others": others, "error": error}


def _torch() -> str:
    """ "imported", "" where it is not installed, else why it could not be imported."""
    if find_spec("torch") is None:
        return ""
    try:
        importlib.import_module("torch")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "imported"


def mapped(maps: str) -> list[str]:
    """The NCCL libraries in the text of /proc/PID/maps, once each."""
    found = (_MAPPED.match(line) for line in maps.splitlines())
    return sorted({match[1] for match in found if match})


def version(path: str) -> str:
    """X.Y.Z as the library itself says."""
    import ctypes

    number = ctypes.c_int()
    ctypes.CDLL(path).ncclGetVersion(ctypes.byref(number))
    return dotted(number.value)


def dotted(code: int) -> str:
    """ncclGetVersion's number: 23007 is 2.30.7, and before 2.9 2804 was 2.8.4."""
    major = 1000 if code < 10000 else 10000
    return f"{code // major}.{code % major // 100}.{code % 100}"


def packaged() -> Iterator[Path]:
    """libnccl.so.2 of the nvidia-nccl packages, where torch's own run path leads."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "nccl" / "lib" / LIBRARY
        if path.is_file():
            yield path


def mappable() -> Iterator[str]:
    """Every other file that a process could load under this name, by its real path."""
    libraries = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for folder in (*libraries, *_places()):
        if (folder / LIBRARY).is_file():
            yield os.path.realpath(folder / LIBRARY)
    yield from (os.path.realpath(path) for path in packaged())


def _places() -> Iterable[Path]:
    """The folders that the dynamic linker knows, with those of the machine's own kind."""
    for place in map(Path, _SYSTEM):
        yield place
        yield from place.glob("*-linux-gnu")


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(load()) + "\n")
