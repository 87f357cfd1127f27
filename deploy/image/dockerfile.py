"""The Dockerfile of an image, as text. Pure: what it copies is context.py's, building it is engine.py's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deploy.cluster.spec import Image
from deploy.errors import ConfigError

TEMPLATE = Path(__file__).with_name("Dockerfile.j2")
TREE = "/sgl-workspace/sglang/python"
"""Where the base keeps the folder that holds sglang/; SGLang is installed from there, editable."""
ALLOWED_LABEL = "io.sglang-spark.allowed"
"""On images that were built in spite of something, and on no other."""
_DIGEST = r"sha256:[0-9a-f]{64}"
_BASE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)*(:\w[\w.-]{0,127})?)(@(?P<digest>"
    + _DIGEST
    + "))?",
    re.ASCII,
)


def render(image: Image) -> str:
    """The Dockerfile for this image, ending with a newline. Raises ConfigError where `base` is no image reference."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    environment.filters["quoted"] = quoted
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(fields(image))


def fields(image: Image) -> dict[str, Any]:
    """What the template is filled with; the Dockerfile follows from it and the template. Raises ConfigError."""
    return {
        "base": image.base,
        "platform": image.platform,
        "triton": image.triton.replace(".", "_"),
        "tree": TREE,
        "allow": sorted(set(image.allow)),
        "labels": labels(image),
    }


def labels(image: Image) -> dict[str, str]:
    """The labels that follow from cluster.yaml alone."""
    name, digest = split_base(image.base)
    known = {
        "org.opencontainers.image.title": "sglang-spark",
        "org.opencontainers.image.description": f"SGLang {image.sglang} with GLM-4.7 tool calls and GB10 kernel tables",
        "org.opencontainers.image.licenses": "Apache-2.0 AND MIT",
        "org.opencontainers.image.base.name": name,
        "io.sglang-spark.sglang": image.sglang,
        "io.sglang-spark.triton": image.triton,
    }
    allowed = ",".join(sorted(set(image.allow)))
    return (
        known
        | ({"org.opencontainers.image.base.digest": digest} if digest else {})
        | ({ALLOWED_LABEL: allowed} if allowed else {})
    )


def split_base(base: str) -> tuple[str, str]:
    """(name with its tag, digest or ""). Raises ConfigError."""
    match = _BASE.fullmatch(base)
    if not match:
        hint = "an image reference: NAME:TAG, or NAME:TAG@sha256:DIGEST to pin it"
        raise ConfigError(f"image.base: {base!r} is no image reference", hint)
    return match["name"], match["digest"] or ""


def quoted(value: str) -> str:
    """A label's value in double quotes, in which the builder finds nothing to expand and no end."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'
