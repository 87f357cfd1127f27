"""`bench` as a user meets it before a server is asked: mistakes and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bench.suite import SUITES
from tests.cli.test_command_line import run

URL = ("--url", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("context",), "give either --url or --nodes"),
        (("context", *URL, "--nodes", "cluster.yaml"), "give either --url or --nodes"),
        (("contxt", *URL), "no such suite: contxt (one of context, "),
        (("context", "--url", "127.0.0.1:9"), "is no URL of a server"),
        (("context", *URL, "--lengths", "1,x"), "--lengths: no list of numbers: 1,x"),
        (("context", *URL, "--lengths", "0"), "every number is above 0"),
        (("context", *URL, "--roofline", "1,2"), "give three numbers"),
        (("context", *URL, "--key-env", "NOT_SET_HERE"), "NOT_SET_HERE is not set in your shell"),
        (("context", "--nodes", "/no/cluster.yaml"), "/no/cluster.yaml"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(root: Path, words: tuple[str, ...], expected: str) -> None:
    done = run(root, "bench", "run", *words)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_help_names_every_suite(root: Path) -> None:
    done = run(root, "bench", "run", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in SUITES)
