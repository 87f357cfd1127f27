"""What a run would do, for `tune -n`: contacts nobody."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deploy.kernels.exact.space import GROUPS, space
from deploy.tune.roofline import Ceilings
from deploy.tune.search import GEMMS
from deploy.tune.tally import expected
from deploy.tune.task import Task
from deploy.workflow.tuning.order import Order


def plan_json(order: Order, where: str) -> dict[str, Any]:
    """`trials` is an estimate: how many there are depends on what is measured."""
    task = Task(order.problem, order.sizes, Ceilings(1, 1), order.only)
    return {
        "where": where,
        "shape": asdict(order.problem.shape),
        "source": order.source,
        "gpu": order.problem.gpu.name,
        "emulation": asdict(order.problem.emulation) if order.problem.emulation else None,
        "routing": routing(order),
        "expert_parallel": order.problem.filter_expert,
        "files": {gemm: str(order.file(gemm)) for gemm in GEMMS},
        "batch_sizes": list(order.sizes),
        "candidates": {gemm: len(some) for gemm, some in task.candidates.items()},
        "of": len(order.only) or len(list(space())),
        "trials": expected(task) * len(order.sizes),
        "journal": str(order.journal),
    }


def plan_text(order: Order, where: str) -> str:
    """The same for people."""
    told = plan_json(order, where)
    shape = order.problem.shape
    scales = (
        f"blocks of {shape.block[0]}x{shape.block[1]}"
        if shape.block
        else "channels"
        if shape.per_channel
        else "one a tensor, or none"
    )
    up, down = (told["candidates"][gemm] for gemm in GEMMS)
    rows = [
        ("where", where),
        ("model", f"{told['source'] or 'not named'}"),
        ("shape", f"E={shape.experts} N={shape.intermediate} K={shape.hidden} top-k {shape.top_k} {shape.dtype}"),
        ("scales", scales),
        ("table for", f"{order.problem.gpu.name}, SGLang {order.target.sglang}, Triton {order.target.triton}"),
        ("routing", told["routing"] + (", experts shared out" if order.problem.filter_expert else "")),
        ("up table", told["files"]["up"]),
        ("down table", told["files"]["down"]),
        ("batch sizes", f"{len(order.sizes)}: {' '.join(map(str, order.sizes))}"),
        ("candidates", f"up {up}, down {down} of {told['of']} fit; {len(GROUPS)} tile orders for the best of them"),
        ("trials", f"about {told['trials']:,}"),
        ("journal", told["journal"]),
    ]
    if emulation := order.problem.emulation:
        limit = f"{emulation.shared_memory:,} bytes a block"
        rows.insert(5, ("lowering", f"{emulation.lowering} under {limit}, whichever GPU measures"))
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def routing(order: Order) -> str:
    """How tokens go to experts."""
    problem = order.problem
    if problem.recorded:
        return f"as recorded in {problem.recorded}"
    return f"skewed ({problem.skew:g})" if problem.skew else "uniform"
