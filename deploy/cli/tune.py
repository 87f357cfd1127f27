"""`tune`: options in, tables out; and two tables side by side. Takes the options of both of SGLang's tuning tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deploy.cli.measuring import Gathering, measuring, order_of, site_of, where

if TYPE_CHECKING:
    from deploy.workflow.tuning.outcome import Outcome


@click.group(cls=Gathering, invoke_without_command=True)
@measuring
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
@click.option("--from-journal", is_flag=True, help="Measure nothing: write the tables that the journal makes.")
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
    place = where(given)
    order = order_of(given)
    if dry:
        click.echo(json.dumps(plan_json(order, place), indent=2) if as_json else plan_text(order, place))
        return
    if plot:
        from deploy.kernels.picture import plotting

        plotting(plot)  # before hours have passed
    with view(quiet=quiet) as shown:
        outcome = result(tuned(order, site_of(given, order)), shown)
    click.echo(json.dumps(outcome.as_json(), indent=2) if as_json else outcome.as_text())
    _picture(outcome, plot)
    if outcome.results.failed:
        size, why = next(iter(outcome.results.failed.items()))
        raise TuneError(
            f"{len(outcome.results.failed)} batch sizes have no result; {size} tokens: {why}", f"see {order.journal}"
        )


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
    if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ctx.params):
        raise click.UsageError(f"options go after `{ctx.invoked_subcommand}`")


@tune.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@measuring
def compare(a: str, b: str, as_json: bool, quiet: bool, **given: Any) -> None:
    """Measure two tables side by side, in turns, at each batch size.

    A and B are up tables, each with its `_down` table beside it, or the word `default` for what SGLang takes without
    one. Without --batch-size: the batch sizes of both tables.
    """
    from dataclasses import replace

    from deploy.cli.output import result, view
    from deploy.errors import TuneError
    from deploy.workflow.tuning.compare import compared, sides
    from deploy.workflow.tuning.outcome import compared_json, compared_text

    where(given)
    order = order_of(given)
    both = sides((a, b), order)
    chosen = order.sizes if given["batch_size"] else both.sizes
    with view(quiet=quiet) as shown:
        found = result(compared(replace(order, sizes=chosen), both, site_of(given, order), given["journal"]), shown)
    if as_json:
        click.echo(json.dumps({"a": a, "b": b, "sizes": [compared_json(one) for one in found.values()]}, indent=2))
    else:
        click.echo(compared_text((a, b), found))
    if missing := [str(size) for size in chosen if size not in found]:
        raise TuneError(f"{', '.join(missing)} tokens were not compared", "why is told above")
