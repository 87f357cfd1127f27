"""Runs the toolkit as it is and keeps, after each chat answer, its id and the tokens that the toolkit read from it.

    python3 -m tests.gpu.heard FILE bench run SUITE ... --url URL

A line of JSON an answer. What is kept is written after an answer's last byte, so that its times are not touched.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.bench import client
from deploy.bench.client import CHAT, Raw
from deploy.bench.reading import Answer, read_stream, read_whole

ID = re.compile(rb'"id": ?"([^"]+)"')


def told(message: bytes, raw: Raw) -> dict[str, Any] | None:
    """What is kept of one exchange; None where it was no chat. `chunks` are the times that results hold as well."""
    head, _, body = message.partition(b"\r\n\r\n")
    if CHAT.encode() not in head.split(b"\r\n")[0]:
        return None
    streamed = bool(json.loads(body).get("stream"))
    answer: Answer = (read_stream if streamed else read_whole)(raw)
    found = ID.search(raw.body)
    return {
        "id": found[1].decode() if found else "",
        "streamed": streamed,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "chunks": [round(at, 6) for at in answer.times],
        "failure": answer.failure.kind if answer.failure else "",
    }


def keeping(exchanged: Callable[..., Raw], file: Path) -> Callable[..., Raw]:
    """The client's exchange, with what it heard written down after it."""

    def exchange(connection: Any, message: bytes, patience: float) -> Raw:
        raw = exchanged(connection, message, patience)
        kept = told(message, raw)
        if kept:
            with file.open("a") as lines:
                lines.write(json.dumps(kept) + "\n")
        return raw

    return exchange


def listen(file: Path) -> None:
    """From now on all chat answers of this process are kept."""
    client._exchanged = keeping(client._exchanged, file)


if __name__ == "__main__":
    from deploy.cli import main

    listen(Path(sys.argv[1]))
    sys.argv = ["build-and-deploy.py", *sys.argv[2:]]
    main()
