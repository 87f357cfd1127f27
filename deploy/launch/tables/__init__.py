"""The flag tables of known SGLang versions, as `deploy.launch.derive` wrote them."""

from __future__ import annotations

from importlib import resources

from deploy.launch.flags import FlagTable


def versions() -> tuple[str, ...]:
    """Versions that have a table."""
    names = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def table_for(version: str) -> FlagTable:
    """The table of a version; one of `versions()`."""
    return FlagTable.from_json(resources.files(__name__).joinpath(f"{version}.json").read_text())
