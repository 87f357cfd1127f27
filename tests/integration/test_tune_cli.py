"""`tune --local` from the command line, with real processes and a stand-in for the one that times on a GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy import store
from deploy.kernels.exact.source import MODULE
from deploy.tune.device import STAND_IN_COMPILER, STAND_IN_TIMER

pytestmark = pytest.mark.integration
ENVIRONMENT = {
    STAND_IN_TIMER: "deploy.lab.standin.timer",
    STAND_IN_COMPILER: "deploy.lab.standin.compiler",
    "SGLANG_SPARK_STANDIN_DELAY": "0",
}
MODEL = ("--model", "zai-org/GLM-4.7-FP8", "--tp-size", "4", "--batch-size", "16", "512")


def argv(root: Path, *words: str) -> list[str]:
    return [sys.executable, str(root / "build-and-deploy.py"), *words]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With SGLang's module, which the stand-in never reads, where it would be kept; so nothing is downloaded."""
    made = {**os.environ, **ENVIRONMENT, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = tmp_path / "cache" / store.cache().name / "sources" / "sglang-0.5.4.post2"
    kept.mkdir(parents=True)
    (kept / MODULE).write_text("")
    return made


def tune(root: Path, place: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """In folders of `place`."""
    given = ("tune", "--local", *MODEL, "--into", str(place), "--journal", str(place / "journal.jsonl"), *words)
    return subprocess.run(argv(root, *given), capture_output=True, text=True, check=False, env=environment, cwd=root)


def test_a_suite_of_benchmarks_compares_tables_too(root: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    words = ("bench", "run", "kernels", "--out", str(tmp_path / "results"), "--json")
    done = subprocess.run(argv(root, *words), capture_output=True, text=True, check=False, env=environment, cwd=root)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)
    assert run["complete"]
    assert any("stand-in for an NVIDIA GB10" in note for note in run["notes"])
    ratios = {case["name"]: case["figures"]["b_over_a"] for case in run["cases"]}
    assert all(one["low"] <= one["median"] <= one["high"] for one in ratios.values())
    assert "64 tokens" in ratios
    assert list((tmp_path / "results").glob("kernels-*.csv"))


def tables(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.glob("triton_3_5_0/*"))}


def measurements(place: Path) -> int:
    return (place / "journal.jsonl").read_bytes().count(b'"trial"')


def test_a_run_that_was_interrupted_goes_on_and_comes_to_the_same(
    root: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = tune(root, whole, environment)
    assert done.returncode == 0, done.stderr
    assert "on one stand-in for an NVIDIA GB10" in done.stdout
    assert (whole / "journal.svg").is_file()

    slow = {**environment, "SGLANG_SPARK_STANDIN_DELAY": "0.01"}
    words = ("tune", "--local", *MODEL, "--into", str(broken), "--journal", str(broken / "journal.jsonl"))
    going = subprocess.Popen(argv(root, *words), env=slow, cwd=root, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (broken / "journal.jsonl").exists() or measurements(broken) < 50:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        going.send_signal(signal.SIGINT)
        said = going.communicate(timeout=30)[1]
    finally:
        going.kill()
        going.wait()
    assert going.returncode == 130
    assert "the same command goes on from there" in said
    assert not tables(broken)
    before = measurements(broken)
    assert before < measurements(whole)

    again = tune(root, broken, environment)
    assert again.returncode == 0, again.stderr
    assert f"{before} measurements of before" in again.stderr
    assert measurements(broken) == measurements(whole)
    found = {name: text for name, text in tables(broken).items() if "provenance" not in name}
    assert found == {name: text for name, text in tables(whole).items() if "provenance" not in name}

    first = tables(whole)
    third = tune(root, whole, environment, "--json", "-q")
    assert third.returncode == 0, third.stderr
    assert tables(whole) == first
    assert measurements(whole) == measurements(broken)
    assert [one["tokens"] for one in json.loads(third.stdout)["sizes"]] == [16, 512]
    assert json.loads(third.stdout)["written"] == []


def test_two_tables_are_compared(root: Path, environment: dict[str, str]) -> None:
    shipped = "configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
    words = ("tune", "compare", shipped, "default", "--local", *MODEL, "--json", "-q")
    done = subprocess.run(argv(root, *words), capture_output=True, text=True, check=True, env=environment, cwd=root)
    sizes = json.loads(done.stdout)["sizes"]
    assert [one["tokens"] for one in sizes] == [16, 512]
    assert all(one["low"] <= one["ratio"] <= one["high"] for one in sizes)
