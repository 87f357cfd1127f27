"""`up`, `status`, `logs` and `down`: options in, events out."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

import click

from deploy.cli import options
from deploy.cli.output import follow, view

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from deploy.cli.output import View
    from deploy.cluster.load import Document
    from deploy.workflow.up import Options


@click.command()
@options.nodes
@click.option("--timeout", default=1800.0, show_default=True, help="Seconds until every rank must be ready.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option("--watch", "watching", is_flag=True, help="Go on watching, and restart within the bounds of `watch:`.")
@click.option("--direct", is_flag=True, help="Send the image over SSH alone; no node contacts a registry.")
@click.option("--offline", is_flag=True, help="With --dry-run: contact no node, assume stock DGX Sparks.")
@options.allow_unsafe
@options.as_json
@options.quiet
def up(  # noqa: PLR0913
    path: str,
    timeout: float,
    dry_run: bool,
    watching: bool,
    direct: bool,
    offline: bool,
    allow_unsafe: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Start the ranks, wait until every one is ready, and put the server to the test.

    A second `up` with the same file changes nothing. Exit codes: 2 configuration, 3 image, 4 a node, 5 not ready,
    9 a kernel table that cannot run. With --watch also: 0 after a planned `down`, 5 where no restart is left.
    """
    if offline and not dry_run:
        raise click.UsageError("--offline goes with --dry-run")
    from deploy.cluster.load import load
    from deploy.workflow.gate import allowing_unsafe

    document = allowing_unsafe(load(path), asked=allow_unsafe)
    if dry_run:
        _print_plan(document, offline=offline, direct=direct, as_json=as_json)
        return
    from deploy.workflow.up import Options, up

    asked = Options(timeout, options.holder("up"), direct=direct)
    if watching:
        _up_and_watch(path, asked, allow_unsafe=allow_unsafe, shown=view(quiet=quiet, as_json=as_json))
        return
    with view(quiet=quiet, as_json=as_json) as shown:
        follow(up(document, os.environ, asked), shown)
    if not quiet:
        click.echo(f"next: python build-and-deploy.py status --nodes {path}", err=True)


def _up_and_watch(path: str, asked: Options, *, allow_unsafe: bool, shown: AbstractContextManager[View]) -> None:
    from deploy.cluster.load import load
    from deploy.workflow.gate import allowing_unsafe
    from deploy.workflow.watch.supervise import Asked, up_and_watch

    watched = Asked(lambda: allowing_unsafe(load(path), asked=allow_unsafe), os.environ, options.holder("up --watch"))
    with shown as one:
        follow(up_and_watch(watched, asked), one)


def _print_plan(document: Document, *, offline: bool, direct: bool, as_json: bool) -> None:
    from deploy.launch.plan import as_json as plan_json
    from deploy.launch.plan import describe
    from deploy.workflow.up import planned

    plan = planned(document, os.environ, offline=offline, direct=direct)
    if offline:
        click.echo("assumed, not seen: stock DGX Sparks, and an image digest of zeros", err=True)
    click.echo(plan_json(plan, document.cluster) if as_json else describe(plan, document.cluster))


@click.command()
@options.nodes
@options.as_json
def status(path: str, as_json: bool) -> None:
    """Tell what the cluster does: serving, loading, degraded, wedged, down or unknown; since when, and why.

    Every node is looked at as it is now, within about 5 s also where one does not answer. Where nothing else runs, the
    server is asked for a few words, which must not be garbage. Changes nothing.

    \b
    Exit codes:
       0  serving   every rank runs and answers
      10  loading   ranks are starting
      11  degraded  ranks run and cannot serve, or cannot all be seen
      12  wedged    requests run, and no token comes
      13  down      no rank runs
      14  unknown   no node could say
    Errors have their own: 2 configuration.
    """
    from deploy.cluster.load import load
    from deploy.launch.standing import EXIT_CODES
    from deploy.report import status_json, status_text
    from deploy.workflow.status import status as look

    seen = look(load(path), os.environ)
    click.echo(status_json(seen) if as_json else status_text(seen))
    raise SystemExit(EXIT_CODES[seen.whole.state])


@click.command()
@options.nodes
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--rank", type=int, help="One rank; default: all.")
@click.option("--tail", type=int, help="The last N lines.")
def logs(path: str, following: bool, rank: int | None, tail: int | None) -> None:
    """Show what the ranks say; of several ranks each line names its own."""
    from deploy.cluster.load import load
    from deploy.workflow.observe import logs as read

    document = load(path)
    many = rank is None and len(document.cluster.nodes) > 1
    for line in read(document, rank, follow=following, tail=tail):
        click.echo(f"rank {line.rank} | {line.text}" if many else line.text)


@click.command()
@click.argument("question")
@options.nodes
@click.option("--tools", type=click.File(), help="A JSON list of tools, as in OpenAI's API.")
@click.option("--max-tokens", default=512, show_default=True)
def ask(question: str, path: str, tools: IO[str] | None, max_tokens: int) -> None:
    """Ask the server one question; the answer is streamed to stdout, each tool call as one line of JSON."""
    from deploy.cluster.load import load
    from deploy.workflow.ask import ask as stream
    from deploy.workflow.ask import read_tools

    for piece in stream(load(path), os.environ, question, read_tools(tools.read()) if tools else [], max_tokens):
        click.echo(piece, nl=False)
    click.echo()


@click.command()
@options.nodes
@click.option("--grace", default=10, show_default=True, help="Seconds that a rank may take to leave.")
@options.quiet
def down(path: str, grace: int, quiet: bool) -> None:
    """Stop and remove every rank. Safe to repeat."""
    from deploy.cluster.load import load
    from deploy.workflow.down import down

    with view(quiet=quiet) as shown:
        follow(down(load(path), options.holder("down"), grace), shown)
