"""Runs `up`, the watch and the take-down against real ranks on this host's GPUs: killed while loading, killed, frozen.

    python3 -m tests.gpu.fault_run --tools nodes.tar.xz --engine site.tar.xz OUT [--seconds 430]

As root, on a host with a GPU a rank; tests/gpu/README.md says how. OUT/faults.json is written after every step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.launch.doctor.check import FIRM, MENDS
from tests.gpu.engine_run import SGLANG, device
from tests.gpu.nodes import Node, cluster_yaml, missing, nodes
from tests.gpu.prepare import make_model, make_words, unpack
from tests.gpu.strike import Outcome, TooLateError, containers, said_by, strike, told, until
from tests.gpu.toolkit import Said, Toolkit

RANKS = 4
# Rank 0's port takes 20 s to say 503, so that this is one such answer and a part of the next.
HANG_SECONDS = 30
MORE = f"""
server: {{host: rank}}
environment: {{NCCL_DEBUG: INFO}}
watch: {{restarts: 1, hang_seconds: {HANG_SECONDS}, loading_minutes: 6, memory_floor_gib: 0, text_seconds: 0}}
doctor: {{allow: [{", ".join(name for name in MENDS if name not in FIRM)}]}}
"""
"""The model's text has no sense to look at, the host's memory may grow as it is used, and it is no DGX Spark."""
IMPORTED = "import click, docker, fabric, jinja2, paramiko, pydantic, rich, yaml"
# The watch asks every rank's health each 5 s.
SETTLE = 8.0
KEPT = ("log", "calls", "refused", "incident.json")
LOADING = b"Load weight begin"


@dataclass
class Run:
    """One run: its nodes, where things lie, what was seen, and when it must end (seconds since the epoch)."""

    nodes: list[Node]
    cluster: Path
    work: Path
    python_path: str
    out: Path
    end: float
    record: dict[str, Any]

    def toolkit(self, *words: str) -> Toolkit:
        """Start a command of the toolkit on this cluster."""
        return Toolkit((*words, "--nodes", str(self.cluster)), self.python_path, self.work / "toolkit.log")

    def keep(self) -> None:
        """Write the record as far as it goes, and the logs beside it; a run cut short still leaves what it saw."""
        self.record["refused_docker_calls"] = [line for node in self.nodes for line in node.lines("refused")]
        (self.out / "faults.json").write_text(json.dumps(self.record, indent=1) + "\n")
        with tarfile.open(self.out / "logs.tar.gz", "w:gz") as archive:
            for file in sorted(self.work.rglob("*")):
                # Keys and this host's environment stay here.
                if file.is_file() and (file.suffix == ".log" or file.name in KEPT):
                    archive.add(file, str(file.relative_to(self.work)))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.fault_run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--tools", type=Path, required=True, help="nodes.tar.xz, or the folder that it holds")
    parser.add_argument("--engine", type=Path, required=True, help="site.tar.xz, or the folder of an engine")
    parser.add_argument("--seconds", type=float, default=430, help="all is ended by then")
    parser.add_argument("--work", type=Path, default=Path("/tmp/faults"))
    return parser.parse_args()


def main() -> int:
    """Exit code 0 when every fault was noticed and taken down."""
    given = arguments()
    end = time.time() + given.seconds
    given.out.mkdir(parents=True, exist_ok=True)
    site, tools, model = prepared(given)
    host = {"python": sys.executable, "site": str(site), "model": str(model), "env": dict(os.environ)}
    record: dict[str, Any] = {"sglang": SGLANG if given.engine.is_file() else "stand-in", "hang_seconds": HANG_SECONDS}
    record |= {"devices": device(), "docker": "stand-in", "faults": [], "starts": []}
    folder = given.work / "run"
    with nodes(RANKS, folder, tools, host) as found:
        cluster = cluster_yaml(folder, found, MORE)
        run = Run(found, cluster, folder, python_path(tools), given.out, end, record)
        for step in (killed_while_loading, killed_and_frozen):
            if not done(run, step):
                break
        record["gpu_processes_left"] = gpu_processes()
        run.keep()
    kinds = [(one["fault"], one["phase"]) for one in record["faults"] if one["down_s"] is not None]
    return 0 if len(kinds) == 3 else 1


def prepared(given: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Engine, tools and model, unpacked; what this host lacks ends the run before anything is long."""
    if lacking := missing():
        sys.exit(f"this host lacks {', '.join(lacking)}")
    site, tools, model = given.engine, given.tools, given.work / "model"
    if tools.is_file():
        tools = given.work / "tools"
        tools.mkdir(parents=True)
        subprocess.run(["tar", "-C", str(tools), "-xJf", str(given.tools)], check=True)
    environment = {**os.environ, "PYTHONPATH": python_path(tools)}
    subprocess.run([sys.executable, "-c", IMPORTED], env=environment, check=True)
    if site.is_file():
        site = given.work / "site"
        unpack(given.engine, site)
        make_model(model, make_words)
    said(f"prepared; Python {sys.version.split()[0]}")
    return site, tools, model


