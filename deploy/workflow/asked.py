"""What a cluster.yaml asks for once it is checked: flags that this SGLang takes, the image, secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.load import Document
from deploy.cluster.source import Problem
from deploy.cluster.spec import Cluster, Image
from deploy.image.context import recipe, reference
from deploy.launch.check import problems
from deploy.launch.flags import FlagTable
from deploy.launch.tables import table_for, versions
from deploy.patchset import added_choices

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Wanted:
    """The image that a cluster is to run: its reference (REPOSITORY:TAG) and recipe."""

    reference: str
    recipe: str


def checked(document: Document) -> Cluster:
    """The cluster, held against its SGLang version. Raises ConfigError with every mistake; contacts nothing."""
    document.source.refuse(problems(document.cluster, _table(document), added_choices(ROOT / "patches")))
    return document.cluster


def wanted_image(image: Image) -> Wanted:
    """What `build` would make of this image now. Raises ConfigError where a part is missing."""
    found = recipe(image, ROOT)
    return Wanted(reference(image, found), found)


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
