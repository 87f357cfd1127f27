"""Tools that cannot serve are refused by name."""

from __future__ import annotations

import re

import pytest

from deploy.errors import BuildError, ConfigError
from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.proof import Target
from deploy.kernels.exact.prove import prove
from deploy.kernels.exact.toolchain import PTXAS_12_9, PTXAS_13_0, Release, fetch, toolchain
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config


@pytest.mark.parametrize("version", ["3.3.1", "2.1.0", "latest", "3.5.0; rm"])
def test_a_triton_that_cannot_serve_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(version)):
        toolchain(version, {})


def test_a_relative_ptxas_is_refused_before_triton_replaces_it_without_a_word() -> None:
    with pytest.raises(ConfigError, match="TRITON_PTXAS_PATH is relative: bin/ptxas"):
        toolchain("3.5.0", {"TRITON_PTXAS_PATH": "bin/ptxas"})


def test_a_machine_without_a_known_ptxas_is_told_so() -> None:
    with pytest.raises(BuildError, match="riscv64"):
        fetch(PTXAS_13_0, "riscv64")


@pytest.mark.parametrize("release", [PTXAS_12_9, PTXAS_13_0])
def test_every_ptxas_is_pinned_for_both_machines(release: Release) -> None:
    assert set(release.wheels) == {"x86_64", "aarch64"}
    assert len(set(release.wheels.values())) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", pinned) for pinned in release.wheels.values())


def test_a_shape_known_in_part_is_refused_before_anything_is_fetched() -> None:
    unknown = Kernel(Config(64, 128, 128, 1, 4, 4), Shape(160, 384, 0, 0), "up", 1)
    with pytest.raises(ConfigError, match="whole shape"):
        next(prove([unknown], Target(GB10, "0.5.4.post2", "3.5.0")))
