"""The run beside the engine (tests/gpu/bench_run.py) over the lab's stand-in: its counts are the engine's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.standin import site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SUITES = ("context", "eagle", "agentic", "thinking", "toolcall")
QUICK = {"STANDIN_LOAD_SECONDS": "0.2", "STANDIN_TOKENS_PER_SECOND": "2000"}


def test_every_suite_counts_what_the_engine_says_it_processed(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    where = site("0.5.4.post2", tmp_path / "site")
    words = ["-m", "tests.gpu.bench_run", str(tmp_path / "out"), "--engine", str(where), "--seconds", "90"]
    words += ["--lives", "eagle", "--suites", ",".join(SUITES), "--work", str(tmp_path / "work")]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, **QUICK}, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert record["sglang"] == "stand-in"
    steps = record["lives"]["eagle"]["steps"]
    assert set(steps) == set(SUITES)
    for name, step in steps.items():
        asked = step["requests"]
        assert asked["requests"] == asked["found"] > 0, name
        assert (asked["unequal"], asked["failed"], step["results"]["unequal"]) == ([], 0, []), name
        assert step["results"]["repeats"] == step["results"]["found"] > 0, name
        assert step["accept_length"] > 1, name
        for row in step["results"]["accept_length"]:
            assert row["ours"] == row["engine"], (name, row)
