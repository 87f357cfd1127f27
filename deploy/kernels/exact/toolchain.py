"""Which Triton and which ptxas compile: from this environment, the user's word or PyPI. Imports no Triton."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy import store
from deploy.errors import BuildError, ConfigError

Version = tuple[int, ...]


@dataclass(frozen=True)
class Release:
    """A ptxas on PyPI: the SHA-256 of its wheel by this machine's architecture."""

    project: str
    version: str
    wheels: Mapping[str, str]


PTXAS_12_9 = Release(
    "nvidia-cuda-nvcc-cu12",
    "12.9.86",
    {
        "x86_64": "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
        "aarch64": "44e1eca4d08926193a558d2434b1bf83d57b4d5743e0c431c0c83d51da1df62b",
    },
)
PTXAS_13_0 = Release(
    "nvidia-cuda-nvcc",
    "13.0.88",
    {
        "x86_64": "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03",
        "aarch64": "c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f",
    },
)
OLDEST: Version = (3, 4)
"""Triton 3.3 knows no sm_121."""


@dataclass(frozen=True)
class Toolchain:
    """`path` is the folder to import Triton from, None for this environment's own; `ptxas` is absolute and runs."""

    triton: str
    path: Path | None
    ptxas: Path
    ptxas_version: str


def toolchain(triton: str, environment: Mapping[str, str] = os.environ) -> Toolchain:
    """Fetch what is missing. ConfigError for a Triton or TRITON_PTXAS_PATH that cannot serve; BuildError from PyPI."""
    if _numbers(triton) < OLDEST:
        raise ConfigError(f"Triton {triton} cannot compile for sm_121", "name Triton 3.4.0 or newer: --triton VERSION")
    path = None if _own() == triton else store.package("triton", triton)
    ptxas = _given(environment) or _fitting(triton, path)
    return Toolchain(triton, path, ptxas, version(ptxas))


def version(ptxas: Path) -> str:
    """What it says of itself, such as 13.0.88. ConfigError where it cannot be run."""
    try:
        said = subprocess.run([str(ptxas), "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"{ptxas} cannot be run: {error}", "name a ptxas of this machine, or unset TRITON_PTXAS_PATH"
        ) from error
    if not (match := re.search(r"\bV(\d+(?:\.\d+)+)", said)):
        raise ConfigError(f"{ptxas} --version names no version", "name a ptxas, or unset TRITON_PTXAS_PATH")
    return match[1]


def _numbers(triton: str) -> Version:
    if not re.fullmatch(r"\d+(\.\d+){1,2}", triton):
        raise ConfigError(f"{triton} is no version of Triton", "write it as 3.5.0")
    return tuple(int(part) for part in triton.split("."))


def _own() -> str | None:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return None


def _given(environment: Mapping[str, str]) -> Path | None:
    """The user's own. Triton replaces one that it cannot run by its bundled one and says nothing: we refuse it."""
    if not (named := environment.get("TRITON_PTXAS_PATH")):
        return None
    if not Path(named).is_absolute():
        raise ConfigError(f"TRITON_PTXAS_PATH is relative: {named}", "name ptxas by its absolute path, or unset it")
    return Path(named)


def _fitting(triton: str, path: Path | None) -> Path:
    """From 3.6 on Triton brings one that knows sm_121; 3.4 refuses those of CUDA 13."""
    if _numbers(triton) < (3, 6):
        return fetch(PTXAS_12_9 if _numbers(triton) < (3, 5) else PTXAS_13_0)
    root = path or Path(str(importlib.metadata.distribution("triton").locate_file("")))
    return root / "triton" / "backends" / "nvidia" / "bin" / "ptxas-blackwell"


def fetch(release: Release, machine: str = "") -> Path:
    """ptxas of that release for this machine; of the package only it is kept. BuildError where the wheel is another."""
    machine = machine or platform.machine()
    if not (pinned := release.wheels.get(machine)):
        raise BuildError(f"no ptxas is known for {machine}", "set TRITON_PTXAS_PATH to one that runs here")
    kept = store.cache() / "ptxas" / f"{release.version}-{machine}-{pinned[:12]}"
    store.keep(kept, lambda new: _extract(release, machine, new / "ptxas"))
    return kept / "ptxas"


def _extract(release: Release, machine: str, ptxas: Path) -> None:
    wheel = store.wheel(release.project, release.version, f"manylinux2014_{machine}")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != release.wheels[machine]:
        raise BuildError(f"{wheel} is not the wheel that is pinned", "delete it and try again")
    with zipfile.ZipFile(wheel) as archive:
        ptxas.write_bytes(archive.read(next(name for name in archive.namelist() if name.endswith("/bin/ptxas"))))
    ptxas.chmod(0o755)
    shutil.rmtree(wheel.parent)
