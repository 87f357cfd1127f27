"""`watch`: supervision as a service of this machine. Options in, events out."""

from __future__ import annotations

import os
from pathlib import Path

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


_root = click.option(
    "--root",
    default="/",
    metavar="DIR",
    help="Work on the system below DIR, an image's say; nothing is started.",
    type=click.Path(path_type=Path),
)


@watch.command()
@options.nodes
@_root
def install(path: str, root: Path) -> None:
    """Make the watch a service of this machine that survives a reboot. Safe to repeat, as after a new secret.

    Root gets a unit of the system, other users one of their own. The values of `secrets` and `api_key` come from this
    shell and go into a file of mode 0600. Exit code 10 where systemd refuses.
    """
    from deploy.cluster.load import load
    from deploy.workflow.service import install

    with view() as shown:
        follow(install(load(path), Path(path), os.environ, root.absolute()), shown)


@watch.command()
@options.nodes
@_root
def remove(path: str, root: Path) -> None:
    """Stop the service and remove it. The ranks and the incidents stay. Safe to repeat."""
    from deploy.cluster.load import load
    from deploy.workflow.service import remove

    with view() as shown:
        follow(remove(load(path).cluster.name, root.absolute()), shown)


@watch.command()
@options.nodes
@_root
@options.as_json
def status(path: str, root: Path, as_json: bool) -> None:
    """Show the service and the last incidents on this machine. Exit code 1 unless it is active."""
    from deploy.cluster.load import load
    from deploy.launch.watch.overview import as_json as overview_json
    from deploy.launch.watch.overview import as_text
    from deploy.workflow.service import status

    seen = status(load(path).cluster.name, root.absolute())
    click.echo(overview_json(seen) if as_json else as_text(seen))
    raise SystemExit(0 if seen.active == "active" else 1)
