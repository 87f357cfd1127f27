"""Shell scripts of this project as nodes get them: without what is for readers of the file alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_REMARK = re.compile(r"^ *#.*\n", re.MULTILINE)


@cache
def script(path: Path) -> str:
    """The text of a script without its lines of remarks, which are a third of some."""
    return _REMARK.sub("", path.read_text(encoding="utf-8"))
