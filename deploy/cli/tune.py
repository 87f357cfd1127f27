"""`tune`: options in, tables out; and two tables side by side. Takes the options of both of SGLang's tuning tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli import options
from deploy.cli.setting import described, served

if TYPE_CHECKING:
    from deploy.workflow.tuning.order import Order
    from deploy.workflow.tuning.outcome import Outcome
    from deploy.workflow.tuning.site import Site

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("--batch-size", "--configs")
"""Options that take several numbers, as SGLang's tools do."""


class Tune(click.Group):
    """A command of its own, beside those below it."""

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


def _measuring(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what `tune` and `tune compare` share: where and what is measured."""
    here = click.Path(dir_okay=False, path_type=Path)
    for option in reversed(
        (
            click.option("--nodes", metavar="FILE", help="Measure on the nodes of this cluster.yaml, with Ray."),
            click.option(
                "--local", is_flag=True, help="Measure on this machine's GPU; cluster.yaml, where it is, says the rest."
            ),
            served,
            click.option(
                "--disable-shared-experts-fusion", "unfused", is_flag=True, help="As the server is started with it."
            ),
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
                type=here,
                metavar="FILE",
                help="Every measurement, to go on with.  [default: one a problem in .tune/]",
            ),
            options.as_json,
            options.quiet,
        )
    ):
        command = option(command)
    return command


@click.group(cls=Tune, invoke_without_command=True)
@_measuring
@click.option(
    "--configs",
    metavar="FILE|M N K G W S",
    default="",
    help="Try these alone: a JSON list of entries, a table, or six numbers.",
)
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Write tables there.  [default: configs/]"
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The picture, .svg or .png.  [default: beside the journal]",
)
@click.option("-n", "--dry-run", "dry", is_flag=True, help="Print the plan; contact nobody.")
@click.option("--tune", "wanted", is_flag=True, help="SGLang's word for what this always does; changes nothing.")
@click.option(
    "--seed", type=int, help="Taken for SGLang's sake; the data are the same in every run, and this changes nothing."
)
def tune(**given: Any) -> None:
    """Make kernel tables for a model by measuring, on one GPU or many.

    Give --local or --nodes. Goes on where it was interrupted when it is run again. Exit code 7 where a batch size has
    no result; the others are written.
    """
    ctx = click.get_current_context()
    if ctx.invoked_subcommand:
        _refuse_options_before(ctx)
        return
    from deploy.cli.output import result, view
    from deploy.errors import TuneError
    from deploy.workflow.tuning.plan import plan_json, plan_text
    from deploy.workflow.tuning.run import tune as tuned

    as_json, quiet, dry, plot = (given.pop(name) for name in ("as_json", "quiet", "dry", "plot"))
    where = _where(given)
    order = _order(given)
    if dry:
        click.echo(json.dumps(plan_json(order, where), indent=2) if as_json else plan_text(order, where))
        return
    with view(quiet=quiet) as shown:
        outcome = result(tuned(order, _site(given, order)), shown)
    click.echo(json.dumps(outcome.as_json(), indent=2) if as_json else outcome.as_text())
    _picture(outcome, plot)
    if outcome.results.failed:
        size, why = next(iter(outcome.results.failed.items()))
        raise TuneError(
            f"{len(outcome.results.failed)} batch sizes have no result; {size} tokens: {why}", f"see {order.journal}"
        )


def _where(given: dict[str, Any]) -> str:
    from deploy.errors import ConfigError

    if bool(given["nodes"]) == given["local"]:
        found = "both are given" if given["local"] else "neither is given"
        hint = "--nodes cluster.yaml for the cluster's GPUs, or --local for this machine's own"
        raise ConfigError(f"one of --nodes and --local says where to measure, and {found}", hint)
    return "this machine's GPU" if given["local"] else f"the nodes of {given['nodes']}"


def _order(given: dict[str, Any]) -> Order:
    from dataclasses import replace

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
        given["topk_ids_dir"],
        given["emulate"],
        given.get("configs") or "",
        given.get("into") or _shipped(),
        given["journal"],
    )
    return order(setting, asked, flags)


def _shipped() -> Path:
    """The project's tables, as short as it can be said."""
    return Path("configs") if Path.cwd() == ROOT else ROOT / "configs"


def _site(given: dict[str, Any], order: Order) -> Site:
    if given["local"]:
        from deploy.workflow.tuning.here import Here

        return Here(order.problem, order.target.sglang)
    from deploy.cluster.load import load
    from deploy.workflow.tuning.nodes import Nodes

    return Nodes(load(given["nodes"]), order.problem)


def _picture(outcome: Outcome, plot: Path | None) -> None:
    """Where it was not asked for, it is done without matplotlib."""
    from deploy.errors import KernelError
    from deploy.tune.picture import draw

    if not outcome.results.found:
        return
    file = plot or outcome.order.journal.with_suffix(".svg")
    try:
        draw(outcome.lines, outcome.title, file)
    except KernelError as error:
        if plot:
            raise
        click.echo(f"no picture: {error.message}; {error.hint}", err=True)
        return
    click.echo(f"wrote {file}", err=True)


def _refuse_options_before(ctx: click.Context) -> None:
    """They would be taken and not heard."""
    given = [name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        raise click.UsageError(f"options go after `{ctx.invoked_subcommand}`")


@tune.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@_measuring
def compare(a: str, b: str, as_json: bool, quiet: bool, **given: Any) -> None:
    """Measure two tables side by side, in turns, at each batch size.

    A and B are up tables, each with its `_down` table beside it, or the word `default` for what SGLang takes without
    one. Without --batch-size: the batch sizes of both tables.
    """
    from dataclasses import replace

    from deploy.cli.output import result, view
    from deploy.workflow.tuning.compare import compared, sides
    from deploy.workflow.tuning.outcome import compared_json, compared_text

    _where(given)
    order = _order(given)
    both = sides((a, b), order)
    chosen = order.sizes if given["batch_size"] else both.sizes
    with view(quiet=quiet) as shown:
        found = result(compared(replace(order, sizes=chosen), both, _site(given, order), given["journal"]), shown)
    if as_json:
        click.echo(json.dumps({"a": a, "b": b, "sizes": [compared_json(one) for one in found.values()]}, indent=2))
    else:
        click.echo(compared_text((a, b), found))
