"""Which kernel table a rank runs with, from the lines that SGLang logs when it looks tables up. Pure; reads no log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

DOWN = "_down.json"
# Names may hold spaces: block_shape=[128, 128].
_OWN = re.compile(r"Using MoE kernel config from (?P<wanted>.+?\.json)")
_OTHER = re.compile(
    r"Config file not found at (?P<wanted>.+?\.json)\. Fallback to triton version \S+ "
    r"and use MoE kernel config from (?P<used>.+?\.json)"
)
_DEFAULT = re.compile(r"Using default MoE kernel config\..*?Config file not found at (?P<wanted>.+?\.json)")
_NONE = "Deterministic inference is enabled, using default MoE kernel config"
MARK = "MoE kernel config"
"""What every such line holds, for a first sieve on the node."""


@dataclass(frozen=True)
class TableUse:
    """One MoE shape of one rank. Folders are named `triton_X_Y_Z`.

    `name` is the file looked for, in the folder `wanted`; `used` is the folder that the table came from, empty for
    SGLang's default; `down` the same for the `_down` table, empty where one table serves both GEMMs. All are empty
    where deterministic inference was asked for, which looks for none.
    """

    name: str
    wanted: str
    used: str
    down: str = ""

    @property
    def kind(self) -> str:
        """table, fallback (another Triton's), default, or unpaired: a `_down` table without an up table."""
        if not self.used:
            return "unpaired" if self.down else "default"
        return "table" if self.used == self.wanted and self.down in ("", self.wanted) else "fallback"


def read(lines: Iterable[str]) -> tuple[TableUse, ...]:
    """What a rank's lines say, a shape once; lines about other things are passed over."""
    looked: dict[str, tuple[str, str]] = {}
    for line in lines:
        found = ("", "", "") if _NONE in line else _lookup(line)
        if found:
            looked.setdefault(found[0], found[1:])
    return tuple(_uses(looked))


def _lookup(line: str) -> tuple[str, str, str] | None:
    """(file name, folder looked in, folder taken from or nothing) of one line. The fallback's line holds both."""
    for pattern in (_OTHER, _DEFAULT, _OWN):
        match = pattern.search(line)
        if match:
            folder, name = _place(match["wanted"])
            used = "" if pattern is _DEFAULT else _place(match.groupdict().get("used") or match["wanted"])[0]
            return name, folder, used
    return None


def _place(path: str) -> tuple[str, str]:
    """(folder, file name) of a table's path."""
    folder, _, name = path.rpartition("/")
    return folder.rpartition("/")[2], name


def _uses(looked: dict[str, tuple[str, str]]) -> Iterator[TableUse]:
    """Up and down tables of a shape together. SGLang looks for both, and says that a `_down` is missing as if it were
    one: without it the up table serves both GEMMs. An up table of which nothing is said was found: at a log level above
    info that line alone is not written."""
    for name in dict.fromkeys(one.removesuffix(DOWN) + ".json" if one.endswith(DOWN) else one for one in looked):
        wanted_down, down = looked.get(name.removesuffix(".json") + DOWN, ("", ""))
        wanted, used = looked.get(name, (wanted_down, wanted_down))
        yield TableUse(name, wanted, used, down)
