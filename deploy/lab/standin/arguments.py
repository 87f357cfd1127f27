"""The launch line, judged by the flags of the SGLang tree that is installed; imports nothing of that tree."""

from __future__ import annotations

import importlib.util
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.launch.flags import derive, parser

NO_TIMEOUT_GIVEN = 600.0


@dataclass(frozen=True)
class Launch:
    """What a rank was told: its arguments, and the tree that it was told them for."""

    args: Namespace
    tree: Path
    version: str

    @property
    def rank(self) -> int:
        return int(self.args.node_rank)

    @property
    def nodes(self) -> int:
        return int(self.args.nnodes)

    @property
    def tp(self) -> int:
        return int(self.args.tensor_parallel_size)

    @property
    def tp_rank(self) -> int | None:
        """The first TP rank of this node; None without tensor parallelism."""
        return self.rank * self.tp // self.nodes if self.tp > 1 else None

    @property
    def rendezvous(self) -> tuple[str, int]:
        """Host and port where the ranks meet."""
        host, _, port = str(self.args.dist_init_addr).rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def join_timeout(self) -> float:
        return float(self.args.dist_timeout or NO_TIMEOUT_GIVEN)

    @property
    def eagle(self) -> bool:
        return self.args.speculative_algorithm is not None

    @property
    def draft_tokens(self) -> int:
        """Tokens that one verification looks at."""
        return int(self.args.speculative_num_draft_tokens or 4) if self.eagle else 1

    @property
    def steps(self) -> int:
        return int(self.args.speculative_num_steps or 3)

    @property
    def model(self) -> str:
        """The name that the server answers to."""
        return str(self.args.served_model_name or self.args.model_path)


def installed_tree() -> Path:
    """The folder of the installed `sglang` package; the program ends where there is none."""
    found = importlib.util.find_spec("sglang")
    if found is None or not found.submodule_search_locations:
        sys.exit("sglang is not installed: the stand-in takes its flags and parsers from SGLang's own tree")
    return Path(found.submodule_search_locations[0])


def tree_version(tree: Path) -> str:
    """The version that the tree says it has."""
    found = re.search(r'__version__ = "([^"]+)"', (tree / "version.py").read_text())
    return found[1] if found else "unknown"


def launch(argv: Sequence[str], tree: Path) -> Launch:
    """The launch line, understood; exit code 2 and SGLang's own words for what it would refuse."""
    version = tree_version(tree)
    table = derive(version, lambda path: (tree / path).read_text())
    made = parser(table, "launch_server.py")
    args = made.parse_args(list(argv))
    if getattr(args, "config", None):
        made.error("the stand-in does not read --config")
    return Launch(args, tree, version)


def refused(told: Launch) -> str | None:
    """What SGLang's own checks would say of the arguments together, or None."""
    args = told.args
    if told.tp * int(args.pipeline_parallel_size) % told.nodes:
        return "tp_size must be divisible by number of nodes"
    if not 0 <= told.rank < told.nodes:
        return f"node_rank {told.rank} is not below nnodes {told.nodes}"
    if told.nodes > 1 and not args.dist_init_addr:
        return "several nodes need --dist-init-addr"
    given = [args.speculative_eagle_topk, args.speculative_num_draft_tokens]
    if told.eagle and args.speculative_num_steps is None and any(value is not None for value in given):
        return "speculative_num_steps is not given, but topk or draft tokens are"
    return None
