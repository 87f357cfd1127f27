"""The script of a start: its order for either engine, its progress, and its batch sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.lab.standin.start import Plan, batch_sizes, order, script
from tests.gpu.milestones import milestones

PLAN = Plan(
    "0.5.4", head=True, eagle=True, shards=True, batches=(1, 2), tables=("Using MoE kernel config from /t/a.json.",)
)
GRAPHS = {"0.5.4": ["", "draft", "draft extend"], "0.5.14": ["", "draft decode", "draft extend"]}


def told(plan: Plan) -> list[str]:
    """All lines of a script."""
    return [line for step in script(plan) for line in step.lines]


def names(plan: Plan) -> list[str]:
    """The milestones of a script."""
    return [one.name for one in milestones((0.0, line) for line in told(plan))]


def test_0_5_4_captures_the_models_graphs_before_it_loads_the_draft() -> None:
    assert names(PLAN).index("graph-begin") < [i for i, name in enumerate(names(PLAN)) if name == "load-begin"][1]


def test_0_5_14_loads_the_draft_before_it_captures_any_graph() -> None:
    found = names(replace(PLAN, engine="0.5.14"))
    assert found.index("graph-begin") > [i for i, name in enumerate(found) if name == "load-begin"][1]


@pytest.mark.parametrize("engine", ["0.5.4", "0.5.14"])
def test_rank_0_captures_three_graphs_with_eagle_and_one_without(engine: str) -> None:
    plan = replace(PLAN, engine=engine)
    found = milestones((0.0, line) for line in told(plan))
    assert [one.detail for one in found if one.name == "graph-begin"] == GRAPHS[engine]
    assert names(replace(plan, eagle=False)).count("graph-begin") == 1
    assert names(replace(plan, eagle=False)).count("load-end") == 1


def test_workers_of_0_5_14_do_not_speak_of_the_drafts_graphs() -> None:
    assert names(replace(PLAN, engine="0.5.14", head=False)).count("graph-end") == 1
    assert names(replace(PLAN, head=False)).count("graph-end") == 3


def test_only_rank_0_shows_progress_and_only_where_there_are_weights() -> None:
    shards = [line for line in told(PLAN) if "checkpoint shards" in line]
    assert shards[0].startswith("Loading safetensors checkpoint shards:   0% Completed | 0/92 ")
    assert any("100% Completed | 92/92" in line for line in shards)
    assert "shards" not in names(replace(PLAN, head=False))
    assert "shards" not in names(replace(PLAN, shards=False))


def test_the_shares_of_a_start_add_up_to_the_whole_time() -> None:
    assert sum(step.share for step in script(PLAN)) == pytest.approx(1, abs=0.1)


def test_every_wait_has_a_name_of_its_own() -> None:
    waits = [step.wait for step in script(PLAN) if step.wait]
    assert len(waits) == len(set(waits)) > 4


@pytest.mark.parametrize(
    ("version", "expected"), [("0.5.4.post2", "0.5.4"), ("0.5.14", "0.5.14"), ("unknown", "0.5.4")]
)
def test_a_version_has_its_order(version: str, expected: str) -> None:
    assert order(version) == expected


def test_batch_sizes_follow_sglangs_lists() -> None:
    assert batch_sizes(True, 16, 64) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    assert batch_sizes(True, 512, 64)[-3:] == [56, 60, 64]
    assert batch_sizes(False, 512, 20) == [1, 2, 4, 8, 12, 16, 20]
