"""Which SGLang, Triton, torch and sgl-kernel this image really has, against what it was built for. Imports none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from deploy.inside.check import PASSED, Check, Inside, judged

GATES = "sglang/srt/entrypoints/engine.py"
OTHER_PLACE = "the server would run another SGLang than the one that was patched: take it out of the base"
OTHER_BASE = "correct image.sglang or image.triton in cluster.yaml, or take the base that they name; then build again"


def numbers(version: str) -> tuple[int, ...]:
    """The numbers in a version, in order; they compare as releases and post-releases do."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def installed(distribution: str) -> str:
    """The version that pip would name, "" where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def place(module: str) -> Path | None:
    """The folder that Python would import the package from; nothing is imported."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def own_version(package: Path | None, file: str) -> str:
    """`__version__` as a file of the package spells it, "" where there is none."""
    path = package / file if package else None
    if path is None or not path.is_file():
        return ""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__version__"]:
            return str(ast.literal_eval(node.value))
    return ""


def sglang(inside: Inside, bases: frozenset[str]) -> Iterator[Check]:
    """That the SGLang that runs is the one that was patched, and its version. `bases`: what the patched files say."""
    found, wanted = place("sglang"), Path(inside.built_for.tree) / "sglang"
    needed = f"{wanted}, where the patches and tables are"
    seen = f"Python imports sglang from {found}" if found else "Python finds no sglang"
    yield judged("sglang.place", found is not None and found.resolve() == wanted.resolve(), seen, needed, OTHER_PLACE)
    named = {installed("sglang"), own_version(inside.tree / "sglang", "version.py")} - {""}
    seen = f"calls itself {' and '.join(sorted(named)) or 'nothing'}"
    if bases:
        seen += f"; the patched files are those of {' or '.join(sorted(bases))}"
    version = inside.built_for.sglang
    yield judged("sglang.version", version in named | bases, seen, f"image.sglang: {version}", OTHER_BASE)


def running_triton() -> str:
    """The version by which SGLang looks for tables, "" where Triton is not here."""
    return own_version(place("triton"), "__init__.py") or installed("triton")


def triton(inside: Inside) -> Check:
    """SGLang looks for tables under the version of the Triton that runs, and nowhere else for ours."""
    found, wanted = running_triton(), inside.built_for.triton
    if not found:
        return inside.absent("triton.version", "no triton", wanted, OTHER_BASE)
    needed = f"image.triton: {wanted}, whose tables are here"
    return judged("triton.version", found == wanted, found, needed, OTHER_BASE)


def torch(inside: Inside) -> Check:
    """That it is there; whether it can be imported is seen where NCCL is."""
    found = installed("torch")
    if not found:
        return inside.absent("torch.version", "no torch", "installed", "no server runs without: take another base")
    return Check("torch.version", PASSED, found, "installed")


def gated(inside: Inside) -> Iterator[Check]:
    """The packages whose version SGLang itself looks at when it starts, and ends if it is older."""
    found = dict(gates(inside.tree))
    for distribution, oldest in {"sgl-kernel": "", **found}.items():
        yield _gate(inside, distribution, oldest)


def _gate(inside: Inside, distribution: str, oldest: str) -> Check:
    check, seen = f"{distribution.replace('_', '-')}.version", installed(distribution)
    needed = f"{oldest} or newer, else SGLang ends at its start" if oldest else "installed"
    hint = "the base does not belong together: take another"
    if not seen:
        return inside.absent(check, f"no {distribution}", needed, hint)
    return judged(check, numbers(seen) >= numbers(oldest), seen, needed, hint)


def gates(tree: Path) -> Iterator[tuple[str, str]]:
    """(package, oldest version) of each check of versions in SGLang's own start."""
    path = tree / GATES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("assert_pkg_version"):
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            if len(words) == 2:
                yield str(words[0]), str(words[1])
