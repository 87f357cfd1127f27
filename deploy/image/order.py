"""One build in full: its context, its reference and what its labels say. Reads files and asks git; builds nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.event import Note
from deploy.image.context import Context, build_context, reference
from deploy.image.dockerfile import labels, split_base
from deploy.image.revision import revision, source

RECIPE_LABEL = "io.sglang-spark.recipe"
BASE_DIGEST = "org.opencontainers.image.base.digest"
_OF_OCI = ("SOURCE", "REVISION", "VERSION")


@dataclass(frozen=True)
class Order:
    """What to build, from which base, for which platform (OS/ARCHITECTURE), under which REPOSITORY:TAG."""

    image: Image
    context: Context
    reference: str
    arguments: Mapping[str, str]

    def labels(self, digest: str) -> dict[str, str]:
        """All of the image's labels, on a base of this digest; "" where that never was in a registry."""
        own = {
            **{f"org.opencontainers.image.{name.lower()}": self.arguments[name] for name in _OF_OCI},
            RECIPE_LABEL: self.context.recipe,
        }
        return labels(self.image) | ({BASE_DIGEST: digest} if digest else {}) | own


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


def may_move(base: str, digest: str) -> Note | None:
    """A warning where the base is not pinned; `digest` is what it is now."""
    if split_base(base)[1]:
        return None
    advice = f"pin it with @{digest}" if digest else "it was never in a registry"
    return Note(f"{base} may change under its tag: {advice}", "warning")
