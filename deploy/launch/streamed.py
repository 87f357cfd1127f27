"""A streamed chat answer put together from its chunks, in OpenAI's format. Opens no connection."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """One tool call as it grows; `arguments` is text until the stream has ended, and need not be JSON then."""

    name: str = ""
    arguments: str = ""
    id: str = ""


@dataclass
class Streamed:
    """What has come so far: thought, text, calls by their index, and why it ended. `error` is the server's own."""

    reasoning: str = ""
    content: str = ""
    calls: dict[int, Call] = field(default_factory=dict)
    finish: str = ""
    error: str = ""

    def take(self, line: str) -> list[tuple[str, str]]:
        """Take one line of the event stream; ("thought" or "text", what it adds). Other lines add nothing."""
        if not line.startswith("data: ") or line == "data: [DONE]":
            return []
        return self.add(json.loads(line.removeprefix("data: ")))

    def add(self, chunk: dict[str, Any]) -> list[tuple[str, str]]:
        """Take one chunk, read from its line; as `take`."""
        if "error" in chunk:
            self.error = str(chunk["error"])
        return [added for choice in chunk.get("choices", ()) for added in self._choice(choice)]

    def _choice(self, choice: dict[str, Any]) -> list[tuple[str, str]]:
        self.finish = choice.get("finish_reason") or self.finish
        delta = choice["delta"]
        thought, text = str(delta.get("reasoning_content") or ""), str(delta.get("content") or "")
        self.reasoning += thought
        self.content += text
        for piece in delta.get("tool_calls") or ():
            call, function = self.calls.setdefault(piece["index"], Call()), piece.get("function") or {}
            call.id = piece.get("id") or call.id
            call.name += function.get("name") or ""
            call.arguments += function.get("arguments") or ""
        return [added for added in (("thought", thought), ("text", text)) if added[1]]
