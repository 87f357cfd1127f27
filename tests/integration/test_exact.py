"""SGLang's real kernel through Triton's real compiler, for GPUs that are not there; needs PyPI once, and no GPU."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from deploy import store
from deploy.errors import BuildError, ConfigError
from deploy.kernels.exact import toolchain
from deploy.kernels.exact.kernel import Kernel, of_table
from deploy.kernels.exact.pool import ROOT
from deploy.kernels.exact.proof import Finding, Target
from deploy.kernels.exact.prove import How, Proofs, prove
from deploy.kernels.exact.proven import NATIVE
from deploy.kernels.exact.source import of_wheel
from deploy.kernels.exact.space import space
from deploy.kernels.gpu import GB10, GPUS, Gpu
from deploy.kernels.memory import shared_memory
from deploy.kernels.name import folder, table_name
from deploy.kernels.parse import parse
from deploy.kernels.rules import rules
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config, Table
from deploy.tune.device import Device
from deploy.tune.problem import Emulation, Problem
from deploy.tune.search import GEMMS
from deploy.tune.trial import GemmName, Trial
from tests.integration.test_kernel_tables import theirs
from tests.operation import run

pytestmark = pytest.mark.integration
BOTH: tuple[GemmName, ...] = GEMMS
GLM = Shape(160, 384, 5120, 8, per_channel=True)
TENSOR, BLOCK, BF16 = (
    Shape(160, 384, 5120, 8),
    Shape(160, 384, 5120, 8, block=(128, 128)),
    Shape(160, 384, 5120, 8, "bf16"),
)
OTHERS = (
    Shape(160, 384, 5120, 8, "int8_w8a8", per_channel=True),
    Shape(160, 384, 5120, 8, "int8_w8a8", block=(128, 128)),
    Shape(160, 384, 5120, 8, "int8_w8a16"),
)
TARGET = Target(GB10, "0.5.4.post2", "3.5.0")
SHARED = How(only_shared=True)


@pytest.fixture(autouse=True)
def _no_kernel_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of kernels of the test's own, beside the wheels and tools that were fetched."""
    home = tmp_path / "cache" / "sglang-spark"
    home.mkdir(parents=True)
    for kept in ("wheels", "ptxas", "packages"):
        (store.cache() / kept).mkdir(parents=True, exist_ok=True)
        (home / kept).symlink_to(store.cache() / kept)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home.parent))
    try:
        toolchain.toolchain(TARGET.triton, {})
        store.wheel("sglang", TARGET.sglang)
    except BuildError as error:
        pytest.skip(error.message)


def proofs(kernels: Sequence[Kernel], target: Target = TARGET, how: How | None = None) -> Proofs:
    return run(prove(kernels, target, how))[1]


def finding(kernel: Kernel, target: Target = TARGET) -> Finding:
    (proof,) = proofs([kernel], target).proofs
    assert proof.finding, proof.error
    return proof.finding


def config(fields: dict[str, int]) -> Config:
    names = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")
    return Config(*(fields[name] for name in names))


def differing(kernels: Sequence[Kernel], gpu: Gpu) -> list[tuple[Kernel, int, int]]:
    """Where the closed form is not what the compiler says: kernel, compiler's bytes, formula's."""
    found = proofs(kernels, Target(gpu, TARGET.sglang, TARGET.triton), SHARED).proofs
    assert all(proof.finding for proof in found), [proof.error for proof in found if proof.error][:1]
    return [
        (proof.kernel, proof.finding.shared, said)
        for proof in found
        if proof.finding
        and (said := shared_memory(proof.kernel.config, proof.kernel.matrices, gpu)) != proof.finding.shared
    ]


def sample(shape: Shape, gemm: Literal["up", "down"], count: int) -> list[Kernel]:
    found = list(space(shape.block[1] if shape.block else 0))
    return [Kernel(one, shape, gemm, 64) for one in random.Random(f"{shape} {gemm}").sample(found, count)]


def test_sglangs_own_default_at_161_tokens_needs_147456_bytes_and_is_refused_by_triton(tmp_path: Path) -> None:
    default = config(theirs(TARGET.sglang, tmp_path).get_default_config(161, 160, 384, 5120, 8, "fp8_w8a8", False))
    found = finding(Kernel(default, GLM, "up", 161))
    assert found.shared == 147_456
    assert "out of resource: shared memory, Required: 147456, Hardware limit: 101376." in found.refusal


def test_four_stages_of_128_by_128_need_98304_bytes_and_run() -> None:
    found = finding(Kernel(Config(128, 128, 128, 32, 8, 4), GLM, "up", 161))
    assert (found.shared, found.refusal) == (98_304, "")


