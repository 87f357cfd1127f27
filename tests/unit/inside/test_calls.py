"""What is judged of the parsers' answers; the parsers themselves answer in the integration tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.inside import calls
from tests.unit.inside.image import STAND_IN, Answer, inside, one, outcomes

EXPECTED = {"content": "Now.", "calls": [{"name": "f", "arguments": {"a": 1}}]}
LEAKED = {"content": "Now.<tool_call>f", "calls": []}


def said(registered: tuple[str, ...] = ("glm", "glm47"), **more: Any) -> Answer:
    case = {"parser": "glm47", "expected": EXPECTED, "whole": EXPECTED, "pieces": {"1": EXPECTED, "8": EXPECTED}}
    return Answer({"how": "imported", "registered": list(registered), "cases": [{**case, **more}]})


def found(folder: Path, child: Answer, stand_in: str = "") -> dict[str, str]:
    return outcomes(list(calls.checks(inside(folder, stand_in=stand_in), child)))


def test_answers_that_are_right_whole_and_in_pieces_pass(tmp_path: Path) -> None:
    names = ("parser.import", "parser.glm47.registered", "parser.glm47.whole", "parser.glm47.pieces")
    assert found(tmp_path, said()) == dict.fromkeys(names, "passed")


def test_a_parser_that_is_not_registered_fails_and_is_not_asked_further(tmp_path: Path) -> None:
    assert found(tmp_path, said(("glm",))) == {"parser.import": "passed", "parser.glm47.registered": "failed"}


def test_a_wrong_answer_fails_where_it_is_wrong_and_is_shown(tmp_path: Path) -> None:
    whole = list(calls.checks(inside(tmp_path), said(whole=LEAKED)))
    assert (one(whole, "parser.glm47.whole").outcome, one(whole, "parser.glm47.pieces").outcome) == ("failed", "passed")
    assert "<tool_call>f" in one(whole, "parser.glm47.whole").seen
    pieces = list(calls.checks(inside(tmp_path), said(pieces={"1": EXPECTED, "8": LEAKED})))
    assert one(pieces, "parser.glm47.pieces").outcome == "failed"
    assert "in pieces of 8 characters" in one(pieces, "parser.glm47.pieces").seen


def test_no_canned_call_at_all_is_a_failure(tmp_path: Path) -> None:
    assert found(tmp_path, Answer({"how": "imported", "registered": [], "cases": []})) == {"parser.import": "failed"}


def test_what_a_server_needs_and_is_missing_fails_but_not_in_a_stand_in(tmp_path: Path) -> None:
    missing = Answer({"missing": "No module named 'pydantic'"})
    assert found(tmp_path, missing) == {"parser.import": "failed"}
    assert found(tmp_path, missing, STAND_IN) == {"parser.import": "not_checked"}


def test_parsers_that_end_with_an_exception_fail_also_in_a_stand_in(tmp_path: Path) -> None:
    assert found(tmp_path, Answer("exit code 1: SyntaxError"), STAND_IN) == {"parser.import": "failed"}


def item(index: int, name: str | None, parameters: str) -> SimpleNamespace:
    return SimpleNamespace(tool_index=index, name=name, parameters=parameters)


@pytest.mark.parametrize(
    ("parts", "together"),
    [
        ([("No", []), ("w.", [item(0, "f", "")]), ("", [item(0, None, '{"a"'), item(0, None, ": 1}")])], EXPECTED),
        ([("", [item(1, "g", "{}"), item(0, "f", "{}")])], {"content": "", "calls": [
            {"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]}),
        ([("", [item(0, "f", "{")])], {"content": "", "calls": [{"name": "f", "arguments": "{"}]}),
    ],
)  # fmt: skip
def test_a_stream_is_put_together_as_a_client_does(parts: Any, together: dict[str, Any]) -> None:
    assert calls._put_together(parts) == together


def test_the_canned_calls_are_those_beside_the_manifest(root: Path) -> None:
    cases = calls.canned(root)
    assert [case["parser"] for case in cases] == ["glm47"]
    assert len(cases[0]["calls"]) == 2
