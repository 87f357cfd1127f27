"""What a node has of an image: read from what its script prints."""

from __future__ import annotations

import pytest

from deploy.delivery.stock import Held, Stock, command, read
from tests.unit.delivery.samples import stock_text

ONE = {"tags": ["a/b:1"], "digests": ["a/b@sha256:11"], "layers": ["x", "y"]}


def test_an_image_that_was_pulled_is_known_by_its_layers_digests() -> None:
    assert read(stock_text(ONE)).images == (Held(("x", "y"), True),)


def test_an_image_without_a_digest_was_built_or_loaded_there() -> None:
    assert read(stock_text({**ONE, "digests": None})).images == (Held(("x", "y"), False),)


def test_a_loaded_image_stays_one_although_a_pull_gave_it_its_digest() -> None:
    assert read(stock_text({**ONE, "tags": ["a/b:loaded-0123"]})).images == (Held(("x", "y"), False),)


def test_common_layers_are_counted_from_the_bottom() -> None:
    node = Stock((Held(("x", "y", "z"), False), Held(("x",), True), Held(("y", "z"), True)))
    assert [node.unpacked(ids) for ids in (["x", "y", "q"], ["q"], ["x", "y", "z", "t"], [])] == [2, 0, 3, 0]
    assert [node.known(ids) for ids in (["x", "y", "q"], ["y", "z"], ["z"])] == [1, 2, 0]


@pytest.mark.parametrize(
    "said",
    [
        "Error response from daemon: manifest for a/b@sha256:00 not found: manifest unknown: manifest unknown",
        "Error response from daemon: failed to resolve reference a/b@sha256:00: a/b@sha256:00: not found",
    ],
)
def test_a_registry_that_does_not_have_what_nobody_has_may_be_used(said: str) -> None:
    assert read(stock_text(registry=said)).obstacle == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Error response from daemon: Get https://x/v2/: dial tcp: lookup x: no such host", "no such host"),
        ("Error response from daemon: unauthorized: authentication required", "unauthorized"),
        ("no answer in 15 s", "no answer"),
        ("", "not asked"),
    ],
)
def test_why_a_node_cannot_use_the_registry_is_kept(said: str, why: str) -> None:
    assert why in read(stock_text(registry=said)).obstacle


def test_python_and_the_image_store_are_seen() -> None:
    assert read(stock_text()).python
    assert not read(stock_text(python=False)).python
    assert not read(stock_text()).containerd
    assert read('store [["driver-type","io.containerd.snapshotter.v1"]]').containerd


def test_no_registry_is_tried_where_none_is_to_be_used() -> None:
    assert command("").argv[-1] == ""
    assert command("a/b").argv[-1] == "a/b@sha256:" + 64 * "0"
