"""`render`, `build`, `push` and `mirror`: options in, events out; the reference or the digest on stdout."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.cli import options
from deploy.cli.output import result, view
from deploy.event import Event

if TYPE_CHECKING:
    from deploy.image.order import Order
    from deploy.workflow.attest import Seal

ROOT = Path(__file__).resolve().parents[2]


@click.command()
@options.nodes
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there, not to stdout.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 3 unless --output (default: Dockerfile) is true.")
@options.with_tune
@options.with_sets
def render(path: str, output: Path | None, check: bool, with_tune: bool, sets: tuple[str, ...]) -> None:
    """Write the Dockerfile, or check that the committed one is true."""
    from deploy.cluster.load import load
    from deploy.image.dockerfile import render

    image = load(path).cluster.image.with_patches(sets)
    text = render(image.with_tune if with_tune else image)
    if check:
        _compare(output or ROOT / "Dockerfile", text, path)
    elif output is None:
        click.echo(text, nl=False)
    elif _read(output) == text:
        click.echo(f"{output} is true already", err=True)
    else:
        _write(output, text)


def _compare(output: Path, text: str, path: str) -> None:
    from difflib import unified_diff

    from deploy.errors import BuildError

    found = _read(output)
    if found is None:
        raise BuildError(f"{output}: cannot be read", f"write it: python build-and-deploy.py render -o {output}")
    if found != text:
        lines = unified_diff(found.splitlines(), text.splitlines(), str(output), f"rendered from {path}", lineterm="")
        hint = f"write it anew: python build-and-deploy.py render --nodes {path} -o {output}"
        raise BuildError(f"{output} is not what {path} renders to\n" + "\n".join(lines), hint)
    click.echo(f"{output} is what {path} renders to", err=True)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    from deploy.errors import ConfigError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a file that can be written with -o") from None
    click.echo(f"wrote {path}", err=True)


@click.command()
@options.nodes
@click.option("--push", "then_push", is_flag=True, help="Put it into its repository, not into the Docker Engine here.")
@click.option(
    "--engine",
    type=click.Choice(("append", "docker", "buildx")),
    help="append: new layers in the registry alone, the default with --push. docker: the Docker Engine here, the "
    "default without. buildx: the Dockerfile by `docker buildx`.",
)
@click.option("--lock", "then_lock", is_flag=True, help="Read the whole base, write image.lock.json; build nothing.")
@click.option("--rebuild", is_flag=True, help="Build it even where it is there already.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be built; change nothing.")
@click.option("--attest", is_flag=True, help="Attach an SBOM and a provenance to what was pushed.")
@click.option("--sign-key", metavar="FILE", help="Sign what was pushed, its SBOM and its provenance with this key.")
@options.key_password
@options.keyless
@options.with_tune
@options.with_sets
@options.allow_unsafe
@options.quiet
def build(  # noqa: PLR0913
    path: str, then_push: bool, engine: str | None, then_lock: bool, rebuild: bool, dry_run: bool, with_tune: bool,
    sets: tuple[str, ...], allow_unsafe: bool, quiet: bool, attest: bool, sign_key: str | None, variable: str,
    keyless: bool,
) -> None:  # fmt: skip
    """Build the image on top of the base.

    With --push the new layers are put on the base in the registry, which needs no Docker Engine and no room for the
    base, and works for any architecture. Without, the Docker Engine here builds it for itself.

    The same inputs give the same reference, and an image that is there already is not built again. Exit code 3 where
    the build fails, 9 where a kernel table could not run.
    """
    from deploy.workflow import image as workflow

    if then_lock and (then_push or engine or rebuild):
        raise click.UsageError("--lock builds nothing: leave out --push, --engine and --rebuild")
    chosen = workflow.chosen(engine, into_registry=then_push)
    seal = _seal(attest, sign_key, variable, keyless=keyless) if attest or sign_key or keyless else None
    if seal and not then_push:
        raise click.UsageError("--attest, --sign-key and --keyless need --push: they are kept in the registry")
    wanted = _order(path, with_tune=with_tune, sets=sets, allow_unsafe=allow_unsafe, gated=True)
    lock = Path(path).parent / "image.lock.json"
    if dry_run:
        click.echo(_described(wanted))
    elif then_lock:
        click.echo(_shown(workflow.lock(wanted, lock), quiet=quiet))
    else:
        click.echo(_shown(workflow.build(wanted, workflow.Build(chosen, then_push, rebuild, lock, seal)), quiet=quiet))
        verb = ("tune" if with_tune else "up") if then_push else "push"
        _next(verb, path, with_tune=with_tune, sets=sets, quiet=quiet)


def _seal(attest: bool, sign_key: str | None, variable: str, *, keyless: bool) -> Seal:
    """With the key read before anything is built. Raises ConfigError."""
    from deploy.workflow.attest import seal

    return replace(seal(sign_key, os.environ, variable=variable, keyless=keyless), attest=attest or bool(sign_key))


@click.command()
@options.nodes
@options.with_tune
@options.with_sets
@options.allow_unsafe
@options.quiet
def push(path: str, with_tune: bool, sets: tuple[str, ...], allow_unsafe: bool, quiet: bool) -> None:
    """Push the image from the Docker Engine here to its repository, with the credentials that Docker has for it.

    `build --push` needs no Docker Engine, and is quicker. Exit code 3 where it fails.
    """
    from deploy.workflow import image as workflow

    wanted = _order(path, with_tune=with_tune, sets=sets, allow_unsafe=allow_unsafe)
    click.echo(_shown(workflow.push(wanted), quiet=quiet))
    _next("tune" if with_tune else "up", path, with_tune=with_tune, sets=sets, quiet=quiet)


def _next(verb: str, path: str, *, with_tune: bool, sets: tuple[str, ...], quiet: bool) -> None:
    flag = " --with-tune" if with_tune and verb == "push" else ""
    flag += "".join(f" --with {name}" for name in sets if verb == "push")
    if sets and verb != "push" and not quiet:
        click.echo(f"for {verb}, write into {path}, under image: patches: [{', '.join(sets)}]", err=True)
    if not quiet:
        click.echo(f"next: python build-and-deploy.py {verb}{flag} --nodes {path}", err=True)


@click.command()
@options.nodes
@options.quiet
def mirror(path: str, quiet: bool) -> None:
    """Copy the base once into your own repository, by digest, and say what to write into cluster.yaml.

    The same command goes on where an earlier one stopped. Exit code 3 where it fails.
    """
    from deploy.cluster.load import load
    from deploy.image.mirror import mirror as copy

    image = load(path).cluster.image
    reference = _shown(copy(image), quiet=quiet)
    click.echo(f"{image.repository}@{reference.partition('@')[2]}")
    if not quiet and image.base != reference:
        click.echo(f"next: in {path}, under image, write\n  base: {reference}", err=True)


def _order(path: str, *, with_tune: bool, sets: tuple[str, ...], allow_unsafe: bool, gated: bool = False) -> Order:
    from deploy.cluster.load import load
    from deploy.image.order import order
    from deploy.workflow.gate import allowing_unsafe, gate

    cluster = allowing_unsafe(load(path), asked=allow_unsafe).cluster
    for what in gate(cluster, ROOT) if gated else ():
        click.echo(f"warning: allowed by image.allow: {what}", err=True)
    image = cluster.image.with_patches(sets)
    return order(image.with_tune if with_tune else image, ROOT)


def _shown(events: Generator[Event, None, str], *, quiet: bool) -> str:
    """Show the events; what they end with is the result."""
    with view(quiet=quiet) as shown:
        return result(events, shown)


def _described(wanted: Order) -> str:
    image, context = wanted.image, wanted.context
    files = [f"  {path} ({len(file.content)} bytes)" for path, file in sorted(context.files.items())]
    labels = [f"  {name}={value}" for name, value in wanted.arguments.items()]
    head = [f"build {wanted.reference}", f"from {image.base} for {image.platform}", "files"]
    return "\n".join([*head, *files, "build arguments", *labels, f"tag {wanted.reference}"])
