"""Names of images, as Docker reads them."""

from __future__ import annotations

import pytest

from deploy.errors import ConfigError
from deploy.registry.name import Name, parse

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ubuntu", Name("docker.io", "library/ubuntu")),
        ("lmsysorg/sglang:spark", Name("docker.io", "lmsysorg/sglang", "spark")),
        ("docker.io/lmsysorg/sglang", Name("docker.io", "lmsysorg/sglang")),
        ("index.docker.io/lmsysorg/sglang", Name("docker.io", "lmsysorg/sglang")),
        (f"ghcr.io/me/x:v1@{DIGEST}", Name("ghcr.io", "me/x", "v1", DIGEST)),
        ("localhost/x", Name("localhost", "x")),
        ("localhost:5000/a/b__c:T-1.x", Name("localhost:5000", "a/b__c", "T-1.x")),
        ("10.0.0.1:5000/x", Name("10.0.0.1:5000", "x")),
        ("[::1]:5000/x", Name("[::1]:5000", "x")),
        (f"x@{DIGEST}", Name("docker.io", "library/x", "", DIGEST)),
    ],
)
def test_a_name_is_read(text: str, name: Name) -> None:
    assert parse(text) == name
    assert parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", "/", "x/", "/x", "Upper", "x:", "x:a b", "x@", "x@sha256:12", f"x@{DIGEST}0", "x:a:b", "a//b", "x?y=z", "-x",
     "ghcr.io/x y", "host:5000/", "http://ghcr.io/x", "ghcr.io/../x", "x@sha512:" + "a" * 64, "é/x"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no name of an image"):
        parse(text)


def test_the_digest_says_more_than_the_tag_and_no_tag_is_latest() -> None:
    assert parse(f"x:v1@{DIGEST}").reference == DIGEST
    assert (parse("x:v1").reference, parse("x").reference) == ("v1", "latest")


def test_dockers_own_hub_is_left_out_of_a_bare_name() -> None:
    assert [parse(text).bare for text in ("x:v1", "a/x", "ghcr.io/a/x:1")] == ["x", "a/x", "ghcr.io/a/x"]
    assert str(parse("docker.io/library/x:v1")) == "x:v1"
