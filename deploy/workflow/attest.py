"""SBOM, provenance and signature of an image that was pushed: what they are of is read from the registry."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image.order import RECIPE_LABEL, Order
from deploy.image.pinned import at_hand, sha256
from deploy.inside.check import FAILED
from deploy.registry import lookup
from deploy.registry.name import parse
from deploy.registry.repository import Repository
from deploy.supply import examine, signature, store
from deploy.supply.content import File, Pushed, find, is_whiteout, read
from deploy.supply.expected import made_of
from deploy.supply.key import PASSWORD, PrivateKey, private
from deploy.supply.process import run_cosign, sign_argv
from deploy.supply.provenance import Built, builder, provenance
from deploy.supply.sbom import MEDIA_TYPE, Bill, Wheel, sbom
from deploy.supply.statement import PAYLOAD_TYPE, PROVENANCE, SPDX, Subject, envelope, opened, signed_bytes, statement

ROOT = Path(__file__).resolve().parents[2]
NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Said:
    """One statement: what is signed, and what is attached of it under a media type."""

    name: str
    predicate_type: str
    signed: bytes
    attached: bytes
    media_type: str


@dataclass(frozen=True)
class Seal:
    """What is put beside an image: statements, and who signs; without a key or an identity nobody does."""

    attest: bool = True
    key: PrivateKey | None = None
    keyless: bool = False


def seal(path: str | None, environ: Mapping[str, str], *, variable: str = PASSWORD, keyless: bool = False) -> Seal:
    """With the key of a file, whose password is in a variable. Raises ConfigError."""
    return Seal(key=private(Path(path), environ, variable) if path else None, keyless=keyless)


def sealed(order: Order, reference: str, how: Seal, environ: Mapping[str, str]) -> Generator[Event, None, str]:
    """Attest and sign what was just pushed as REPOSITORY@DIGEST; returns that. Raises BuildError, ConfigError."""
    if how.attest:
        yield from attest(order, reference, how, environ)
    if how.key or how.keyless:
        yield from sign(reference, how)
    return reference


def attest(order: Order, reference: str, how: Seal, environ: Mapping[str, str]) -> Generator[Event, None, str]:
    """Attach SBOM and provenance, and with a key sign both; returns REPOSITORY@DIGEST. Raises BuildError."""
    name = parse(reference)
    with lookup.repository(name) as repository:
        image = find(repository, name.reference)
        _check(image, order)
        for one in (yield from _statements(image, order, environ)):
            made = store.attach(repository, store.descriptor(image.manifest), one.media_type, one.attached)
            yield Note(f"attached {one.name}: {repository}@{made.digest}")
            if how.key:
                _keep(repository, image.manifest.digest, one, how.key)
        digest = image.manifest.digest
    yield Note(f"{name.bare}@{digest} has an SBOM and a provenance, {'signed' if how.key else 'not signed'}", "done")
    return f"{name.bare}@{digest}"


def _check(image: Pushed, order: Order) -> None:
    """Raises BuildError where a statement by this checkout would not be of this image."""
    what = f"{image.repository}@{image.manifest.digest}"
    said = image.labels.get(RECIPE_LABEL) or "unknown"
    if said != order.context.recipe:
        words = f"its recipe is {said}, and this checkout makes {order.context.recipe}"
        raise BuildError(f"{what}: {words}", "attest it from the checkout that built it")
    if not image.appended:
        words = "it was not made by the append engine, so it is not known which layer holds what"
        raise BuildError(f"{what}: {words}", "`build --push --rebuild --attest`")


def _statements(image: Pushed, order: Order, environ: Mapping[str, str]) -> Generator[Event, None, list[Said]]:
    files = _project(image, order)
    found = yield from at_hand(order.image, order.context.pins)
    wheels = [Wheel(path.name, sha256(path)) for _, path in sorted(found.items())]
    subject = Subject(str(image.repository), image.manifest.digest)
    bill = sbom(order, wheels, Bill(subject, image.base, files, str(image.config.get("created") or NEVER)))
    about = statement(subject, SPDX, json.loads(bill))
    built = provenance(order, wheels, Built(subject, image.base, builder(environ)))
    return [
        Said("the SBOM", SPDX, about, bill, MEDIA_TYPE),
        Said("the provenance", PROVENANCE, built, built, PAYLOAD_TYPE),
    ]


def _project(image: Pushed, order: Order) -> dict[str, File]:
    """The files of the project's own layer, which is the last one, as the registry has it. Raises BuildError."""
    at = len(image.diff_ids) - 1
    layer = read(image, at)
    files = {path: one for path, one in layer.files.items() if not is_whiteout(path)}
    wrong = examine.files(files, files, made_of(order.image, order.context, ROOT))
    if wrong.outcome == FAILED or layer.diff_id != image.diff_ids[at]:
        what = wrong.seen if wrong.outcome == FAILED else "its config names another layer"
        raise BuildError(f"{image.repository}@{image.manifest.digest}: {what}", f"nothing is attached; {wrong.hint}")
    return files


def _keep(repository: Repository, digest: str, one: Said, key: PrivateKey) -> None:
    """As `cosign attest` does, unless this key signed the same already."""
    for old in store.beside(repository, digest, "att"):
        payload, signatures = opened(store.small(repository, old.content))
        if payload == one.signed and any(key.public.verifies(each, signed_bytes(payload)) for each in signatures):
            return
    raw = envelope(one.signed, key.sign(signed_bytes(one.signed)))
    store.put_beside(repository, digest, "att", signature.attestation(raw, one.predicate_type), raw)


def sign(reference: str, how: Seal) -> Generator[Event, None, str]:
    """Sign an image in its registry; returns REPOSITORY@DIGEST. Raises BuildError, ConfigError."""
    name = parse(reference)
    with lookup.repository(name) as repository:
        digest = repository.manifest(name.reference).digest
        if how.key:
            yield _signed(repository, digest, how.key)
    if how.keyless:
        done = run_cosign(sign_argv(f"{name.bare}@{digest}"))
        if not done.ok:
            raise BuildError(f"cosign could not sign {name.bare}@{digest}: {done.tail(4)}", "see what cosign says")
        yield Note(f"cosign signed {name.bare}@{digest}", "done")
    return f"{name.bare}@{digest}"


def _signed(repository: Repository, digest: str, key: PrivateKey) -> Note:
    """As `cosign sign` does, unless this key signed it already."""
    payload = signature.payload(repository.registry.host, repository.name, digest)
    who = f"by the key {key.public.fingerprint}"
    for old in store.beside(repository, digest, "sig"):
        same = store.small(repository, old.content) == payload
        if same and old.signature and key.public.verifies(old.signature, payload):
            return Note(f"{repository}@{digest} is signed already {who}", "done")
    store.put_beside(repository, digest, "sig", signature.signed_payload(payload, key.sign(payload)), payload)
    return Note(f"signed {repository}@{digest} {who}", "done")
