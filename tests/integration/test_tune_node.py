"""A node's part of a tuning run as a process: what it cannot do it says in JSON, and it never outlives its input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.kernels.exact.source import MODULE
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.tune.node import CUT_OFF
from deploy.tune.problem import Problem

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
PROBLEM = json.dumps(Problem(Shape(8, 64, 128, 2, "fp8_w8a8"), GB10).as_json())
STAND_INS = {
    "SGLANG_SPARK_STANDIN_TIMER": "deploy.lab.standin.timer",
    "SGLANG_SPARK_STANDIN_COMPILER": "deploy.lab.standin.compiler",
}
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def begin(*words: str, path: Path = tmp_path, **environ: str) -> subprocess.Popen[str]:
        argv = (sys.executable, "-m", "deploy.tune.node", *words)
        told = {**os.environ, **environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(path)))}
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(argv, cwd=ROOT, env=told, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.communicate()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with what is looked for of SGLang and of Ray, and nothing that can be imported."""
    kernel = tmp_path / "site" / "sglang" / "srt" / MODULE
    kernel.parent.mkdir(parents=True)
    kernel.write_text("raise RuntimeError('imported')\n")
    (tmp_path / "site" / "sglang" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    ray = tmp_path / "site" / "ray-9.9.9.dist-info"
    ray.mkdir()
    (ray / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 9.9.9\n")
    return tmp_path / "site"


def answer(process: subprocess.Popen[str]) -> tuple[int, dict[str, object]]:
    """Exit code and the one line, with the input still open."""
    assert process.stdout
    line = process.stdout.readline()
    return process.wait(30), json.loads(line)


def test_without_sglang_or_ray_or_a_gpu_it_says_which(start: Start, site: Path) -> None:
    code, told = answer(start("facts", PROBLEM))
    assert code == 7
    assert "no SGLang here" in str(told["error"])
    (site / "ray-9.9.9.dist-info" / "METADATA").rename(site / "gone")
    (site / "ray-9.9.9.dist-info").rmdir()
    code, told = answer(start("facts", PROBLEM, path=site))
    assert (code, told["error"]) == (7, "Ray is not in this image")
    assert "build --with-tune" in str(told["hint"])


def test_without_a_gpu_that_can_measure_it_says_why(start: Start, site: Path) -> None:
    code, told = answer(start("facts", PROBLEM, path=site))
    assert code == 7
    assert "no kernel can be timed here" in str(told["error"])


def test_its_facts_are_one_line_and_a_stand_in_is_called_one(start: Start, site: Path) -> None:
    code, told = answer(start("facts", PROBLEM, path=site, **STAND_INS))
    assert (code, told["ray"]) == (0, "9.9.9")
    facts = told["facts"]
    assert isinstance(facts, dict)
    assert facts["stand_in"] is True
    assert "stand-in" in facts["device"]


@pytest.mark.parametrize("role", ["head", "join"])
def test_it_ends_with_its_input_before_it_was_told_anything(start: Start, site: Path, role: str) -> None:
    more = ("--arch", "121") if role == "head" else ("--head", "127.0.0.9:1")
    one = start(role, *more, "--address", "127.0.0.9", "--name", "a", "--ports", "26400", "--gpus", "1", path=site)
    out, _ = one.communicate("", timeout=30)
    assert one.returncode != 0
    assert "the controller is gone" in out


def test_a_join_that_waits_for_its_head_ends_with_its_input(start: Start, site: Path) -> None:
    one = start("join", "--head", "127.0.0.9:1", "--address", "127.0.0.9", "--name", "a", "--ports", "26400", "--gpus",
                "1", path=site)  # fmt: skip
    one.communicate('{"token": "a"}\n', timeout=30)
    assert one.returncode == CUT_OFF
