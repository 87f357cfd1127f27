"""What a server says of itself, SGLang's extra paths used where they are offered; measures nothing."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from deploy.bench.client import CHAT, Failure, Raw, Target, request
from deploy.bench.results import Server
from deploy.errors import BenchError

SGLANG, STAND_IN, VLLM = "sglang", "stand-in for sglang", "vllm"
INFO = ("/get_server_info", "/server_info")
SECRET = re.compile(r"(api_key|password|secret)$")
STATES = "internal_states"
FLUSH = "/flush_cache"
FLUSH_PATIENCE = 5.0
"""Seconds: SGLang flushes only while nothing runs, and a request that was just answered may still count as running."""


@dataclass(frozen=True)
class Facts:
    """What requests and suites depend on. `limit`: tokens of a context; `counts`: usage comes with every chunk.

    `extras`: the server takes the fields that SGLang and vLLM add to OpenAI's. `flushes`: its prefix cache can be
    emptied.
    """

    server: Server
    limit: int | None = None
    extras: bool = False
    flushes: bool = False
    counts: bool = False


def learn(target: Target, model: str = "") -> Facts:
    """Ask the server what it is, and once for a few words, to warm it up. Raises BenchError where it cannot be used.

    The model is the first that it names, unless one is given.
    """
    card = _card(target, model)
    name = model or str(card["id"])
    info = next((found for found in (_json(request(target, path)) for path in INFO) if found), None) or {}
    version = info.get("version") or (_json(request(target, "/version")) or {}).get("version") or ""
    engine = (STAND_IN if info.get("stand_in") else SGLANG) if info else VLLM if version else ""
    limit = card.get("max_model_len") or info.get("context_length")
    server = Server(target.url, name, engine, str(version), _flags(info))
    flushes = bool(info) and flush(target)
    return Facts(server, int(limit) if limit else None, bool(engine), flushes, _counts(target, name))


def accept_length(target: Target) -> float | None:
    """Mean tokens of a verification since the last flush, where the server speculates and tells."""
    for path in INFO:
        states = (_json(request(target, path)) or {}).get(STATES) or [{}]
        value = states[0].get("avg_spec_accept_length") if isinstance(states[0], dict) else None
        if value:
            return float(value)
    return None


def flush(target: Target) -> bool:
    """Empty the prefix cache, and with it SGLang's count of accepted tokens; False where that is not to be had."""
    end = time.monotonic() + FLUSH_PATIENCE
    while (raw := request(target, FLUSH, {})).status == 400 and time.monotonic() < end:
        time.sleep(0.05)
    return raw.status == 200


def _card(target: Target, model: str) -> dict[str, Any]:
    raw = request(target, "/v1/models")
    cards = [one for one in (_json(raw) or {}).get("data") or () if isinstance(one, dict) and "id" in one]
    if not cards:
        why = raw.failure or Failure("malformed", raw.body[:200].decode(errors="replace"))
        raise _unusable(target, "/v1/models", why)
    named = [card for card in cards if card["id"] == model]
    return (named or cards)[0]


def _counts(target: Target, model: str) -> bool:
    """Whether usage comes with every chunk when it is asked for. The first answer of a server may take minutes."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say a few words."}]}
    body |= {"max_tokens": 8, "stream": True}
    raw = request(target, CHAT, body | {"stream_options": options})
    if raw.status in (400, 422):
        raw = request(target, CHAT, body | {"stream_options": {"include_usage": True}})
    if raw.failure:
        raise _unusable(target, CHAT, raw.failure)
    return raw.body.count(b'"completion_tokens"') > 1


def _unusable(target: Target, path: str, why: Failure) -> BenchError:
    hint = "is it the URL of an OpenAI-compatible server that is up? A server that asks for a key needs --key-env"
    return BenchError(f"{target.url}{path}: {why.kind}: {why.text}", hint)


def _json(raw: Raw) -> dict[str, Any] | None:
    try:
        told = json.loads(raw.body) if raw.status == 200 and not raw.failure else None
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _flags(info: dict[str, Any]) -> dict[str, Any]:
    """The server's arguments: plain values that are set, and no secret."""
    plain = (str, int, float, bool)
    return {
        name: value
        for name, value in sorted(info.items())
        if isinstance(value, plain) and not SECRET.search(name) and name not in ("version", "stand_in", STATES)
    }
