"""What the ranks' kernel tables mean for people: one finding for each distinct outcome, with reason and cure. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.launch.finding import on_ranks, shared
from deploy.launch.kernel_log import TableUse

_FIELD = re.compile(r"(\w+)=(\[[^\]]*\]|[^,]+)")


@dataclass(frozen=True)
class Carried:
    """The tables that the image of a cluster.yaml carries: their folder (triton_X_Y_Z) and file names."""

    folder: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableFinding:
    """One outcome and the ranks that share it. `kind` is a TableUse's, or `unsaid` where the log holds no such line.

    `trouble` is empty where all is well, else why it is not; `cure` says what to do then.
    """

    kind: str
    table: str
    folder: str
    down: str
    ranks: tuple[int, ...]
    of: int
    trouble: str = ""
    cure: str = ""

    @property
    def level(self) -> str:
        """As a Note's. Silence is no warning: another kernel, or no MoE model at all, may be what runs."""
        return "info" if self.kind in ("table", "unsaid") else "warning"

    @property
    def text(self) -> str:
        """One line, without the cure."""
        return f"kernel table on {on_ranks(self.ranks, self.of)}: " + (
            self.trouble or f"{self.table} of {self.folder}{self._pair}"
        )

    @property
    def _pair(self) -> str:
        return ", with its _down table" if self.down else ", for both GEMMs"


def findings(uses: Mapping[int, Sequence[TableUse]], carried: Carried) -> tuple[TableFinding, ...]:
    """Each distinct outcome once; `uses` by rank, of every rank whose log was read."""
    outcomes: dict[int, Sequence[TableUse | None]] = {rank: tuple(found) or (None,) for rank, found in uses.items()}
    return tuple(_finding(use, ranks, len(uses), carried) for use, ranks in shared(outcomes))


def _finding(use: TableUse | None, ranks: tuple[int, ...], of: int, carried: Carried) -> TableFinding:
    if use is None:
        what = "the log names none: none of Triton's fused-MoE kernels ran, or --log-level hides the line"
        return TableFinding("unsaid", "", "", "", ranks, of, what, "see `logs --rank N` for `MoE kernel config`")
    trouble = "" if use.kind == "table" else "; ".join(_trouble(use, carried))
    cure = _cure(use, carried) if trouble else ""
    return TableFinding(use.kind, use.name, use.used, use.down, ranks, of, trouble, cure)


def _trouble(use: TableUse, carried: Carried) -> Iterator[str]:
    if not use.name:
        yield "SGLang's default, since --enable-deterministic-inference takes no table"
        return
    if not use.used:
        yield f"SGLang's default, for want of {use.name} in {use.wanted}"
    elif use.used != use.wanted:
        yield f"{use.name} of {use.used}, made for another Triton, for want of it in {use.wanted}"
    if use.down and not use.used:
        yield f"beside a _down table of {use.down}, which stops a rank where their BLOCK_SIZE_M differ"
    elif use.down not in ("", use.wanted):
        yield f"its _down table is of {use.down}, made for another Triton than {use.wanted}"
    if use.used != use.wanted:
        yield _why_not_found(use, carried)


def _why_not_found(use: TableUse, carried: Carried) -> str:
    if not carried.names:
        return "the image carries no table"
    if use.wanted != carried.folder:
        return f"the image carries its tables in {carried.folder}"
    if use.name in carried.names:
        return "cluster.yaml's image carries it, but not where these ranks looked"
    nearest = min(carried.names, key=lambda name: len(_differences(use.name, name)))
    return f"the image carries {nearest} ({', '.join(_differences(use.name, nearest))})"


def _differences(wanted: str, there: str) -> list[str]:
    """Where two names differ, field by field."""
    asked, has = (dict(_FIELD.findall(name.removesuffix(".json"))) for name in (wanted, there))
    keys = dict.fromkeys([*asked, *has])
    found = [f"{key} is {asked.get(key, 'absent')} here" for key in keys if asked.get(key) != has.get(key)]
    return found or ["another name"]


def _cure(use: TableUse, carried: Carried) -> str:
    if not use.name:
        return "leave enable-deterministic-inference out of server, if speed matters more"
    if use.wanted != carried.folder and use.used != use.wanted:
        version = use.wanted.removeprefix("triton_").replace("_", ".")
        return f"set image.triton to {version}, which is what runs, and put the tables into configs/{use.wanted}/"
    if use.name in carried.names and not use.down:
        return "is SGLANG_MOE_CONFIG_DIR set, or a folder mounted over the tables?"
    name = use.name.replace(".json", "_down.json") if use.used == use.wanted else use.name
    return f"put {name} into configs/{use.wanted}/ (`kernels check` proves that it fits), then build, push and up"
