"""What a cluster.yaml asks for once it is checked: flags that this SGLang takes, the image, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File

from deploy.cluster.load import Document
from deploy.cluster.source import Path, Problem
from deploy.cluster.spec import Cluster, Image
from deploy.image.context import recipe, reference
from deploy.launch.check import problems
from deploy.launch.flags import FlagTable
from deploy.launch.tables import table_for, versions
from deploy.patchset import Set, added_choices, in_image, sets

NOT_SET = "{0} is not set in your shell: `read -rs {0}; export {0}` sets it unseen"
KEY = re.compile(r"[!-~]+")
"""What goes through an HTTP header as it is."""
ROOT = File(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Wanted:
    """The image that a cluster is to run: its reference (REPOSITORY:TAG) and recipe."""

    reference: str
    recipe: str


def checked(document: Document) -> Cluster:
    """The cluster, held against its SGLang version. Raises ConfigError with every mistake; contacts nothing."""
    every = sets(ROOT / "patches")
    there = in_image(every, document.cluster.image.patches)
    table = _table(document).extended(flag for one in there for flag in one.new_flags)
    absent = {flag["name"]: one.name for one in every if one not in there for flag in one.new_flags}
    document.source.refuse(_sets(document, every))
    document.source.refuse(problems(document.cluster, table, added_choices(there), absent))
    return document.cluster


def _sets(document: Document, every: tuple[Set, ...]) -> Iterator[Problem]:
    """The names in image.patches that are no optional set's."""
    known = [one.name for one in every if one.optional]
    for place, name in enumerate(document.cluster.image.patches):
        if name not in known:
            what = f"{name!r} is no optional set of patches: {', '.join(known)}"
            yield Problem(("image", "patches", place), what)


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
    """The values that cluster.yaml names, the API key's too, by name. Raises ConfigError for each that is not set."""
    named: dict[Path, str] = {("secrets", i): name for i, name in enumerate(document.cluster.secrets)}
    missing = [Problem(path, NOT_SET.format(name)) for path, name in named.items() if name not in environ]
    document.source.refuse([*missing, *_key_problems(document.cluster, environ)])
    key = document.cluster.api_key
    return {name: environ[name] for name in (*named.values(), *([key] if key else []))}


def api_key(document: Document, environ: Mapping[str, str]) -> str:
    """The key that the API asks for; empty where it asks for none. Raises ConfigError where it is not set."""
    document.source.refuse(_key_problems(document.cluster, environ))
    return environ[document.cluster.api_key] if document.cluster.api_key else ""


def _key_problems(cluster: Cluster, environ: Mapping[str, str]) -> Iterator[Problem]:
    name = cluster.api_key
    if name and name not in environ:
        yield Problem(("api_key",), NOT_SET.format(name))
    elif name and not KEY.fullmatch(environ[name]):
        what = f"the value of {name} cannot be a key: letters, digits and other visible ASCII alone, and not empty"
        yield Problem(("api_key",), what)
