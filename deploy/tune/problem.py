"""What is tuned for: one rank's experts, how they are served, and on what. Everything that a timing depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploy.kernels.entry import entry_findings
from deploy.kernels.exact.space import GROUPS, space
from deploy.kernels.finding import Target
from deploy.kernels.gpu import Gpu
from deploy.kernels.shape import Gemm, Shape
from deploy.kernels.table import Config
from deploy.tune.trial import GemmName


@dataclass(frozen=True)
class Emulation:
    """A GPU made to compile another one's code: Triton's name of the lowering, and bytes that a block may have."""

    lowering: str
    shared_memory: int


@dataclass(frozen=True)
class Problem:
    """`gpu` is the one that the table is for. `skew` is of the routing, see gpu/routing.py, and `recorded` a folder of
    expert ids in its place, where the GPU is; `filter_expert` is set under expert parallelism. `emulation` where the
    GPU that measures is another one."""

    shape: Shape
    gpu: Gpu
    skew: float = 0.0
    recorded: str = ""
    filter_expert: bool = False
    emulation: Emulation | None = None

    @property
    def candidates(self) -> Mapping[GemmName, Sequence[Config]]:
        """SGLang's own space, less what does not fit into the GPU's shared memory; with one GROUP_SIZE_M."""
        depth = self.shape.block[1] if self.shape.block else 0
        return self.fitting(tuple(space(depth)))

    def fitting(self, every: Sequence[Config]) -> Mapping[GemmName, Sequence[Config]]:
        """Those that can run on the GPU, for each GEMM; with one GROUP_SIZE_M."""
        plain = tuple(dict.fromkeys(replace(one, group_m=GROUPS[0]) for one in every))
        up, down = self.shape.gemms
        return {"up": self._fitting(up, plain), "down": self._fitting(down, plain)}

    def _fitting(self, gemm: Gemm, every: Sequence[Config]) -> list[Config]:
        target = replace(Target(), gpu=self.gpu)
        return [one for one in every if all(found.level != "error" for found in entry_findings(one, gemm, target))]

    def as_json(self) -> dict[str, Any]:
        """For the journal and the worker."""
        return asdict(self)


def problem_of(fields: Mapping[str, Any]) -> Problem:
    """The inverse of `Problem.as_json`, as JSON leaves it."""
    shape, gpu, emulation = dict(fields["shape"]), dict(fields["gpu"]), fields["emulation"]
    shape["block"] = tuple(shape["block"]) if shape["block"] else None
    gpu["capability"] = tuple(gpu["capability"])
    told = {**fields, "shape": Shape(**shape), "gpu": Gpu(**gpu)}
    return Problem(**{**told, "emulation": Emulation(**emulation) if emulation else None})
