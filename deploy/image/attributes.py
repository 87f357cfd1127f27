"""What a Docker Engine says of an image, read. Pure; asking the engine is engine.py's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deploy.errors import BuildError


def label(attrs: Mapping[str, Any] | None, name: str) -> str:
    """Engines leave empty parts of Config out, and some leave Config out."""
    labels = ((attrs or {}).get("Config") or {}).get("Labels") or {}
    return str(labels.get(name, ""))


def digest_of(attrs: Mapping[str, Any], reference: str) -> str:
    """The digest under which this repository has the image, as far as this engine knows; else ""."""
    own = repository(reference)
    for known in attrs.get("RepoDigests") or []:
        name, _, digest = known.partition("@")
        if name == own:
            return str(digest)
    return ""


def repository(reference: str) -> str:
    """As an engine writes it: without tag and digest, and without Docker Hub's own names."""
    name = re.sub(r":[^:/]*$", "", reference.partition("@")[0])
    return name.removeprefix("docker.io/").removeprefix("library/")


def fits(attrs: Mapping[str, Any], platform: str) -> bool:
    """The variant counts only where both name one."""
    system, architecture, *variant = platform.split("/")
    known = attrs.get("Variant")
    if variant and known and variant[0] != known:
        return False
    return (attrs.get("Os"), attrs.get("Architecture")) == (system, architecture)


def misfit(what: str, attrs: Mapping[str, Any], platform: str) -> BuildError:
    found = f"{attrs.get('Os')}/{attrs.get('Architecture')}"
    return BuildError(f"{what} is for {found}, not for {platform}", "set image.platform to what the nodes are")
