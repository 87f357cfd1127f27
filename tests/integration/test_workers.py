"""What becomes of workers that crash, hang or talk, and of those that an interruption leaves: nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kernels.exact.pool import Setting, answers
from deploy.kernels.exact.toolchain import Toolchain
from deploy.worker import Answer

pytestmark = pytest.mark.integration
MARK = f"1000.{os.getpid()}"
"""By which this run's processes are known among all others."""
WORKER = (
    f"MARK = '{MARK}'"
    + """
import json, os, signal, subprocess, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if request == "crash": print("out of luck", file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSEGV)
    if request == "hang": subprocess.run(["sleep", MARK])
    if request == "refuse": sys.exit(3)
    if request == "parts": sys.stdout.write('{"echo": '); sys.stdout.flush(); time.sleep(0.2)
    print('"parts"}' if request == "parts" else json.dumps({"echo": request, "pid": os.getpid()}), flush=True)
"""
)
"""A stand-in for the compiling worker: it does what it is told."""


def setting(timeout: float = 30.0) -> Setting:
    tools = Toolchain("3.5.0", None, Path("/bin/true"), "13.0.88")
    return Setting(Path("source.py"), 121, 101_376, tools, timeout, (sys.executable, "-c", WORKER))


def asked(*requests: str, timeout: float = 30.0, workers: int = 2) -> list[Answer]:
    """Answers in the order of the requests."""
    found = dict(answers(list(requests), setting(timeout), workers))  # type: ignore[arg-type]
    return [found[job] for job in range(len(requests))]


def left(before: set[str]) -> set[str]:
    """What is there beyond `before`; a process that was killed may take a moment to go."""
    end = time.monotonic() + 5
    while (more := children() - before) and time.monotonic() < end:
        time.sleep(0.05)
    return more


def children() -> set[str]:
    """Command lines of all processes of ours that are there, however they are related."""
    return set(_commands())


def _commands() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if MARK in line:
            yield line


def test_every_request_has_its_answer() -> None:
    words = [f"word {number}" for number in range(20)]
    found = asked(*words)
    assert [one["echo"] for one in found] == words
    assert len({one["pid"] for one in found}) <= 2


def test_no_more_workers_are_started_than_there_are_requests() -> None:
    assert len(asked("one", workers=8)) == 1


def test_a_crash_is_that_requests_answer_and_the_others_are_answered() -> None:
    found = asked("a", "crash", "b", "refuse", "c", workers=1)
    assert [one.get("echo") for one in found] == ["a", None, "b", None, "c"]
    assert found[1]["error"] == "the process ended with -11: out of luck"
    assert "ended with 3" in found[3]["error"]


def test_a_hang_ends_at_its_time_with_what_it_had_started() -> None:
    before = children()
    found = asked("hang", "a", "b", timeout=1.0)
    assert found[0]["error"] == "not compiled within 1 seconds"
    assert [one.get("echo") for one in found[1:]] == ["a", "b"]
    assert not left(before)


def test_an_answer_in_parts_is_put_together() -> None:
    assert asked("parts") == [{"echo": "parts"}]


def test_an_interruption_leaves_no_process() -> None:
    before = children()
    work = answers(["a", "hang", "hang"], setting(), 2)  # type: ignore[list-item]
    next(work)
    assert children() > before
    with pytest.raises(KeyboardInterrupt):
        work.throw(KeyboardInterrupt())
    assert not left(before)


def test_a_worker_reads_nothing_of_the_users_that_changes_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_OVERRIDE_ARCH", "sm90")
    monkeypatch.setenv("SGLANG_MOE_PADDING", "1")
    script = "import json, os, sys; sys.stdin.readline(); print(json.dumps(dict(os.environ)))"
    tools = Toolchain("3.5.0", None, Path("/bin/true"), "13.0.88")
    one = Setting(Path("source.py"), 121, 101_376, tools, 30.0, (sys.executable, "-c", script))
    ((_, found),) = answers([{}], one, 1)
    assert found["TRITON_PTXAS_PATH"] == "/bin/true"
    assert not {"TRITON_OVERRIDE_ARCH", "SGLANG_MOE_PADDING"} & set(found)
    assert not Path(found["TRITON_CACHE_DIR"]).parent.exists()
