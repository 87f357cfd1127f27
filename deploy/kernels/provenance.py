"""Where a kernel table is from and what was proven of it, as the JSON beside it. Opens no file and proves nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deploy.kernels.finding import Finding, Target

FORMAT = 1
SUFFIX = ".provenance.json"
"""In the place of a table's `.json`. SGLang opens exact names alone, so it never reads such a file as a table."""
ORIGINS = ("tuned", "imported")
LOWERINGS = ("f16", "native")
_MAX = 1 << 20


class ProvenanceError(ValueError):
    """A file that is no provenance; the message says why in one line."""


@dataclass(frozen=True)
class Source:
    """Where an imported table was found: a folder, an archive, an image or a git repository, and the path in it."""

    kind: str
    place: str
    revision: str = ""
    path: str = ""


@dataclass(frozen=True)
class Proof:
    """What was found of the table: by the closed form (`fast`) or the compiler (`exact`); bytes of shared memory."""

    mode: str
    gpu: str
    largest: int
    limit: int
    entries: int
    runs: bool
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Of sglang, triton and ptxas, as far as they had a part in it."""
    lowering: str | None = None
    """What the fp8 dot became, by the compiler's word."""


@dataclass(frozen=True)
class Provenance:
    """`sha256` is the table's; `lowering` the one it was made for, None where that is not known; `made` is RFC 3339."""

    sha256: str
    origin: str
    how: str
    made: str = ""
    lowering: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    source: Source | None = None
    proofs: tuple[Proof, ...] = ()

    def to_json(self) -> str:
        """JSON text, the same for the same content."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"


def checksum(content: bytes) -> str:
    """What `Provenance.sha256` holds of a table's file."""
    return hashlib.sha256(content).hexdigest()


def file_name(table: str) -> str:
    """The name, or path, of a table's provenance."""
    return table.removesuffix(".json") + SUFFIX


def parse(content: bytes) -> Provenance:
    """The inverse of `to_json`. Raises ProvenanceError."""
    try:
        fields = json.loads(content[:_MAX].decode())
        if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
            raise ProvenanceError(f'has no "format": {FORMAT}')
        source, proofs = fields.pop("source", None), fields.pop("proofs", [])
        read = Provenance(**fields, source=Source(**source) if source else None, proofs=tuple(_proofs(proofs)))
    except (ValueError, TypeError, RecursionError) as error:
        raise ProvenanceError(f"is no provenance: {str(error).splitlines()[0][:120]}") from None
    wrong = [name for name, known in _KINDS.items() if not known(getattr(read, name))]
    if wrong:
        raise ProvenanceError(f"is no provenance: {', '.join(wrong)} cannot be so")
    return read


_KINDS: dict[str, Callable[[Any], bool]] = {
    "sha256": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
    "origin": lambda value: value in ORIGINS,
    "how": lambda value: isinstance(value, str),
    "made": lambda value: isinstance(value, str),
    "lowering": lambda value: value is None or value in LOWERINGS,
    "versions": lambda value: isinstance(value, dict),
}


def _proofs(found: list[dict[str, Any]]) -> Iterator[Proof]:
    for one in found:
        yield Proof(**one)


def provenance_findings(sha256: str, read: Provenance, target: Target) -> Iterator[Finding]:
    """What no longer holds of a table with that checksum; findings without a file."""
    if read.sha256 != sha256:
        message = f"its provenance is of another content ({read.sha256:.12}…, and the table is {sha256:.12}…)"
        hint = "the table was changed by hand: what the provenance says of it is not proven any more"
        yield Finding("warning", "provenance", message, hint)
    made_for = read.versions.get("triton")
    if made_for and made_for != target.triton:
        message = f"was made for Triton {made_for}, and Triton {target.triton} compiles other code"
        yield Finding("note", "made_for", message, "tune it anew for speed")
    if read.lowering and read.lowering != target.lowering:
        message = f"was made for an fp8 dot lowered to {read.lowering}, and here it is lowered to {target.lowering}"
        hint = "set kernels.native_fp8 in cluster.yaml to what it was made for, or tune it anew"
        yield Finding("warning", "lowering", message, hint)
