"""Which kernels a table makes a server compile."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from deploy.kernels.exact.kernel import Kernel, from_json, of_table, representatives, specialisation
from deploy.kernels.shape import Shape
from deploy.kernels.table import TOKENS, Config, Table
from tests.unit.kernels.samples import entries, tables

GLM = Shape(160, 384, 5120, 8, per_channel=True)
CONFIG = Config(64, 128, 128, 1, 4, 4)


@given(entries, st.sampled_from([None, (128, 128)]), st.integers(1, TOKENS))
def test_a_kernel_is_the_same_after_its_way_through_json(
    config: Config, block: tuple[int, int] | None, tokens: int
) -> None:
    more = replace(config, options=(("num_ctas", 1),))
    kernel = Kernel(more, replace(GLM, block=block), "down", tokens, filter_expert=True)
    assert from_json(json.loads(json.dumps(kernel.as_json()))) == kernel


def test_glm_compiles_one_kernel_for_odd_and_one_for_even_batches() -> None:
    found = [one.tokens for one in representatives(Kernel(CONFIG, GLM, "up", 1), TOKENS)]
    assert found == [1, 2]
    assert [one.tokens for one in representatives(Kernel(CONFIG, GLM, "up", 7), 7)] == [7]


def test_one_expert_a_token_and_one_token_is_a_kernel_of_its_own() -> None:
    alone = Kernel(CONFIG, replace(GLM, top_k=1), "up", 1)
    assert specialisation(alone) != specialisation(replace(alone, tokens=3))


@given(entries, st.integers(1, 300), st.integers(1, 16), st.integers(1, 3000), st.integers(0, 300))
def test_no_batch_of_a_span_meets_a_kernel_that_is_not_represented(
    config: Config, experts: int, top_k: int, first: int, more: int
) -> None:
    kernel = Kernel(config, Shape(experts, 64, 64, top_k), "up", first)
    known = {specialisation(one) for one in representatives(kernel, first + more)}
    assert {specialisation(replace(kernel, tokens=first + step)) for step in range(more + 1)} == known


@given(tables)
def test_every_entry_that_a_batch_can_take_is_compiled_and_no_other(table: Table) -> None:
    found = list(of_table(table, GLM, "down"))
    assert {one.config for one in found} == {table.entries[span.key] for span in table.spans}
    assert all(table.entries[table.choose(one.tokens)] == one.config for one in found)
