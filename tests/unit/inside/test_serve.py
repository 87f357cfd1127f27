"""The API key inside the server's process: there where it is used, and hidden everywhere else."""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import runpy
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from deploy.inside import serve
from deploy.inside.serve import KEY, Key

MARK = "hunter2-never-shown"


@dataclass
class Arguments:
    """As SGLang's ServerArgs: a dataclass whose repr is logged, and whose copies are sent and answered."""

    model: str
    api_key: str | None = None


@pytest.fixture
def parsers() -> Iterator[None]:
    before = argparse.ArgumentParser.parse_known_args
    yield
    argparse.ArgumentParser.parse_known_args = before  # type: ignore[method-assign]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--model")
    made.add_argument("--api-key", type=str, default=None)
    return made


def test_the_key_is_what_it_is_where_it_is_used() -> None:
    key = Key(MARK)
    assert f"Bearer {key}" == "Bearer " + key == f"Bearer {MARK}"
    assert key == MARK
    assert bool(key)


def test_the_key_is_hidden_where_it_is_shown_copied_or_sent() -> None:
    args = Arguments("m", Key(MARK))
    shown = (
        f"{args=}", str(args), repr({"api_key": args.api_key}), f"{args.api_key!r}", json.dumps(asdict(args)),
        repr(copy.deepcopy(args)), repr(replace(args)), json.dumps(copy.deepcopy(vars(args))),
    )  # fmt: skip
    assert [text for text in shown if MARK in text] == []
    assert MARK.encode() not in pickle.dumps(args.api_key)


def test_a_copy_opens_nothing_and_cannot_be_guessed() -> None:
    copied = pickle.loads(pickle.dumps(Key(MARK)))
    assert type(copied) is str
    assert copied.startswith("hidden-")
    assert len(copied) > 32


def test_every_parser_that_knows_the_flag_is_lent_the_key(parsers: None) -> None:
    serve.lend(Key(MARK))
    found = parser().parse_args(["--model", "m"])
    assert (found.model, found.api_key) == ("m", MARK)
    assert MARK not in repr(found)
    assert not hasattr(argparse.ArgumentParser().parse_args([]), "api_key")


def test_the_module_becomes_the_program_with_its_own_arguments(
    parsers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(runpy, "run_module", lambda *args, **words: seen.append((sys.argv, sys.path[0], args, words)))
    monkeypatch.setattr(sys, "path", [str(Path(serve.__file__).parent), "/lib"])
    monkeypatch.setattr(sys, "argv", ["serve.py"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secrets").write_text(f"export A='b'\n{KEY}='{MARK}'\n")
    serve.main(["secrets", "a.module", "--model", "m"])
    assert seen == [
        (["a.module", "--model", "m"], str(tmp_path), ("a.module",), {"run_name": "__main__", "alter_sys": True})
    ]
    assert MARK not in repr(sys.argv)
