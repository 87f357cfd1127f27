"""Phases from log lines, and the gang's verdict."""

from __future__ import annotations

import pytest

from deploy.launch.gang import Gang, verdict
from deploy.launch.health import KEPT_LINES, Gone, Healthy, Line, Observation, RankState, observe

START = [
    ("[2026-01-01 00:00:00 TP2] Init torch distributed begin.", "starting", ""),
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


def test_the_first_to_go_is_named_with_its_last_lines() -> None:
    gang = fold(
        Line(1, "Traceback"),
        Line(1, "RuntimeError: no memory"),
        Gone(1, 1, "", "2026-01-01T00:00:01Z"),
        Gone(0, 137, "", "2026-01-01T00:00:03Z"),
    )
    text = verdict(gang, "sparks")
    assert text.startswith("sparks: rank 1 exited with code 1; its last lines:")
    assert "RuntimeError: no memory" in text


def test_the_first_to_go_is_told_by_the_clock_and_not_by_who_is_noticed_first() -> None:
    followed = Gone(1, 137, "", "2026-01-01T00:00:08.12Z")
    gang = fold(Gone(0, None, "its log broke off"), followed, Gone(2, 3, "", "2026-01-01T00:00:08.1Z"), size=3)
    assert [one.rank for one in gang.gone] == [2, 1, 0]
    assert "rank 2 exited with code 3" in verdict(gang, "x")


def test_a_gang_with_one_gone_is_never_ready() -> None:
    assert not fold(Healthy(0), Healthy(1), Gone(0, 0), Healthy(0)).ready


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        (Gone(0, 137, "out of memory"), "rank 0 exited with code 137 (out of memory)"),
        (Gone(0, None, "the connection is lost"), "rank 0 can no longer be seen (the connection is lost)"),
    ],
)
def test_the_ending_says_how(gone: Gone, text: str) -> None:
    assert text in verdict(fold(gone), "x")


def test_a_timeout_says_where_each_rank_stood() -> None:
    gang = fold(Healthy(0), Line(1, "Load weight begin."))
    assert verdict(gang, "sparks") == "sparks: not ready in time: rank 1 weights"


def test_only_the_last_lines_are_kept() -> None:
    gang = fold(*(Line(0, str(number)) for number in range(1000)))
    assert gang.ranks[0].lines == tuple(str(number) for number in range(1000 - KEPT_LINES, 1000))
