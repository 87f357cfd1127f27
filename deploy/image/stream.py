"""Docker's streams of messages as events; an error inside one becomes a BuildError. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from deploy.errors import BuildError
from deploy.event import Event, Note, Progress
from deploy.image.failure import failure, step_failure

Message = Mapping[str, Any]
LAST_LINES = 24
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_OWN = re.compile(r"^ ---> |^Removing intermediate container |^Successfully (built|tagged) ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def built(messages: Iterable[Message]) -> Generator[Event, None, str]:
    """Follow a build; returns the image's id. Raises BuildError with the failing step and its last lines."""
    step, image = "its start", ""
    lines: deque[str] = deque(maxlen=LAST_LINES)
    for message in messages:
        if words := error_in(message):
            raise step_failure(step, words, list(lines))
        image = (message.get("aux") or {}).get("ID", image)
        for line in _lines(message):
            if found := _STEP.fullmatch(line):
                step = line.partition(" : ")[2]
                lines.clear()
                yield Progress("build", int(found[1]), int(found[2]), f"steps: {step}")
            elif not _OWN.match(line):
                lines.append(line)
                yield Note(line)
    if not image:
        raise BuildError("the build ended without an image", "the Docker Engine's own log may say more")
    return image


def moved(what: str, messages: Iterable[Message]) -> Generator[Event, None, str]:
    """Follow a pull or push in bytes; returns the digest, "" where none is named. Raises BuildError."""
    layers: dict[str, tuple[int, int]] = {}
    digest = ""
    for message in messages:
        if words := error_in(message):
            raise failure(what, words)
        digest = _digest(message) or digest
        if _count(layers, message):
            yield Progress(what, sum(done for done, _ in layers.values()), sum(size for _, size in layers.values()))
    return digest


def error_in(message: Message) -> str:
    """The words of an error message, "" for any other. Old and new engines spell it differently."""
    detail = message.get("errorDetail") or {}
    return str(detail.get("message") or message.get("error") or "")


def _lines(message: Message) -> list[str]:
    text = _COLOUR.sub("", str(message.get("stream") or message.get("status") or ""))
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _count(layers: dict[str, tuple[int, int]], message: Message) -> bool:
    """Keep a layer's bytes; unpacking is not counted, and in some stores has no total."""
    detail = message.get("progressDetail") or {}
    if message.get("status") not in ("Downloading", "Pushing") or "total" not in detail:
        return False
    layers[str(message.get("id"))] = min(int(detail["current"]), int(detail["total"])), int(detail["total"])
    return True


def _digest(message: Message) -> str:
    """A push names it in `aux`, a pull in a line of its status."""
    named = (message.get("aux") or {}).get("Digest")
    found = re.search(r"[Dd]igest: (sha256:[0-9a-f]{64})", str(message.get("status", "")))
    return str(named or (found[1] if found else ""))
