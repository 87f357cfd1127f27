"""A child process that answers lines: what becomes of answers, silence and a death."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.worker import Worker

pytestmark = pytest.mark.integration
SCRIPT = """
import json, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    time.sleep(asked.get("sleep", 0))
    if asked.get("die"):
        sys.exit("out of luck")
    print(json.dumps({"heard": asked["n"]}), flush=True)
"""


@contextmanager
def worker() -> Iterator[Worker]:
    one = Worker.start((sys.executable, "-c", SCRIPT), os.environ)
    try:
        yield one
    finally:
        one.kill()


def test_each_line_is_answered_by_one() -> None:
    with worker() as one:
        assert [one.answer({"n": n}, 20) for n in range(3)] == [{"heard": n} for n in range(3)]
        assert one.job is None


def test_a_death_is_an_answer_with_its_last_words() -> None:
    with worker() as one:
        assert one.answer({"n": 0, "die": True}, 20) == {
            "error": "the process ended with 1: out of luck",
            "ended": True,
        }


def test_silence_ends_it() -> None:
    with worker() as one:
        assert one.answer({"n": 0, "sleep": 60}, 0.5) == {"error": "no answer in 0.5 s", "hangs": True}
        assert one.process.returncode is not None
