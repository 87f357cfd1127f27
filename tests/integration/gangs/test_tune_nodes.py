"""`tune` on nodes with real Ray, and a stand-in in place of each GPU: what is killed changes nothing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.tune import local
from deploy.tune.device import STAND_IN_COMPILER, STAND_IN_TIMER, Device
from deploy.tune.happening import Measured
from deploy.tune.plan import PORTS, container_name
from deploy.tune.problem import Problem
from deploy.tune.roofline import Ceilings
from deploy.tune.task import Task, longest_first, results
from deploy.tune.trial import Timing, Trial, timing_of, trial_of
from tests.integration.lab import Lab

pytestmark = pytest.mark.integration
PROBLEM = Problem(Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True), GB10)
SHAPE = ("--experts", "160", "--intermediate", "384", "--hidden", "5120", "--top-k", "8", "--dtype", "fp8_w8a8")
SIZES = (64, 256, 1024, 4096)
ONLY = tuple(PROBLEM.candidates["up"][::9])
"""Some of the candidates: what is tested is who measures, not how much."""
DELAY = 0.03
"""Seconds that the stand-in takes for a trial, so that there is time to kill."""
NODES = 2
"""Four are in benchmarks/tune_faults.py."""
GPUS = 2
"""Of each node, so that every batch size has one."""
Known = dict[Trial, Timing]


@pytest.fixture
def cluster(lab: Lab) -> str:
    """Their cluster.yaml; the image with tuning is in the lab's registry."""
    done = lab.run("build", "--with-tune", "--push", "--nodes", lab.file)
    if "pip could not download" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return lab.cluster(
        NODES, environment={"SGLANG_SPARK_STANDIN_DELAY": str(DELAY), "SGLANG_SPARK_STANDIN_GPUS": str(GPUS)}
    )


@pytest.fixture
def tuning(lab: Lab, cluster: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    sizes = [word for size in SIZES for word in ("--batch-size", str(size))]
    where = ("--into", str(tmp_path), "--journal", str(tmp_path / "journal.jsonl"))
    only = tmp_path / "only.json"
    only.write_text(json.dumps([one.as_json() for one in ONLY]))
    process = lab.start("tune", "--nodes", cluster, *SHAPE, "--per-channel", *sizes, "--configs", str(only), *where)
    yield process
    process.kill()
    process.communicate()


def one_gpu(monkeypatch: pytest.MonkeyPatch) -> tuple[Task, Known]:
    """The same on this machine, by one stand-in."""
    monkeypatch.setenv(STAND_IN_TIMER, "deploy.lab.standin.timer")
    monkeypatch.setenv(STAND_IN_COMPILER, "deploy.lab.standin.compiler")
    device = Device(PROBLEM, Path(__file__), 121, 1)
    try:
        facts = device.facts()
        task = Task(PROBLEM, longest_first(SIZES), Ceilings.of(facts), ONLY)
        told = local.measured(task, task.sizes, device, {})
        return task, {one.trial: one.timing for one in told if isinstance(one, Measured)}
    finally:
        device.close()


def lines(journal: Path) -> list[str]:
    """Whole lines of measurements."""
    found = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [line for line in found if line.startswith('{"trial"') and line.endswith("\n")]


def turns(measured: Sequence[Any], node: str) -> int:
    """How often a node went from one batch size to another: some times with one GPU, and at every moment with two."""
    sizes = [one["trial"]["tokens"] for one in measured if one["node"] == node]
    return sum(before != after for before, after in pairwise(sizes))


def kill(lab: Lab, rank: int, journal: Path, count: int) -> None:
    """Kill the tuning container of a node once so many measurements are there."""
    until = time.monotonic() + 150
    while len(lines(journal)) < count or "killed" not in lab.sh(
        rank, f"docker kill {container_name('lab', rank)} && echo killed"
    ):
        assert time.monotonic() < until, f"node {rank}: {len(lines(journal))} measurements"
        time.sleep(0.2)


@pytest.mark.timeout(500)
def test_a_killed_worker_and_a_killed_head_change_nothing_in_the_answer(
    lab: Lab, tuning: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, expected = one_gpu(monkeypatch)
    journal = tmp_path / "journal.jsonl"
    kill(lab, 1, journal, len(expected) // 4)
    kill(lab, 0, journal, len(expected) // 2)
    said, errors = tuning.communicate(timeout=300)
    assert tuning.returncode == 0, f"{said}\n{errors}"

    assert f"{NODES * GPUS} GPUs on {NODES} nodes" in errors
    parsed = list(map(json.loads, lines(journal)))
    assert max(turns(parsed, one["node"]) for one in parsed) > 4 * len(SIZES), "GPUs of a node were at work at once"
    made = [(trial_of(one["trial"]), timing_of(one["timing"])) for one in parsed]
    searched = [(trial, timing) for trial, timing in made if trial.stage != "compare"]
    assert len({trial for trial, _ in made}) == len(made), "each measurement is there once"
    assert dict(searched) == expected
    found = results(task, dict(searched)).found
    for gemm, ending in (("up", ".json"), ("down", "_down.json")):
        table = json.loads(next(tmp_path.rglob(f"E=160,N=384,*dtype=fp8_w8a8{ending}")).read_text())
        assert table == {str(size): found[size].best[gemm].config.as_json() for size in SIZES}  # type: ignore[index]
    assert "stand-in" in next(tmp_path.rglob("*dtype=fp8_w8a8.provenance.json")).read_text()

    assert lab.containers() == []
    for rank in range(NODES):
        assert lab.sh(rank, "ps -eo args | grep -E 'ray|deploy[.]tune' | grep -v grep") == ""
        assert f":{PORTS // 100}" not in lab.sh(rank, "ss -ltnH")
