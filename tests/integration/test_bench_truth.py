"""Figures of `bench` against the stand-in as a process with a known pace; benchmarks/truth.py measures more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.truth import RATE, Row, measure, rows, stand_in
from deploy.bench.metrics import CHUNKS_AS_TOKENS
from deploy.bench.suite import Setting
from tests.integration.standin import site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SIZE = 4
BOUND = 0.1
"""Wider than the benchmark's own bound: other tests run on the same cores."""
TRIES = 3
"""Where those keep the server itself from its pace, its timings are not the known ones. Then it is measured again."""


def measured(url: str) -> tuple[list[Row], list[Row], Setting]:
    """All figures, those that are off, and the setting they were measured in."""
    cases, setting = measure(url, 1)
    found = [row for case in cases for row in rows(SIZE, case)]
    return found, [row for row in found if not row.wrong and row.error > BOUND], setting


def test_every_figure_is_true_and_counting_chunks_is_off_by_the_tokens_of_a_chunk(tmp_path: Path) -> None:
    with stand_in(site("0.5.4.post2", tmp_path / "site"), SIZE, tmp_path / "standin") as url:
        for _ in range(TRIES):
            found, off, setting = measured(url)
            if not off:
                break
    assert {row.figure for row in found} >= {"ttft_s", "decode_tok_s", "total_s", "tokens_per_chunk", "accept_length"}
    assert off == []
    wrong = [row for row in found if row.figure == CHUNKS_AS_TOKENS]
    assert len(wrong) == 4
    assert all(RATE / SIZE * 0.9 < row.reported < RATE / SIZE * 1.1 for row in wrong)
    assert (setting.facts.counts, setting.facts.flushes, setting.facts.limit) == (True, True, 32768)
