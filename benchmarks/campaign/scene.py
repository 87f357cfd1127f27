"""What one run is about: lane, cell, the commands that run, the gang that was struck; and questions about them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from benchmarks.campaign import sight
from benchmarks.campaign.cells import ENGINE, HANG, UNREACHABLE, Cell
from benchmarks.campaign.client import Client
from benchmarks.campaign.lane import NAME, Lane
from benchmarks.campaign.observer import Seen
from benchmarks.campaign.truth import Known

SERVES = " serves at "
TROUBLE = re.compile(
    r"exit|ended|died|dead|kill|gone|lost|silent|reach|answer|fail|full|space|hang|hung|stuck|froz|wedge|no token"
    r"|garbage|memory|broke|not ready|timed out|connection|warning|error",
    re.IGNORECASE,
)
_NO_FAULT = "api.open"
OF_THE_WHOLE = ("wedge", "garbage")
"""Faults of the server, not of a rank: there is no place to name."""


@dataclass
class Scene:
    """`up` is the `up --watch` of now, `first` the one that was there when the fault came, `down` a `down` beside it.

    `gang`: the rank containers when the fault came; `struck`: when that was; `cured`: no fault is in force.
    """

    lane: Lane
    cell: Cell
    victim: int
    file: str = ""
    timeout: tuple[str, ...] = ()
    up: Client | None = None
    first: Client | None = None
    down: Client | None = None
    gang: dict[str, Seen] = field(default_factory=dict)
    struck: float = 0.0
    cured: bool = True

    @property
    def phase(self) -> str:
        return self.cell.phase

    @property
    def fault(self) -> str:
        return self.cell.fault.name

    @property
    def out_of_reach(self) -> bool:
        """The tool cannot end a rank on the node that was struck."""
        return self.cell.fault.bound in (UNREACHABLE, ENGINE)

    @property
    def up_runs(self) -> bool:
        return self.up is not None and self.up.running

    @property
    def down_runs(self) -> bool:
        return self.down is not None and self.down.running

    @property
    def commands(self) -> list[Client]:
        return list(dict.fromkeys(one for one in (self.first, self.up, self.down) if one))

    def said(self) -> list[str]:
        """What the commands said, with seconds after the fault."""
        return [f"{at - self.struck:+.1f} {line[:300]}" for one in self.commands for at, line in one.lines]

    def begin(self) -> Client:
        self.up = self.lane.client("up", "--watch", *self.timeout, "--nodes", self.file)
        return self.up

    def begin_down(self, grace: float) -> Client:
        self.down = self.lane.client("down", "--grace", f"{grace:g}", "--nodes", self.file)
        return self.down

    def locked(self) -> bool:
        return any(sight.locked(node, NAME) for node in self.lane.nodes.values())

    def serves(self) -> bool:
        """Every rank of one gang is there, and the tool says that it serves."""
        if self.up is None or len(self.lane.seen.alive()) != self.lane.count:
            return False
        return self.up.said(lambda line: SERVES in line) is not None and self.lane.healthy(0)

    def near(self) -> set[str]:
        """The gang's containers whose end can be asked for: not those on a node that nobody can reach."""
        return {name for name, one in self.gang.items() if not (self.out_of_reach and one.node == self.victim)}

    def all_down(self) -> bool:
        return bool(self.gang) and not self.near() & set(self.lane.seen.alive())

    def noticed(self) -> tuple[float, str] | None:
        """The first word of trouble with any rank or node; whether the right one is named is judged apart."""
        if self.fault in OF_THE_WHOLE:
            return self._heard(lambda line: TROUBLE.search(line) and _NO_FAULT not in line)
        addresses = "|".join(re.escape(one.address) for one in self.lane.nodes.values())
        places = re.compile(rf"\branks? \d|{addresses}")
        return self._heard(lambda line: places.search(line) and TROUBLE.search(line) and _NO_FAULT not in line)

    def named(self) -> tuple[float, str] | None:
        """The first message that names the right place and the cause: a line with those indented below it."""
        if not self.cell.fault.told:
            return None
        told, place = re.compile(self.cell.fault.told, re.IGNORECASE), self.place()
        blocks = self.first.messages(self.struck) if self.first else []
        return next(
            ((at, text) for at, text in blocks if place.search(text) and told.search(text) and _NO_FAULT not in text),
            None,
        )

    def _heard(self, matches: object) -> tuple[float, str] | None:
        return self.first.said(matches, self.struck) if self.first else None  # type: ignore[arg-type]

    def place(self) -> re.Pattern[str]:
        """The rank or node struck. A rank that hangs with a live health port is seen by rank 0's not answering."""
        if self.fault in OF_THE_WHOLE:
            return re.compile("")
        victims = {self.victim, 0} if self.fault == "hangs" else {self.victim}
        ranks = "|".join(rf"\branks? (?:\d, )*{one}\b" for one in victims)
        return re.compile(rf"{ranks}|{re.escape(self.lane.nodes[self.victim].address)}\b")

    def known(self) -> Known:
        """The truth of this moment, past the tool."""
        struck = not self.cured and self.struck > 0
        away = self.out_of_reach and struck and self.fault != "reboots"  # that one is there again
        seen = self.lane.seen.alive()
        heard = {name for name, one in seen.items() if not (away and one.node == self.victim)}
        return Known(
            alive=frozenset(heard),
            ranks=self.lane.count,
            ready=len(seen) == self.lane.count and all(self.lane.healthy(index) for index in self.lane.nodes),
            locked=self.locked(),
            away=int(away),
            hurt=self.cell.fault.bound == HANG and self.struck > 0 and bool(set(seen) & set(self.gang)),
            doubtful=self.fault in ("lossy", "reboots") and struck,
        )
