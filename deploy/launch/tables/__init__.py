"""The flag tables of known SGLang versions, as `deploy.launch.derive` wrote them."""

from __future__ import annotations

from pathlib import Path

from deploy.launch.flags import FlagTable

_FOLDER = Path(__file__).parent


def versions() -> tuple[str, ...]:
    """Versions that have a table."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.json")))


def table_for(version: str) -> FlagTable:
    """The table of a version; one of `versions()`."""
    return FlagTable.from_json((_FOLDER / f"{version}.json").read_text())
