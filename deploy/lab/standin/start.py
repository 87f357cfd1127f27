"""A rank's start as data: which lines come in which order, what share of the time they take, where the ranks wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

SHARDS = 92
MODEL = "Glm4MoeForCausalLM"
# Made-up sizes in GB: a GB10's memory, and GLM-4.7-FP8's share of it.
FREE, WEIGHTS, DRAFT, CACHE, GRAPHS = 115.40, 82.31, 1.24, 15.62, 1.87
SECTIONS = {
    "0.5.4": ("load", "pool", "graphs", "draft-init", "draft-load", "draft-pool", "draft-graphs"),
    "0.5.14": ("load", "draft-init", "draft-load", "pool", "draft-pool", "graphs", "draft-graphs"),
}


@dataclass(frozen=True)
class Step:
    """Lines said, then the phase reached (where faults strike), then a wait for all ranks, then work."""

    lines: tuple[str, ...] = ()
    phase: str = ""
    wait: str = ""
    share: float = 0
    plain: bool = False


@dataclass(frozen=True)
class Plan:
    """What decides a rank's script: whose order it follows, and what it has to load and to capture."""

    engine: str
    head: bool
    eagle: bool
    shards: bool
    batches: Sequence[int]
    tables: Sequence[str]


def order(version: str) -> str:
    """The known order nearest to a version: the draft model is loaded before the graphs from 0.5.5 on."""
    return "0.5.4" if version.startswith("0.5.4") or version == "unknown" else "0.5.14"


def script(plan: Plan) -> list[Step]:
    """Everything between joining the other ranks and being ready."""
    names = [name for name in SECTIONS[plan.engine] if plan.eagle or not name.startswith("draft")]
    steps = [Step((f"Init torch distributed ends. mem usage={0.32:.2f} GB",))]
    for name in names:
        steps += section(name, plan)
    tokens = f"max_total_num_tokens={337_408}, chunked_prefill_size={8192}, max_prefill_tokens={16384}, "
    tokens += f"max_running_requests={max(plan.batches)}, available_gpu_mem={FREE - WEIGHTS - CACHE:.2f} GB"
    return [*steps, Step((tokens,) if plan.head else (), wait="start-ends")]


def section(name: str, plan: Plan) -> list[Step]:
    """The steps of one section of a start."""
    if name.endswith("load"):
        return load(plan, name)
    if name.endswith("init"):
        return [Step(("Init torch distributed begin.", "Init torch distributed ends. mem usage=0.00 GB"))]
    if name.endswith("pool"):
        size = CACHE / 2 if name == "pool" else CACHE / 200
        lines = (
            f"KV Cache is allocated. #tokens: {337_408}, K size: {size:.2f} GB, V size: {size:.2f} GB",
            f"Memory pool end. avail mem={FREE - WEIGHTS - CACHE:.2f} GB",
        )
        return [Step(lines)]
    return graphs(plan) if name == "graphs" else draft_graphs(plan)


def load(plan: Plan, name: str) -> list[Step]:
    """Weights of the model or of the draft; progress lines come from rank 0 alone."""
    draft = name.startswith("draft")
    model, size, share = (f"{MODEL}NextN", DRAFT, 0.1) if draft else (MODEL, WEIGHTS, 0.6)
    begin = Step((f"Load weight begin. avail mem={FREE:.2f} GB",), phase="load")
    parts = 4 if draft else 12
    work = [Step(progress(plan, part, parts), share=share / parts, plain=True) for part in range(parts + 1)]
    end = (
        f"Load weight end. type={model}, dtype=torch.bfloat16, avail mem={FREE - size:.2f} GB, mem usage={size:.2f} GB."
    )
    return [begin, *work, Step((end,), wait=f"{name}-ends")]


def progress(plan: Plan, part: int, parts: int) -> tuple[str, ...]:
    """One line of the progress bar, on the rank that has one."""
    done = SHARDS * part // parts
    text = f"Loading safetensors checkpoint shards: {100 * done // SHARDS:3d}% Completed | {done}/{SHARDS} "
    return (
        (text + f"[00:{part:02d}<00:{parts - part:02d}, {SHARDS / parts:.2f}it/s]",)
        if plan.head and plan.shards
        else ()
    )


def graphs(plan: Plan) -> list[Step]:
    """The capture of the model's graphs, in which the kernel tables are first looked for."""
    kind = "" if plan.engine == "0.5.4" else "target verify " if plan.eagle else "decode "
    begin, *rest = capture(plan, kind.strip(), 0.2)
    sizes = (f"Capture cuda graph bs {list(plan.batches)}",) if plan.head and plan.engine == "0.5.4" else ()
    return [begin, Step((*sizes, *plan.tables)), *rest]


def draft_graphs(plan: Plan) -> list[Step]:
    """The captures of the draft; from 0.5.5 on rank 0 alone speaks of them."""
    steps = [*capture(plan, "draft", 0.05), *capture(plan, "draft extend", 0.05)]
    silent = plan.engine != "0.5.4" and not plan.head
    return [replace(step, lines=()) for step in steps] if silent else steps


def capture(plan: Plan, kind: str, share: float) -> list[Step]:
    """Begin and end of one capture."""
    if plan.engine == "0.5.4":
        name = f"{kind} cuda graph" if kind else "cuda graph"
    else:
        name = f"{'draft decode' if kind == 'draft' else kind} CUDA graph"
    what = (
        "This can take up to several minutes. "
        if plan.engine == "0.5.4"
        else f"backend=full, bs={list(plan.batches)}, "
    )
    begin = f"Capture {name} begin. {what}avail mem={FREE - WEIGHTS - CACHE:.2f} GB"
    end = (
        f"Capture {name} end. Time elapsed: {1.0:.2f} s. mem usage={GRAPHS:.2f} GB. avail mem={FREE - WEIGHTS:.2f} GB."
    )
    return [Step((begin,), phase="graphs", share=share), Step((end,), wait=f"{kind or 'decode'}-captured")]


def batch_sizes(eagle: bool, largest: int, running: int) -> list[int]:
    """The batch sizes that SGLang captures, up to the largest allowed and the most that run at once."""
    if eagle:
        sizes = [*range(1, 9), *range(10, 33, 2), *range(40, 65, 4), *range(72, 257, 8), *range(272, largest + 1, 16)]
    else:
        sizes = [1, 2, 4, 8, 12, *range(16, 257, 8), *range(272, 512, 16), *range(512, largest + 1, 32)]
    return sorted(
        {size for size in sizes if size <= min(largest, running)} | ({running} if running < largest else set())
    )
