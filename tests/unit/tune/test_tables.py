"""Tables out of what a search found: names, entries, the gate and what is told of how they were made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy.errors import KernelError
from deploy.kernels.finding import Target
from deploy.kernels.gpu import GB10
from deploy.kernels.parse import parse
from deploy.kernels.provenance import checksum
from deploy.kernels.provenance import parse as told_of
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config, Table
from deploy.tune.problem import Emulation, Problem
from deploy.tune.search import Best, Found
from deploy.tune.tables import Measured, files, merged

PROBLEM = Problem(Shape(160, 384, 5120, 8, per_channel=True), GB10)
MEASURED = Measured(
    {"device": "NVIDIA GB10", "torch": "2.9.0", "triton": "3.5.0"}, 4000, 61.0, "2026-01-01T00:00:00+00:00"
)
UP, DOWN = Config(16, 64, 256, 1, 4, 3), Config(16, 128, 128, 16, 4, 3)


def found(tokens: int, up: Config = UP, down: Config = DOWN) -> Found:
    return Found(tokens, {"up": Best(up, 1e-4, 0.004, 0.002), "down": Best(down, 5e-5, 0.002, 0.003)})


def test_both_files_have_the_names_that_sglang_looks_for_and_say_how_they_were_made() -> None:
    results = [found(1), found(4096)]
    made = files(merged(results, {}), results, PROBLEM, Target(), MEASURED)
    name = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8"
    assert set(made) == {f"{name}{end}" for end in (".json", "_down.json", ".provenance.json", "_down.provenance.json")}
    assert parse(made[f"{name}_down.json"], "").entries == {1: DOWN, 4096: DOWN}
    told = told_of(made[f"{name}.provenance.json"])
    assert (told.origin, told.sha256) == ("tuned", checksum(made[f"{name}.json"]))
    assert "Timed on one NVIDIA GB10 (torch 2.9.0, triton 3.5.0)" in told.how
    assert "4000 trials took 61 s" in told.how


def test_measurements_of_several_nodes_are_not_called_one_gpu_s() -> None:
    made = files(merged([found(1)], {}), [found(1)], PROBLEM, Target(), replace(MEASURED, nodes=4))
    how = json.loads(next(content for name, content in made.items() if "provenance" in name))["how"]
    assert "Timed on 4 nodes of a kind, each with NVIDIA GB10 (torch 2.9.0, triton 3.5.0)." in how


def test_a_table_of_another_gpu_s_timings_says_so() -> None:
    h100 = replace(MEASURED, facts={"device": "NVIDIA H100 80GB HBM3"})
    other = replace(PROBLEM, emulation=Emulation("sm121", 101_376))
    made = files(merged([found(1)], {}), [found(1)], other, Target(), h100)
    how = json.loads(next(content for name, content in made.items() if "provenance" in name))["how"]
    assert "compiled GB10's lowering (sm121)" in how
    assert "has not been measured" in how


def test_another_lowering_on_the_gpu_itself_is_said_and_nothing_more() -> None:
    native = replace(PROBLEM, emulation=Emulation("sm120", 101_376))
    made = files(merged([found(1)], {}), [found(1)], native, Target(native_fp8=True), MEASURED)
    how = json.loads(next(content for name, content in made.items() if "provenance" in name))["how"]
    assert "with the lowering of sm120" in how
    assert "has not been measured" not in how


def test_other_batch_sizes_are_kept_and_the_same_ones_replaced() -> None:
    old = Table({1: Config(32, 32, 64, 1, 4, 2), 8: Config(32, 32, 64, 1, 4, 2)})
    tables = merged([found(8), found(2)], {"up": old, "down": old})
    assert list(tables["up"].entries) == [1, 2, 8]
    assert tables["up"].entries[8] == UP
    assert tables["up"].entries[1] == old.entries[1]


def test_a_table_that_could_not_run_is_not_made() -> None:
    large = Config(128, 256, 128, 1, 8, 4)
    results = [found(1, up=large, down=replace(DOWN, block_m=128))]
    with pytest.raises(KernelError, match="147,456"):
        files(merged(results, {}), results, PROBLEM, Target(), MEASURED)


def test_tables_that_differ_in_block_size_m_are_not_made() -> None:
    results = [found(1, down=replace(DOWN, block_m=32))]
    with pytest.raises(KernelError, match="BLOCK_SIZE_M"):
        files(merged(results, {}), results, PROBLEM, Target(), MEASURED)
