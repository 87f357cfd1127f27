"""What `watch status` shows, as values, text and JSON. Gathers nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.launch.watch.incident import Incident
from deploy.launch.watch.when import stamp


@dataclass(frozen=True)
class Overview:
    """The service in systemd's words ("no" where there is no unit), and incidents with their folders, newest first."""

    name: str
    unit: str
    enabled: str
    active: str
    incidents: Sequence[tuple[str, Incident]] = ()


def as_text(seen: Overview) -> str:
    where = f"installed as {seen.unit}" if seen.unit else "not installed: `watch install`"
    lines = [f"{seen.name}: {where}; enabled: {seen.enabled}; active: {seen.active}"]
    if not seen.incidents:
        return "\n".join((*lines, "no incidents on this machine"))
    for folder, one in seen.incidents:
        lines.append(f"{stamp(one.at.wall)}  {one.cause.kind:<20} {one.outcome:<12} {one.cause.text}")
        lines.append(f"    {folder}")
    return "\n".join(lines)


def as_json(seen: Overview) -> str:
    service = {"name": seen.name, "unit": seen.unit, "enabled": seen.enabled, "active": seen.active}
    return json.dumps({"service": service, "incidents": [_plain(*one) for one in seen.incidents]}, indent=2)


def _plain(folder: str, one: Incident) -> dict[str, object]:
    cause = {"cause": one.cause.kind, "rank": one.cause.rank, "text": one.cause.text}
    return {"time": stamp(one.at.wall), **cause, "outcome": one.outcome, "folder": folder}
