"""Generated texts on the real trees: what is read is what was written, for every way of cutting.

10,400 cases a run (5,200 a tree), each read whole, by characters and in a drawn cutting.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.glm47 import schemas
from tests.integration.glm47.tree import Sglang
from tests.unit.glm47.test_scanner import TEXTS

pytestmark = pytest.mark.integration
CASES = settings(max_examples=2600, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEYS = st.text(alphabet=st.characters(exclude_characters="<>", exclude_categories=["Cs", "Z", "Cc"]), max_size=6)
ARGUMENTS = st.dictionaries(KEYS, schemas.SCHEMAS, max_size=4)
PROSE = st.sampled_from(["", "", "Let me look. ", "a < b", "\n", "<b>x</b>\n"])
BREAKS = st.sampled_from(["", "", "\n"])
SHAPES = {
    "weather": {"properties": {"k": {"type": "string"}, "n": {"type": "integer"}}},
    "now": None,
    "odd": {"properties": []},
}


def written(name: str, arguments: dict[str, Any], between: str) -> str:
    """A call as the chat templates write it, without or with line breaks."""
    pairs = [
        f"<arg_key>{key}</arg_key>{between}<arg_value>{schemas.rendered(value)}</arg_value>{between}"
        for key, (_, value) in arguments.items()
    ]
    return f"<tool_call>{name}{between}{''.join(pairs)}</tool_call>"


def drawn_cut(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@CASES
@given(calls=st.lists(st.tuples(ARGUMENTS, PROSE, BREAKS), max_size=3), data=st.data())
def test_what_is_read_is_what_was_written(
    sglang: Sglang, calls: list[tuple[dict[str, Any], str, str]], data: st.DataObject
) -> None:
    shapes = {f"f{i}": schemas.parameters({k: s for k, (s, _) in one.items()}) for i, (one, _, _) in enumerate(calls)}
    text = "".join(prose + written(f"f{i}", one, blank) for i, (one, prose, blank) in enumerate(calls)) + " end"
    said = "".join(prose.lstrip() if i else prose for i, (_, prose, _) in enumerate(calls)) + "end"
    values = [
        (f"f{i}", json.dumps({k: v for k, (_, v) in one.items()}, ensure_ascii=False))
        for i, (one, _, _) in enumerate(calls)
    ]
    expected = (said if calls else " end", values)
    tools = sglang.tools(shapes or {"now": None})
    assert sglang.whole(text, tools) == expected
    for pieces in (list(text), drawn_cut(text, data)):
        assert sglang.streamed(pieces, tools) == expected


@CASES
@given(text=TEXTS, data=st.data())
def test_any_text_reads_the_same_whole_and_streamed(sglang: Sglang, text: str, data: st.DataObject) -> None:
    tools = sglang.tools(SHAPES)
    expected, sure = sglang.whole(text, tools), sglang.so_far(text, tools)
    for pieces in (list(text), drawn_cut(text, data)):
        assert sglang.streamed(pieces, tools) == expected
        assert sglang.pieces_so_far(pieces, tools) == sure
