"""The options that say what kernel tables are for, shared by the commands of `kernels`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from deploy.cluster.spec import Cluster
    from deploy.kernels.setting import Setting


def setting(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; cluster.yaml says what they leave out."""
    said = "Take versions, model and flags from it.  [default: cluster.yaml, where it is]"
    return click.option("--nodes", metavar="FILE", help=said)(served(command))


def served(command: Callable[..., None]) -> Callable[..., None]:
    """Adds those that say what is served, and on what."""
    for option in reversed(
        (
            click.option("--gpu", default="GB10", show_default=True, help="GB10, 'RTX 5090', H100, ..."),
            click.option("--sglang", metavar="VERSION", help="SGLang in the image."),
            click.option("--triton", metavar="VERSION", help="Triton in the image."),
            click.option(
                "--model", metavar="NAME", help="Hub name (looked up on this machine), a folder or a config.json."
            ),
            click.option("--tp", "--tp-size", type=click.IntRange(1), help="Tensor-parallel size."),
            click.option("--ep", "--ep-size", type=click.IntRange(1), help="Expert-parallel size."),
            click.option("--experts", type=click.IntRange(1), help="By hand: experts of a rank (E)."),
            click.option("--intermediate", type=click.IntRange(1), help="By hand: their size on a rank (N)."),
            click.option("--hidden", type=click.IntRange(1), help="By hand: the model's hidden size (K)."),
            click.option("--top-k", type=click.IntRange(1), help="By hand: experts of a token."),
            click.option(
                "--dtype",
                help="fp8_w8a8, int8_w8a8, int8_w8a16, bf16, fp16, ... or auto: the model's own, the default.",
            ),
            click.option("--block", metavar="N,K", help="The block that shares a scale."),
            click.option("--per-channel", "--per-channel-quant", is_flag=True, default=None, help="A scale a channel."),
        )
    ):
        command = option(command)
    return command


def resolved(given: dict[str, Any]) -> Setting:
    """What the options say, with cluster.yaml where it is. Raises ConfigError."""
    from deploy.kernels.setting import resolve

    return resolve(given, *described(given.pop("nodes")))


def described(path: str | None) -> tuple[Cluster | None, dict[str, Any]]:
    """The cluster of a file, or of cluster.yaml where it is, and its launch flags. Raises ConfigError."""
    from deploy.launch.sglang import server_flags

    path = path or ("cluster.yaml" if Path("cluster.yaml").is_file() else None)
    if path is None:
        return None, {}
    from deploy.cluster.load import load

    cluster = load(path).cluster
    return cluster, dict(server_flags(cluster))
