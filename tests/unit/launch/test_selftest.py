"""What a node's self-test said: passed, failed by name, or never heard of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.command import Command, Result
from deploy.launch.selftest import judge


def check(name: str, outcome: str, **more: str) -> dict[str, str]:
    return {"id": name, "outcome": outcome, "seen": "something", "needed": "", "hint": "", **more}


def result(*checks: Any, code: int | None = 0, passed: bool = True, err: str = "", version: int = 1) -> Result:
    text = json.dumps({"format": version, "passed": passed, "checks": checks}, indent=2)
    return Result(Command(("x",)), code, f"{text}\n", err)


def test_what_was_not_checked_is_not_counted_as_passed() -> None:
    proof = judge(result(check("a", "passed"), check("b", "passed"), check("gpu.kernels", "not_checked")))
    assert (proof.problem, proof.summary) == ("", "2 passed, 1 not checked (gpu.kernels)")


def test_a_failed_check_is_told_with_what_was_seen_and_needed() -> None:
    bad = check(
        "nccl.loaded", "failed", seen="2.28.3 of /x/libnccl.so.2", needed="2.29.3 or newer", hint="set image.nccl"
    )
    proof = judge(result(check("a", "passed"), bad, code=1, passed=False))
    assert proof.problem == "nccl.loaded: 2.28.3 of /x/libnccl.so.2, needed: 2.29.3 or newer"
    assert proof.hint == "set image.nccl"


def test_what_was_allowed_is_said() -> None:
    proof = judge(result(check("tables.fit", "allowed", seen="147456 bytes", needed="101376")))
    assert proof.problem == ""
    assert proof.allowed == ("tables.fit: 147456 bytes, needed: 101376",)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Result(Command(("x",)), 1, "", "python3: No module named deploy"), "an older toolkit built it"),
        (Result(Command(("x",)), 125, "", "docker: Error response from daemon: no such image"), "no such image"),
        (Result(Command(("x",)), 2, "", "self-test: /opt/sglang-spark/built-for.json is missing"), "built-for.json"),
        (Result(Command(("x",)), None, "", "no answer in 300 s"), "did not end: no answer in 300 s"),
        (Result(Command(("x",)), 0, "{}", ""), "did not run"),
        (Result(Command(("x",)), 0, '{"format": 1, "checks": [1]}', ""), "did not run"),
        (result(version=2), "speaks format 2"),
        (result(check("a", "passed"), code=1, passed=False), "did not pass"),
        (result(check("a", "passed"), code=1, err="Error: no space left on device"), "no space left"),
    ],
)
def test_anything_but_a_pass_is_a_problem_with_a_hint(found: Result, said: str) -> None:
    proof = judge(found)
    assert said in proof.problem
    assert proof.hint
    assert proof.summary == ""
