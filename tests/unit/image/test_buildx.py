"""What `docker buildx` is told. That it does so is for a machine that has it."""

from __future__ import annotations

import re

import pytest

from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.buildx import argv
from deploy.image.context import Context
from deploy.image.dockerfile import render
from deploy.image.order import Order
from deploy.workflow.image import chosen

DIGEST = "sha256:" + "1" * 64
ORDER = Order(
    Image(base=f"it:x@{DIGEST}", repository="ghcr.io/me/image"),
    Context({}, "0" * 64),
    "ghcr.io/me/image:tag",
    {"RECIPE": "0" * 64},
)


def test_the_command_takes_the_context_from_its_input_and_makes_one_manifest() -> None:
    words = argv(ORDER, "m.json", again=True, push=True)
    assert words[:3] == ("docker", "buildx", "build")
    assert words[-1] == "-"
    assert {"--provenance=false", "--push", "--no-cache", f"RECIPE={'0' * 64}"} <= set(words)
    assert words[words.index("--platform") + 1] == "linux/arm64"
    assert words[words.index("--label") + 1] == f"org.opencontainers.image.base.digest={DIGEST}"
    assert "--load" in argv(ORDER, "m.json", again=False, push=False)


@pytest.mark.parametrize(
    ("named", "into_registry", "engine"),
    [(None, True, "append"), (None, False, "docker"), ("docker", True, "docker"), ("buildx", False, "buildx")],
)
def test_the_engine_follows_from_where_the_image_goes(named: str | None, into_registry: bool, engine: str) -> None:
    assert chosen(named, into_registry=into_registry) == engine


def test_append_has_nowhere_to_go_without_a_registry() -> None:
    with pytest.raises(ConfigError, match="writes into the registry") as caught:
        chosen("append", into_registry=False)
    assert "--push" in caught.value.hint


def test_labels_are_those_of_the_dockerfile_and_the_bases_digest() -> None:
    order = Order(ORDER.image, ORDER.context, ORDER.reference, dict.fromkeys(("SOURCE", "REVISION", "VERSION"), "x"))
    block = render(order.image).rpartition("\nLABEL ")[2]
    assert set(order.labels("")) == set(re.findall(r"^\s*([\w.-]+)=", block, re.MULTILINE))
    assert order.labels("sha256:x")["org.opencontainers.image.base.digest"] == "sha256:x"
