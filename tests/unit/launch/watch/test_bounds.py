"""Restarts within bounds."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.cluster.spec import Watch
from deploy.launch.pulse import Pulse
from deploy.launch.watch.bounds import Go, Stop, Wait, decide
from tests.unit.launch.watch.scenes import GIB, pulse

HOUR = 3600.0
NODES: Mapping[int, Pulse | None] = {rank: pulse(rank, 1) for rank in range(2)}


def test_the_first_restart_may_begin() -> None:
    assert decide(Watch(), (), NODES) == Go(1, 3)


def test_three_in_six_hours_are_all() -> None:
    assert decide(Watch(), (HOUR, 2 * HOUR), NODES) == Go(3, 3)
    assert isinstance(decide(Watch(), (HOUR, 2 * HOUR, 5.9 * HOUR), NODES), Stop)
    assert decide(Watch(), (HOUR, 2 * HOUR, 6.1 * HOUR), NODES) == Go(3, 3)


def test_no_restarts_at_all_can_be_asked_for() -> None:
    assert decide(Watch(restarts=0), (), NODES) == Stop("no more restarts: watch.restarts is 0")


def test_a_node_below_its_memory_floor_is_waited_for() -> None:
    found = decide(Watch(), (), {**NODES, 1: pulse(1, 1, memory_available=3 * GIB)})
    assert found == Wait("the node of rank 1 has 3.0 GiB of memory, below 4.0 GiB")


def test_nodes_that_are_away_or_without_an_engine_are_waited_for_together() -> None:
    found = decide(Watch(), (), {0: None, 1: pulse(1, 1, docker_error="gone")})
    assert isinstance(found, Wait)
    assert found.text == "the node of rank 0 cannot be reached; the Docker Engine of rank 1 gives no answer"


def test_spent_restarts_end_it_though_a_node_is_away() -> None:
    assert isinstance(decide(Watch(restarts=1), (10.0,), {0: None}), Stop)
