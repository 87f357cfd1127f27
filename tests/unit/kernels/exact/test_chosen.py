"""The tables that ship are what the rule says, and a pair."""

from __future__ import annotations

import pytest

from deploy.kernels import provenance
from deploy.kernels.exact import chosen
from deploy.kernels.exact.chosen import FILES, FOLDER, GLM, SIZES, Which, table, text
from deploy.kernels.exact.space import BATCHES
from deploy.kernels.gpu import GB10
from deploy.kernels.memory import shared_memory
from deploy.kernels.table import TOKENS

BOTH: tuple[Which, ...] = ("up", "down")
TWO_BLOCKS = (102_400 - 2 * 1024) // 2
"""Bytes a block where two share a multiprocessor: it has 100 KB, and each block costs 1 KB more."""


@pytest.mark.parametrize("gemm", BOTH)
def test_a_table_that_ships_is_what_the_rule_says(gemm: Which) -> None:
    kept = (FOLDER / FILES[gemm]).read_bytes()
    assert kept.decode() == text(gemm)
    beside = provenance.parse((FOLDER / provenance.file_name(FILES[gemm])).read_bytes())
    assert beside.sha256 == provenance.checksum(kept)
    assert (beside.origin, "No GB10 was measured" in beside.how) == ("chosen", True)
    assert [(proof.mode, proof.lowering, proof.runs) for proof in beside.proofs] == [
        ("exact", "f16", True),
        ("exact", "native", True),
    ]


def test_both_tables_have_the_same_rows_a_tile_at_every_batch_size() -> None:
    up, down = table("up"), table("down")
    assert all(
        up.entries[up.choose(tokens)].block_m == down.entries[down.choose(tokens)].block_m
        for span in (*up.spans, *down.spans)
        for tokens in (span.first, span.last)
    )
    assert up.spans[-1].last == TOKENS


@pytest.mark.parametrize("gemm", BOTH)
def test_two_blocks_of_every_entry_fit_a_multiprocessor_and_no_tile_is_padded_along_k(gemm: Which) -> None:
    matrices = next(one for one in GLM.gemms if one.name == gemm)
    for config in table(gemm).entries.values():
        assert shared_memory(config, matrices, GB10) <= TWO_BLOCKS
        assert matrices.k % config.block_k == 0
        assert matrices.n % config.block_n == 0


def test_the_batch_sizes_are_the_tuners_and_those_where_the_rule_changes() -> None:
    assert set(BATCHES) < set(SIZES)
    changes = [size for size in range(2, 8193) if chosen.choose("up", size) != chosen.choose("up", size - 1)]
    assert changes == [221, 492, 1062]
