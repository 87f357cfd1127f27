"""What was found of an image, judged. Pure: it fetches nothing, and what was not looked at is never passed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.command import Result
from deploy.errors import BuildError
from deploy.inside.check import FAILED, NOT_CHECKED, PASSED, Check
from deploy.launch.node import NodeFacts
from deploy.launch.selftest import judge
from deploy.supply.content import File
from deploy.supply.expected import Expected
from deploy.supply.signature import signed_digest
from deploy.supply.statement import PROVENANCE, SPDX, about, opened, signed_bytes

SIGN = "sign it: python build-and-deploy.py image sign REFERENCE --key FILE"
UNTRUE = "do not run it before you know why; `build --push --rebuild` makes it anew"
NAMES = {SPDX: "the SBOM", PROVENANCE: "the provenance"}
SHOWN = 3
"""Lines about one check; more are counted."""


class Key(Protocol):
    """What signatures are held against."""

    @property
    def fingerprint(self) -> str: ...

    def verifies(self, signature: bytes, content: bytes) -> bool: ...


@dataclass(frozen=True)
class Kept:
    """A signature as the registry has it: what it is over, and the signature, None where there is none to be read."""

    content: bytes
    signature: bytes | None


def own_layers(problems: Mapping[int, str], sizes: Mapping[int, int]) -> Check:
    """The layers over the base by their place, each read to its end; `sizes` in bytes, `problems` with those read."""
    if problems:
        return Check("layers.own", FAILED, shown(problems.values()), "every checksum right", UNTRUE)
    count = f"{len(sizes)} layer{'s' if len(sizes) != 1 else ''} over the base"
    seen = f"{count}, {sum(sizes.values()) / 1e6:.2f} MB read: every checksum is right"
    return Check("layers.own", PASSED, seen)


def base_layers(count: int, missing: Sequence[str]) -> Check:
    """The layers of the base, which are only looked for."""
    if missing:
        return Check("layers.base", FAILED, f"not in the registry: {shown(missing)}", f"{count} layers", UNTRUE)
    return Check("layers.base", PASSED, f"all {count} layers of the base are there; their contents were not read")


def not_told_apart(check: str) -> Check:
    """Neither the base nor the history tells which layers are ours."""
    what = "its base cannot be read, and its history does not say which layers are over it"
    return Check(check, NOT_CHECKED, what, hint="give this machine a login for the registry of the base")


def base(name: str, known: tuple[str, ...] | None, diff_ids: tuple[str, ...]) -> Check:
    """Is what the labels call the base really below? `diff_ids` of the image, `known` of that base."""
    if not name:
        return Check("base", NOT_CHECKED, "no label says which base it was built on")
    if known is None:
        return Check("base", NOT_CHECKED, f"{name} could not be read", hint="`mirror` keeps a base in your repository")
    if diff_ids[: len(known)] != known:
        return Check("base", FAILED, f"its lowest layers are not those of {name}", f"the layers of {name}", UNTRUE)
    return Check("base", PASSED, f"its lowest {len(known)} layers are those of {name}")


def signatures(found: Sequence[Kept], digest: str, key: Key | None, bundles: int) -> Check:
    """The signatures that cosign keeps by tag; `bundles` are those of its newer kind, which are not read here."""
    other = f"; {bundles} bundles of cosign's newer kind are for `cosign verify`" if bundles else ""
    if key is None:
        what = f"no key was given; signatures that are there: {len(found)}{other}"
        return Check("signature", NOT_CHECKED, what, hint="name the public key with --key, or an --identity")
    verdicts = [_verdict(one, digest, key) for one in found]
    if "" in verdicts:
        return Check("signature", PASSED, f"signed by the key {key.fingerprint}")
    seen = shown(verdicts) if verdicts else f"there is no signature{other}"
    return Check("signature", FAILED, seen, f"one by the key {key.fingerprint}", UNTRUE if verdicts else SIGN)


def _verdict(one: Kept, digest: str, key: Key) -> str:
    """What is wrong with a signature, "" where nothing is."""
    if one.signature is None or not key.verifies(one.signature, one.content):
        return "a signature is by another key, or of other content"
    signed = signed_digest(one.content)
    return "" if signed == digest else f"a signature is of {signed or 'something else'}, not of this image"


def by_identity(result: Result, subject: str) -> Check:
    """What cosign says."""
    if result.ok:
        return Check("signature", PASSED, f"cosign: signed by {subject}")
    return Check("signature", FAILED, f"cosign: {result.tail(2)}", f"a signature by {subject}", UNTRUE)


def attestations(
    envelopes: Sequence[bytes], attached: Mapping[str, Collection[bytes]], digest: str, key: Key | None
) -> list[Check]:
    """SBOM and provenance: signed ones in envelopes, and those that are attached without a signature, by their type
    and as the statements that would be signed."""
    found = [one for raw in envelopes if (one := _attested(raw, key))]
    checks = []
    for kind in NAMES:
        mine = [one for one in found if one.kind == kind and digest in one.digests]
        checks.append(_statement(kind, mine, attached.get(kind, ()), key))
    return checks


@dataclass(frozen=True)
class _Attested:
    kind: str
    digests: frozenset[str]
    payload: bytes
    good: bool


def _attested(raw: bytes, key: Key | None) -> _Attested | None:
    """None for what is no envelope with a statement."""
    try:
        payload, found = opened(raw)
    except BuildError:
        return None
    good = key is not None and any(key.verifies(one, signed_bytes(payload)) for one in found)
    return _Attested(*about(payload), payload, good)


def _statement(kind: str, found: Sequence[_Attested], attached: Collection[bytes], key: Key | None) -> Check:
    name, what = "sbom" if kind == SPDX else "provenance", NAMES[kind]
    good = {one.payload for one in found if one.good}
    if good and key:
        more = len(set(attached) - good)
        rest = f"; {more} more, attached, were not signed by it" if more else ""
        return Check(name, PASSED, f"{what} of this image is signed by the key {key.fingerprint}{rest}")
    if found and key:
        seen = f"{what} is signed by another key, or was changed"
        return Check(name, FAILED, seen, f"a signature by the key {key.fingerprint}", UNTRUE)
    if found or attached:
        hint = "verify with the public key: --key FILE" if found else "sign it: `image attest --key FILE`"
        return Check(name, NOT_CHECKED, f"{what} is there; no signature of it was checked", hint=hint)
    return Check(name, NOT_CHECKED, "there is none", hint="`build --push --attest`, or `image attest`")


def recipe(said: Mapping[str, str], wanted: Sequence[str]) -> Check:
    """`said`: what the label and, where there is one, the annotation name; `wanted`: what this checkout makes."""
    wrong = [f"the {where} is {one or 'not there'}" for where, one in said.items() if one not in wanted]
    if len(set(said.values())) > 1:
        wrong = wrong or ["its label and its annotation differ"]
    if wrong:
        hint = "check out the revision that it was built from (label org.opencontainers.image.revision), or build anew"
        return Check("recipe", FAILED, shown(wrong), f"the recipe of this checkout: {' or '.join(wanted)}", hint)
    where, what = " and ".join(said), next(iter(said.values()))
    return Check("recipe", PASSED, f"{what[:12]}, which this checkout makes, by {where}")


def files(found: Mapping[str, File], top: Collection[str], wanted: Expected) -> Check:
    """The files in the image against those of this checkout.

    `found`: of all layers over the base. `top`: the paths in the project's own layer, where it is known which that is.
    """
    wrong = [f"{path} is another" for path, one in found.items() if not _meant(path, one, wanted)]
    wrong += [
        f"{path} is not of this checkout" for path in top if path not in wanted.files and path not in wanted.patched
    ]
    wrong += [f"{path} is missing" for path in wanted.files if path not in found]
    if wrong:
        return Check("files", FAILED, shown(wrong), "the files of this checkout", UNTRUE)
    patched = [path for path in found if wanted.patched.get(path)]
    others = len([path for path in found if path not in wanted.files and path not in wanted.patched])
    known = f", {len(patched)} files of SGLang are as its patches make them" if patched else ""
    known += f"; {others} others over the base are held to their layers' checksums alone" if others else ""
    return Check("files", PASSED, f"{len(wanted.files)} tables, patches and modules are those of this checkout{known}")


def _meant(path: str, one: File, wanted: Expected) -> bool:
    if path in wanted.files:
        return one.sha256 == wanted.files[path]
    return not wanted.patched.get(path) or one.sha256 in wanted.patched[path]


def proof(host: str, facts: NodeFacts | None, repository: str, digest: str, why: str = "") -> Check:
    """What a node says of its own self-test of this very image; `why` it could not be asked."""
    name = f"self-test.{host}"
    if facts is None:
        return Check(name, NOT_CHECKED, f"the node could not be asked: {why}")
    if digest in facts.self_tested(repository):
        return Check(name, PASSED, "it passed on this node, which keeps a proof of it")
    where = "the node has the image, and" if digest in facts.digests(repository) else "the node has not the image:"
    return Check(name, NOT_CHECKED, f"{where} no self-test passed there", hint="`up` runs it before a first start")


def self_test(result: Result) -> Check:
    """A self-test that was run here."""
    said = judge(result)
    if said.problem:
        return Check("self-test", FAILED, said.problem, "a self-test that passes", said.hint)
    return Check("self-test", PASSED, f"run here: {said.summary}")


def shown(lines: Collection[str]) -> str:
    """The first of many."""
    first = list(lines)[:SHOWN]
    return "; ".join(first) + (f"; and {len(lines) - len(first)} more" if len(lines) > len(first) else "")
