"""`patches`: what changes inside SGLang, applied to a tree or looked for in a tree or an image."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deploy.cli import options

PATCHES = Path(__file__).resolve().parents[2] / "patches"


@click.group()
def patches() -> None:
    """The changes to SGLang that the image carries, outside of an image: the sets of patches/ together.

    TREE is the folder that holds sglang/: site-packages, or python/ of a checkout.
    """


@patches.command("sets")
@options.as_json
def sets_(as_json: bool) -> None:
    """List the sets: every image has those that are not optional, `build --with SET` adds one that is."""
    from dataclasses import asdict

    from deploy.patchset import sets

    found = sets(PATCHES)
    for one in () if as_json else found:
        click.echo(f"{one.name}{' (optional)' if one.optional else ''}: {one.description}")
        for flag in one.new_flags:
            click.echo(f"  brings --{flag['name']}")
    if as_json:
        click.echo(json.dumps({"format": 1, "sets": [asdict(one) for one in found]}, indent=2))


@patches.command()
@click.argument("tree")
@options.with_sets
@click.option("--allow-unknown-base", is_flag=True, help="Patch files of unknown checksums too; anchors must stand.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be patched; change nothing.")
@options.as_json
def apply(tree: str, sets: tuple[str, ...], allow_unknown_base: bool, dry_run: bool, as_json: bool) -> None:
    """Patch TREE, all or nothing. Exit code 3 where it is refused, with the file, what was expected and found."""
    from deploy.image import patched
    from deploy.inside.patch import described, written

    place = patched.tree(tree)
    known = patched.manifest(PATCHES, sets)
    done = patched.apply(place, known, allow_unknown_base=allow_unknown_base, dry_run=dry_run)
    found = {"tree": str(place), "dry_run": dry_run, **described(done)}
    click.echo(json.dumps(found, indent=2) if as_json else written(done, "would patch" if dry_run else "patched"))


@patches.command()
@click.argument("where", metavar="TREE|IMAGE")
@options.with_sets
@options.as_json
@click.pass_context
def status(ctx: click.Context, where: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Say what each file of TREE or IMAGE is. Exit code 0 only where all of it is patched, else 1.

    An image must be here; it is read without being run. A folder that exists is a tree.
    """
    from deploy.image import patched
    from deploy.inside.patch import reported, shown
    from deploy.inside.plan import PATCHED

    known = patched.manifest(PATCHES, sets)
    if patched.is_folder(where):
        kind, name = "tree", str(patched.tree(where))
        found = patched.status_of_tree(Path(name), known)
    else:
        kind, name = "image", where
        click.echo(f"reading {where}", err=True)
        found = patched.status_of_image(where, known)
    click.echo(json.dumps({kind: name, **reported(found)}, indent=2) if as_json else shown(found))
    ctx.exit(0 if found.state == PATCHED else 1)
