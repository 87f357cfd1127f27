"""`lab`: four local nodes on which everything else runs. Options in, events out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deploy.cli import options
from deploy.cli.output import follow, view

_folder = click.option(
    "--dir",
    "folder",
    default=".lab",
    show_default=True,
    metavar="DIR",
    help="The lab's folder.",
    type=click.Path(path_type=Path),
)


@click.group()
def lab() -> None:
    """Local nodes for those without DGX Sparks: each with its own sshd and Docker Engine, and a registry."""


@lab.command()
@click.option("--nodes", default=4, show_default=True, help="How many, 1 to 16.")
@click.option("--subnet", default="172.31.250.0/24", show_default=True, help="The private network they are on.")
@_folder
def up(nodes: int, subnet: str, folder: Path) -> None:
    """Start the nodes and the registry, and write a cluster.yaml for them.

    What a shell needs for pushing to the registry is printed on stdout: eval "$(… lab up)".
    """
    from deploy.lab.host import Host
    from deploy.lab.layout import lay_out
    from deploy.lab.operation import up

    layout = lay_out(folder, subnet, nodes)
    with view() as shown:
        follow(up(Host(), layout), shown)
    click.echo(f"export DOCKER_CONFIG={layout.docker_config}")
    click.echo(f"next: python build-and-deploy.py build --nodes {folder / 'cluster.yaml'}", err=True)


@lab.command()
@_folder
@click.option("--all", "caches", is_flag=True, help="Also remove the registry's contents and the lab's images.")
def down(folder: Path, caches: bool) -> None:
    """Remove the lab. Safe to repeat; images and the registry's contents are kept as a cache."""
    from deploy.lab.demolition import demolish
    from deploy.lab.host import Host

    there = demolish(Host(), folder, caches=caches)
    click.echo("the lab is gone" if there else f"no lab in {folder}", err=True)


@lab.command()
@_folder
@options.as_json
def status(folder: Path, as_json: bool) -> None:
    """Show the lab's containers. Exit code 1 where there is no lab."""
    from deploy.lab.host import Host
    from deploy.lab.operation import find

    found = find(Host(), folder)
    if as_json:
        shown = [{"host": one.hostname, "role": one.role, "address": one.address, "state": one.state} for one in found]
        click.echo(json.dumps({"lab": str(folder), "containers": shown}, indent=2))
    for one in () if as_json else found:
        click.echo(f"{one.hostname:<10}{one.address:<17}{one.state}")
    if not found:
        click.echo(f"no lab in {folder}", err=True)
        raise SystemExit(1)


@lab.command()
@click.argument("kind", metavar="KIND")
@click.argument("node", type=int)
@click.option("--rate", default="10mbit", show_default=True, help="For slow: as tc writes rates.")
@_folder
def fault(kind: str, node: int, rate: str, folder: Path) -> None:
    """Make a node fail, or recover.

    KIND is pause, unpause, cut, heal, slow, fast, poweroff, poweron, engine-stop or engine-start.
    """
    from deploy.lab.faults import KINDS, cause
    from deploy.lab.host import Host

    cause(Host(), folder, kind, node, rate)
    click.echo(f"node {node}: {KINDS[kind]}", err=True)
