"""How an image was built, as the predicate of SLSA's provenance v1 in an in-toto statement. Pure; asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy import __version__
from deploy.image.order import Order
from deploy.supply.sbom import Wheel, oci
from deploy.supply.statement import PROVENANCE, Subject, statement

BUILD_TYPE = "urn:sglang-spark:build:append:v1"
"""docs/supply-chain.md says what its parameters are."""
LOCAL = "urn:sglang-spark:builder:local"
"""Somebody's own machine: nobody else vouches for what it says."""


@dataclass(frozen=True)
class Builder:
    """Who built: an address that names it, and one of this very build; "" where there is none."""

    id: str = LOCAL
    invocation: str = ""


def builder(environ: Mapping[str, str]) -> Builder:
    """GitHub Actions by the workflow's address, as its own variables name it; anything else is somebody's machine."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return Builder()
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    run, attempt = environ.get("GITHUB_RUN_ID", ""), environ.get("GITHUB_RUN_ATTEMPT", "1")
    workflow = environ.get("GITHUB_WORKFLOW_REF", f"{repository}/.github/workflows")
    return Builder(f"{server}/{workflow}", f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}")


@dataclass(frozen=True)
class Built:
    """What was built, on which base (NAME@DIGEST, as the image's labels say), and by whom."""

    subject: Subject
    base: str
    builder: Builder


def provenance(order: Order, wheels: Sequence[Wheel], built: Built) -> bytes:
    """The statement; the same for the same image and build."""
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"image": order.image.model_dump(mode="json")},
            "internalParameters": {"recipe": order.context.recipe, "reference": order.reference},
            "resolvedDependencies": [*_source(order), *_base(built.base), *map(_wheel, wheels)],
        },
        "runDetails": {
            "builder": {"id": built.builder.id, "version": {"sglang-spark": __version__}},
            **({"metadata": {"invocationId": built.builder.invocation}} if built.builder.invocation else {}),
        },
    }
    return statement(built.subject, PROVENANCE, predicate)


def _source(order: Order) -> list[dict[str, Any]]:
    """The project at its commit. Files that differ from that are of no commit, and it then has no digest."""
    source, revision = order.arguments["SOURCE"], order.arguments["REVISION"]
    if not source.startswith("https://"):
        return []
    commit = {"gitCommit": revision} if re.fullmatch("[0-9a-f]{40}", revision) else {}
    note = {} if commit else {"annotations": {"revision": revision}}
    return [{"uri": f"git+{source}", **({"digest": commit} if commit else {}), **note}]


def _base(base: str) -> list[dict[str, Any]]:
    name, _, digest = base.partition("@")
    return [{"uri": oci(name, digest), "digest": {"sha256": digest.removeprefix("sha256:")}}] if digest else []


def _wheel(one: Wheel) -> dict[str, Any]:
    return {"uri": f"pkg:pypi/{one.name}@{one.version}", "digest": {"sha256": one.sha256}, "name": one.file}
