"""Where each implementation's text lies: what is installed here, else what PyPI has, fetched once and kept."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from deploy import store
from deploy.errors import BuildError, TuneError
from deploy.kernels.rules import number
from deploy.wheel import fetch

VLLM = "0.11.0"
"""Of October 2025, as SGLang 0.5.4: both took their kernel from the same one, and went on apart."""
VLLM_PART = "vllm/model_executor/layers/fused_moe/"
RENAMED = (3, 5, 0)
"""The first Triton without a function of `triton.language` that the older triton_kernels calls."""
WHEELS = ((RENAMED, ("sglang-kernel", "0.4.4")), ((0, 0, 0), ("sgl-kernel", "0.3.16.post5")))
"""The wheel whose triton_kernels runs from a version of Triton on: the package follows Triton's own releases."""
OLDER = "routing.py"
"""A file that the older one has."""
PART = "triton_kernels/"
ANYWHERE = ("--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64")
"""The text is the same on every platform."""


def folders(names: Collection[str], sglang: str) -> dict[str, Path]:
    """The folder that holds each implementation's package; none for triton_kernels where one that fits is installed.

    Raises TuneError where PyTorch or Triton is missing, and BuildError where pip fails.
    """
    found: dict[str, Path] = {}
    if {"sglang", "torch_compile"} & set(names):
        tree = of_sglang(sglang)
        found |= {name: tree for name in ("sglang", "torch_compile") if name in names}
    if "vllm" in names:
        found["vllm"] = part("vllm", VLLM, VLLM_PART)
    if "triton_kernels" in names and not _fits(installed("triton")):
        found["triton_kernels"] = part(*kernels_wheel(installed("triton")), PART)
    return found


def versions(found: Mapping[str, Path], names: Collection[str]) -> dict[str, str]:
    """What of the implementations that are not SGLang's is run."""
    told = {"vllm": VLLM, "triton_kernels": "the installed one"}
    if "triton_kernels" in found:
        told["triton_kernels"] = "of " + " ".join(kernels_wheel(installed("triton")))
    return {name: version for name, version in told.items() if name in names}


def _fits(triton: str) -> bool:
    """Whether triton_kernels is installed, in a version that runs with this Triton. SGLang's image may have another."""
    spec = importlib.util.find_spec("triton_kernels")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return bool(roots) and (Path(roots[0]) / OLDER).is_file() == (number(triton) < RENAMED)


def of_sglang(version: str) -> Path:
    """The installed tree where it is this version, else the wheel's."""
    spec = importlib.util.find_spec("sglang") if _version("sglang") == version else None
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return Path(roots[0]).parent if roots else store.package("sglang", version)


def kernels_wheel(triton: str) -> tuple[str, str]:
    """Project and version of the wheel whose triton_kernels runs with this Triton."""
    return next(wheel for least, wheel in WHEELS if number(triton) >= least)


def part(project: str, version: str, prefix: str) -> Path:
    """A folder with the files of a wheel below `prefix`; the rest of it, some 400 MB, is not kept."""
    folder = store.cache() / "sources" / f"{project}-{version}"
    store.keep(folder, partial(_fill, project, version, prefix))
    return folder


def _fill(project: str, version: str, prefix: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        wheel = fetch((*ANYWHERE, f"{project}=={version}"), Path(beside), f"{project} {version}")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(prefix)]
            if not members:
                raise BuildError(f"{project} {version} has no {prefix}", "its wheel is not the one that was known")
            archive.extractall(folder, members)


def installed(name: str) -> str:
    """The version of a package that has to be here. Raises TuneError."""
    version = _version(name)
    if not version:
        message = f"no layer can be run here: {name} is not installed in this environment"
        raise TuneError(message, "run it where SGLang runs, with the GPU: its Python has PyTorch and Triton")
    return version


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
