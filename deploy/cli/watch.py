"""`watch`: supervision as a service of this machine. Options in, events out."""

from __future__ import annotations

import os

import click

from deploy.cli import options
from deploy.cli.output import follow, view


@click.group()
def watch() -> None:
    """Watch running ranks: take all down when one goes, keep why, and restart within the bounds of `watch:`."""


@watch.command()
@options.nodes
@options.as_json
@options.quiet
def run(path: str, as_json: bool, quiet: bool) -> None:
    """What the service runs: watch what runs now and whatever `up` starts later, until it is told to stop."""
    from deploy.cluster.load import load
    from deploy.workflow.watch.supervise import Asked, watch

    asked = Asked(lambda: load(path), os.environ, options.holder("watch run"), service=True)
    with view(quiet=quiet, as_json=as_json) as shown:
        follow(watch(asked), shown)
