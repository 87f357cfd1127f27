"""A strict reader of kernel tables: all that is wrong with a file, by key. Holds none against a GPU."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.kernels.table import Config, Table

MAX_BYTES = 1 << 20
MAX_KEY = 2**31 - 1
MAX_TILE = 1 << 16
MAX_ELEMENTS = 1 << 20
"""Triton's own limit on the elements of a tensor (TRITON_MAX_TENSOR_NUMEL)."""
_SHOWN = 20


@dataclass(frozen=True)
class Rule:
    """What one field may hold; all fields are integers."""

    least: int
    most: int
    power_of_two: bool = False


_TILE = Rule(16, MAX_TILE, power_of_two=True)
FIELDS = {
    "BLOCK_SIZE_M": _TILE,
    "BLOCK_SIZE_N": _TILE,
    "BLOCK_SIZE_K": _TILE,
    "GROUP_SIZE_M": Rule(1, MAX_TILE),
    "num_warps": Rule(1, 32, power_of_two=True),
    "num_stages": Rule(1, 256),
}
"""An entry has all of these. A tile is 16 at least, since `tl.dot` is; 32 warps are the most that a block may have."""
OPTIONS = {
    "num_ctas": Rule(1, 16, power_of_two=True),
    "waves_per_eu": Rule(0, 16),
    "matrix_instr_nonkdim": Rule(0, 64),
    "kpack": Rule(1, 16),
}
"""An entry may have these; all but num_ctas are for AMD."""
USE_TMA = "USE_TMA"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and where: a path such as `64.num_warps`, or nothing for the whole file."""

    key: str
    what: str


class TableError(ValueError):
    """A file that is no kernel table. `problems` holds all that is wrong with it."""

    def __init__(self, where: str, problems: tuple[Problem, ...]) -> None:
        self.where, self.problems = where, problems
        lines = [f"{where}: {one.key + ': ' if one.key else ''}{one.what}" for one in problems[:_SHOWN]]
        rest = len(problems) - _SHOWN
        super().__init__("\n".join([*lines, *([f"{where}: and {rest} more"] if rest > 0 else [])]))


class _Object(list[tuple[str, Any]]):
    """A JSON object with its pairs as they stand, repeated keys included."""


def read(path: Path) -> bytes:
    """A file's content, of a file too large for a table only the beginning. Raises TableError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TableError(str(path), (Problem("", f"cannot be read: {error.strerror}"),)) from None


def parse(content: bytes | str, where: str = "table") -> Table:
    """The table in a file's content. Raises TableError with every problem; `where` names the file in it."""
    try:
        value = _json(content)
    except ValueError as error:
        raise TableError(where, (Problem("", str(error)),)) from None
    problems = tuple(_problems(value))
    if problems:
        raise TableError(where, problems)
    return Table({int(key): _config(dict(entry)) for key, entry in value})


def _json(content: bytes | str) -> Any:
    """JSON with objects as pairs. Raises ValueError with one sentence."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(data) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES:,} bytes, and a table has a few thousand")
    if data.startswith(b"\xef\xbb\xbf"):
        raise ValueError("begins with a byte order mark, which SGLang's reader refuses: save it without")
    try:
        return json.loads(data.decode(), object_pairs_hook=_Object, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text: byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be a table") from None


def _integer(text: str) -> int:
    """Digits beyond any limit here only cost time."""
    return int(text) if len(text) <= _SHOWN else int(text[:1] + "9" * _SHOWN)


def _problems(value: Any) -> Iterator[Problem]:
    if not isinstance(value, _Object):
        yield Problem("", f"must be an object of entries by batch size, found {_shown(value)}")
        return
    if not value:
        yield Problem("", "has no entries")
    yield from _repeated("", value)
    for key, entry in value:
        if not re.fullmatch(r"[1-9][0-9]{0,9}", key, re.ASCII) or int(key) > MAX_KEY:
            yield Problem(_name(key), f"is not a batch size: a whole number from 1 to {MAX_KEY}, in plain digits")
        yield from _entry(_name(key), entry)


def _entry(where: str, entry: Any) -> Iterator[Problem]:
    if not isinstance(entry, _Object):
        yield Problem(where, f"must be an object with {', '.join(FIELDS)}, found {_shown(entry)}")
        return
    yield from _repeated(f"{where}.", entry)
    fields = dict(entry)
    for name in FIELDS:
        if name not in fields:
            yield Problem(f"{where}.{name}", "is missing")
    wrong = [Problem(f"{where}.{_name(name)}", what) for name, found in fields.items() if (what := _wrong(name, found))]
    yield from wrong
    if not wrong and fields.keys() >= FIELDS.keys():
        yield from _elements(where, fields)


def _elements(where: str, fields: dict[str, int]) -> Iterator[Problem]:
    m, n, k = (fields[f"BLOCK_SIZE_{axis}"] for axis in "MNK")
    if max(m * n, m * k, n * k) > MAX_ELEMENTS:
        yield Problem(where, f"a tile of {m}x{n}x{k} has a side of more than {MAX_ELEMENTS:,} elements, Triton's limit")


def _repeated(prefix: str, pairs: _Object) -> Iterator[Problem]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            yield Problem(prefix + _name(key), "is given twice")
        seen.add(key)


def _wrong(name: str, found: Any) -> str:
    """What is wrong with a field, or nothing."""
    if name == USE_TMA:
        return "" if isinstance(found, bool) else f"must be true or false, found {_shown(found)}"
    rule = FIELDS.get(name) or OPTIONS.get(name)
    if rule is None:
        return "is no field of an entry: SGLang would pass it to the kernel, which takes no such argument"
    if isinstance(found, bool) or not isinstance(found, int):
        return f"must be a whole number, found {_shown(found)}"
    if not rule.least <= found <= rule.most:
        return f"must be from {rule.least} to {rule.most}, found {_shown(found)}"
    if rule.power_of_two and found & (found - 1):
        return f"must be a power of two, found {found}"
    return ""


def _config(fields: dict[str, Any]) -> Config:
    m, n, k, group, warps, stages = (fields[name] for name in FIELDS)
    options = tuple((name, value) for name, value in fields.items() if name in OPTIONS)
    return Config(m, n, k, group, warps, stages, fields.get(USE_TMA), options)


def _shown(value: Any) -> str:
    """A value in a few plain characters."""
    if isinstance(value, _Object):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, (bool, float)):
        return json.dumps(value)
    text = ascii(value)
    return text if len(text) <= 2 * _SHOWN else text[: 2 * _SHOWN] + "..."


def _name(key: str) -> str:
    """A key as it stands where it is plain, else quoted; never a control character or a lone surrogate."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key, re.ASCII) else _shown(key)
