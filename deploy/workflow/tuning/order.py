"""What `tune` is asked for, from options and cluster.yaml. Measures nothing, and every mistake is found here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import ConfigError
from deploy.kernels.exact.proven import NATIVE
from deploy.kernels.finding import Target
from deploy.kernels.models import BY_HAND
from deploy.kernels.name import folder, table_name
from deploy.kernels.parse import TableError, parse
from deploy.kernels.setting import Setting
from deploy.kernels.shape import Shape
from deploy.kernels.table import TOKENS, Config
from deploy.tune.problem import Emulation, Problem
from deploy.tune.sizes import sizes
from deploy.tune.trial import GemmName

DTYPES = ("fp8_w8a8", "int8_w8a8", "int8_w8a16", "bf16", "fp16")
"""Data types whose kernels can be timed."""


@dataclass(frozen=True)
class Order:
    """`only` are the candidates where it is not all of SGLang's space; `home` is the folder that the tables go to."""

    problem: Problem
    target: Target
    sizes: tuple[int, ...]
    home: Path
    journal: Path
    only: tuple[Config, ...] = ()
    source: str = ""
    """Where the model's shape is from."""

    def file(self, gemm: GemmName) -> Path:
        """Where SGLang looks for the table of this GEMM."""
        name = table_name(self.problem.shape, self.problem.gpu.device, self.target.rules, down=gemm == "down")
        return self.home / str(name)


@dataclass(frozen=True)
class Asked:
    """The options beside those that say the shape. `configs` is a file of candidates or six numbers."""

    batch_sizes: tuple[int, ...] = ()
    skew: float = 0.0
    recorded: str = ""
    emulate: bool = False
    configs: str = ""
    into: Path = Path("configs")
    journal: Path | None = None


def order(setting: Setting, asked: Asked, flags: Mapping[str, Any]) -> Order:
    """Put together what is to be measured. Raises ConfigError."""
    if asked.skew and asked.recorded:
        raise ConfigError("--routing-skew and --topk-ids-dir are two answers to one question", "give one of them")
    if asked.recorded and not Path(asked.recorded).is_absolute():
        raise ConfigError(f"--topk-ids-dir {asked.recorded}: is relative", "name the folder by its absolute path")
    shape = whole(setting.shape)
    emulation = _emulation(setting.target, asked)
    ep = setting.split.ep > 1
    problem = Problem(shape, setting.target.gpu, asked.skew, asked.recorded, ep, emulation)
    only = candidates(asked.configs) if asked.configs else ()
    _see_that_some_fit(problem, only)
    chosen = tuple(sorted(set(asked.batch_sizes))) or sizes(flags)
    journal = asked.journal or Path(".tune") / f"{_name(problem, setting.target)}.jsonl"
    home = asked.into / folder(setting.target.triton)
    return Order(problem, setting.target, chosen, home, journal, only, setting.source)


def _emulation(target: Target, asked: Asked) -> Emulation | None:
    """Another lowering than the GPU's own."""
    native = target.native_fp8 and target.gpu.capability == (12, 1)
    if not asked.emulate and not native:
        return None
    major, minor = target.gpu.capability
    return Emulation(NATIVE if native else f"sm{major}{minor}", target.gpu.shared_memory)


def whole(shape: Shape | None) -> Shape:
    """A shape whose kernels can be timed. Raises ConfigError."""
    if shape is None:
        raise ConfigError("no model is named, or its config.json is not on this machine", f"name one, or {BY_HAND}")
    if not (shape.hidden and shape.top_k):
        raise ConfigError("a shape by hand needs --hidden and --top-k too", BY_HAND)
    if shape.top_k > shape.experts:
        raise ConfigError(f"a token cannot go to {shape.top_k} of {shape.experts} experts", BY_HAND)
    if shape.dtype not in DTYPES:
        raise ConfigError(
            f"--dtype {shape.dtype}: its kernels cannot be timed here", f"known: auto, {', '.join(DTYPES)}"
        )
    for side in shape.block or ():
        if shape.intermediate % side:
            message = (
                f"an intermediate size of {shape.intermediate} a rank is no multiple of {side}, which share a scale"
            )
            raise ConfigError(message, "SGLang refuses to load it so: take fewer ranks (--tp-size)")
    return shape


def candidates(text: str) -> tuple[Config, ...]:
    """Configurations of a JSON file (a list of entries, or a kernel table), or six numbers as SGLang's tool takes them.

    Raises ConfigError.
    """
    numbers = text.replace(",", " ").split()
    if len(numbers) == 6 and all(one.isdecimal() for one in numbers):
        m, n, k, group, warps, stages = map(int, numbers)
        return _entries({"1": Config(m, n, k, group, warps, stages).as_json()}, "--configs")
    try:
        value = json.loads(Path(text).read_bytes())
    except OSError as error:
        hint = "name a JSON file, or give M N K GROUP_SIZE_M warps stages"
        raise ConfigError(f"--configs {text}: {error.strerror}", hint) from None
    except ValueError:
        raise ConfigError(f"--configs {text}: is no JSON", "a list of entries as in a kernel table") from None
    if isinstance(value, list):
        value = {str(number): one for number, one in enumerate(value, start=1)}
    return _entries(value, text)


def _entries(value: Any, where: str) -> tuple[Config, ...]:
    try:
        return tuple(dict.fromkeys(parse(json.dumps(value), where).entries.values()))
    except TableError as error:
        hint = "a list of entries as in a kernel table, or such a table"
        raise ConfigError(f"--configs: {str(error).splitlines()[0]}", hint) from None


def _see_that_some_fit(problem: Problem, only: Sequence[Config]) -> None:
    fit = problem.fitting(only) if only else problem.candidates
    for gemm, some in fit.items():
        if not some:
            which = "of --configs" if only else "of SGLang's space"
            limit = f"{problem.gpu.name} ({problem.gpu.shared_memory:,} bytes a block)"
            hint = "see what each needs: python build-and-deploy.py kernels check"
            raise ConfigError(f"no configuration {which} can run the {gemm} GEMM on {limit}", hint)


def batch_sizes(text: str) -> tuple[int, ...]:
    """`1,16,64` or `1 16 64`. Raises ConfigError."""
    words = text.replace(",", " ").split()
    for word in words:
        if not word.isdecimal() or not 1 <= int(word) <= TOKENS:
            raise ConfigError(f"--batch-size {word}: is no batch size", f"a whole number from 1 to {TOKENS:,} (tokens)")
    return tuple(map(int, words))


def split_as_sglang(ep: int | None, tp: int | None) -> int | None:
    """TP of a rank group that `--ep-size` makes: with whole experts, as SGLang's tool has it. Raises ConfigError."""
    if not ep or ep == 1:
        return tp
    if tp and tp > 1:
        hint = (
            f"a server with tp {ep} and ep {ep} is --ep-size {ep} alone; for any other, leave both out and give "
            "tp and ep under server: in cluster.yaml"
        )
        raise ConfigError(f"--ep-size {ep} shares out whole experts, so --tp-size {tp} cannot cut them", hint)
    return ep


def _name(problem: Problem, target: Target) -> str:
    """The table's name, and a mark of all that a timing depends on."""
    told = json.dumps([problem.as_json(), target.sglang, target.triton], sort_keys=True)
    name = str(table_name(problem.shape, problem.gpu.device, target.rules)).removesuffix(".json")
    return f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