def gpu_processes() -> int:
    """How many processes hold a GPU of this host."""
    command = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(line.strip().isdigit() for line in done.stdout.splitlines())


def python_path(tools: Path) -> str:
    """The toolkit's libraries, where they were packed for this Python."""
    return str(tools / "python") if sys.version_info[:2] == (3, 12) else ""


def said(text: str) -> None:
    """A line for whoever reads along."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def done(run: Run, step: Callable[[Run], None]) -> bool:
    """Do a step, and keep what was seen however it ended."""
    try:
        step(run)
    except TooLateError as error:
        said(f"{step.__name__}: too late: {error}")
        run.record["cut_short"] = f"{step.__name__}: {error}"
        return False
    finally:
        run.keep()
    return True


@contextmanager
def outcome(run: Run, toolkit: Toolkit, fault: tuple[str, str, int]) -> Iterator[Outcome]:
    """An outcome of a fault (what, in which phase, to which rank) that is recorded however far it came."""
    seen = Outcome(*fault)
    try:
        yield seen
    finally:
        seen.said = told(toolkit, seen.at or time.time())
        run.record["faults"].append(seen.as_json())
        times = f"noticed after {seen.noticed_s} s, all down after {seen.down_s} s"
        said(f"{seen.fault} {seen.phase}: {times}, exits {seen.exits}")
        run.keep()


def killed_while_loading(run: Run) -> None:
    """`up` without a watch: its rank 2 is killed as it begins to load."""
    toolkit = run.toolkit("up", "--json", "--timeout", "300")
    try:
        until(lambda: loading(run) or toolkit.code is not None, run.end, "rank 2 does not load")
        if toolkit.code is not None:
            raise TooLateError(f"`up` ended with {toolkit.code}")
        with outcome(run, toolkit, ("killed", "loading", 2)) as seen:
            strike(run.nodes, toolkit, seen, min(time.time() + 40, run.end))
            seen.exit_code = toolkit.wait(min(40, run.end - time.time()))
    finally:
        toolkit.end(5)


def loading(run: Run) -> bool:
    one = run.nodes[2].container
    return one is not None and said_by(one, LOADING)


def killed_and_frozen(run: Run) -> None:
    """`up --watch`: rank 2 is killed while it serves; the watch starts all again, and rank 1 is frozen."""
    toolkit = run.toolkit("up", "--watch", "--json", "--timeout", "360")
    try:
        started(run, toolkit, 0.0)
        with outcome(run, toolkit, ("killed", "serving", 2)) as seen:
            strike(run.nodes, toolkit, seen, min(time.time() + 40, run.end))
            started(run, toolkit, seen.at)
        with outcome(run, toolkit, ("frozen", "serving", 1)) as seen:
            strike(run.nodes, toolkit, seen, min(time.time() + 120, run.end))
            # One restart was allowed, so that the watch gives up now.
            seen.exit_code = toolkit.wait(min(30, run.end - time.time()))
    finally:
        toolkit.end(10)


def started(run: Run, toolkit: Toolkit, since: float) -> None:
    """Wait until the watch is at its post over ranks that serve."""
    began = time.time()
    until(lambda: toolkit.first(watching, since) or toolkit.code is not None, run.end, "the ranks do not serve")
    if not toolkit.first(watching, since):
        raise TooLateError(f"`up --watch` ended with {toolkit.code}")
    run.record["starts"].append(round(time.time() - began, 1))
    said(f"serving after {run.record['starts'][-1]} s; {len(containers(run.nodes)[2].processes())} processes in rank 2")
    time.sleep(SETTLE)


def watching(one: Said) -> bool:
    return one.kind == "Watched" and one.level == "watching"


if __name__ == "__main__":
    sys.exit(main())
