"""The bill of materials of an image: what it has over its base, as SPDX 2.3 in JSON. Pure; reads no layer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from deploy import __version__
from deploy.image.dockerfile import TREE
from deploy.image.order import Order
from deploy.registry.manifest import compact
from deploy.registry.name import parse
from deploy.supply.content import File
from deploy.supply.statement import Subject

MEDIA_TYPE = "application/spdx+json"
NONE = "NOASSERTION"
IMAGE, BASE, PROJECT, SGLANG = "SPDXRef-image", "SPDXRef-base", "SPDXRef-sglang-spark", "SPDXRef-sglang"
_TREE = f"{TREE.lstrip('/')}/"
_TABLES = "/fused_moe_triton/configs/"


@dataclass(frozen=True)
class Wheel:
    """A wheel whose files are in the image; `sha256` in hex is that of the wheel itself."""

    file: str
    sha256: str

    @property
    def name(self) -> str:
        return self.file.split("-")[0].replace("_", "-").lower()

    @property
    def version(self) -> str:
        return self.file.split("-")[1]


@dataclass(frozen=True)
class Bill:
    """What is billed: the image, its base (NAME@DIGEST), the files of the project's own layer by path, and when the
    image says it was made."""

    subject: Subject
    base: str
    files: Mapping[str, File]
    created: str


def sbom(order: Order, wheels: Sequence[Wheel], bill: Bill) -> bytes:
    """The document; the same for the same image."""
    patched = {path for path in bill.files if path.startswith(_TREE) and _TABLES not in path}
    ids = {path: f"SPDXRef-file-{number}" for number, path in enumerate(sorted(bill.files), 1)}
    parts = {PROJECT: sorted(set(bill.files) - patched), SGLANG: sorted(patched)}
    packages = [
        _image(order, bill),
        _base(bill.base),
        _project(order) | _analyzed(parts[PROJECT], bill),
        *([_sglang(order) | _analyzed(parts[SGLANG], bill)] if patched else []),
        *map(_wheel, wheels),
    ]
    held = [one["SPDXID"] for one in packages[2:]]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE), (IMAGE, "DESCENDANT_OF", BASE)]
    relations += [(IMAGE, "CONTAINS", one) for one in held]
    relations += [(package, "CONTAINS", ids[path]) for package, paths in parts.items() for path in paths]
    return compact(_document(bill, packages, [_file(path, bill.files[path], ids[path]) for path in ids], relations))


def _document(
    bill: Bill, packages: Sequence[Any], files: Sequence[Any], relations: Iterable[tuple[str, str, str]]
) -> dict[str, Any]:
    # Other contents under one address would be another document under the name of this one.
    content = hashlib.sha256(compact({"packages": packages, "files": files})).hexdigest()
    names = ("spdxElementId", "relationshipType", "relatedSpdxElement")
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{bill.subject.name}@{bill.subject.digest}",
        "documentNamespace": f"https://spdx.org/spdxdocs/sglang-spark-{content}",
        "comment": "What the image has over its base. What is in the base itself is not listed.",
        "creationInfo": {"created": seconds(bill.created), "creators": [f"Tool: sglang-spark-{__version__}"]},
        "packages": packages,
        "files": files,
        "relationships": [dict(zip(names, one, strict=True)) for one in relations],
    }


def _image(order: Order, bill: Bill) -> dict[str, Any]:
    digest = bill.subject.digest
    return {
        **_package(IMAGE, bill.subject.name, order.arguments["VERSION"]),
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest.removeprefix("sha256:")}],
        "externalRefs": [_purl(oci(bill.subject.name, digest))],
    }


def _base(base: str) -> dict[str, Any]:
    name, _, digest = base.partition("@")
    known = [_purl(oci(name, digest))] if digest else []
    return {
        **_package(BASE, name, digest or NONE),
        "primaryPackagePurpose": "CONTAINER",
        **({"externalRefs": known} if known else {}),
    }


def _project(order: Order) -> dict[str, Any]:
    """Kernel tables, the self-test, and the sources of the patches."""
    source, revision = order.arguments["SOURCE"], order.arguments["REVISION"]
    known = re.fullmatch(r"https://.+", source)
    place = f"git+{source}@{revision}" if known and re.fullmatch("[0-9a-f]{40}", revision) else NONE
    return {**_package(PROJECT, "sglang-spark", revision, place), "licenseDeclared": "MIT"}


def _sglang(order: Order) -> dict[str, Any]:
    return {
        **_package(SGLANG, "sglang", order.image.sglang),
        "licenseDeclared": "Apache-2.0",
        "comment": "The files of SGLang that are changed or added here; the others are the base's.",
        "externalRefs": [_purl(f"pkg:pypi/sglang@{quote(order.image.sglang)}")],
    }


def _wheel(one: Wheel) -> dict[str, Any]:
    return {
        **_package(f"SPDXRef-wheel-{re.sub('[^A-Za-z0-9.-]', '-', one.name)}", one.name, one.version),
        "packageFileName": one.file,
        "checksums": [{"algorithm": "SHA256", "checksumValue": one.sha256}],
        "externalRefs": [_purl(f"pkg:pypi/{one.name}@{quote(one.version)}")],
    }


def _package(of: str, name: str, version: str, place: str = NONE) -> dict[str, Any]:
    said = dict.fromkeys(("licenseConcluded", "licenseDeclared", "copyrightText"), NONE)
    return {
        "SPDXID": of,
        "name": name,
        "versionInfo": version,
        "downloadLocation": place,
        "filesAnalyzed": False,
        **said,
    }


def _analyzed(paths: Sequence[str], bill: Bill) -> dict[str, Any]:
    """A package whose files are all listed, and the checksum over theirs that SPDX wants for it."""
    sums = "".join(sorted(bill.files[path].sha1 for path in paths))
    code = hashlib.sha1(sums.encode(), usedforsecurity=False).hexdigest()
    return {
        "filesAnalyzed": True,
        "packageVerificationCode": {"packageVerificationCodeValue": code},
        "licenseInfoFromFiles": [NONE],
    }


def _file(path: str, one: File, of: str) -> dict[str, Any]:
    return {
        "SPDXID": of,
        "fileName": f"./{path}",
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": one.sha1},
            {"algorithm": "SHA256", "checksumValue": one.sha256},
        ],
        "licenseConcluded": NONE,
        "licenseInfoInFiles": [NONE],
        "copyrightText": NONE,
    }


def oci(name: str, digest: str) -> str:
    """The package URL of an image in a registry."""
    found = parse(name)
    where = quote(f"{found.host}/{found.repository}", safe="")
    return f"pkg:oci/{found.repository.rpartition('/')[2]}@{quote(digest, safe='')}?repository_url={where}"


def _purl(text: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": text}


def seconds(moment: str) -> str:
    """A time of RFC 3339 as SPDX wants it: in UTC, without fractions."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
