"""From what a search found to kernel tables with their provenance, through the same gate as every table. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from deploy.errors import KernelError
from deploy.kernels.check import TableFile, check, errors
from deploy.kernels.finding import Target
from deploy.kernels.name import folder, table_name
from deploy.kernels.provenance import Proof, Provenance, checksum, file_name
from deploy.kernels.table import Table
from deploy.tune.problem import Problem
from deploy.tune.search import Found
from deploy.tune.trial import GemmName

HOW = "Tuned by measurement: SGLang's own kernel and launcher in this model's shape, {routing} routing, cold weights."
ON_ITSELF = "Timed on {device}."
LOWERED = "Timed on {device}, with the lowering of {lowering}."
EMULATED = (
    "Timed on {device}, which compiled {gpu}'s lowering ({lowering}) under {gpu}'s limit of {limit:,} bytes a block: "
    "which of the kernels is fastest on {gpu} itself has not been measured. `tune` there replaces this table."
)


@dataclass(frozen=True)
class Measured:
    """What the provenance tells of a run. `facts` are the device's; `gpu_seconds` of all trials; `made` is RFC 3339;
    `nodes` is how many of a kind measured."""

    facts: Mapping[str, Any]
    trials: int
    gpu_seconds: float
    made: str
    nodes: int = 1


def merged(found: Iterable[Found], before: Mapping[GemmName, Table]) -> Mapping[GemmName, Table]:
    """Tables of what was found, and of the other batch sizes that tables had before."""
    results = {one.tokens: one for one in found}
    made: dict[GemmName, Table] = {}
    for gemm in ("up", "down"):
        entries = dict(before[gemm].entries) if gemm in before else {}
        entries |= {tokens: one.best[gemm].config for tokens, one in results.items()}
        made[gemm] = Table({tokens: entries[tokens] for tokens in sorted(entries)})
    return made


def files(
    tables: Mapping[GemmName, Table], found: Iterable[Found], problem: Problem, target: Target, measured: Measured
) -> dict[str, bytes]:
    """File names and contents. Raises KernelError where a table could not run on the target."""
    results = list(found)
    made: dict[str, bytes] = {}
    for gemm, table in tables.items():
        name = str(table_name(problem.shape, target.gpu.device, target.rules, down=gemm == "down"))
        text = json.dumps({str(size): config.as_json() for size, config in table.entries.items()}, indent=4) + "\n"
        made[name] = text.encode()
    listed = [
        TableFile((PurePosixPath(folder(target.triton)) / name).as_posix(), table, (), checksum(content))
        for (name, content), table in zip(made.items(), tables.values(), strict=True)
    ]
    verdicts = check(listed, target, problem.shape)
    wrong = errors(verdicts)
    if wrong:
        raise KernelError(f"{wrong[0].place}: {wrong[0].message}", "what was found is not written; the journal has it")
    for (name, content), verdict, gemm in zip(list(made.items()), verdicts, tables, strict=True):
        largest = max(row.bytes for row in verdict.rows)
        proof = Proof(
            "fast", target.gpu.name, largest, target.gpu.shared_memory, len(tables[gemm].entries), verdict.runs
        )
        versions = {"sglang": target.sglang, "triton": target.triton}
        told = Provenance(
            sha256=checksum(content),
            origin="tuned",
            how=_how(gemm, results, problem, measured),
            made=measured.made,
            lowering=target.lowering,
            versions=versions,
            proofs=(replace(proof, versions=versions),),
        )
        made[file_name(name)] = told.to_json().encode()
    return made


def where(device: str, nodes: int) -> str:
    """What measured, in words."""
    return f"one {device}" if nodes == 1 else f"{nodes} nodes of a kind, each with {device}"


def _how(gemm: GemmName, found: list[Found], problem: Problem, measured: Measured) -> str:
    """In sentences: on what it was timed, by what, and how sure the figures are."""
    facts = measured.facts
    versions = ", ".join(f"{name} {facts[name]}" for name in ("driver", "torch", "triton", "cuda") if facts.get(name))
    device = f"{where(facts['device'], measured.nodes)} ({versions})"
    on = ON_ITSELF.format(device=device)
    if problem.emulation:
        lowering, limit = problem.emulation.lowering, problem.emulation.shared_memory
        itself = str(facts["device"]).replace(" ", "_") == problem.gpu.device
        form = LOWERED if itself else EMULATED
        on = form.format(device=device, gpu=problem.gpu.name, lowering=lowering, limit=limit)
    routing = f"skewed ({problem.skew:g})" if problem.skew else "uniform"
    spread = max((one.best[gemm].spread for one in found), default=0.0)
    error = max((one.best[gemm].error for one in found), default=0.0)
    sizes = ", ".join(str(one.tokens) for one in found)
    sentences = (
        HOW.format(routing=routing),
        on,
        f"{measured.trials} trials took {measured.gpu_seconds:.0f} s of GPU time; batch sizes {sizes}.",
        f"The five rounds of a choice differed by {spread:.1%} at most,",
        f"its result by {error:.2%} of the greatest value from float32.",
    )
    return " ".join(sentences)