def test_fp8_becomes_f16_arithmetic_on_gb10_and_stays_fp8_under_the_override() -> None:
    kernel = Kernel(Config(64, 64, 256, 1, 4, 2), GLM, "up", 64)
    as_shipped = finding(kernel)
    native = finding(kernel, Target(GB10, TARGET.sglang, TARGET.triton, NATIVE))
    assert (as_shipped.native, native.native) == (False, True)
    assert as_shipped.instructions == ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",)
    assert native.instructions == ("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",)
    assert as_shipped.shared == native.shared == 32_768
    assert native.registers is not None
    assert as_shipped.registers is not None
    assert native.registers < as_shipped.registers


def test_accumulators_that_no_thread_can_hold_are_spilled_by_the_kilobyte() -> None:
    found = finding(Kernel(Config(128, 256, 64, 1, 4, 2), GLM, "up", 64))
    assert (found.spilled or 0) > 1000


@pytest.mark.parametrize("gemm", BOTH)
def test_every_configuration_that_ships_runs_under_both_lowerings(gemm: GemmName) -> None:
    """One kernel of each: what batch sizes make of it differs in how its loads are aligned, not in what it needs."""
    kernels = list({one.config: one for one in of_table(shipped(gemm), GLM, gemm)}.values())
    whole, native = proofs(kernels).proofs, proofs(kernels, replace(TARGET, lowering=NATIVE), SHARED).proofs
    assert len(whole) == len(native) == len(set(shipped(gemm).entries.values()))
    assert all(proof.fits(GB10) for proof in (*whole, *native))
    # More would be accumulators that no thread can hold.
    assert all(proof.finding and (proof.finding.spilled or 0) < 128 for proof in whole)


def shipped(gemm: GemmName) -> Table:
    name = table_name(GLM, GB10.device, rules(TARGET.sglang), down=gemm == "down")
    return parse((ROOT / "configs" / folder(TARGET.triton) / str(name)).read_text())


@pytest.mark.parametrize("gemm", BOTH)
@pytest.mark.parametrize("shape", [GLM, TENSOR, BLOCK, BF16])
def test_on_gb10_the_closed_form_is_what_the_compiler_says(shape: Shape, gemm: Literal["up", "down"]) -> None:
    assert not differing(sample(shape, gemm, 16), GB10)


def test_on_gb10_it_holds_on_both_sides_of_the_limit() -> None:
    """Of each kind of scale, the entries nearest to 101,376 bytes: just below, and just above."""
    for shape in (GLM, BLOCK, BF16):
        matrices = shape.gemms[0]
        by = sorted(space(shape.block[1] if shape.block else 0), key=lambda one: shared_memory(one, matrices, GB10))
        fitting = [one for one in by if shared_memory(one, matrices, GB10) <= GB10.shared_memory]
        near = [*fitting[-4:], *by[len(fitting) : len(fitting) + 4]]
        assert not differing([Kernel(one, shape, "up", 64) for one in near], GB10)


@pytest.mark.parametrize("shape", [GLM, BLOCK, BF16])
def test_on_hopper_it_holds_with_one_more_buffer(shape: Shape) -> None:
    assert not differing(sample(shape, "up", 12), GPUS["H100"])


@pytest.mark.parametrize("gpu", [GB10, GPUS["H100"]])
def test_it_holds_for_integers(gpu: Gpu) -> None:
    assert not differing([one for shape in OTHERS for one in sample(shape, "up", 4)], gpu)


def test_on_ada_a_small_loop_makes_room_for_the_result_and_still_fits() -> None:
    """The exception: eight tiles of the tuner's space, all far below the limit."""
    tiles = ((64, 128, 8, 2), (128, 64, 4, 2), (128, 128, 8, 2), (256, 128, 8, 2), (256, 128, 8, 3))
    kernels = [Kernel(Config(m, n, 64, 1, warps, stages), GLM, "up", 64) for m, n, warps, stages in tiles]
    found = differing(kernels, GPUS["RTX 4090"])
    assert len(found) == len(kernels)
    for kernel, shared, said in found:
        assert said < shared == 2 * kernel.config.block_m * kernel.config.block_n <= 65_536
    assert not differing([Kernel(Config(128, 128, 128, 1, 8, 3), GLM, "up", 64)], GPUS["RTX 4090"])


def test_stopping_after_allocation_gives_the_same_bytes_as_compiling_to_the_end() -> None:
    kernels = [one for shape in (GLM, BLOCK) for one in sample(shape, "down", 3)]
    whole, part = proofs(kernels).proofs, proofs(kernels, how=SHARED).proofs
    assert [one.finding and one.finding.shared for one in whole] == [one.finding and one.finding.shared for one in part]
    assert all(one.finding and one.finding.registers is None for one in part)


