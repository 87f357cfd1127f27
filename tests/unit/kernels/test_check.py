"""Tables held against GPUs and versions: what cannot run is an error, with the entry, the bytes and the limit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from deploy.kernels.check import TableFile, check, errors, overlaps, segments, without_table
from deploy.kernels.files import table_files
from deploy.kernels.finding import Finding, Target
from deploy.kernels.gpu import GPUS
from deploy.kernels.memory import shared_memory
from deploy.kernels.parse import Problem
from deploy.kernels.shape import Gemm, Shape
from deploy.kernels.table import TOKENS, Config, Table
from tests.unit.kernels.samples import CRASHING, GOOD, NAME, file, tables

GLM = Shape(160, 384, 5120, 8, "fp8_w8a8", None, True)
BLOCK = "E=128,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8,block_shape=[128, 128]"
OLD, NEW, LATE = Target(), Target(sglang="0.5.13"), Target(sglang="0.5.15")


def found(*files: TableFile, target: Target = OLD, shape: Shape | None = None) -> dict[str, Finding]:
    """One finding of each code, over all files."""
    return {one.code: one for verdict in check(files, target, shape) for one in reversed(verdict.findings)}


def test_an_entry_that_does_not_fit_is_an_error_with_bytes_and_limit() -> None:
    one = found(file({1: GOOD, 512: CRASHING}))["shared_memory"]
    assert (one.level, one.key, one.bytes, one.limit) == ("error", "512", 147_456, 101_376)
    assert one.tokens == (257, 65536)
    assert one.place == f"configs/triton_3_5_0/{NAME}.json: 512"


def test_four_stages_of_128_by_128_fit() -> None:
    (verdict,) = check([file({1: GOOD | {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 128, "num_warps": 8}})], OLD)
    assert verdict.runs
    assert {row.bytes for row in verdict.rows} == {98_304}


@pytest.mark.parametrize(("gpu", "runs"), [("GB10", False), ("RTX 5090", False), ("B200", True), ("A100", True)])
def test_the_limit_is_that_of_the_gpu_named(gpu: str, runs: bool) -> None:
    (verdict,) = check([file({1: CRASHING})], Target(GPUS[gpu]))
    assert verdict.runs is runs


def test_without_a_down_table_the_up_table_serves_both_products() -> None:
    (alone,) = check([file({1: GOOD})], OLD)
    up, down = check([file({1: GOOD}), file({1: GOOD}, NAME + "_down")], OLD)
    assert [row.gemm for row in alone.rows] == ["up", "down"]
    assert [row.gemm for row in (*up.rows, *down.rows)] == ["up", "down"]


def test_a_pair_that_differs_in_block_m_ends_a_rank_of_0_5_4() -> None:
    down = file({1: GOOD, 64: GOOD | {"BLOCK_SIZE_M": 32}}, NAME + "_down")
    one = found(file({1: GOOD}), down)["pair"]
    assert (one.level, one.key, one.tokens, one.gemm) == ("error", "64", (33, 65536), "down")
    assert found(file({1: GOOD}), down, target=NEW)["pair"].level == "warning"


def test_an_override_of_block_m_counts_in_what_the_down_table_needs() -> None:
    up, down = file({1: GOOD | {"BLOCK_SIZE_M": 256}}), file({1: GOOD | {"BLOCK_SIZE_N": 32}}, NAME + "_down")
    assert {row.bytes for row in check([up, down], OLD)[1].rows} == {(16 + 32) * 128 * 3}
    assert {row.bytes for row in check([up, down], NEW)[1].rows} == {(256 + 32) * 128 * 3}
    assert found(up, down, target=NEW)["shared_memory"].file.endswith("_down.json")


def test_pairs_are_compared_at_every_batch_size_and_not_only_at_their_keys() -> None:
    wide = GOOD | {"BLOCK_SIZE_M": 32}
    up, down = file({8: GOOD, 64: wide}), file({8: GOOD, 32: GOOD, 64: wide}, NAME + "_down")
    assert found(up, down)["pair"].tokens == (37, 48)


def test_a_down_table_alone_is_held_against_the_default() -> None:
    alone = found(file({1: GOOD | {"BLOCK_SIZE_M": 64}}, NAME + "_down"))
    assert alone["down_alone"].level == "warning"
    assert alone["pair"].tokens == (161, 65536)
    assert "no up table" in alone["pair"].message


def test_tables_of_different_folders_are_no_pair() -> None:
    down = file({1: GOOD | {"BLOCK_SIZE_M": 32}}, NAME + "_down", "configs/triton_3_4_0")
    assert "down_alone" in found(file({1: GOOD}), down)


@pytest.mark.parametrize("value", [True, False])
def test_use_tma_in_an_up_table_ends_the_launch_whatever_its_value(value: bool) -> None:
    assert found(file({1: GOOD | {"USE_TMA": value}}))["use_tma_up"].level == "error"


@pytest.mark.parametrize(
    ("name", "value", "gpu", "codes"),
    [
        (NAME, True, "GB10", {"use_tma"}),
        (NAME, False, "GB10", set()),
        (BLOCK, True, "GB10", set()),
        (BLOCK, True, "L40S", {"use_tma"}),
    ],
)
def test_use_tma_in_a_down_table_needs_block_wise_fp8(name: str, value: bool, gpu: str, codes: set[str]) -> None:
    files = file({1: GOOD}, name), file({1: GOOD | {"USE_TMA": value}}, name + "_down")
    assert {one.code for one in errors(check(files, Target(GPUS[gpu])))} == codes


@pytest.mark.parametrize(
    ("change", "name", "code", "level"),
    [
        ({"BLOCK_SIZE_K": 256, "num_stages": 2}, BLOCK, "block_k", "error"),
        ({"BLOCK_SIZE_K": 16}, NAME, "tile_k", "error"),
        ({"waves_per_eu": 0}, NAME, "option", "error"),
        ({"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "num_stages": 2}, NAME, "spills", "warning"),
        ({"BLOCK_SIZE_K": 256, "num_stages": 2}, NAME, "padding", "note"),
    ],
)
def test_an_entry_is_judged_beyond_its_bytes(change: dict[str, Any], name: str, code: str, level: str) -> None:
    assert found(file({1: GOOD | change}, name))[code].level == level


def test_a_block_of_96_scales_fits_no_tile() -> None:
    name = BLOCK.replace("[128, 128]", "[96, 128]")
    assert found(file({1: GOOD}, name))["block_n"].level == "error"


def test_a_dot_of_two_byte_values_takes_a_k_of_16() -> None:
    assert "tile_k" not in found(file({1: GOOD | {"BLOCK_SIZE_K": 16}}, "E=8,N=64,device_name=NVIDIA_GB10"))


@pytest.mark.parametrize(
    ("name", "folder", "code"),
    [
        (NAME.replace("=fp8_w8a8", "=fp8"), "triton_3_5_0", "name"),
        (NAME.replace("E=160", "E=0"), "triton_3_5_0", "name"),
        (NAME + ",per_channel_quant=True", "triton_3_5_0", "name"),
        (BLOCK.replace("[128, 128]", "[128,128]"), "triton_3_5_0", "name"),
        (NAME, "triton_3_3_0", "folder"),
        (NAME, "triton_3_6_0", "folder"),
    ],
)
def test_a_table_that_sglang_never_looks_for_is_a_warning(name: str, folder: str, code: str) -> None:
    one = found(file({1: GOOD}, name, f"configs/{folder}"))[code]
    assert one.level == "warning"


def test_a_blank_that_is_missing_in_a_name_is_named() -> None:
    one = found(file({1: GOOD}, BLOCK.replace("[128, 128]", "[128,128]")))["name"]
    assert f"{BLOCK}.json is one" in one.message


def test_from_0_5_6_on_a_channel_wise_name_is_looked_for() -> None:
    assert "name" not in found(file({1: GOOD}, NAME + ",per_channel_quant=True"), target=Target(sglang="0.5.6"))


def test_a_fallback_folder_is_a_note_and_later_any_folder_is_one() -> None:
    assert found(file({1: GOOD}, folder="configs/triton_3_4_0"))["fallback"].level == "note"
    later = Target(sglang="0.5.12")
    assert found(file({1: GOOD}, folder="configs/triton_3_3_0"), target=later)["fallback"].level == "note"


def test_a_table_for_another_gpu_is_judged_for_this_one_and_said_to_be_foreign() -> None:
    one = found(file({1: CRASHING}, NAME.replace("NVIDIA_GB10", "NVIDIA_H200")))
    assert one["device"].level == "note"
    assert one["shared_memory"].level == "error"


@pytest.mark.parametrize(
    ("keys", "code", "tokens"),
    [
        ((1, 1024), "short", (1025, 8192)),
        ((256, 8192), "no_small", (1, 255)),
        ((1, 64, 8192), "gap", (65, 8191)),
    ],
)
def test_batch_sizes_far_from_every_entry_are_told(keys: tuple[int, ...], code: str, tokens: tuple[int, int]) -> None:
    said = [one for one in check([file(dict.fromkeys(keys, GOOD))], OLD)[0].findings if one.code == code]
    assert tokens in [one.tokens for one in said]


def test_a_tie_that_goes_to_the_larger_key_is_told() -> None:
    one = found(file({4: GOOD | {"num_stages": 3}, 2: GOOD}))["tie"]
    assert (one.key, one.tokens) == ("4", (3, 3))
    assert "tie" not in found(file({2: GOOD, 4: GOOD | {"num_stages": 3}}))


def test_a_table_that_covers_all_batches_has_nothing_to_tell() -> None:
    keys = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert found(file(dict.fromkeys(keys, GOOD))) == {}


def test_a_table_whose_name_tells_nothing_is_judged_as_the_smallest_type() -> None:
    for name in ("my table", NAME.replace("fp8_w8a8", "fp4")):
        one = found(file({1: CRASHING}, name))
        assert one["assumed"].level == "warning"
        assert one["shared_memory"].bytes == 147_456
        assert "assumed" not in found(file({1: CRASHING}, name), shape=GLM) or name != "my table"


def test_a_file_that_cannot_be_read_is_an_error_by_key() -> None:
    broken = TableFile("x/bad.json", None, (Problem("64.num_warps", "is missing"),))
    (verdict,) = check([broken], OLD)
    assert not verdict.runs
    assert verdict.findings[0].place == "x/bad.json: 64.num_warps"


@given(one=tables, other=tables)
@settings(max_examples=60)
def test_pairing_is_that_of_the_rule_at_every_batch_size(one: Table, other: Table) -> None:
    pieces = list(overlaps(segments(one), segments(other)))
    assert [pieces[0][0], pieces[-1][1]] == [1, TOKENS]
    assert all(before[1] + 1 == after[0] for before, after in pairwise(pieces))
    for first, last, up, down in pieces:
        for tokens in (first, (first + last) // 2, last):
            assert (up.label, down.label) == (str(one.choose(tokens)), str(other.choose(tokens)))


@given(table=tables)
@settings(max_examples=60)
def test_a_table_runs_where_every_batch_size_runs(table: Table) -> None:
    (verdict,) = check([TableFile(f"configs/triton_3_5_0/{NAME}.json", table)], OLD)
    gemm = Gemm("up", 768, 5120, "fp8_w8a8")
    taken = {table.choose(tokens) for tokens in [*range(1, 8000), 40_000, 65_536]} | {s.key for s in table.spans}
    need = {key: shared_memory(table.entries[key], gemm, OLD.gpu) for key in taken}
    small = {key for key in taken if table.entries[key].block_k < 32}
    assert verdict.runs == (max(need.values()) <= 101_376 and not small)


def test_sglangs_default_crashes_from_161_tokens_on_and_the_small_one_never() -> None:
    rows, wrong = without_table(GLM, OLD)
    assert {one.tokens for one in wrong if one.level == "error"} == {(161, 65536)}
    assert {one.bytes for one in wrong if one.level == "error"} == {147_456}
    assert [row.bytes for row in rows if row.gemm == "up"] == [73_728, 147_456]
    for target, need in ((replace(OLD, fitted_default=True), [73_728, 98_304]), (LATE, [73_728, 49_152])):
        rows, wrong = without_table(GLM, target)
        assert [row.bytes for row in rows if row.gemm == "up"] == need
        assert not errors_of(wrong)


def test_the_small_default_is_for_small_gpus() -> None:
    rows, _ = without_table(GLM, Target(GPUS["H200"], "0.5.15"))
    assert {row.segment.config.block_n for row in rows} == {128, 256}


def test_the_default_of_other_quantisations_fits() -> None:
    for dtype, block, least in (("fp8_w8a8", (128, 128), 49_152), ("bf16", None, 16_384)):
        rows, wrong = without_table(Shape(160, 384, 5120, 8, dtype, block), OLD)
        assert not errors_of(wrong)
        assert max(row.bytes for row in rows) >= least


def errors_of(findings: Any) -> list[Finding]:
    return [one for one in findings if one.level == "error"]


def test_what_is_shipped_runs_and_has_no_warning(root: Path) -> None:
    shipped = check(table_files([root / "configs"]), OLD, GLM)
    assert shipped
    assert [one for verdict in shipped for one in verdict.findings if one.level != "note"] == []
    assert {verdict.file.folder for verdict in shipped} == {"triton_3_5_0"}
    assert f"{NAME}.json" in {Path(verdict.file.path).name for verdict in shipped}


def test_configurations_without_the_fields_of_a_table_take_tritons_own() -> None:
    config = without_table(replace(GLM, dtype="bf16"), OLD)[0][0].segment.config
    assert config == Config(16, 32, 64, 1, 4, 3)
