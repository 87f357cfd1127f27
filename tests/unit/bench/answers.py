"""Raw answers as a server would send them, made by hand."""

from __future__ import annotations

import json
from typing import Any

from deploy.bench.client import Raw


def event(delta: dict[str, Any] | None = None, finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choices = [] if delta is None else [{"delta": delta, "finish_reason": finish}]
    return f"data: {json.dumps({'choices': choices, 'usage': usage})}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def raw(*pieces: tuple[float, bytes], status: int = 200) -> Raw:
    return Raw(status, tuple(at for at, _ in pieces), tuple(piece for _, piece in pieces), pieces[-1][0])


def steady(tokens: int, size: int, first: float, rate: float, *, counted: bool = True) -> Raw:
    """A stream of so many tokens a chunk, the first chunk at `first` seconds."""
    said, parts = 0, []
    at = first
    while said < tokens:
        said = min(said + size, tokens)
        parts.append((at, event({"content": "a"}, None, {"completion_tokens": said} if counted else None)))
        at += size / rate
    at = parts[-1][0]
    usage = {"prompt_tokens": 100, "completion_tokens": tokens}
    end = [(at, event({}, "length")), (at, event(None, None, usage)), (at, DONE)]
    return raw(*parts, *end)