def test_a_binary_has_one_digest_whether_compiled_or_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    tools = toolchain.toolchain(TARGET.triton)
    monkeypatch.setenv("PYTHONPATH", str(tools.path or ""))  # where this environment has no Triton of its own
    problem = Problem(GLM, GB10, emulation=Emulation("sm121", GB10.shared_memory))
    source = tmp_path / "kernels.py"
    source.write_bytes(of_wheel(TARGET.sglang))
    trials = [Trial(64, "up", config, "sift") for config in problem.candidates["up"][:2]]
    digests = []
    for _ in range(2):
        with closing(Device(problem, source, 90, 2)) as device:
            device.prepare(trials)
            digests.append([device.compiled(trial).binary for trial in trials])
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 2
    assert "" not in digests[0]


def test_what_was_proven_is_not_compiled_again_and_damage_is(tmp_path: Path) -> None:
    kernels = tuple(of_table(shipped("up"), GLM, "up"))[:4]
    first, again = proofs(kernels, how=SHARED), proofs(kernels, how=SHARED)
    assert {one.cached for one in first.proofs} == {False}
    assert {one.cached for one in again.proofs} == {True}
    assert [one.finding for one in first.proofs] == [one.finding for one in again.proofs]
    for kept in (store.cache() / "kernels").rglob("*.json"):
        kept.write_text("{")
    assert {one.cached for one in proofs(kernels, how=SHARED).proofs} == {False}


def test_a_kernel_that_does_not_compile_is_an_answer_beside_the_others() -> None:
    good = Kernel(Config(16, 64, 128, 1, 4, 2), GLM, "up", 64)
    bad = Kernel(Config(16, 48, 128, 1, 4, 2), GLM, "up", 64)
    one, two = proofs([bad, good]).proofs
    assert "power of 2" in one.error
    assert (one.finding, two.fits(GB10)) == (None, True)
    assert not proofs([bad]).proofs[0].cached


def test_tma_is_compiled_where_it_is_legal_and_refused_where_nobody_knows_it() -> None:
    entry = Config(64, 64, 128, 1, 4, 3, True)
    down, up = proofs([Kernel(entry, BLOCK, "down", 64), Kernel(entry, BLOCK, "up", 64)]).proofs
    assert down.finding
    assert down.finding.shared == shared_memory(entry, BLOCK.gemms[1], GB10) == 32_784
    assert "USE_TMA" in up.error


SPECIALISED = """
import sys
from pathlib import Path
from deploy.kernels.exact.compile import Compiler
from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config, Table
compiler = Compiler(Path(sys.argv[1]), 121, 101376)
for top_k, tokens in ((8, 1), (8, 3), (8, 2), (8, 4096), (1, 1), (1, 3), (1, 16), (1, 32)):
    kernel = Kernel(Config(16, 32, 64, 1, 4, 2), Shape(160, 384, 5120, top_k, per_channel=True), "up", tokens)
    compiler.compile(kernel, "", False)
    print(*compiler._module.fused_moe_kernel.device_caches[0][0])
"""


def test_triton_tells_batches_apart_as_we_do(tmp_path: Path) -> None:
    """The keys of Triton's own JIT for eight launches: equal exactly where ours are."""
    from deploy.kernels.exact.kernel import specialisation

    module = tmp_path / "fused_moe_triton_kernels.py"
    module.write_bytes(of_wheel(TARGET.sglang))
    tools = toolchain.toolchain(TARGET.triton)
    path = os.pathsep.join(str(one) for one in (tools.path, ROOT) if one)
    environment = {**os.environ, "PYTHONPATH": path, "TRITON_PTXAS_PATH": str(tools.ptxas), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", SPECIALISED, str(module)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs_ = done.stdout.splitlines()
    launches = ((8, 1), (8, 3), (8, 2), (8, 4096), (1, 1), (1, 3), (1, 16), (1, 32))
    ours = [
        (top_k, specialisation(Kernel(Config(16, 32, 64, 1, 4, 2), Shape(160, 384, 5120, top_k), "up", tokens)))
        for top_k, tokens in launches
    ]
    for one in range(len(launches)):
        for two in range(one):
            assert (theirs_[one] == theirs_[two]) == (ours[one] == ours[two]), (launches[one], launches[two])


def test_ptxas_is_a_program_that_runs_and_names_itself(tmp_path: Path) -> None:
    tools = toolchain.toolchain("3.5.0", {})
    assert (tools.ptxas_version, tools.ptxas.is_absolute()) == ("13.0.88", True)
    broken = tmp_path / "ptxas"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(ConfigError, match="cannot be run"):
        toolchain.toolchain("3.5.0", {"TRITON_PTXAS_PATH": str(broken)})
    with pytest.raises(ConfigError, match="names no version"):
        toolchain.toolchain("3.5.0", {"TRITON_PTXAS_PATH": "/bin/true"})


def test_a_wheel_that_is_not_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "nvidia_cuda_nvcc-13.0.88-py3-none-any.whl"
    other.write_bytes(b"PK")
    monkeypatch.setattr(store, "wheel", lambda *_: other)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(BuildError, match="not the wheel that is pinned"):
        toolchain.fetch(toolchain.PTXAS_13_0)
