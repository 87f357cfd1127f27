"""`model`: the weights on the nodes. Options in, events out; results on stdout."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from deploy.cli import options

if TYPE_CHECKING:
    from deploy.cluster.load import Document
    from deploy.workflow.weights.asked import Asking

token = click.option("--token", metavar="NAME", default="", help="The variable of your shell that has the hub's token.")
source = click.option("--from", "source", metavar="HOST", help="The node that asks the hub.  [default: who has most]")
patience = click.option(
    "--patience", default=60.0, show_default=True, help="Seconds that the hub may fail without progress."
)


@click.group()
def model() -> None:
    """Fetch, check and remove the model's weights on the nodes.

    Exit codes: 2 configuration, 3 no image to ask the hub from, 4 a node, 12 the hub, or a model that is not whole.
    """


@model.command()
@options.nodes
@source
@token
@patience
@click.option("--verify", is_flag=True, help="Read what is there, and fetch anew what has a wrong checksum.")
@click.option("-n", "--dry-run", is_flag=True, help="Print who would get what from whom; change nothing.")
@options.as_json
@options.quiet
def fetch(  # noqa: PLR0913
    path: str, source: str | None, token: str, patience: float, verify: bool, dry_run: bool, as_json: bool, quiet: bool
) -> None:
    """Bring the model to every node: once from the hub, then from node to node over the fabric.

    Only what a node lacks is sent, and every file is held to the hub's checksum on its way. The same command goes on
    where it was interrupted.
    """
    from deploy.cli.output import result, view
    from deploy.cluster.load import load
    from deploy.workflow.weights.fetch import fetch as bring
    from deploy.workflow.weights.fetch import planned

    document = load(path)
    asking = _asking(document, source, token, patience)
    with view(quiet=quiet) as shown:
        if dry_run:
            click.echo(result(planned(document, asking), shown))
            return
        done = result(bring(document, asking, verify=verify), shown)
    if as_json:
        click.echo(json.dumps(done.as_json(), indent=2))
    elif not quiet:
        click.echo(f"next: python build-and-deploy.py up --nodes {path}", err=True)


@model.command()
@options.nodes
@options.as_json
def status(path: str, as_json: bool) -> None:
    """Tell what each node has of the model, by names and sizes; the hub is not asked.

    Exit code 12 where a node has not all of it, or another commit.
    """
    from deploy.cluster.load import load
    from deploy.errors import WeightsError
    from deploy.workflow.weights.status import status as look

    seen = look(load(path))
    click.echo(json.dumps(seen.as_json(), indent=2) if as_json else seen.as_text())
    if not seen.ok:
        hint = "`model fetch` brings what is missing"
        raise WeightsError("not every node has the whole model at the same commit", hint)


@model.command()
@options.nodes
@source
@token
@patience
@options.as_json
@options.quiet
def verify(  # noqa: PLR0913
    path: str, source: str | None, token: str, patience: float, as_json: bool, quiet: bool
) -> None:
    """Read every file on every node, and hold it to the size and the checksum that the hub tells.

    Exit code 12 where a file is missing or has another content.
    """
    from deploy.cli.output import result, view
    from deploy.cluster.load import load
    from deploy.errors import WeightsError
    from deploy.workflow.weights.verify import verify as read

    document = load(path)
    with view(quiet=quiet) as shown:
        found = result(read(document, _asking(document, source, token, patience)), shown)
    lines = [f"{one.node}: {_verdict(one.missing, one.bad, one.unlinked)}" for one in found.values()]
    told = [{**asdict(one), "ok": one.ok, "checksums": sorted(one.checksums)} for one in found.values()]
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(lines))
    if not all(one.ok for one in found.values()):
        hint = "`model fetch --verify` fetches anew what is wrong, and what is missing"
        raise WeightsError("not every node has the model as the hub has it", hint)


def _verdict(missing: tuple[str, ...], bad: tuple[str, ...], unlinked: tuple[str, ...]) -> str:
    kinds = {"missing": missing, "wrong content": bad, "not in the model's folder": unlinked}
    return "; ".join(f"{kind}: {', '.join(files)}" for kind, files in kinds.items() if files) or "as the hub has it"


@model.command()
@options.nodes
@click.option("--model", "other", metavar="ORG/NAME", default="", help="Remove this model, all of it.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be removed; change nothing.")
@options.as_json
@options.quiet
def prune(path: str, other: str, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Remove other revisions of the model, and what an interrupted download left; or another model, all of it.

    Where a container runs that uses the model, or may, nothing of it is removed. Exit code 12 where that was so.
    """
    from deploy.cli.output import result, view
    from deploy.cluster.load import load
    from deploy.errors import WeightsError
    from deploy.workflow.weights.prune import Pruning
    from deploy.workflow.weights.prune import prune as remove

    with view(quiet=quiet) as shown:
        found = result(remove(load(path), Pruning(options.holder("model prune"), other, dry_run)), shown)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found.values()], indent=2))
    elif dry_run:
        click.echo("\n".join(f"{one.node} {place}" for one in found.values() for place in one.removed))
    kept = [one for one in found.values() if one.kept]
    if kept:
        what = "\n".join(f"  {one.node}: {one.kept}" for one in kept)
        raise WeightsError(f"nothing was removed on {len(kept)} of {len(found)} nodes\n{what}", "`down` ends ranks")


def _asking(document: Document, source: str | None, token: str, patience: float) -> Asking:
    from deploy.errors import ConfigError
    from deploy.workflow.weights import asked

    hosts = [node.host for node in document.cluster.nodes]
    if source is not None and source not in hosts:
        raise ConfigError(f"--from {source}: no node of {document.cluster.name}", f"one of: {', '.join(hosts)}")
    rank = hosts.index(source) if source else None
    return asked.Asking(rank, asked.token(document, os.environ, token), patience)
