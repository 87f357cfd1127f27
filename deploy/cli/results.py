"""`bench compare` and `bench report`: what is made of results that lie in files."""

from __future__ import annotations

import json
from pathlib import Path

import click

PLACE = click.Path(exists=True, path_type=Path)


@click.command()
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


@click.command()
@click.argument("place", metavar="DIR", type=PLACE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The page.  [default: DIR/report.html]",
)
@click.option(
    "--markdown",
    "words",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write Markdown as well.",
)
@click.option("--title", default="Benchmark results", show_default=True)
@click.option("--no-published", is_flag=True, help="Leave out what others published.")
def report(place: Path, output: Path | None, words: Path | None, title: str, no_published: bool) -> None:
    """Make one self-contained page of all results in DIR.

    The page needs neither network nor script. It takes the extra `plots`.
    """
    from datetime import UTC, datetime

    from deploy.bench.gather import gathered, keep
    from deploy.bench.markdown import markdown
    from deploy.bench.report import Heading, numbered, page
    from deploy.bench.seeds import published

    found = gathered(place)
    runs, references = numbered(found.runs), () if no_published else published()
    heading = Heading(title, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), found.refused)
    files = {output or (place if place.is_dir() else place.parent) / "report.html": page(runs, references, heading)}
    if words:
        files[words] = markdown(runs, references, heading)
    for file, text in files.items():
        keep(file, text)
        click.echo(file)
