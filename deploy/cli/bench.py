"""`bench`: results against results, and a report of them."""

from __future__ import annotations

import json
from pathlib import Path

import click

PLACE = click.Path(exists=True, path_type=Path)


@click.group()
def bench() -> None:
    """Measure a server, compare results and make a report of them."""


@bench.command()
@click.argument("a", metavar="A", type=PLACE)
@click.argument("b", metavar="B", type=PLACE)
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=False),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="The least difference that is told.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(a: Path, b: Path, threshold: float, seed: int, as_json: bool) -> None:
    """Compare the results B with the results A, figure by figure.

    A and B are result files, or folders of them. Exit code 11 where something is worse in B, or fails in B alone.
    """
    from deploy.bench.compare import Rule, Side, compare
    from deploy.bench.gather import gathered
    from deploy.bench.verdicts import as_dict, as_text
    from deploy.errors import RegressionError

    sides = [Side(str(place), tuple(gathered(place).runs.values())) for place in (a, b)]
    found = compare(sides[0], sides[1], Rule(threshold / 100, seed))
    click.echo(json.dumps(as_dict(found), indent=2) if as_json else as_text(found))
    if found.regressed:
        raise RegressionError(f"worse in {b}: {'; '.join(found.regressed[:3])}", "see the lines that begin with !")
