"""What a cluster.yaml asks for once it is checked: flags that this SGLang takes, the image's reference, secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.load import Document
from deploy.cluster.source import Problem
from deploy.cluster.spec import Cluster
from deploy.image.context import build_context, reference
from deploy.launch.check import problems
from deploy.launch.flags import FlagTable
from deploy.launch.tables import table_for, versions
from deploy.patchset import added_choices

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Asked:
    """A checked cluster, and the image that it is to run: its reference (REPOSITORY:TAG) and recipe."""

    cluster: Cluster
    reference: str
    recipe: str


def asked(document: Document) -> Asked:
    """Check a cluster against its SGLang version. Raises ConfigError with every mistake; contacts nothing."""
    cluster = document.cluster
    document.source.refuse(problems(cluster, _table(document), added_choices(ROOT / "patches")))
    context = build_context(cluster.image, ROOT)
    return Asked(cluster, reference(cluster.image, context), context.recipe)


def _table(document: Document) -> FlagTable:
    version = document.cluster.image.sglang
    if version not in versions():
        what = f"no table of flags for SGLang {version}; known: {', '.join(versions())}"
        document.source.refuse([Problem(("image", "sglang"), what)])
    return table_for(version)


def secrets(document: Document, environ: Mapping[str, str]) -> dict[str, str]:
    """The values of the secrets that cluster.yaml names. Raises ConfigError for every one that is not set."""
    names = document.cluster.secrets
    missing = [
        Problem(("secrets", i), f"{name} is not set in your shell")
        for i, name in enumerate(names)
        if name not in environ
    ]
    document.source.refuse(missing)
    return {name: environ[name] for name in names}
