"""`patches`: what changes inside SGLang, applied to a tree or looked for in a tree or an image."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deploy.cli import options

PATCHES = Path(__file__).resolve().parents[2] / "patches"


@click.group()
def patches() -> None:
    """The changes to SGLang that the image carries, outside of an image: all sets of patches/ together.

    TREE is the folder that holds sglang/: site-packages, or python/ of a checkout.
    """


@patches.command()
@click.argument("tree")
@click.option("--allow-unknown-base", is_flag=True, help="Patch files of unknown checksums too; anchors must stand.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be patched; change nothing.")
@options.as_json
def apply(tree: str, allow_unknown_base: bool, dry_run: bool, as_json: bool) -> None:
    """Patch TREE, all or nothing. Exit code 3 where it is refused, with the file, what was expected and found."""
    from deploy.image import patched
    from deploy.inside.patch import described, written

    place = patched.tree(tree)
    known = patched.manifest(PATCHES)
    done = patched.apply(place, known, allow_unknown_base=allow_unknown_base, dry_run=dry_run)
    found = {"tree": str(place), "dry_run": dry_run, **described(done)}
    click.echo(json.dumps(found, indent=2) if as_json else written(done, "would patch" if dry_run else "patched"))


@patches.command()
@click.argument("where", metavar="TREE|IMAGE")
@options.as_json
@click.pass_context
def status(ctx: click.Context, where: str, as_json: bool) -> None:
    """Say what each file of TREE or IMAGE is. Exit code 0 only where all of it is patched, else 1.

    An image must be here; it is read without being run. A folder that exists is a tree.
    """
    from deploy.image import patched
    from deploy.inside.patch import reported, shown
    from deploy.inside.plan import PATCHED

    known = patched.manifest(PATCHES)
    if patched.is_folder(where):
        kind, name = "tree", str(patched.tree(where))
        found = patched.status_of_tree(Path(name), known)
    else:
        kind, name = "image", where
        click.echo(f"reading {where}", err=True)
        found = patched.status_of_image(where, known)
    click.echo(json.dumps({kind: name, **reported(found)}, indent=2) if as_json else shown(found))
    ctx.exit(0 if found.state == PATCHED else 1)
