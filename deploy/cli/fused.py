"""`bench kernels`: options in, a comparison of implementations out. Takes the options of SGLang's two tools for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from deploy.cli import options
from deploy.cli.measuring import joined
from deploy.cli.setting import described

SAVE_PATH = "configs/benchmark_ops/vllm_sglang_fused_moe"


class Joining(click.Command):
    """Takes the numbers after --batch-size as one list, as SGLang's tools do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, joined(args))


@click.command(cls=Joining)
@click.option("--model", metavar="NAME", help="Hub name (looked up on this machine), a folder or a config.json.")
@click.option("--tp", "--tp-size", type=click.IntRange(1), help="Tensor-parallel size.")
@click.option(
    "--ep", "--ep-size", type=click.IntRange(1), help="Expert-parallel size; whole experts, so without --tp-size."
)
@click.option("--dtype", help="bf16, fp16, fp8_w8a8, int8_w8a8, int8_w8a16, or auto: the model's own, the default.")
@click.option("--use-fp8-w8a8", is_flag=True, help="SGLang's word for --dtype fp8_w8a8.")
@click.option("--per-channel", "--per-channel-quant", is_flag=True, default=None, help="A scale a channel.")
@click.option("--block", metavar="N,K", help="The block that shares a scale.")
@click.option("--experts", type=click.IntRange(1), help="By hand: experts of a rank (E).")
@click.option("--intermediate", type=click.IntRange(1), help="By hand: their size on a rank (N).")
@click.option("--hidden", type=click.IntRange(1), help="By hand: the model's hidden size (K).")
@click.option("--top-k", type=click.IntRange(1), help="By hand: experts of a token.")
@click.option("--batch-size", metavar="N...", multiple=True, help="Tokens.  [default: 8, 16, ... 8192]")
@click.option(
    "--implementations",
    metavar="NAME,...",
    default="",
    help="sglang, vllm, triton_kernels, torch_compile.  [default: all]",
)
@click.option("--save-path", type=click.Path(file_okay=False, path_type=Path), default=SAVE_PATH, show_default=True)
@click.option("--sglang", metavar="VERSION", help="The SGLang whose layer is run.  [default: cluster.yaml's]")
@click.option("--disable-shared-experts-fusion", "unfused", is_flag=True, help="As the server is started with it.")
@click.option(
    "--routing-skew",
    type=click.FloatRange(0),
    default=0.0,
    metavar="S",
    help="The r-th expert is as likely as 1 / r^S.",
)
@click.option(
    "--topk-ids-dir", metavar="DIR", default="", help="Expert ids that were recorded, topk_ids_layer{L}_idx{I}.pt."
)
@click.option("--local", is_flag=True, help="What this always does: this machine's own GPU.")
@click.option("--use-cuda-graph", is_flag=True, help="SGLang's word for what this always does; changes nothing.")
@options.as_json
@options.quiet
def kernels(**given: Any) -> None:
    """Compare SGLang's fused MoE with vLLM's, triton_kernels and torch.compile on this machine's GPU.

    Each is held against float32 first, then all are timed in turns. Without --model: cluster.yaml's. Exit code 7 where
    one was wrong or failed; the others' results are written.
    """
    from deploy.cli.output import result, view
    from deploy.tune.fused.report import as_json, as_text
    from deploy.workflow.fused import judge, measured

    order = _order(given)
    with view(quiet=given["quiet"] or given["as_json"]) as shown:
        results = result(measured(order), shown)
    click.echo(json.dumps(as_json(results), indent=2) if given["as_json"] else as_text(results))
    judge(results)


def _order(given: dict[str, Any]) -> Any:
    """What is to be measured. Raises ConfigError."""
    from deploy.errors import ConfigError
    from deploy.kernels.setting import resolve
    from deploy.workflow.fused import order
    from deploy.workflow.tuning.order import batch_sizes, split_as_sglang

    sizes = [size for text in given["batch_size"] for size in batch_sizes(text)]
    if given["use_fp8_w8a8"] and given["dtype"] not in (None, "auto", "fp8_w8a8"):
        raise ConfigError(f"--use-fp8-w8a8 and --dtype {given['dtype']} are two answers to one question", "give one")
    if given["routing_skew"] and given["topk_ids_dir"]:
        raise ConfigError("--routing-skew and --topk-ids-dir are two answers to one question", "give one of them")
    dtype = "fp8_w8a8" if given["use_fp8_w8a8"] else given["dtype"]
    cluster, flags = described(None)
    flags = {**flags, **({"disable-shared-experts-fusion": True} if given["unfused"] else {})}
    asked = {**given, "dtype": dtype, "tp": split_as_sglang(given["ep"], given["tp"]), "gpu": "GB10", "triton": None}
    names = [name for name in given["implementations"].replace("-", "_").split(",") if name]
    recorded = str(Path(given["topk_ids_dir"]).absolute()) if given["topk_ids_dir"] else ""
    setting = resolve(asked, cluster, flags)
    return order(setting, names, sizes, Path(given["save_path"]), skew=given["routing_skew"], recorded=recorded)
