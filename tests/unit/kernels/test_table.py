"""Which entry a batch takes: the spans say the same as SGLang's rule, at every batch size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from deploy.kernels.table import TOKENS, Config, Table
from tests.unit.kernels.samples import tables

ONE, OTHER = Config(16, 64, 128, 1, 4, 4), Config(32, 64, 128, 1, 4, 4)


@given(table=tables)
@settings(max_examples=60)
def test_spans_say_what_the_rule_says_at_every_batch_size(table: Table) -> None:
    said = {tokens: span.key for span in table.spans for tokens in range(span.first, span.last + 1)}
    ends = {end for span in table.spans for end in (span.first, span.last)}
    probes = {*range(1, 600), *ends, *(end + step for end in ends for step in (-1, 1)), TOKENS} & set(
        range(1, TOKENS + 1)
    )
    assert len(said) == TOKENS
    assert {tokens: said[tokens] for tokens in probes} == {tokens: table.choose(tokens) for tokens in probes}


@pytest.mark.parametrize(("order", "taken"), [((2, 4), 2), ((4, 2), 4)])
def test_of_two_keys_as_near_the_first_in_the_file_is_taken(order: tuple[int, int], taken: int) -> None:
    table = Table(dict.fromkeys(order, ONE))
    assert table.choose(3) == taken
    assert [span.key for span in table.spans if span.first <= 3 <= span.last] == [taken]


def test_a_key_beyond_the_largest_batch_is_taken_by_none() -> None:
    assert [span.key for span in Table({1: ONE, 200_000: OTHER}).spans] == [1]


def test_an_entry_is_written_as_sglang_names_it() -> None:
    config = Config(16, 64, 128, 1, 4, 4, use_tma=False, options=(("num_ctas", 1),))
    assert config.as_json() == {
        "BLOCK_SIZE_M": 16,
        "BLOCK_SIZE_N": 64,
        "BLOCK_SIZE_K": 128,
        "GROUP_SIZE_M": 1,
        "num_warps": 4,
        "num_stages": 4,
        "num_ctas": 1,
        "USE_TMA": False,
    }
    assert "USE_TMA" not in ONE.as_json()
