"""`image verify`, `sign` and `attest`: options in, events out; what was found, or REPOSITORY@DIGEST, on stdout."""

from __future__ import annotations

import json
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
    from deploy.supply.key import PublicKey
    from deploy.supply.process import Identity
    from deploy.workflow.verify import Asked, Verdict

ROOT = Path(__file__).resolve().parents[2]

ORDER = ("passed", "not_checked", "failed")
"""What failed stands last, where it is seen."""


@click.group()
def image() -> None:
    """Sign and verify images, and attach what they are made of."""


@image.command()
@click.argument("reference", required=False)
@click.option("--nodes", "path", metavar="FILE", help="Verify against this cluster.yaml, and ask its nodes.")
@click.option("--against", metavar="FILE", help="Verify against this cluster.yaml; ask no node.")
@click.option("--key", metavar="FILE", help="The public key that must have signed it.")
@click.option("--identity", metavar="WHO", help="Who must have signed it without a key, as its certificate says.")
@click.option("--issuer", metavar="URL", help="Who vouches for that identity.")
@click.option("--self-test", "run_here", is_flag=True, help="Run its self-test in the Docker Engine here.")
@options.as_json
def verify(  # noqa: PLR0913
    reference: str | None, path: str | None, against: str | None, key: str | None, identity: str | None,
    issuer: str | None, run_here: bool, as_json: bool,
) -> None:  # fmt: skip
    """Hold an image against its checksums, its signature, this checkout and its self-test.

    REFERENCE defaults to the image that --nodes or --against asks for; without them it is held to ./cluster.yaml, where
    there is one. What was not checked is said, and never passed. Exit code 3 where a check failed.
    """
    from deploy.errors import BuildError
    from deploy.workflow.verify import verify as examine

    asked = _asked(reference, path or against, _key(key), _identity(identity, issuer))
    with view(quiet=as_json) as shown:
        found = result(examine(replace(asked, run_here=run_here, ask_nodes=bool(path))), shown)
    click.echo(_as_json(found) if as_json else _text(found))
    raise SystemExit(BuildError.exit_code if _failed(found) else 0)


def _asked(reference: str | None, path: str | None, key: PublicKey | None, identity: Identity | None) -> Asked:
    """What the words mean. Raises ConfigError."""
    from deploy.cluster.load import load
    from deploy.errors import ConfigError
    from deploy.workflow.asked import wanted_image
    from deploy.workflow.verify import Asked

    if key and identity:
        raise ConfigError("--key and --identity are two ways to sign", "name one of them")
    if not (reference or path):
        raise ConfigError("which image?", "name a reference, or a cluster.yaml with --nodes or --against")
    file = path or ("cluster.yaml" if Path("cluster.yaml").is_file() else "")
    cluster = load(file).cluster if file else None
    named = reference or (wanted_image(cluster.image).reference if cluster else "")
    return Asked(named, cluster, key, identity)


def _key(path: str | None) -> PublicKey | None:
    if not path:
        return None
    from deploy.supply.key import public

    return public(Path(path))


def _identity(subject: str | None, issuer: str | None) -> Identity | None:
    from deploy.errors import ConfigError
    from deploy.supply.process import Identity

    if bool(subject) != bool(issuer):
        raise ConfigError("an identity is --identity and --issuer", "name both of them")
    return Identity(subject, issuer) if subject and issuer else None


def _failed(found: Verdict) -> bool:
    return any(one.outcome == ORDER[-1] for one in found.checks)


def _as_json(found: Verdict) -> str:
    checks = [one.as_json() for one in found.checks]
    return json.dumps({"format": 1, "image": found.reference, "passed": not _failed(found), "checks": checks}, indent=2)


def _text(found: Verdict) -> str:
    lines = []
    for one in sorted(found.checks, key=lambda check: ORDER.index(check.outcome)):
        needed = f"; needed: {one.needed}" if one.needed else ""
        lines.append(f"{one.outcome.replace('_', ' '):11}  {one.id:24} {one.seen}{needed}")
        lines += [f"{'':11}  {'':24} -> {one.hint}"] if one.hint else []
    counts = (f"{sum(one.outcome == kind for one in found.checks)} {kind.replace('_', ' ')}" for kind in ORDER)
    return "\n".join([*lines, f"{found.reference}: {', '.join(counts)}"])


@image.command()
@click.argument("reference")
@click.option("--key", metavar="FILE", help="The private key: cosign's own file, or ECDSA P-256 in PEM.")
@options.key_password
@options.keyless
@options.quiet
def sign(reference: str, key: str | None, variable: str, keyless: bool, quiet: bool) -> None:
    """Sign an image in its registry as cosign does; `cosign verify` and `image verify` find it."""
    from deploy.errors import ConfigError
    from deploy.workflow.attest import seal
    from deploy.workflow.attest import sign as put

    if bool(key) == keyless:
        raise ConfigError("who signs?", "--key FILE, or --keyless for an identity")
    click.echo(_shown(put(reference, seal(key, os.environ, variable=variable, keyless=keyless)), quiet=quiet))


@image.command()
@options.nodes
@click.argument("reference", required=False)
@click.option("--key", metavar="FILE", help="Sign both with this private key.")
@options.key_password
@options.with_tune
@options.quiet
def attest(path: str, reference: str | None, key: str | None, variable: str, with_tune: bool, quiet: bool) -> None:  # noqa: PLR0913
    """Attach SBOM and provenance to an image that this checkout built with `build --push`."""
    from deploy.cluster.load import load
    from deploy.image.order import order
    from deploy.workflow.attest import attest as put
    from deploy.workflow.attest import seal

    wanted = load(path).cluster.image
    made = order(wanted.with_tune if with_tune else wanted, ROOT)
    how = seal(key, os.environ, variable=variable)
    click.echo(_shown(put(made, reference or made.reference, how, os.environ), quiet=quiet))


def _shown(events: Generator[Event, None, str], *, quiet: bool) -> str:
    with view(quiet=quiet) as shown:
        return result(events, shown)
