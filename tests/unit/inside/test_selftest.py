"""How the self-test ends, and how it tells what it saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.inside import selftest
from deploy.inside.check import VARIABLE, BuiltFor, Check
from deploy.inside.patches import patches
from tests.unit.inside.image import BUILT_FOR, inside

CHECKS = [
    Check("b", "failed", "2.28.9", "2.29.3", "build again"),
    Check("a", "passed", "fine", "fine", "no hint where all is well"),
    Check("c", "not_checked", "no GPU"),
    Check("d", "allowed", "too large", "101,376"),
]


def test_failures_stand_last_with_what_was_needed_and_what_to_do() -> None:
    lines = selftest.text(CHECKS).splitlines()
    assert lines[0].split() == ["passed", "a", "fine"]
    assert lines[-3].split()[:2] == ["FAILED", "b"]
    assert "2.28.9; needed: 2.29.3" in lines[-3]
    assert lines[-2].strip() == "-> build again"
    assert lines[-1] == "self-test: 1 passed, 1 not checked, 1 allowed, 1 FAILED"
    assert "no hint" not in "\n".join(lines)


def test_the_document_has_every_check_and_one_verdict() -> None:
    found = json.loads(selftest.document(CHECKS))
    assert (found["format"], found["passed"]) == (1, False)
    assert found["checks"][0] == {
        "id": "b",
        "outcome": "failed",
        "seen": "2.28.9",
        "needed": "2.29.3",
        "hint": "build again",
    }
    assert json.loads(selftest.document(CHECKS[1:]))["passed"] is True


@pytest.mark.parametrize(("checks", "code"), [(CHECKS, 1), (CHECKS[1:], 0)])
def test_the_exit_code_says_whether_a_check_failed(
    checks: list[Check], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "look_inside", lambda: inside(tmp_path))
    monkeypatch.setattr(selftest, "run", lambda image: checks)
    assert selftest.main(["--json"]) == code
    assert json.loads(capsys.readouterr().out)["passed"] is (code == 0)
    assert selftest.main([]) == code


def test_an_exception_is_the_failure_of_its_check_and_what_came_before_stays() -> None:
    def part() -> Iterator[Check]:
        yield CHECKS[1]
        raise KeyError("surprise")

    found = list(selftest.guarded("x", part))
    assert [(check.id, check.outcome) for check in found] == [("a", "passed"), ("x", "failed")]
    assert "KeyError: 'surprise'" in found[1].seen


def test_outside_an_image_of_ours_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert selftest.main([]) == 2
    assert f"{VARIABLE} is not set" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sglang": "1", "more": 1}'])
def test_what_cannot_be_read_of_the_image_is_said(text: str) -> None:
    with pytest.raises(LookupError, match="cannot be read"):
        BuiltFor.read({VARIABLE: text})


def test_what_an_image_was_built_for_survives_its_environment() -> None:
    assert BuiltFor.read({VARIABLE: json.dumps(vars(BUILT_FOR))}) == BUILT_FOR


def test_a_tree_that_is_not_patched_fails_by_file(tmp_path: Path, root: Path) -> None:
    image = inside(tmp_path)
    (image.home).mkdir()
    (image.home / "patches").symlink_to(root / "patches")
    found = patches(image).check
    assert found.outcome == "failed"
    assert "sglang/srt/function_call/function_call_parser.py is unknown" in found.seen


def test_a_manifest_that_is_not_there_is_the_failure_of_its_check(tmp_path: Path) -> None:
    assert patches(inside(tmp_path)).check.outcome == "failed"
