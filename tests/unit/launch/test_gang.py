"""Phases from log lines, and the gang's verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.launch.gang import Gang, verdict
from deploy.launch.health import KEPT_LINES, Healthy, Line, Observation, RankState, observe
from deploy.launch.node import RunningRank
from deploy.launch.pulse import Pulse, Silent

GIB = 1 << 30

START = [
    ("[2026-01-01 00:00:00 TP2] Init torch distributed begin.", "joining", ""),
    ("[2026-01-01 00:00:01 TP2] Init torch distributed ends. elapsed=1.04 s", "joined", ""),
    ("[2026-01-01 00:00:01 TP2] Load weight begin. avail mem=110.00 GB", "weights", ""),
    ("Loading safetensors checkpoint shards:  42% Completed | 39/92 [00:31<00:43,  1.23it/s]", "weights", "42 %"),
    ("[2026-01-01 00:10:00 TP2] Load weight end. elapsed=600 s", "weights", "42 %"),
    ("[2026-01-01 00:10:01 TP2] Capture cuda graph begin. This can take up to several minutes.", "graphs", ""),
    ("[2026-01-01 00:10:02 TP2] Load weight begin. avail mem=20.00 GB", "graphs", ""),
    ("[2026-01-01 00:10:03 TP2] Capture draft cuda graph begin.", "graphs", ""),
]


def fold(*seen: Observation, size: int = 2) -> Gang:
    gang = Gang.of(size)
    for one in seen:
        gang = gang.after(one)
    return gang


def test_phases_follow_the_log_and_never_go_back() -> None:
    state = RankState()
    for text, phase, detail in START:
        state = observe(state, Line(2, text))
        assert (state.phase, state.detail) == (phase, detail), text


def test_newer_versions_name_the_graph_they_capture() -> None:
    assert (
        observe(RankState(), Line(0, "Capture target verify CUDA graph begin. num_tokens_per_bs=8")).phase == "graphs"
    )


def test_ready_needs_every_rank() -> None:
    assert not fold(Healthy(0)).ready
    assert fold(Healthy(0)).waiting == (1,)
    assert fold(Healthy(0), Healthy(1)).ready


def test_a_line_after_ready_does_not_unmake_it() -> None:
    assert fold(Healthy(0), Line(0, "Load weight begin."), Healthy(1)).ready


def pulse(rank: int, at: float, state: str = "running", **more: Any) -> Pulse:
    """A pulse of a node whose clock is 100 s ahead of this machine's monotonic one; `ended` is by its clock."""
    ended = more.pop("ended", 0)
    since = f"1970-01-01T00:{ended // 60:02}:{ended % 60:02}Z"
    found = RunningRank(f"rank{rank}", rank, "sparks", "", "", state, since, more.pop("code", 0), **more)
    return Pulse(rank, at, at + 100, 64 * GIB, (found,) if state else ())


def started(*seen: Observation, size: int = 2) -> Gang:
    gang = Gang.of(size).expecting(range(size), running=True)
    for one in seen:
        gang = gang.after(one)
    return gang


def test_the_first_to_go_is_named_with_its_last_lines() -> None:
    gang = started(
        Line(1, "Traceback"),
        Line(1, "RuntimeError: no memory"),
        pulse(1, 5.0, "exited", code=1, ended=101),
        pulse(0, 6.0, "exited", code=137, ended=103),
    )
    text = verdict(gang, "sparks")
    assert text.startswith("sparks: rank 1 exited with code 1; its last lines:")
    assert "RuntimeError: no memory" in text


def test_the_first_to_go_is_told_by_the_clock_and_not_by_who_is_noticed_first() -> None:
    gang = started(
        pulse(1, 10.0, "exited", code=137, ended=108),
        pulse(2, 11.0, "exited", code=3, ended=107),
        Silent(0, 12.0, "its pulse ended"),
        size=3,
    )
    assert [one.rank for one in gang.gone] == [2, 1, 0]
    assert "rank 2 exited with code 3" in verdict(gang, "x")


def test_a_rank_that_tells_of_a_lost_peer_did_not_go_first() -> None:
    followed = Line(0, "RuntimeError: [gloo/transport/tcp/pair.cc] Connection closed by peer [192.168.101.12]:50000")
    gang = started(followed, pulse(0, 10, "exited", ended=108, code=137), pulse(1, 10, "exited", ended=109, code=3))
    assert [one.rank for one in gang.gone] == [1, 0]
    assert "rank 1 exited with code 3" in verdict(gang, "sparks")


