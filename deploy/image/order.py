"""One build in full: its context, its reference and what its labels say. Reads files and asks git; builds nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.context import Context, build_context, reference
from deploy.image.revision import revision, source

RECIPE_LABEL = "io.sglang-spark.recipe"


@dataclass(frozen=True)
class Order:
    """What to build, from which base, for which platform (OS/ARCHITECTURE), under which REPOSITORY:TAG."""

    image: Image
    context: Context
    reference: str
    arguments: Mapping[str, str]


def order(image: Image, root: Path) -> Order:
    """The build of this image from the project's folder. Raises ConfigError."""
    check_repository(image.repository)
    context = build_context(image, root)
    name = reference(image, context.recipe)
    arguments = {
        "SOURCE": source(root),
        "REVISION": revision(root, context.sources),
        "VERSION": name.rpartition(":")[2],
        "RECIPE": context.recipe,
    }
    return Order(image, context, name, arguments)


def check_repository(repository: str) -> None:
    """Raises ConfigError where no registry would take the name."""
    component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    if not re.fullmatch(rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{component}(?:/{component})*", repository):
        hint = "HOST/OWNER/NAME in lower case; put your own name in the place of OWNER"
        raise ConfigError(f"image.repository: {repository!r} is no name of a repository", hint)
