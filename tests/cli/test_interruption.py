"""Ctrl-C at the worst moments, each in a process of its own that runs Python code in place of a command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent

import pytest

# `strike` is C code called by the main thread: the signal's handler runs right there, in the function that calls it.
PROGRAM = """
import os, queue, signal, threading, time
from concurrent.futures import Future, wait
from functools import partial
import deploy.cli

strike = partial(os.kill, os.getpid(), signal.SIGINT)

def command(**_):
{}
deploy.cli.cli.main = command
deploy.cli.main()
"""
BETWEEN_TWO_LOCKS = """
first, second = sorted((Future(), Future()), key=id)  # in this order `wait` gives their locks back
first._condition.release = strike
try:
    wait((first, second), timeout=20)
finally:
    end = threading.Thread(target=second.set_result, args=(None,), daemon=True)
    end.start()
    end.join(5)
    print("hangs" if end.is_alive() else "ended", flush=True)
"""
IN_DEL = """
class Struck:
    def __del__(self):
        strike()

Struck()
time.sleep(20)
"""
BLOCKED = {
    "an event": "threading.Event().wait(20)",
    "a future": "Future().result(20)",
    "futures": "wait([Future()], 20)",
    "futures, again and again": "future = Future()\nwhile True: wait([future], 0.005)",
    "a queue": "queue.Queue().get(timeout=20)",
    "a lock": "held = threading.Lock(); held.acquire(); held.acquire(timeout=20)",
    "a condition's lock": "held = threading.Condition(threading.Lock()); held.acquire(); held.__enter__()",
    "a thread": "thread = threading.Thread(target=time.sleep, args=(20,), daemon=True); thread.start(); thread.join()",
    "a sleep": "time.sleep(20)",
}


@contextmanager
def running(root: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    argv = (sys.executable, "-c", PROGRAM.format(indent(code, "    ")))
    with subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_leaves_no_lock_held_that_a_thread_waits_for(root: Path) -> None:
    with running(root, BETWEEN_TWO_LOCKS) as process:
        out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (130, "ended\n", "interrupted\n")


def test_it_is_not_lost_in_a_finalizer(root: Path) -> None:
    with running(root, IN_DEL) as process:
        _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (130, "interrupted\n")


@pytest.mark.parametrize("what", BLOCKED)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_whatever_the_command_waits_for(root: Path, what: str, sent: signal.Signals) -> None:
    with running(root, f"print('waits', flush=True)\n{BLOCKED[what]}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        time.sleep(0.1)
        process.send_signal(sent)
        _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (130, "interrupted\n")
