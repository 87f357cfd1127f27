"""Tool calls of GLM-4.7: <tool_call>NAME<arg_key>K</arg_key><arg_value>V</arg_value>...</tool_call>, back to back.

A call is kept back until its closing tag, parsed once, and then given out whole, so a stream says what the finished
text says however it was cut. Part of sglang-spark; made for the detector interface of SGLang 0.5.4.
"""

import json
import logging
import re
from typing import Any

from sglang.srt.entrypoints.openai.protocol import Tool
from sglang.srt.function_call.base_format_detector import BaseFormatDetector
from sglang.srt.function_call.core_types import StreamingParseResult, ToolCallItem, _GetInfoFunc
from sglang.srt.function_call.ebnf_composer import EBNFComposer

logger = logging.getLogger(__name__)

OPEN, CLOSE = "<tool_call>", "</tool_call>"
KEY, KEY_END, VALUE, VALUE_END = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
_SPACE = re.compile(r"\s*")


class _Splitter:
    """Cuts a text that arrives in pieces into plain text and whole calls; its cost is linear in the text."""

    def __init__(self) -> None:
        self._held: list[str] = []  # since the last cut: the inside of an open call, or a possible beginning of OPEN
        self._edge = ""  # the end of what is held, where a tag may be half there
        self._inside = False
        self._after_call = False  # blanks right after a call belong to the markup

    def feed(self, piece: str) -> list[tuple[bool, str]]:
        """(is a call, text) for all that is certain with this piece."""
        tag = CLOSE if self._inside else OPEN
        if self._inside and tag not in self._edge + piece:
            self._hold(piece, tag)
            return []
        text, found = "".join(self._held) + piece, []
        at = 0
        while True:
            tag = CLOSE if self._inside else OPEN
            end = text.find(tag, at)
            if end < 0:
                break
            self._add(found, text[at:end])
            self._inside, at = not self._inside, end + len(tag)
        self._held, self._edge = [], ""
        rest = text[at:]
        if not self._inside:
            kept = _partial(rest, OPEN)
            self._add(found, rest[: len(rest) - kept])
            rest = rest[len(rest) - kept :]
        self._hold(rest, tag)
        return found

    def _hold(self, piece: str, tag: str) -> None:
        self._held.append(piece)
        self._edge = (self._edge + piece)[1 - len(tag) :]

    def _add(self, found: list[tuple[bool, str]], text: str) -> None:
        if self._inside:
            found.append((True, text))
            self._after_call = True
            return
        text = text.lstrip() if self._after_call else text
        if text:
            found.append((False, text))
            self._after_call = False


def _partial(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-n:])), 0)


def _pairs(text: str) -> list[tuple[str, str]]:
    """The arguments of a call as they stand; what is no whole pair is passed over."""
    pairs, at = [], text.find(KEY)
    while at >= 0:
        key_end = text.find(KEY_END, at)
        if key_end < 0:
            break
        key, after = text[at + len(KEY) : key_end].strip(), key_end + len(KEY_END)
        after = _SPACE.match(text, after).end()
        if text.startswith(VALUE, after):
            after += len(VALUE)
            value_end = text.find(VALUE_END, after)
            if value_end < 0:
                break
            pairs.append((key, text[after:value_end]))
            after = value_end + len(VALUE_END)
        at = text.find(KEY, after)
    return pairs


def _types(schema: Any) -> set[str]:
    """The JSON types that a property may have; none where the schema does not say."""
    if not isinstance(schema, dict):
        return set()
    named = schema.get("type")
    types = {name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)}
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        types.update(*map(_types, options if isinstance(options, list) else []))
    return types


def _typed(text: str, types: set[str]) -> Any:
    """A value by its type: strings to the letter, anything else by JSON where it is JSON."""
    if "string" in types and not ("null" in types and text.strip() == "null"):
        return text
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # what no client could read stays text
    except (ValueError, RecursionError):
        return text
    return value


class Glm47MoeDetector(BaseFormatDetector):
    """GLM-4.7 tool calls. At the end of a stream an unfinished call is dropped, in one go as in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.bot_token, self.eot_token = OPEN, CLOSE
        self._splitter = _Splitter()

    def has_tool_call(self, text: str) -> bool:
        return OPEN in text

    def detect_and_parse(self, text: str, tools: list[Tool]) -> StreamingParseResult:
        """Whole text in; calls are numbered from 0."""
        pieces = _Splitter().feed(text)
        calls = [item for is_call, piece in pieces if is_call for item in self._call(piece, tools)]
        for index, item in enumerate(calls):
            item.tool_index = index
        return StreamingParseResult(normal_text="".join(piece for is_call, piece in pieces if not is_call), calls=calls)

    def parse_streaming_increment(self, new_text: str, tools: list[Tool]) -> StreamingParseResult:
        """Pieces in; for each call that ends in this piece its name, then its arguments."""
        pieces = self._splitter.feed(new_text)
        calls = [item for is_call, piece in pieces if is_call for item in self._call(piece, tools)]
        out = [part for item in calls for part in self._stream(item)]
        return StreamingParseResult(normal_text="".join(piece for is_call, piece in pieces if not is_call), calls=out)

    def _stream(self, item: ToolCallItem) -> list[ToolCallItem]:
        """Number a call and keep the books that the serving layer reads at the end."""
        self.current_tool_id = index = len(self.prev_tool_call_arr)
        self.prev_tool_call_arr.append({"name": item.name, "arguments": json.loads(item.parameters)})
        self.streamed_args_for_tool.append(item.parameters)
        name = ToolCallItem(tool_index=index, name=item.name, parameters="")
        return [name, ToolCallItem(tool_index=index, parameters=item.parameters)]

    def _call(self, text: str, tools: list[Tool]) -> list[ToolCallItem]:
        """One call as the base class would give it out: it decides about tools that were not offered."""
        name = text.partition(KEY)[0].strip()
        if not name:
            logger.warning("A tool call without a name was dropped")
            return []
        schema = next((tool.function.parameters for tool in tools if tool.function.name == name), None)
        known = schema.get("properties") if isinstance(schema, dict) else None
        known = known if isinstance(known, dict) else {}
        arguments = {key: _typed(value, _types(known.get(key))) for key, value in _pairs(text)}
        return self.parse_base_json({"name": name, "parameters": arguments}, tools)

    def supports_structural_tag(self) -> bool:
        return False

    def structure_info(self) -> _GetInfoFunc:
        raise NotImplementedError("GLM-4.7 arguments are not JSON: structural tags do not describe them")

    def build_ebnf(self, tools: list[Tool]) -> str:
        return EBNFComposer.build_ebnf(
            tools,
            function_format="xml",
            individual_call_start_token=OPEN,
            individual_call_end_token=CLOSE,
            tool_call_separator="",
            call_rule_fmt='"{name}" {arguments_rule}',
            key_value_rule_fmt=f'"{KEY}{{key}}{KEY_END}{VALUE}" {{valrule}} "{VALUE_END}"',
            key_value_separator='""',
        )
