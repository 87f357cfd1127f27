"""The Dockerfile: the committed one is true, and no field can add a line to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cluster.load import load
from deploy.cluster.spec import Image
from deploy.errors import ConfigError
from deploy.image.context import recipe
from deploy.image.dockerfile import TREE, built_for, labels, quoted, render, split_base
from deploy.inside.check import BuiltFor

DIGEST = "sha256:" + "ab" * 32
GOLDEN = {
    "stock": Image(repository="ghcr.io/me/image"),
    "pinned": Image(
        base=f"registry.local:5000/base:v1@{DIGEST}",
        sglang='0.5.4 "x" $HOME \\',
        triton="3.6.0",
        repository="me/image",
        platform="linux/amd64",
    ),
    "tune": Image(repository="ghcr.io/me/image", nccl=None).with_tune,
}


def test_the_committed_dockerfile_is_what_the_committed_cluster_renders_to(root: Path) -> None:
    assert (root / "Dockerfile").read_text() == render(load(root / "cluster.yaml").cluster.image)


@pytest.mark.parametrize("case", GOLDEN)
def test_a_dockerfile_is_as_it_was_accepted(case: str, root: Path, request: pytest.FixtureRequest) -> None:
    path = root / "tests" / "golden" / "dockerfile" / f"{case}.Dockerfile"
    text = render(GOLDEN[case])
    if request.config.getoption("--golden-update"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_only_classic_instructions_are_used() -> None:
    text = render(GOLDEN["stock"])
    words = {line.split()[0] for line in text.splitlines() if line and line[0] not in "# "}
    assert words == {"FROM", "COPY", "RUN", "ARG", "ENV", "LABEL"}
    assert not re.search(r"<<|--mount|--link|--chmod", text)


def test_without_a_version_of_nccl_the_base_keeps_its_own() -> None:
    text = render(GOLDEN["stock"].model_copy(update={"nccl": None}))
    assert text.count("FROM ") == 1
    assert "pip" not in text


def test_the_tuning_layer_changes_nothing_below_it() -> None:
    """So the engine takes every layer of the image without it from its cache."""
    plain, tuning = (render(image) for image in (GOLDEN["stock"], GOLDEN["stock"].with_tune))
    layers = plain.partition("# `build` sets these;")[0].partition("FROM ")[2]
    stage, found, rest = tuning.partition(layers)
    assert found
    assert stage.count("FROM ") == 2
    assert [line for line in rest.splitlines() if line.startswith("COPY --from=")] == [
        "COPY --from=tuning /opt/sglang-spark-tune/ /opt/sglang-spark-tune/"
    ]
    assert "ray" not in plain


@pytest.mark.parametrize("sglang", ["0.5.4.post2", '0.5 "x" $HOME \\ \'', "0.5é"])
def test_the_self_test_reads_what_the_image_was_built_for(sglang: str) -> None:
    image = GOLDEN["stock"].model_copy(update={"sglang": sglang, "allow": ["unsafe-table"]})
    line = next(line for line in render(image).splitlines() if line.startswith("ENV "))
    name, _, value = line.removeprefix("ENV ").partition("=")
    found = BuiltFor.read({name: re.sub(r"\\(.)", r"\1", value[1:-1])})
    assert found == BuiltFor(sglang, "3.5.0", TREE, "2.30.7", "2.29.3", ("unsafe-table",))


def test_a_pinned_base_is_labelled_with_its_digest_and_an_unpinned_one_is_not() -> None:
    assert labels(GOLDEN["pinned"])["org.opencontainers.image.base.digest"] == DIGEST
    assert labels(GOLDEN["pinned"])["org.opencontainers.image.base.name"] == "registry.local:5000/base:v1"
    assert "org.opencontainers.image.base.digest" not in labels(GOLDEN["stock"])


def test_an_allowance_is_passed_to_the_patcher_and_labelled_and_changes_the_recipe(root: Path) -> None:
    stock, allowed = GOLDEN["stock"], GOLDEN["stock"].model_copy(update={"allow": ["unknown-base"] * 2})
    assert "--manifest patches --allow-unknown-base\n" in render(allowed)
    assert labels(allowed)["io.sglang-spark.allowed"] == "unknown-base"
    assert "--allow" not in render(stock)
    assert "allowed" not in render(stock)
    assert recipe(allowed, root) != recipe(stock, root)


@pytest.mark.parametrize(
    "base", ["a b", "a AS b", "$BASE", "--platform=x", "a@sha256:12", "a:", "a/B/c", "scratch\tx", "a:b@md5:00", "é"]
)
def test_a_base_that_is_no_reference_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match=r"image\.base"):
        split_base(base)


@pytest.mark.parametrize(
    "base", ["scratch", "lmsysorg/sglang:spark", "h:5000/a/b", f"h.io/a:b@{DIGEST}", f"a@{DIGEST}"]
)
def test_a_base_that_is_a_reference_is_taken_apart(base: str) -> None:
    name, digest = split_base(base)
    assert base == name + (f"@{digest}" if digest else "")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\x7f"), min_size=1))
def test_no_text_of_a_field_gets_out_of_its_label(text: str) -> None:
    rendered = render(Image(repository="a/b", sglang=text))
    plain = render(Image(repository="a/b", sglang="1"))
    assert rendered.count("\n") == plain.count("\n")
    assert re.fullmatch(r'"(?:[^"\\$]|\\["\\$])*"', quoted(text))
    assert re.sub(r"\\(.)", r"\1", quoted(text)[1:-1]) == text


def test_an_optional_set_of_patches_is_applied_told_and_labelled() -> None:
    image = GOLDEN["stock"].with_patches(("adaptive-moe",))
    text = render(image)
    assert "--manifest patches --with adaptive-moe\n" in text
    assert labels(image)["io.sglang-spark.patches"] == "adaptive-moe"
    environment = {"SGLANG_SPARK_BUILT_FOR": json.dumps(built_for(image))}
    assert BuiltFor.read(environment).patches == ("adaptive-moe",)
    assert BuiltFor.read({"SGLANG_SPARK_BUILT_FOR": json.dumps(built_for(GOLDEN["stock"]))}).patches == ()
