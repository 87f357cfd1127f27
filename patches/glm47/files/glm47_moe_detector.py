"""Tool calls of GLM-4.7: <tool_call>NAME<arg_key>K</arg_key><arg_value>V</arg_value>...</tool_call>, back to back.

A call is kept back until it has ended, and then given out whole, so a stream says what the finished text says however
it was cut. Part of sglang-spark; made for the detector interface of SGLang 0.5.4.
"""

from __future__ import annotations

from typing import Any

from sglang.srt.entrypoints.openai.protocol import Tool
from sglang.srt.function_call.base_format_detector import BaseFormatDetector
from sglang.srt.function_call.core_types import StreamingParseResult, ToolCallItem, _GetInfoFunc
from sglang.srt.function_call.ebnf_composer import EBNFComposer
from sglang.srt.function_call.glm47_scanner import CLOSE, KEY, KEY_END, OPEN, VALUE, VALUE_END, Call, CallScanner, Event
from sglang.srt.function_call.glm47_values import value_of, whole_characters
from sglang.srt.function_call.json_schema_types import ANYTHING, Admitted, admitted_by_property


class Glm47MoeDetector(BaseFormatDetector):
    """GLM-4.7 tool calls; an instance reads one stream. What does not become a call stays text, to the letter."""

    def __init__(self) -> None:
        super().__init__()
        self.bot_token, self.eot_token = OPEN, CLOSE
        self._offer = _Offer([])
        self._scanner = CallScanner()
        self._after_call = False

    def has_tool_call(self, text: str) -> bool:
        """Whether there may be a call; only parsing can tell."""
        return OPEN in text

    def detect_and_parse(self, text: str, tools: list[Tool]) -> StreamingParseResult:
        """All that is certain after this text, just as a stream tells it by then; calls are numbered from 0."""
        return Glm47MoeDetector()._parse_whole(text, tools, finished=False)

    def parse_finished(self, text: str, tools: list[Tool]) -> StreamingParseResult:
        """A finished answer; the same as a stream and its end."""
        return Glm47MoeDetector()._parse_whole(text, tools, finished=True)

    def parse_streaming_increment(self, new_text: str, tools: list[Tool]) -> StreamingParseResult:
        """Pieces in; for each call that ends in this piece its name, then its arguments."""
        self._look_at(tools)
        return self._streamed(self._scanner.feed(whole_characters(new_text)))

    def finish_streaming(self, tools: list[Tool]) -> StreamingParseResult:
        """What was held back when the stream ended; nothing, when asked again."""
        self._look_at(tools)
        return self._streamed(self._scanner.finish())

    def _parse_whole(self, text: str, tools: list[Tool], finished: bool) -> StreamingParseResult:
        self._look_at(tools)
        events = self._scanner.feed(whole_characters(text))
        said, calls = self._sorted(events + self._scanner.finish() if finished else events)
        for index, (item, _) in enumerate(calls):
            item.tool_index = index
        return StreamingParseResult(normal_text=said, calls=[item for item, _ in calls])

    def _streamed(self, events: list[Event]) -> StreamingParseResult:
        if not events:
            return StreamingParseResult()
        said, calls = self._sorted(events)
        return StreamingParseResult(normal_text=said, calls=[part for call in calls for part in self._parts(*call)])

    def _parts(self, item: ToolCallItem, arguments: dict[str, Any]) -> list[ToolCallItem]:
        """Number a call and keep the books by which the serving layer looks for what was not streamed yet."""
        self.current_tool_id = index = len(self.prev_tool_call_arr)
        self.prev_tool_call_arr.append({"name": item.name, "arguments": arguments})
        self.streamed_args_for_tool.append(item.parameters)
        name = ToolCallItem(tool_index=index, name=item.name, parameters="")
        return [name, ToolCallItem(tool_index=index, parameters=item.parameters)]

    def _sorted(self, events: list[Event]) -> tuple[str, list[tuple[ToolCallItem, dict[str, Any]]]]:
        """The text that is said and the calls that are given out, with their arguments."""
        said, calls = [], []
        for event in events:
            arguments = self._arguments(event) if isinstance(event, Call) else {}
            items = self._items(event, arguments) if isinstance(event, Call) else []
            if items:
                calls.append((items[0], arguments))
                self._after_call = True
            else:
                said.append(self._said(event.text if isinstance(event, Call) else event))
        return "".join(said), calls

    def _said(self, text: str) -> str:
        """White space right after a call belongs to the markup."""
        text = text.lstrip() if self._after_call else text
        self._after_call = self._after_call and not text
        return text

    def _arguments(self, call: Call) -> dict[str, Any]:
        return {key: value_of(text, self._offer.admitted(call.name, key)) for key, text in call.arguments}

    def _items(self, call: Call, arguments: dict[str, Any]) -> list[ToolCallItem]:
        """The base class decides about tools that are not offered."""
        return self.parse_base_json({"name": call.name, "parameters": arguments}, self._offer.tools)

    def _look_at(self, tools: list[Tool]) -> None:
        if tools is not self._offer.tools:
            self._offer = _Offer(tools)
            self._scanner.offered = self._offer.parameters

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


class _Offer:
    """The tools of a request, and what their arguments admit; each schema is read once."""

    def __init__(self, tools: list[Tool]) -> None:
        self.tools = tools
        self.parameters = {tool.function.name: tool.function.parameters for tool in reversed(tools)}
        self._admitted: dict[tuple[str, str], Admitted] = {}

    def admitted(self, name: str, key: str) -> Admitted:
        if name not in self.parameters:
            return ANYTHING
        if (name, key) not in self._admitted:
            self._admitted[name, key] = admitted_by_property(self.parameters[name], key)
        return self._admitted[name, key]
