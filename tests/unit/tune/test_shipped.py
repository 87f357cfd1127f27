"""The tables that ship are what the kept journal says, and say on what they were timed."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.cluster.spec import DEFAULT_SERVER
from deploy.kernels import provenance
from deploy.kernels.gpu import GB10
from deploy.kernels.memory import shared_memory
from deploy.kernels.parse import parse
from deploy.kernels.shape import Shape
from deploy.kernels.table import TOKENS, Table
from deploy.tune.journal import Journal
from deploy.tune.problem import Emulation, Problem
from deploy.tune.roofline import Ceilings
from deploy.tune.search import GEMMS, Found
from deploy.tune.sizes import sizes
from deploy.tune.task import Task, results
from deploy.tune.trial import GemmName

ROOT = Path(__file__).parents[3]
JOURNAL = ROOT / "benchmarks" / "results" / "tuner" / "glm-4.7-fp8-tp4.jsonl.xz"
NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8"
GLM = Shape(160, 384, 5120, 8, per_channel=True)


def file(gemm: GemmName) -> Path:
    return ROOT / "configs" / "triton_3_5_0" / f"{NAME}{'_down' if gemm == 'down' else ''}.json"


def table(gemm: GemmName) -> Table:
    return parse(file(gemm).read_text())


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    unpacked = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    unpacked.write_bytes(lzma.decompress(JOURNAL.read_bytes()))
    problem = Problem(GLM, GB10, emulation=Emulation("sm121", GB10.shared_memory))
    with closing(Journal(unpacked, problem.as_json(), None)) as opened:
        yield opened


@pytest.fixture(scope="module")
def found(journal: Journal) -> dict[int, Found]:
    problem = Problem(GLM, GB10, emulation=Emulation("sm121", GB10.shared_memory))
    task = Task(problem, sizes(DEFAULT_SERVER), Ceilings.of(journal.facts))
    return dict(results(task, journal.known).found)


@pytest.mark.parametrize("gemm", GEMMS)
def test_every_entry_is_what_was_measured(gemm: GemmName, found: dict[int, Found]) -> None:
    assert dict(table(gemm).entries) == {tokens: one.best[gemm].config for tokens, one in found.items()}


def test_the_batch_sizes_are_those_of_the_server_that_ships() -> None:
    assert tuple(table("up").entries) == tuple(table("down").entries) == sizes(DEFAULT_SERVER)


@pytest.mark.parametrize("gemm", GEMMS)
def test_the_provenance_says_plainly_what_measured(gemm: GemmName) -> None:
    beside = provenance.parse(file(gemm).with_name(provenance.file_name(file(gemm).name)).read_bytes())
    assert beside.sha256 == provenance.checksum(file(gemm).read_bytes())
    assert beside.origin == "tuned"
    assert "Timed on one NVIDIA H100 80GB HBM3" in beside.how
    assert "which of the kernels is fastest on GB10 itself has not been measured" in beside.how


@pytest.mark.parametrize("gemm", GEMMS)
def test_every_entry_computed_right_on_a_real_gpu(gemm: GemmName, journal: Journal) -> None:
    checks = {
        (trial.tokens, trial.config): timing.error
        for trial, timing in journal.known.items()
        if trial.stage == "check" and trial.gemm == gemm
    }
    errors = [checks[tokens, config] for tokens, config in table(gemm).entries.items()]
    assert all(error is not None and error < 0.01 for error in errors)


@pytest.mark.parametrize("gemm", GEMMS)
def test_every_entry_fits(gemm: GemmName) -> None:
    matrices = next(one for one in GLM.gemms if one.name == gemm)
    assert all(shared_memory(one, matrices, GB10) <= GB10.shared_memory for one in table(gemm).entries.values())


def test_both_tables_have_the_same_rows_a_tile_at_every_batch_size() -> None:
    up, down = table("up"), table("down")
    assert all(
        up.entries[up.choose(tokens)].block_m == down.entries[down.choose(tokens)].block_m
        for span in (*up.spans, *down.spans)
        for tokens in (span.first, span.last)
    )
    assert up.spans[-1].last == TOKENS
