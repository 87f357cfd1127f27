"""`image verify`: an image looked at in its registry and on the nodes, and judged check by check. Changes nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.cluster.spec import Cluster, Image
from deploy.container import self_test_alone
from deploy.errors import ConfigError, RegistryError
from deploy.event import Event, Note
from deploy.image.order import RECIPE_LABEL
from deploy.inside.check import NOT_CHECKED, PASSED, Check
from deploy.registry import lookup
from deploy.registry.manifest import OCI
from deploy.registry.name import parse
from deploy.remote import facts
from deploy.remote.execute import Fleet
from deploy.supply import examine, store
from deploy.supply.content import File, Pushed, base_of, find, is_whiteout, laid_over, own, read
from deploy.supply.expected import expected
from deploy.supply.key import PublicKey
from deploy.supply.process import Identity, run, run_cosign, verify_argv
from deploy.supply.sbom import MEDIA_TYPE
from deploy.supply.statement import PAYLOAD_TYPE, SPDX, Subject, about, as_object, statement

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Asked:
    """What is verified, and against what: the image that this checkout makes for a cluster, a key or an identity.

    `run_here`: the self-test is run by this machine's Docker Engine; `ask_nodes`: the cluster's nodes tell of theirs.
    """

    reference: str
    cluster: Cluster | None = None
    key: PublicKey | None = None
    identity: Identity | None = None
    run_here: bool = False
    ask_nodes: bool = False


@dataclass(frozen=True)
class Verdict:
    """REPOSITORY@DIGEST and all checks of it."""

    reference: str
    checks: tuple[Check, ...]


def verify(asked: Asked) -> Generator[Event, None, Verdict]:
    """Every check, those among them that could not be made. Raises RegistryError where there is no image to look at."""
    name = parse(asked.reference)
    with lookup.repository(name) as repository:
        image = find(repository, name.reference)
        exact = f"{name.bare}@{image.manifest.digest}"
        yield Note(f"verifying {exact}")
        seen = f"{image.manifest.digest}: the checksums of manifest and config are right"
        checks = [Check("digest", PASSED, seen)]
        checks += yield from _content(image, asked.cluster.image if asked.cluster else None)
        checks += _signatures(image, exact, asked)
    checks += yield from _proofs(exact, image, asked)
    return Verdict(exact, tuple(checks))


@dataclass
class Looked:
    """What the layers over the base hold: all files, those of the project's own layer, and what is wrong by layer."""

    files: dict[str, File] = field(default_factory=dict)
    top: dict[str, File] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


def _content(image: Pushed, wanted: Image | None) -> Generator[Event, None, list[Check]]:
    """Base, layers, recipe and files."""
    known = base_of(image)
    checks, ours = [examine.base(image.base, known, image.diff_ids)], own(image, known)
    blobs, looked = image.manifest.layers, Looked()
    below = [blob.digest for at, blob in enumerate(blobs) if at not in (ours or ())]
    checks.append(examine.base_layers(len(below), [one for one in below if not image.repository.has(one)]))
    for at in ours or ():
        yield Note(f"reading layer {at + 1} of {len(blobs)} ({blobs[at].size / 1e6:.2f} MB)")
        _look(image, at, looked)
    sizes = {at: blobs[at].size for at in ours or ()}
    checks.append(examine.not_told_apart("layers.own") if ours is None else examine.own_layers(looked.problems, sizes))
    return [*checks, *_checkout(image, wanted, None if ours is None else looked)]


def _look(image: Pushed, at: int, looked: Looked) -> None:
    """Add what a layer holds, and what is wrong with it."""
    try:
        layer = read(image, at)
    except RegistryError as error:
        looked.problems[at] = error.message
        return
    if layer.diff_id != image.diff_ids[at]:
        looked.problems[at] = f"layer {at + 1} unpacked is {layer.diff_id}, and the config says {image.diff_ids[at]}"
    looked.files = laid_over(looked.files, layer.files)
    looked.top = {path: one for path, one in layer.files.items() if not is_whiteout(path)} if image.appended else {}


