"""OpenAI's chat completions: SGLang's own types around the stand-in's text; opens no connection."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from sglang.srt.entrypoints.openai import protocol

from .answer import BETWEEN, THOUGHT, arguments, call, called, content, limited, sentence, spoken, tokens
from .arguments import Launch
from .generation import Scheduler, Work
from .parsers import Pieces, Thinking, chat_request, parser
from .settings import Settings

Finished = Callable[[str, int, int, Work], None]
"""Told of a request at its end: its id, tokens read and said, and its work."""


class Chat:
    """Answers chat requests; the text is made up here, what it means is found by the real parsers."""

    def __init__(self, told: Launch, settings: Settings, scheduler: Scheduler, finished: Finished) -> None:
        self.told, self.settings, self.scheduler, self.finished = told, settings, scheduler, finished
        self.thinking = Thinking(told.tree, told.args.reasoning_parser)
        self.parser = parser(settings, told.args.tool_call_parser)

    def answer(self, body: dict[str, Any]) -> dict[str, Any] | Iterator[str]:
        """The response to a request, or its stream of events; ValueError where the request is none."""
        exchange = Exchange(self, body)
        return exchange.stream() if exchange.request.stream else exchange.whole()


class Exchange:
    """One request and its answer."""

    def __init__(self, chat: Chat, body: dict[str, Any]) -> None:
        self.arrived = time.monotonic()
        self.chat, self.body, self.request = chat, body, chat_request(body)
        self.id = uuid.uuid4().hex
        messages = body["messages"]
        self.prompt = next((content(one) for one in reversed(messages) if one["role"] == "user"), "")
        most = self.request.max_completion_tokens or self.request.max_tokens
        self.prompt_tokens = len(tokens(spoken(messages)))
        self.tokens, self.finish = limited(tokens(self.text()), most, self.request.ignore_eos)
        self.calls = self.said = 0
        args, thinks = chat.told.args, chat.thinking(self.request)
        self.pieces = Pieces(args.reasoning_parser, thinks, chat.parser, self.request)

    def text(self) -> str:
        """What the model would have written: a thought, unless that is switched off, then calls or a sentence."""
        settings, asked = self.chat.settings, self.request.chat_template_kwargs or {}
        thinks = settings.think or asked.get("enable_thinking", True)
        thought = f"{THOUGHT}</think>" if thinks and self.chat.told.args.reasoning_parser else ""
        return thought + (self.raw_calls() or sentence(self.prompt, settings.text))

    def raw_calls(self) -> str:
        """The calls of the answer in the model's own notation; nothing where none is called for."""
        choice, dialect = self.body.get("tool_choice", "auto"), self.chat.told.args.tool_call_parser
        if choice == "none" or self.body["messages"][-1]["role"] == "tool":
            return ""
        functions = called(self.prompt, [tool["function"] for tool in self.body.get("tools") or []], choice)
        made = [(function["name"], arguments(function, self.prompt)) for function in functions]
        if choice == "required" or isinstance(choice, dict):
            return json.dumps([{"name": name, "parameters": given} for name, given in made])
        return "".join(call(name, given, dialect) for name, given in made) if dialect in BETWEEN else ""

    def usage(self, said: int) -> Any:
        """What was read and said, in tokens."""
        total = self.prompt_tokens + said
        return protocol.UsageInfo(prompt_tokens=self.prompt_tokens, completion_tokens=said, total_tokens=total)

    def work(self) -> Iterator[str]:
        """The chunks of tokens as they come."""
        work = self.chat.scheduler.submit(self.tokens, self.prompt_tokens, arrived=self.arrived)
        yield from work
        self.chat.finished(self.id, self.prompt_tokens, len(self.tokens), work)

    def count(self, chunk: str) -> None:
        """Count the tokens of a chunk as said."""
        left = len(chunk)
        while left > 0:
            left -= len(self.tokens[self.said])
            self.said += 1

    def whole(self) -> dict[str, Any]:
        """The response in one piece."""
        text = "".join(self.work())
        thought, text, calls = self.pieces.whole(text)
        tools = [self.tool_call(index, name, given) for index, name, given in calls]
        message = protocol.ChatMessage(
            role="assistant", content=text or None, tool_calls=tools or None, reasoning_content=thought or None
        )
        choice = protocol.ChatCompletionResponseChoice(index=0, message=message, finish_reason=self.reason(bool(tools)))
        response = protocol.ChatCompletionResponse(
            id=self.id,
            model=self.request.model,
            choices=[choice],
            usage=self.usage(len(self.tokens)),
            metadata={"weight_version": "default"},
        )
        made: dict[str, Any] = response.model_dump(mode="json")
        return made

    def stream(self) -> Iterator[str]:
        """The response as server-sent events, one for each thing that a chunk of tokens brings."""
        yield self.event(protocol.DeltaMessage(role="assistant", content=""))
        for chunk in self.work():
            self.count(chunk)
            yield from self.events(chunk, None)
        yield from self.events("", self.finish)
        left = self.pieces.rest()
        if left:
            yield self.event(protocol.DeltaMessage(tool_calls=[self.tool_call(left[0], None, left[1])]))
        yield self.event(protocol.DeltaMessage(), self.reason(self.calls > 0))
        if self.request.stream_options and self.request.stream_options.include_usage:
            yield self.framed([], self.usage(len(self.tokens)))
        yield "data: [DONE]\n\n"

    def events(self, chunk: str, finish: str | None) -> Iterator[str]:
        """Events of one chunk: thought, then text, then calls; the last chunk has a reason to finish."""
        thought, text, calls = self.pieces.chunk(chunk, finish)
        if thought:
            yield self.event(protocol.DeltaMessage(reasoning_content=thought))
        if text:
            yield self.event(protocol.DeltaMessage(content=text))
        for one in calls:
            self.calls += 1
            yield self.event(
                protocol.DeltaMessage(tool_calls=[self.tool_call(one.tool_index, one.name, one.parameters)])
            )

    def event(self, delta: Any, finish: str | None = None) -> str:
        """A change of the message as an event."""
        choice = protocol.ChatCompletionResponseStreamChoice(index=0, delta=delta, finish_reason=finish)
        options = self.request.stream_options
        return self.framed([choice], self.usage(self.said) if options and options.continuous_usage_stats else None)

    def framed(self, choices: list[Any], usage: Any) -> str:
        """An event's text."""
        chunk = protocol.ChatCompletionStreamResponse(
            id=self.id, model=self.request.model, choices=choices, usage=usage
        )
        return f"data: {chunk.model_dump_json()}\n\n"

    def tool_call(self, index: int, name: str | None, given: str) -> Any:
        """A call, or a further piece of one, which has neither id nor name."""
        identity = f"call_{uuid.uuid4().hex[:24]}" if name else None
        function = protocol.FunctionResponse(name=name, arguments=given)
        return protocol.ToolCall(id=identity, index=index, function=function)

    def reason(self, called_any: bool) -> str:
        """Why the answer ends."""
        return "tool_calls" if called_any and self.finish == "stop" else self.finish
