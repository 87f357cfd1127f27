"""Takes ranks through start, requests, fault and stop and says what was seen, alike for engine and stand-in."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.gpu.adapt import Launch
from tests.gpu.milestones import milestones
from tests.gpu.ranks import Rank, answer, running, until

FAULTS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
PATHS = ("/ping", "/health", "/health_generate", "/v1/models", "/get_model_info", "/get_server_info", "/nothing")
CHAT = {
    "model": "any",
    "messages": [{"role": "user", "content": "hello world"}],
    "max_tokens": 32,
    "stream": True,
    "stream_options": {"include_usage": True},
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}}
RAW = "<tool_call>add<arg_key>a</arg_key><arg_value>7</arg_value></tool_call>"


@dataclass(frozen=True)
class Patience:
    """Seconds that the steps may take: to be ready, to answer, to fall after a fault, to leave when asked to."""

    ready: float
    answer: float
    fall: float
    leave: float


def observe(launches: Sequence[Launch], folder: Path, fault: str, patience: Patience) -> dict[str, object]:
    """What the ranks did in one life; `fault` is kill or stop, done to the last but one of them."""
    with running(launches, folder) as ranks:
        seen: dict[str, object] = {"fault": fault, "victim": max(len(ranks) - 2, 0)}
        seen["ready"] = until(lambda: settled(ranks), patience.ready) and all(rank.healthy() for rank in ranks)
        if seen["ready"]:
            seen |= requests(ranks, patience.answer)
            seen |= struck(ranks, fault, patience)
        if fault == "stop" and seen["ready"]:
            seen |= stopped(ranks, patience)
        seen["ranks"] = [told(rank) for rank in ranks]
    return seen


def settled(ranks: Sequence[Rank]) -> bool:
    """All ready, or one gone."""
    return all(rank.healthy() for rank in ranks) or any(rank.exit for rank in ranks)


def requests(ranks: Sequence[Rank], patience: float) -> dict[str, object]:
    """Status of the known paths on every rank, a streamed answer, and the parser's own endpoint."""
    paths = {path: [answer(rank.launch.port, path, 5) for rank in ranks] for path in PATHS}
    parse = {"text": RAW, "tools": [TOOL], "tool_call_parser": "glm47"}
    head = ranks[0].launch.port
    return {"paths": paths, "stream": stream(head, patience), "parse": post(head, "/parse_function_call", parse, 30)}


def post(port: int, path: str, body: Mapping[str, object], patience: float) -> dict[str, object]:
    """Status and text of the answer to a JSON body."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=patience) as response:
            return {"status": response.status, "body": response.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode(errors="replace")}
    except (OSError, ValueError) as error:
        return {"status": type(error).__name__, "body": str(error)}


def stream(port: int, patience: float) -> dict[str, object]:
    """How a streamed answer came: its chunks, what they held, and the usage at its end."""
    began = time.monotonic()
    told = post(port, "/v1/chat/completions", CHAT, patience)
    data = [line[6:] for line in str(told["body"]).split("\n") if line.startswith("data: ")]
    chunks = [json.loads(text) for text in data if text.startswith("{")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", [])]
    return {
        "status": told["status"],
        "seconds": round(time.monotonic() - began, 2),
        "chunks": len(chunks),
        "ends_with_done": bool(data) and data[-1] == "[DONE]",
        "delta_keys": sorted({key for delta in deltas for key, value in delta.items() if value is not None}),
        "finish": [c["finish_reason"] for chunk in chunks for c in chunk.get("choices", []) if c["finish_reason"]],
        "usage_in_chunk": next((index for index, chunk in enumerate(chunks) if chunk.get("usage")), None),
        "usage": next((chunk["usage"] for chunk in chunks if chunk.get("usage")), None),
        "first_chunk": chunks[0] if chunks else str(told["body"])[:400],
    }


def struck(ranks: Sequence[Rank], fault: str, patience: Patience) -> dict[str, object]:
    """Strike one rank and wait until all are gone or the time is up."""
    at = ranks[0].now()
    ranks[max(len(ranks) - 2, 0)].signal(FAULTS[fault])
    until(lambda: all(rank.exit for rank in ranks), patience.fall)
    return {"struck": round(at, 2), "watched": round(ranks[0].now() - at, 2)} | {"exits": exits(ranks)}


def stopped(ranks: Sequence[Rank], patience: Patience) -> dict[str, object]:
    """Thaw the frozen rank, then ask every first process to end, as `docker stop` does."""
    for rank in ranks:
        rank.signal(signal.SIGCONT)
    thawed = ranks[0].now()
    until(lambda: all(rank.healthy() for rank in ranks), patience.leave)
    healed = {"thawed": round(thawed, 2), "healed": all(rank.healthy() for rank in ranks)}
    asked = ranks[0].now()
    for rank in ranks:
        rank.signal(signal.SIGTERM, all_of_it=False)
    until(lambda: all(rank.exit for rank in ranks), patience.leave)
    return healed | {"asked_to_leave": round(asked, 2), "left": exits(ranks)}


def exits(ranks: Sequence[Rank]) -> list[list[object] | None]:
    """For each rank when it left and with which code, or None."""
    return [list(rank.exit) if rank.exit else None for rank in ranks]


def told(rank: Rank) -> dict[str, object]:
    """One rank's milestones and the answers of its health port."""
    found = [list(asdict(milestone).values()) for milestone in milestones(list(rank.lines))]
    return {"rank": rank.launch.rank, "milestones": found, "health": rank.health, "last_lines": last(rank)}


def last(rank: Rank) -> list[str]:
    """The last lines of the log, each cut to a readable length."""
    return [text[:300] for _, text in rank.lines[-12:]]
