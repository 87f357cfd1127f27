"""What a run of a suite found, to and from JSON, and as CSV; measures nothing and touches no file.

`python -m deploy.bench.results` prints the JSON Schema that is committed as bench.schema.json.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from deploy.errors import BenchError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT: Literal[1] = 1
Better = Literal["higher", "lower", "neither"]
Scalar = str | int | float | bool | None


class Strict:
    """Refuses keys that it does not know, wherever JSON is read."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class Figure(Strict):
    """One figure of a case over its good repeats: the median and the 95 % confidence interval of the median."""

    unit: str
    median: float
    low: float
    high: float
    n: int
    better: Better


@dataclass(frozen=True)
class Repeat(Strict):
    """One request or conversation. `kind` and `error` say what went wrong, and are empty where `ok`.

    `chunks` are the seconds since the request was sent at which chunks with content came.
    """

    ok: bool
    error: str = ""
    kind: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    chunks: list[float] = field(default_factory=list)

    @property
    def fell(self) -> bool:
        """The server fell; that is a result, with its cause as `kind`."""
        return self.figures.get("served") == 0


@dataclass(frozen=True)
class Case(Strict):
    """What was repeated under the same parameters. A failed repeat is in no figure."""

    name: str
    parameters: dict[str, Scalar] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    repeats: list[Repeat] = field(default_factory=list)

    @property
    def failed(self) -> list[Repeat]:
        return [repeat for repeat in self.repeats if not repeat.ok]


@dataclass(frozen=True)
class Server(Strict):
    """What the server said of itself, and what is known of the nodes that it runs on; empty where nobody said."""

    url: str
    model: str = ""
    engine: str = ""
    version: str = ""
    flags: dict[str, Any] = field(default_factory=dict)
    image: str = ""
    tables: list[str] = field(default_factory=list)
    accept_length: float | None = None


@dataclass(frozen=True)
class Client(Strict):
    """What measured: CPU microseconds a chunk while streaming, and whether it was ever the bottleneck."""

    host: str = ""
    python: str = ""
    us_per_chunk: float = 0.0
    bottleneck: bool = False


@dataclass(frozen=True)
class Run(Strict):
    """One suite against one server. `complete` is false where it was interrupted or the server was lost."""

    suite: str
    began: str
    seconds: float
    seed: int
    complete: bool
    server: Server
    client: Client
    notes: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    format: Literal[1] = FORMAT

    @property
    def failures(self) -> int:
        """How many repeats failed."""
        return sum(len(case.failed) for case in self.cases)


def as_json(run: Run) -> str:
    """The run as JSON text with a newline at its end."""
    told = _adapter().dump_python(run, mode="json")
    return json.dumps({"format": told.pop("format"), **told}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def from_json(text: str, name: str) -> Run:
    """A run that `as_json` wrote. Raises BenchError where `name`, a file or another source, holds none."""
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        hint = f"give a file that `bench run` wrote (format {FORMAT}); bench.schema.json describes it"
        raise BenchError(f"{name} holds no result of `bench run`: {place}: {first['msg']}", hint) from None


def as_csv(run: Run) -> str:
    """One row a case and figure, for spreadsheets; `failed` counts the case's failed repeats."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(("suite", "case", "figure", "unit", "median", "low", "high", "n", "failed", "better"))
    for case in run.cases:
        for name, one in case.figures.items():
            numbers = (one.median, one.low, one.high, one.n, len(case.failed))
            write((run.suite, case.name, name, one.unit, *numbers, one.better))
        if not case.figures:
            write((run.suite, case.name, "", "", "", "", "", 0, len(case.failed), ""))
    return text.getvalue()


def schema() -> str:
    """JSON Schema 2020-12 of a run, as text with a newline at its end."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


@cache
def _adapter() -> TypeAdapter[Run]:
    from pydantic import TypeAdapter

    return TypeAdapter(Run)


if __name__ == "__main__":
    print(schema(), end="")