def test_clocks_of_nodes_may_differ() -> None:
    ahead = replace(pulse(0, 10.0, "exited", code=1, ended=170), clock=172.0)
    gang = started(pulse(1, 10.0, "exited", code=137, ended=109), ahead)
    assert [one.rank for one in gang.gone] == [0, 1]


def test_a_gang_with_one_gone_is_never_ready() -> None:
    assert not started(Healthy(0), Healthy(1), Silent(0, 1.0, "away"), Healthy(0)).ready


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (pulse(0, 1.0, "exited", code=137, out_of_memory=True), "rank 0 exited with code 137 (out of memory)"),
        (pulse(0, 1.0, "paused"), "rank 0 is lost: its container is paused"),
        (pulse(0, 1.0, "restarting"), "rank 0 is lost: its container is restarting"),
        (pulse(0, 1.0, ""), "rank 0 is lost: its container is not there any more"),
        (Silent(0, 1.0, "the node has not answered for 8 s"), "rank 0 is lost: the node has not answered for 8 s"),
    ],
)
def test_the_ending_says_how(seen: Observation, text: str) -> None:
    assert text in verdict(started(seen), "x")


def test_a_container_is_judged_by_what_was_looked_at_after_its_start() -> None:
    gang = Gang.of(1).after(pulse(0, 1.0, "exited")).after(pulse(0, 2.0, "")).expecting([0])
    before = gang.after(pulse(0, 3.0, "exited"))
    assert not before.gone
    assert before.after(pulse(0, 4.0, "exited")).gone


def test_an_engine_is_given_a_moment() -> None:
    deaf = [Pulse(0, at, at, 64 * GIB, docker_error="Cannot connect to the Docker daemon") for at in (1.0, 2.0, 3.0)]
    gang = Gang.of(1).after(deaf[0]).after(deaf[1])
    assert not gang.gone
    assert "Cannot connect" in gang.after(deaf[2]).gone[0].reason
    assert not gang.after(pulse(0, 2.5)).after(deaf[2]).gone


def test_a_container_that_cannot_be_looked_at_is_not_absent() -> None:
    assert not started(Pulse(0, 1.0, 1.0, 64 * GIB, docker_error="a container could not be inspected")).gone


@pytest.mark.parametrize(("left", "low", "gone"), [(5.0, (), 0), (3.9, (0,), 0), (1.1, (0,), 0), (0.9, (), 1)])
def test_memory_under_the_floor_warns_and_under_a_quarter_of_it_ends(left: float, low: tuple[int], gone: int) -> None:
    seen = replace(pulse(0, 1.0), memory_available=int(left * GIB))
    gang = Gang.of(1, 4.0 * GIB).expecting([0], running=True).after(seen)
    assert (gang.low if not gone else (), len(gang.gone)) == (low, gone)
    assert not Gang.of(1, 4.0 * GIB).after(seen).low


def test_unknown_memory_is_not_low() -> None:
    gang = Gang.of(1, 4.0 * GIB).expecting([0], running=True).after(replace(pulse(0, 1.0), memory_available=0))
    assert (gang.low, gang.gone) == ((), ())


def test_a_rank_that_never_joined_is_named() -> None:
    begin = "[2026-01-01 00:00:00 TP0] Init torch distributed begin."
    text = verdict(fold(Line(0, begin), Line(1, begin), size=3), "sparks")
    assert "rank 2 never joined, and the others wait for that; rank 0 joining, rank 1 joining, rank 2 starting" in text
    assert "never joined" not in verdict(fold(size=2), "sparks")


def test_a_timeout_says_where_each_rank_stood() -> None:
    gang = fold(Healthy(0), Line(1, "Load weight begin."))
    assert verdict(gang, "sparks") == "sparks: not ready in time: rank 1 weights"


def test_only_the_last_lines_are_kept() -> None:
    gang = fold(*(Line(0, str(number)) for number in range(1000)))
    assert gang.ranks[0].lines == tuple(str(number) for number in range(1000 - KEPT_LINES, 1000))
