"""`doctor`: options in, a report out."""

from __future__ import annotations

import click

from deploy.cli import options
from deploy.cli.output import result, view
from deploy.errors import RemoteError


@click.command()
@options.nodes
@click.option("--bandwidth", is_flag=True, help="Also time an all-gather over the fabric, in the image on every node.")
@options.as_json
def doctor(path: str, bandwidth: bool, as_json: bool) -> None:
    """Check what a launch needs, on every node at once; change nothing.

    Exit code 0 where no check failed: warnings do not count. 2 configuration, 4 a node failed a check.
    """
    from deploy.cluster.load import load
    from deploy.launch.doctor import report
    from deploy.workflow.doctor import doctor as examine

    with view(quiet=as_json) as shown:
        found = result(examine(load(path), options.holder("doctor"), bandwidth=bandwidth), shown)
    click.echo(report.as_json(found) if as_json else report.text(found))
    raise SystemExit(0 if found.passed else RemoteError.exit_code)
