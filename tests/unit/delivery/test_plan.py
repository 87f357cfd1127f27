"""How an image comes to each node, planned from what the nodes have."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from deploy.cluster.load import load
from deploy.delivery import plan
from deploy.delivery.plan import Share, brought, shares
from deploy.launch.plan import up
from tests.unit.delivery.samples import CONTENTS, REPOSITORY, parcel, stock
from tests.unit.launch.samples import GOLDEN, sparks

CLUSTER = load(GOLDEN / "four-sparks" / "cluster.yaml").cluster
IMAGE = parcel()
DIGEST = IMAGE.image.partition("@")[2]
TOP, WHOLE = len(CONTENTS[2]) + IMAGE.wrapping, sum(map(len, CONTENTS)) + IMAGE.wrapping
ALL = (0, 1, 2, 3)


@pytest.fixture(autouse=True)
def _small_images_are_worth_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WORTH_COPYING", 500_000)


def test_a_node_with_the_base_pulls_the_new_layer_alone() -> None:
    assert shares(IMAGE, {0: stock(2)}, (0,), direct=False) == {0: Share(False, TOP)}


def test_a_node_without_a_way_to_the_registry_gets_it_directly() -> None:
    refused = stock(2, obstacle="no such host")
    assert shares(IMAGE, {0: refused}, (0,), direct=False) == {0: Share(True, TOP, why="no such host")}
    assert shares(IMAGE, {0: stock(2)}, (0,), direct=True) == {0: Share(True, TOP)}


def test_layers_that_were_loaded_are_not_sent_again() -> None:
    assert shares(IMAGE, {0: stock(2, pulled=False)}, (0,), direct=False) == {0: Share(True, TOP, archive=2)}
    assert shares(IMAGE, {0: stock(3, pulled=False)}, (0,), direct=False) == {0: Share(True, IMAGE.wrapping, archive=3)}


def test_without_python_an_archive_cannot_be_fetched() -> None:
    found = shares(IMAGE, {0: stock(2, pulled=False, python=False)}, (0,), direct=False)
    assert found == {0: Share(False, WHOLE)}


def test_a_base_that_nobody_has_comes_from_outside_once() -> None:
    found = shares(IMAGE, dict.fromkeys(ALL, stock()), ALL, direct=False)
    assert found[0] == Share(False, WHOLE)
    assert {rank: one.source for rank, one in found.items()} == {0: None, 1: 0, 2: 0, 3: 0}


def test_a_base_comes_from_a_node_that_has_it_or_the_whole_image() -> None:
    stocks = {0: stock(), 1: stock(), 2: stock(2), 3: stock(2)}
    found = shares(IMAGE, stocks, ALL, direct=True)
    assert {rank: one.source for rank, one in found.items()} == {0: 2, 1: 2, 2: None, 3: None}
    holder = shares(IMAGE, stocks | {3: stock(3)}, (0, 1, 2), direct=True)
    assert {rank: one.source for rank, one in holder.items()} == {0: 3, 1: 3, 2: None}


def test_a_node_without_python_neither_sends_nor_takes() -> None:
    stocks = {0: stock(python=False), 1: stock(), 2: stock(2, python=False), 3: stock()}
    found = shares(IMAGE, stocks, ALL, direct=False)
    assert {rank: one.source for rank, one in found.items()} == {0: None, 1: None, 2: None, 3: 1}


def test_what_is_little_is_never_copied() -> None:
    found = shares(IMAGE, {0: stock(1), 1: stock(1), 2: stock(3)}, (0, 1), direct=False)
    assert [one.source for one in found.values()] == [None, None]


KINDS = [stock(), stock(2), stock(2, pulled=False), stock(3), stock(python=False), stock(2, obstacle="unauthorized")]


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("kinds", list(product(KINDS, repeat=3)))
def test_every_node_that_lacks_the_image_has_one_whole_way_to_it(kinds: tuple[object, ...], direct: bool) -> None:
    stocks = dict(enumerate(kinds)) | {3: stock(2)}
    lacking = (0, 1, 3)  # what node 2 has is not asked for
    found = shares(IMAGE, stocks, lacking, direct=direct)  # type: ignore[arg-type]
    assert tuple(found) == lacking
    steps = brought(CLUSTER, IMAGE, sparks(CLUSTER), found).steps
    pulled = [rank for step in steps if step.title == "pull" for rank in step.commands]
    assert sorted(pulled) == list(lacking), "each pulls by digest once"
    seen: set[int] = {2}
    for step in steps:
        if step.title == "copy":
            source = next(iter(step.commands))
            assert source in seen, "nobody sends what it does not have"
        seen |= set(step.commands) if step.title == "pull" else set()
    for rank, share in found.items():
        assert share.source is None or (stocks[share.source].python and stocks[rank].python)  # type: ignore[attr-defined]
        assert IMAGE.wrapping <= share.size <= WHOLE
        assert share.direct or not direct
        assert share.direct or not stocks[rank].obstacle  # type: ignore[attr-defined]


def test_the_steps_of_a_delivery_are_commands_with_the_digest_in_every_pull() -> None:
    stocks = {0: stock(2), 1: stock(2, obstacle="refused"), 2: stock(2, pulled=False), 3: stock()}
    facts = sparks(CLUSTER)
    facts[1] = replace(facts[1], listening=frozenset({22, 27100}))
    found = brought(CLUSTER, IMAGE, facts, shares(IMAGE, stocks, ALL, direct=False))
    assert [(step.title, sorted(step.commands)) for step in found.steps] == [
        ("load", [2]), ("pull", [0, 1, 2]), ("copy", [0, 3]), ("pull", [3]),
    ]  # fmt: skip
    pull = found.steps[1].commands
    assert pull[0].argv == ("docker", "pull", IMAGE.image)
    assert pull[1].argv == ("docker", "pull", f"127.0.0.1:27101/{REPOSITORY}@{DIGEST}"), "27100 is in use there"
    assert pull[2].argv[-2:] == (f"127.0.0.1:27100/{REPOSITORY}@{DIGEST}", f"{REPOSITORY}:loaded-{DIGEST[7:19]}")
    assert found.steps[0].commands[2].argv[-1] == "http://127.0.0.1:27100/archive/2"
    send, take = found.steps[2].commands[0], found.steps[2].commands[3]
    fabric = CLUSTER.nodes[0].fabric
    assert send.argv[-7:] == ("send", fabric, "27300", "1", "docker", "save", IMAGE.image)
    assert take.argv[-6:] == ("receive", fabric, "27300", "1", "docker", "load")
    assert found.told == {
        0: "pull, 0.00 MB from the registry",
        1: "direct, 0.00 MB over SSH, since its Docker Engine cannot use the registry: refused",
        2: "direct, 0.00 MB over SSH, as an archive",
        3: f"copy, 1.00 MB compressed, from {CLUSTER.nodes[0].host} over the fabric",
    }


def test_a_rank_runs_the_image_by_the_name_that_its_node_knows_and_its_label_says_the_digest() -> None:
    facts = sparks(CLUSTER)
    coming = brought(CLUSTER, IMAGE, facts, shares(IMAGE, dict.fromkeys(ALL, stock(2)), ALL, direct=True))
    lent = f"127.0.0.1:27100/{REPOSITORY}@{DIGEST}"
    before = up(CLUSTER, IMAGE.image, facts, {"HF_TOKEN": "x"}, coming)
    assert before.delivery == coming.told
    there = tuple((name, DIGEST) for name in (f"127.0.0.1:27100/{REPOSITORY}",))
    after = up(CLUSTER, IMAGE.image, [replace(one, images=there) for one in facts], {"HF_TOKEN": "x"})
    assert before.steps[-1] == after.steps[-1], "a second run starts the same containers"
    start = before.steps[-1].commands[0].argv
    assert lent in start
    assert f"io.sglang-spark.digest={DIGEST}" in start
    pulled = up(
        CLUSTER, IMAGE.image, [replace(one, images=((REPOSITORY, DIGEST),)) for one in facts], {"HF_TOKEN": "x"}
    )
    label = [word for word in start if word.startswith("io.sglang-spark.launch=")]
    assert label == [w for w in pulled.steps[-1].commands[0].argv if w.startswith("io.sglang-spark.launch=")]
