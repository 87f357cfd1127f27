"""A real, patched SGLang 0.5.4 tree on a host with another SGLang's packages: what is missing there is stood in for."""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ABSENT = ("xgrammar", "vllm", "outlines", "decord", "flashinfer", "anthropic", "torchao", "soundfile")
"""Stood in for where they are not installed: the tree imports names of them, and what is run here calls none."""


def parser(program: str) -> argparse.ArgumentParser:
    """What every run over such a tree is given."""
    made = argparse.ArgumentParser(prog=f"python3 -m tests.gpu.{program}")
    made.add_argument("--tree", type=Path, required=True, help="a patched tree")
    made.add_argument("--own", type=Path, required=True, help="the packages that were carried")
    made.add_argument("--out", type=Path, required=True)
    return made


def host(tree: Path) -> dict[str, str]:
    """What the figures of a run are of."""
    import torch
    import triton

    version: dict[str, str] = {}
    exec((tree / "sglang/version.py").read_text(), version)
    versions = {"torch": torch.__version__, "triton": triton.__version__, "sglang": version["__version__"]}
    return {"gpu": torch.cuda.get_device_name(), **versions}


class Nothing(type):
    """A class of it has every attribute: a function that does nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class StandIn(ModuleType):
    """A module in which every name is a class that can be subclassed and does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name, (), {"__get_pydantic_core_schema__": classmethod(_anything)})


def _anything(*_: Any) -> Any:
    """A field of such a type, in a model that is only defined."""
    from pydantic_core import core_schema

    return core_schema.any_schema()


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what is named in ABSENT, last of all."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: Any = None) -> Any:
        if name.partition(".")[0] in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__path__ = []


def reach(tree: Path, own: Path) -> None:
    """Put the tree and the packages that were carried before what the host has."""
    sys.path[:0] = [str(tree), str(own)]
    sys.meta_path.append(Finder())
    find_spec = importlib.util.find_spec
    # SGLang asks so whether flashinfer and vllm are there: they are not.
    importlib.util.find_spec = lambda name, package=None: (  # type: ignore[assignment]
        None if name.partition(".")[0] in ABSENT else find_spec(name, package)
    )
    fill_kernels()


def fill_kernels() -> None:
    """sgl_kernel is real; what this version lacks is stood in for (adaptive_operators.py), or refuses to be called."""
    import sgl_kernel  # type: ignore[import-not-found]

    from tests.gpu import adaptive_operators

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"this sgl_kernel has no {name}")

        return refuse

    sgl_kernel.__getattr__ = missing
    for one in adaptive_operators.OPERATORS:
        setattr(sgl_kernel, one.__name__, one)


def start(rendezvous: str, backend: str = "nccl", **flags: Any) -> Any:
    """SGLang's server arguments and its groups of one rank, as a scheduler has them before it builds a model."""
    from sglang.srt import server_args  # type: ignore[import-not-found]
    from sglang.srt.distributed import parallel_state  # type: ignore[import-not-found]
    from sglang.srt.layers.moe import initialize_moe_config  # type: ignore[import-not-found]

    args = server_args.ServerArgs(model_path="dummy", **flags)
    server_args.set_global_server_args_for_scheduler(args)

    parallel_state.init_distributed_environment(1, 0, rendezvous, 0, backend)
    parallel_state.initialize_model_parallel()
    initialize_moe_config(args)
    return args
