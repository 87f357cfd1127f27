"""What nodes said of themselves: whether each can measure now, and whether they are all of a kind. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.command import Result
from deploy.launch.node import NodeFacts
from deploy.tune.journal import IDENTITY

ALIKE = (*IDENTITY, "ray")
"""What must be the same everywhere: else one table would be made of what two kinds of nodes measured."""


def obstacle(node: NodeFacts) -> str:
    """Why nothing can be measured on a node now; empty where nothing is in the way."""
    if node.docker_error:
        return f"its Docker Engine does not answer: {node.docker_error}"
    if not node.gpus:
        return "no GPU: nvidia-smi lists none"
    busy = [one.container for one in (*node.ranks, *node.others) if one.state == "running"]
    return f"its GPU is in use by {', '.join(busy)}: `down` first" if busy else ""


def told(lines: Sequence[str], result: Result) -> tuple[dict[str, Any], str]:
    """What a node told of its GPU, and why it cannot measure; empty where it can."""
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and ("facts" in found or "error" in found):
            return found, str(found.get("error", ""))
    code = "it did not end" if result.code is None else f"exit code {result.code}"
    return {}, ": ".join(filter(None, (code, " | ".join(lines[-3:]) or result.tail(3))))


def differing(facts: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """By rank, in what a node is unlike most of the others; empty where all are alike."""
    apart: dict[int, list[str]] = {}
    for name in ALIKE:
        values = {rank: str(one.get(name, "")) for rank, one in facts.items()}
        usual = Counter(values.values()).most_common(1)[0][0]
        for rank, value in values.items():
            if value != usual:
                apart.setdefault(rank, []).append(f"{name} {value or 'unknown'}, and elsewhere {usual or 'unknown'}")
    return {rank: "; ".join(what) for rank, what in apart.items()}