def _checkout(image: Pushed, wanted: Image | None, looked: Looked | None) -> Iterator[Check]:
    """The recipe and the files against this checkout; `looked` is None where the layers could not be told apart."""
    if wanted is None:
        why, hint = "no cluster.yaml was named", "name it with --against or --nodes"
        yield from (Check(what, NOT_CHECKED, why, hint=hint) for what in ("recipe", "files"))
        return
    label = image.labels.get(RECIPE_LABEL, "")
    said = {"label": label}
    if image.appended and image.manifest.media_type == OCI:
        said["annotation"] = image.annotations.get(RECIPE_LABEL, "")
    kinds = [expected(wanted, ROOT)]
    if kinds[0].recipe != label and not wanted.tune:
        with suppress(ConfigError):  # wheels of a tuning layer that nobody wants need no pin
            kinds.append(expected(wanted.with_tune, ROOT))
    yield examine.recipe(said, [one.recipe for one in kinds])
    meant = next((one for one in kinds if one.recipe == label), kinds[0])
    yield examine.not_told_apart("files") if looked is None else examine.files(looked.files, looked.top, meant)


def _signatures(image: Pushed, exact: str, asked: Asked) -> list[Check]:
    """The signature of the image, and the statements about it."""
    repository, digest = image.repository, image.manifest.digest
    if asked.identity:
        first = examine.by_identity(run_cosign(verify_argv(exact, asked.identity)), asked.identity.subject)
    else:
        kept = [
            examine.Kept(store.small(repository, one.content), one.signature)
            for one in store.beside(repository, digest, "sig")
        ]
        first = examine.signatures(kept, digest, asked.key, store.bundles(repository, digest))
    envelopes = [store.small(repository, one.content) for one in store.beside(repository, digest, "att")]
    return [first, *examine.attestations(envelopes, _attached(image), digest, asked.key)]


def _attached(image: Pushed) -> dict[str, list[bytes]]:
    """The statements that are attached to an image, by their type, as they would be signed."""
    subject = Subject(str(image.repository), image.manifest.digest)
    found: dict[str, list[bytes]] = {}
    for one in store.attached(image.repository, image.manifest.digest, MEDIA_TYPE, PAYLOAD_TYPE):
        if one.artifact_type == PAYLOAD_TYPE:
            found.setdefault(about(one.payload)[0], []).append(one.payload)
        elif (bill := as_object(one.payload)) is not None:
            found.setdefault(SPDX, []).append(statement(subject, SPDX, bill))
    return found


def _proofs(exact: str, image: Pushed, asked: Asked) -> Generator[Event, None, Sequence[Check]]:
    """The image's own self-test: run here, or what the nodes say of it."""
    checks: list[Check] = []
    if asked.run_here:
        yield Note("running the image's self-test here")
        checks.append(examine.self_test(run(self_test_alone(exact))))
    if asked.cluster and asked.ask_nodes:
        checks += _nodes(asked.cluster, exact, image.labels.get(RECIPE_LABEL, "none"))
    if not checks:
        hint = "--nodes FILE asks the nodes for their proofs, --self-test runs it in the Docker Engine here"
        checks.append(Check("self-test", NOT_CHECKED, "it was not run, and no node was asked", hint=hint))
    return checks


def _nodes(cluster: Cluster, exact: str, recipe: str) -> list[Check]:
    repository, _, digest = exact.partition("@")
    with closing(Fleet(cluster)) as fleet:
        refused = {rank: error.message for rank, error in fleet.reach().items()}
        results = fleet.each({rank: facts.command(cluster.name, recipe) for rank in fleet.ranks})
    checks = []
    for rank, node in enumerate(cluster.nodes):
        done = results.get(rank)
        seen = facts.read(done.stdout) if done and done.ok else None
        why = refused.get(rank) or (done.tail(1) if done else "")
        checks.append(examine.proof(node.host, seen, repository, digest, why))
    return checks
