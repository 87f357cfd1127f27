"""Every case in tests/golden/glm47, along every way from a text to calls and in pieces of every size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.glm47.tree import ROOT, Answer, Sglang, cut

pytestmark = pytest.mark.integration
CASES = sorted((ROOT / "tests" / "golden" / "glm47").glob("*.json"))


def read(case: Path) -> tuple[dict[str, Any], Answer]:
    content = json.loads(case.read_text())
    calls = [(one["name"], json.dumps(one["arguments"], ensure_ascii=False)) for one in content["calls"]]
    return content, (content["says"], calls)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_case_reads_the_same_in_every_way(sglang: Sglang, case: Path) -> None:
    content, expected = read(case)
    tools, text = sglang.tools(content["tools"]), content["text"]
    assert sglang.whole(text, tools) == expected
    for size in range(1, len(text) + 1):
        assert sglang.streamed(cut(text, size), tools) == expected, f"pieces of {size}"
    for at in range(len(text)):
        assert sglang.streamed([text[:at], text[at:]], tools) == expected, f"cut at {at}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_chat_handler_gives_the_same_whole_and_streamed(sglang: Sglang, case: Path) -> None:
    content, expected = read(case)
    tools, text = sglang.tools(content["tools"]), content["text"]
    reason = "tool_calls" if expected[1] else "stop"
    assert sglang.served(text, tools) == (expected, reason)
    for size in (1, 4, 32, len(text)):
        assert sglang.served_stream(cut(text, size), tools) == (expected, reason)


def test_there_are_cases() -> None:
    assert len(CASES) > 60
