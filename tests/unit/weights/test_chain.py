"""Who gives the model to whom, from what each node has."""

from __future__ import annotations

from deploy.weights.plan import SPARE, Held, chain, described, known, obstacles
from tests.unit.weights.samples import COMMIT, MANIFEST, WHOLE, node

SHARD = MANIFEST.files[1]


def order(nodes: dict[int, Held], source: int | None = None) -> tuple[int, ...]:
    return chain(MANIFEST, nodes, "main", source, {}).order


def test_with_nothing_anywhere_the_first_node_takes_it_from_the_hub_and_all_others_from_the_one_before() -> None:
    found = chain(MANIFEST, {rank: node() for rank in range(4)}, "main", None, {})
    assert found.order == (0, 1, 2, 3)
    assert found.download == MANIFEST.size
    assert [found.before(rank) for rank in found.order] == [None, 0, 1, 2]
    assert set(found.missing.values()) == {MANIFEST.size}


def test_where_a_node_has_all_of_it_the_hub_gives_nothing() -> None:
    found = chain(MANIFEST, {0: node(), 1: node(*WHOLE, placed=True), 2: node()}, "main", None, {})
    assert found.order == (1, 0, 2)
    assert found.download == 0


def test_where_all_have_it_nothing_is_done() -> None:
    whole = node(*WHOLE, placed=True)
    assert order({0: whole, 1: whole}) == ()
    assert "every node has it" in described(MANIFEST, chain(MANIFEST, {0: whole}, "main", None, {}), {0: "spark0"})


def test_a_node_that_has_all_files_and_no_folder_for_them_is_visited() -> None:
    assert order({0: node(*WHOLE, placed=True), 1: node(*WHOLE)}) == (1,)


def test_who_has_more_goes_before_who_has_less() -> None:
    nodes = {0: node(), 1: node(*WHOLE[:2]), 2: node(*WHOLE[:3])}
    assert order(nodes) == (2, 1, 0)
    assert chain(MANIFEST, nodes, "main", None, {}).download == 0, "what the second lacks is empty"


def test_a_part_of_a_file_counts() -> None:
    found = chain(MANIFEST, {0: node(parts={SHARD.checksum: 100})}, "main", None, {})
    assert found.download == MANIFEST.size - 100


def test_the_node_that_is_named_asks_the_hub_but_not_where_another_has_the_model() -> None:
    assert order({0: node(), 1: node(), 2: node()}, source=2) == (2, 0, 1)
    assert order({0: node(*WHOLE, placed=True), 1: node(), 2: node()}, source=2)[0] == 0


def test_a_file_whose_content_is_bad_is_missing() -> None:
    whole = node(*WHOLE, placed=True)
    found = chain(MANIFEST, {0: whole, 1: whole}, "main", None, {0: {SHARD.checksum}})
    assert found.order == (1, 0)
    assert found.missing == {0: SHARD.size, 1: 0}


def test_where_room_or_rights_are_missing_every_such_node_is_named() -> None:
    nodes = {0: node(*WHOLE, placed=True), 1: node(free=SPARE + 10), 2: node(problem="/hub belongs to another user")}
    found = obstacles(chain(MANIFEST, nodes, "main", None, {}), nodes)
    assert sorted(found) == [1, 2]
    assert "free" in found[1]
    assert "another user" in found[2]


def test_a_node_that_lacks_little_needs_little_room() -> None:
    nodes = {0: node(*WHOLE[:2], free=SPARE + MANIFEST.files[2].size)}
    assert obstacles(chain(MANIFEST, nodes, "main", None, {}), nodes) == {}


def test_a_manifest_is_known_by_the_commit_or_by_what_names_it() -> None:
    nodes = [node(), node(*WHOLE, placed=True)]
    assert known(nodes, "main") == MANIFEST
    assert known(nodes, COMMIT) == MANIFEST
    assert known(nodes[:1], "main") is None


def test_a_dry_run_says_who_gets_what_from_whom() -> None:
    nodes = {0: node(), 1: node()}
    text = described(MANIFEST, chain(MANIFEST, nodes, "main", None, {}), {0: "spark0", 1: "spark1"})
    assert "spark0: 0.0 GiB from the hub" in text
    assert "spark1: 0.0 GiB from spark0, over the fabric" in text
