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
@click.option(
    "--disk", default="", metavar="SIZE", help="A disk of its own for each engine, such as 2G: `fill` needs it."
)
@_folder
def up(nodes: int, subnet: str, disk: str, folder: Path) -> None:
    """Start the nodes and the registry, and write a cluster.yaml for them.

    What a shell needs for pushing to the registry is printed on stdout: eval "$(… lab up)".
    """
    from deploy.lab.host import Host
    from deploy.lab.layout import lay_out
    from deploy.lab.operation import up

    layout = lay_out(folder, subnet, nodes, disk)
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
@click.argument("node", type=int, required=False)
@click.option("--rate", default="10mbit", show_default=True, help="For slow and registry-slow: as tc writes rates.")
@click.option("--loss", default=20.0, show_default=True, help="For lossy: percent of the packets.")
@_folder
def fault(kind: str, node: int | None, rate: str, loss: float, folder: Path) -> None:
    """Make a node or the registry fail, or recover.

    KIND and its end: pause unpause, cut heal, cut-in heal, cut-out heal, slow fast, lossy lossless, poweroff poweron,
    engine-stop engine-start, engine-kill engine-start, fill free, clock-back clock-right, ssh-cut; and without NODE:
    registry-stop registry-start, registry-slow registry-fast.
    """
    from deploy.lab.faults import KINDS, Strength, cause, of_registry
    from deploy.lab.host import Host

    if (node is None) != of_registry(kind):
        raise click.UsageError(
            f"{kind} is done to " + ("the registry: no NODE" if of_registry(kind) else "a node: NODE")
        )
    cause(Host(), folder, kind, -1 if node is None else node, Strength(rate, loss))
    click.echo(f"{'registry' if node is None else f'node {node}'}: {KINDS[kind]}", err=True)
