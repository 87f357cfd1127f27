"""The Dockerfile of an image, as text. Pure: what it copies is context.py's, building it is engine.py's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from deploy.cluster.grammar import BASE
from deploy.cluster.spec import OLDEST_NCCL, Image
from deploy.errors import ConfigError
from deploy.inside.check import VARIABLE

TEMPLATE = Path(__file__).with_name("Dockerfile.j2")
TUNE_TEMPLATE = Path(__file__).with_name("Dockerfile.tune.j2")
"""Extends the other; apart from it, so that no change here gives the image without tuning another tag."""
TREE = "/sgl-workspace/sglang/python"
"""Where the base keeps the folder that holds sglang/; SGLang is installed from there, editable."""
PINS = "deploy/image/wheels"
"""Each version of NCCL and of Ray has a folder here; pip finds the hashes of its wheels in the requirements.txt."""
KERNELS = tuple(
    f"deploy/kernels/{name}.py"
    for name in (
        *("__init__", "check", "coverage", "default", "entry", "files", "finding", "gpu", "memory", "name", "parse"),
        *("place", "provenance", "rules", "shape", "table"),
    )
)
"""What the self-test judges tables with."""
TUNING = "/opt/sglang-spark-tune"
"""Ray and what it needs, which PYTHONPATH leads to in the processes of `tune` alone."""
TUNING_MODULES = tuple(f"deploy/{name}.py" for name in ("errors", "group", "store", "wheel", "worker"))
TUNING_FOLDERS = ("deploy/kernels", "deploy/tune")
"""With the modules: what `tune` runs in the containers, beside what every image has."""
TUNING_STARTED = ("deploy.tune.node", "deploy.tune.crew", "deploy.tune.gpu.worker", "deploy.kernels.exact.worker")
"""Modules of it that processes begin with. They import torch and Triton only when they have work."""
ALLOWED_LABEL = "io.sglang-spark.allowed"
"""On images that were built in spite of something, and on no other."""
PATCHES_LABEL = "io.sglang-spark.patches"
"""The optional sets of patches/ in an image; on no image without one."""


def render(image: Image) -> str:
    """The Dockerfile for this image, ending with a newline. Raises ConfigError where `base` is no image reference."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["quoted"] = quoted
    return environment.get_template(templates(image)[-1].name).render(fields(image))


def templates(image: Image) -> tuple[Path, ...]:
    """What the Dockerfile is rendered from; each extends the one before it."""
    return (TEMPLATE, TUNE_TEMPLATE) if image.tune else (TEMPLATE,)


def fields(image: Image) -> dict[str, Any]:
    """What the template is filled with; the Dockerfile follows from it and the template. Raises ConfigError."""
    plain = {
        "base": image.base,
        "platform": image.platform,
        "triton": image.triton.replace(".", "_"),
        "tree": TREE,
        "nccl": image.nccl,
        "pins": PINS,
        "kernels": KERNELS,
        "variable": VARIABLE,
        "built_for": built_for_text(image),
        "allow": sorted(set(image.allow)),
        "patches": sorted(set(image.patches)),
        "labels": labels(image),
    }
    return plain | (_tuning(image) if image.tune else {})


def _tuning(image: Image) -> dict[str, Any]:
    """What the tuning layer's template is filled with beside."""
    return {
        "python": image.python,
        "ray": image.ray,
        "tuning": TUNING,
        "modules": TUNING_MODULES,
        "folders": TUNING_FOLDERS,
        "started": ("ray", *TUNING_STARTED),
    }


def built_for(image: Image) -> dict[str, Any]:
    """What the image's self-test holds it against."""
    allow = sorted(set(image.allow))
    words = {"sglang": image.sglang, "triton": image.triton, "tree": TREE, "nccl": image.nccl}
    patches = {"patches": sorted(set(image.patches))} if image.patches else {}
    return {**words, "oldest_nccl": OLDEST_NCCL, "allow": allow, **patches}


def built_for_text(image: Image) -> str:
    """The same as the value of a variable of the image."""
    return json.dumps(built_for(image), sort_keys=True)


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
        | ({"io.sglang-spark.ray": image.ray} if image.tune else {})
        | ({PATCHES_LABEL: ",".join(sorted(set(image.patches)))} if image.patches else {})
    )


def split_base(base: str) -> tuple[str, str]:
    """(name with its tag, digest or ""). Raises ConfigError."""
    if not re.fullmatch(BASE, base):
        hint = "an image reference: NAME:TAG, or NAME:TAG@sha256:DIGEST to pin it"
        raise ConfigError(f"image.base: {base!r} is no image reference", hint)
    name, _, digest = base.partition("@")
    return name, digest


def quoted(value: str) -> str:
    """A label's value in double quotes, in which the builder finds nothing to expand and no end."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'
