"""One round trip a node for `status`: its pulse, how far its rank's start is, its last batch, watts, what it uses."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from deploy.command import Command
from deploy.launch import load
from deploy.launch.evidence import LogLine, moment
from deploy.launch.pulse import Pulse
from deploy.remote import facts, live, pulse
from deploy.script import script

_SCRIPT = Path(__file__).with_name("look.sh")
SECONDS = 20.0
"""What is cut short on the node takes 15 s at most."""


@dataclass(frozen=True)
class Look:
    """What a node said, but for what `live.read` takes from the same output."""

    pulse: Pulse
    lines: tuple[LogLine, ...]
    batch: LogLine | None
    watts: tuple[float, ...]
    watcher: str = ""
    """Who watches this node with `watch run` or `up --watch`; empty where nobody does."""


def command(cluster: str) -> Command:
    """The command whose output `read` and `live.read` each take their own from."""
    scripts = (pulse.SCRIPT, _SCRIPT, live.SCRIPT)
    return Command(("sh", "-c", "".join(script(one) for one in scripts), "sh", cluster, "0"), timeout=SECONDS)


def read(rank: int, text: str) -> Look:
    """A look from the command's output."""
    lines = facts.keyed(text)
    batches = _lines(lines.get("batch", []))
    return Look(
        pulse.read(rank, text, time.monotonic()),
        _lines(lines.get("start", [])),
        batches[-1] if batches else None,
        load.watts("\n".join(lines.get("watts", []))),
        facts.first(lines, "watcher"),
    )


def _lines(values: list[str]) -> tuple[LogLine, ...]:
    """Docker puts the time before each line; a line that has none was cut, and is left out."""
    pairs = ((moment(at), said) for at, _, said in (value.partition(" ") for value in values))
    return tuple(LogLine(at, said) for at, said in pairs if at is not None)
