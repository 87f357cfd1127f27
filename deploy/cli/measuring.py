"""What `tune` and `tune compare` share: options of where and what is measured, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli import options
from deploy.cli.setting import described, served

if TYPE_CHECKING:
    from deploy.workflow.tuning.order import Order
    from deploy.workflow.tuning.site import Site

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("--batch-size", "--configs")
"""Options that take several numbers, as SGLang's tools do."""


class Gathering(click.Group):
    """Takes the numbers after an option of LISTS as one list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, joined(args))


def joined(words: list[str]) -> list[str]:
    """The numbers after an option of LISTS as one word."""
    made: list[str] = []
    gathering = False
    for word in words:
        if gathering and word.isdecimal() and made[-1] not in LISTS:
            made[-1] += f",{word}"
            continue
        gathering = word in LISTS or (gathering and bool(made) and made[-1] in LISTS and word.isdecimal())
        made.append(word)
    return made


WHERE = (
    click.option("--nodes", metavar="FILE", help="Measure on the nodes of this cluster.yaml, with Ray."),
    click.option(
        "--local", is_flag=True, help="Measure on this machine's GPU; cluster.yaml, where it is, says the rest."
    ),
)
WHAT = (
    click.option("--disable-shared-experts-fusion", "unfused", is_flag=True, help="As the server is started with it."),
    click.option(
        "--batch-size",
        metavar="N...",
        multiple=True,
        help="Tokens.  [default: SGLang's list, and what the server's settings make]",
    ),
    click.option(
        "--routing-skew",
        type=click.FloatRange(0),
        default=0.0,
        metavar="S",
        help="The r-th expert is as likely as 1 / r^S; 0 is uniform.",
    ),
    click.option(
        "--topk-ids-dir",
        metavar="DIR",
        default="",
        help="Expert ids that were recorded, topk_ids_layer{L}_idx{I}.pt, on every machine that measures.",
    ),
    click.option("--emulate", is_flag=True, help="Have another GPU compile the code of --gpu under its limit."),
    click.option(
        "--journal",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Every measurement, to go on with.  [default: one a problem in .tune/]",
    ),
    options.as_json,
    options.quiet,
)


def measuring(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options."""
    for option in reversed((*WHERE, served, *WHAT)):
        command = option(command)
    return command


def where(given: dict[str, Any]) -> str:
    """In words. Raises ConfigError where it is not said, or twice."""
    from deploy.errors import ConfigError

    words = {"nodes": "--nodes", "local": "--local", "from_journal": "--from-journal"}
    found = [word for name, word in words.items() if given.get(name)]
    if len(found) != 1:
        what = f"{' and '.join(found)} are given" if found else "neither is given"
        hint = "--nodes cluster.yaml for the cluster's GPUs, or --local for this machine's own"
        hint += "; --from-journal measures nothing, and stands alone" if given.get("from_journal") else ""
        raise ConfigError(f"one of --nodes and --local says where to measure, and {what}", hint)
    said = {"--local": "this machine's GPU", "--nodes": f"the nodes of {given['nodes']}"}
    return said.get(found[0], "nowhere: from the journal alone")


def order_of(given: dict[str, Any]) -> Order:
    """What is to be measured. Raises ConfigError."""
    from deploy.cli.kernels import patched
    from deploy.kernels.setting import resolve
    from deploy.workflow.tuning.order import Asked, batch_sizes, order, split_as_sglang

    sizes = tuple(size for text in given["batch_size"] for size in batch_sizes(text))
    tp = split_as_sglang(given["ep"], given["tp"])
    cluster, flags = described(given["nodes"])
    flags = {**flags, **({"disable-shared-experts-fusion": True} if given["unfused"] else {})}
    setting = resolve({**given, "tp": tp}, cluster, flags)
    setting = replace(setting, target=replace(setting.target, fitted_default=patched()))
    asked = Asked(
        sizes,
        given["routing_skew"],
        _folder(given),
        given["emulate"],
        given.get("configs") or "",
        given.get("into") or _shipped(),
        given["journal"],
    )
    return order(setting, asked, flags)


def _folder(given: dict[str, Any]) -> str:
    """Of recorded expert ids; on other machines it has to be named whole."""
    named: str = given["topk_ids_dir"]
    return str(Path(named).absolute()) if named and given["local"] else named


def _shipped() -> Path:
    """The project's tables, as short as it can be said."""
    return Path("configs") if Path.cwd() == ROOT else ROOT / "configs"


def site_of(given: dict[str, Any], order: Order) -> Site:
    """The place that measures; it is not asked yet."""
    if given.get("from_journal"):
        from deploy.workflow.tuning.kept import Kept

        return Kept(order.problem, order.journal)
    if given["local"]:
        from deploy.workflow.tuning.here import Here

        return Here(order.problem, order.target.sglang)
    from deploy.cluster.load import load
    from deploy.workflow.tuning.nodes import Nodes

    return Nodes(load(given["nodes"]), order.problem, options.holder("tune"))
