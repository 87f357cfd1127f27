"""SGLang's own chat serving, imported from a real tree without a GPU: what a model said goes in, messages come out."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Modules that want torch or a web server, with the names that are imported from them: stand-ins, never called here.
STOOD_IN = {
    "fastapi": ("Request", "HTTPException"),
    "fastapi.responses": ("ORJSONResponse", "StreamingResponse"),
    "sglang.srt.managers.io_struct": ("GenerateReqInput",),
    "sglang.srt.parser.conversation": ("generate_chat_conv",),
    "sglang.srt.parser.jinja_template_utils": ("process_content_for_template_format",),
    "sglang.srt.server_args": ("ServerArgs",),
}


@dataclass
class Message:
    """What a client has in the end; `chunks` counts the pieces of thought and answer that came."""

    thought: str = ""
    content: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    finish: str = ""
    chunks: int = 0

    def __eq__(self, other: object) -> bool:
        mine, theirs = ({**vars(one), "chunks": 0} for one in (self, other))
        return mine == theirs


class Serving:
    """One imported tree, served with the given parsers."""

    def __init__(self, reasoning: str | None = "glm45", tools: str | None = "glm47") -> None:
        self.protocol = importlib.import_module("sglang.srt.entrypoints.openai.protocol")
        module = importlib.import_module("sglang.srt.entrypoints.openai.serving_chat")
        args = SimpleNamespace(tool_call_parser=tools, reasoning_parser=reasoning, enable_cache_report=False)
        model = SimpleNamespace(get_default_sampling_params=dict)
        self.manager = SimpleNamespace(server_args=args, model_config=model, generate_request=self._generate)
        self.chat = module.OpenAIServingChat(self.manager, SimpleNamespace(force_reasoning=False))
        self.pieces: list[str] = []

    def request(self, **asked: Any) -> Any:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **asked}
        return self.protocol.ChatCompletionRequest(**body)

    def whole(self, text: str, finish: str = "stop", **asked: Any) -> Message:
        ret = {"text": text, "meta_info": meta(finish)}
        choice = self.chat._build_chat_response(self.request(**asked), [ret], 0).choices[0]
        calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        said = choice.message
        return Message(said.reasoning_content or "", said.content or "", calls, choice.finish_reason)

    def stream(self, pieces: list[str], finish: str = "stop", **asked: Any) -> Message:
        self.pieces, self.finish = pieces, finish
        return asyncio.run(self._folded(self.request(stream=True, **asked)))

    async def _generate(self, adapted: Any, raw: Any) -> AsyncIterator[dict[str, Any]]:
        """As the engine: the text so far with each piece; the last one has the finish reason."""
        text = ""
        for number, piece in enumerate(self.pieces, 1):
            text += piece
            yield {"text": text, "meta_info": meta(self.finish if number == len(self.pieces) else None)}

    async def _folded(self, request: Any) -> Message:
        """As a client: what comes is appended to what came."""
        message = Message()
        async for event in self.chat._generate_chat_stream(None, request, None):
            line = event.removeprefix("data: ").strip()
            if line == "[DONE]":
                break
            (choice,) = json.loads(line)["choices"]
            delta = choice["delta"]
            message.thought += delta.get("reasoning_content") or ""
            message.content += delta.get("content") or ""
            message.chunks += bool(delta.get("reasoning_content")) + bool(delta.get("content"))
            message.finish = choice["finish_reason"] or message.finish
            for call in delta.get("tool_calls") or []:
                if call["function"]["name"]:
                    message.calls.append((call["function"]["name"], ""))
                name, arguments = message.calls[call["index"]]
                message.calls[call["index"]] = (name, arguments + (call["function"]["arguments"] or ""))
        return message


def meta(finish: str | None) -> dict[str, Any]:
    reason = {"type": finish} if finish else None
    return {"id": "1", "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": reason, "weight_version": "v"}


@contextmanager
def imported(tree: Path) -> Iterator[None]:
    """The tree's modules are those that `import sglang` finds; afterwards none of them is left."""
    package, tools = types.ModuleType("sglang"), types.ModuleType("sglang.utils")
    package.__path__ = [str(tree / "sglang")]
    tools.convert_json_schema_to_str = json.dumps  # type: ignore[attr-defined]
    stood_in = {"sglang": package, "sglang.utils": tools, **{name: _empty(name, *STOOD_IN[name]) for name in STOOD_IN}}
    before = {name: sys.modules.get(name) for name in stood_in}
    sys.modules |= stood_in
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
            del sys.modules[name]
        sys.modules |= {name: module for name, module in before.items() if module}
        for name in [name for name, module in before.items() if module is None]:
            sys.modules.pop(name, None)


def _empty(name: str, *names: str) -> types.ModuleType:
    module = types.ModuleType(name)
    for one in names:
        setattr(module, one, type(one, (), {}))
    return module
