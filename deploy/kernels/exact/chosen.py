"""The tables that ship for GLM-4.7-FP8 on four GB10s: by which rule they were chosen, not tuned, and how to write them.

python -m deploy.kernels.exact.chosen [--check]     proves every entry by the compiler; writes configs/, or compares
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from deploy.errors import ConfigError, DeployError
from deploy.event import Event
from deploy.kernels.exact.kernel import of_table
from deploy.kernels.exact.proof import Target
from deploy.kernels.exact.prove import Proofs, prove
from deploy.kernels.exact.space import BATCHES
from deploy.kernels.gpu import GB10
from deploy.kernels.provenance import Proof, Provenance, checksum, file_name
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config, Table

FOLDER = Path(__file__).parents[3] / "configs" / "triton_3_5_0"
SGLANG, TRITON = "0.5.4.post2", "3.5.0"
GLM = Shape(experts=160, intermediate=384, hidden=5120, top_k=8, per_channel=True)
Which = Literal["up", "down"]
FILES: Mapping[Which, str] = {
    "up": "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json",
    "down": "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8_down.json",
}
SIZES = tuple(sorted({*BATCHES, 192, 384, 8192}))
"""Of SGLang's tuner, and three more: EAGLE verifies 8 tokens a request and so passes 192 and 384 on its way to 512,
near where BLOCK_SIZE_M changes; 8192 tokens are a whole prefill."""

TILES: Mapping[Which, Mapping[int, tuple[int, int, int, int]]] = {
    "up": {16: (64, 256, 4, 3), 32: (64, 256, 4, 3), 64: (128, 128, 8, 3)},
    "down": {16: (64, 128, 4, 4), 32: (64, 128, 4, 4), 64: (128, 64, 8, 4)},
}
"""By BLOCK_SIZE_M: BLOCK_SIZE_N, BLOCK_SIZE_K, num_warps, num_stages."""
NATIVE = "sm120"
HOW = (
    "Chosen by the rule in deploy/kernels/exact/chosen.py, from arithmetic and the compiler's numbers alone. No "
    "GB10 was measured: `tune` on real Sparks replaces this table."
)


def choose(gemm: Which, tokens: int) -> Config:
    """The rule: as many rows as an expert nearly always gets, then a tile of which two blocks fit a multiprocessor."""
    rows = tokens * GLM.top_k / GLM.experts
    wanted = rows + 1.5 * rows**0.5
    block_m = next((size for size in (16, 32) if size >= wanted), 64)
    columns, depth, warps, stages = TILES[gemm][block_m]
    return Config(block_m, columns, depth, 16 if wanted > block_m else 1, warps, stages)


def table(gemm: Which) -> Table:
    """What the rule says at every size."""
    return Table({tokens: choose(gemm, tokens) for tokens in SIZES})


def text(gemm: Which) -> str:
    """The file, as SGLang reads it."""
    return json.dumps({str(size): config.as_json() for size, config in table(gemm).entries.items()}, indent=4) + "\n"


def proven(gemm: Which) -> Generator[Event, None, tuple[Proof, ...]]:
    """The compiler's word for every entry under both lowerings. ConfigError where one does not run, or spills."""
    proofs = []
    for lowering in ("", NATIVE):
        target = Target(GB10, SGLANG, TRITON, lowering)
        found = yield from prove(tuple(of_table(table(gemm), GLM, gemm)), target)
        proofs.append(_summary(found))
    return tuple(proofs)


def _summary(found: Proofs) -> Proof:
    wrong = [proof for proof in found.proofs if not proof.fits(GB10) or proof.finding is None or proof.finding.spilled]
    if wrong:
        raise ConfigError(f"{wrong[0].kernel}: {wrong[0].error or wrong[0].finding}", "change the rule")
    findings = [proof.finding for proof in found.proofs if proof.finding]
    tools = found.toolchain
    return Proof(
        mode="exact",
        gpu=GB10.name,
        largest=max(finding.shared for finding in findings),
        limit=GB10.shared_memory,
        entries=len(SIZES),
        runs=True,
        versions={"sglang": SGLANG, "triton": tools.triton, "ptxas": tools.ptxas_version},
        lowering="native" if all(finding.native for finding in findings) else "f16",
    )


def provenance(gemm: Which, proofs: tuple[Proof, ...]) -> Provenance:
    """What lies beside the table. The rule looked at the registers of the f16 lowering."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    versions = proofs[0].versions
    return Provenance(checksum(text(gemm).encode()), "chosen", HOW, made, "f16", versions, None, proofs)


def _write(gemm: Which, only_check: bool) -> Iterator[str]:
    proofs = _result(proven(gemm))
    path = FOLDER / FILES[gemm]
    if only_check:
        if path.read_text() != text(gemm):
            raise ConfigError(f"{path.name} is not what the rule says", "python -m deploy.kernels.exact.chosen")
    else:
        path.write_text(text(gemm))
        path.with_name(file_name(path.name)).write_text(provenance(gemm, proofs).to_json())
    for proof in proofs:
        yield f"{path.name}: {proof.entries} entries, {proof.largest:,} bytes at most, {proof.lowering}, none spills"


def _result(events: Generator[Event, None, tuple[Proof, ...]]) -> tuple[Proof, ...]:
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return tuple(stop.value)


def main() -> int:
    """Exit code 0, or that of the error."""
    arguments = argparse.ArgumentParser(prog="python -m deploy.kernels.exact.chosen")
    arguments.add_argument("--check", action="store_true", help="compare with the tables kept, write nothing")
    only_check = arguments.parse_args().check
    try:
        for gemm in FILES:
            for line in _write(gemm, only_check):
                print(line)
    except DeployError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
