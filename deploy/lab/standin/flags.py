"""The flag room's module under this package's name for it; in the lab's image a copy of it lies here instead."""

from deploy.launch.flags import FlagTable, derive, parser

__all__ = ["FlagTable", "derive", "parser"]
