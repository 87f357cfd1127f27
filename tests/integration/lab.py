"""A lab of the tests' own, and the command line run against it as a user would."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.cluster.load import load
from deploy.command import Command
from deploy.lab.clusterfile import ENOUGH, FEW
from deploy.lab.layout import FOLDER_LABEL
from deploy.remote.execute import Fleet

ROOT = Path(__file__).resolve().parents[2]
CLI = (sys.executable, str(ROOT / "build-and-deploy.py"))
# Labs run side by side: one for each worker that needs one, and those of other test runs, which set a subnet.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SUBNET = os.environ.get("TEST_LAB_SUBNET", f"172.31.{220 + WORKER}.0/24")
NODES = int(os.environ.get("TEST_LAB_NODES", "8"))
OWNER = "owner.lock"


@dataclass
class Lab:
    """Nodes and a registry; clusters of any size are described on the first of them."""

    folder: Path
    fleet: Fleet

    @property
    def file(self) -> str:
        return str(self.folder / "cluster.yaml")

    def environ(self, **more: str) -> dict[str, str]:
        # Where a command hangs, SIGABRT lets it say in which line each thread is.
        return {**os.environ, "DOCKER_CONFIG": str(self.folder / "docker"), "PYTHONFAULTHANDLER": "1", **more}

    def cluster(self, nodes: int, **more: Any) -> str:
        """A cluster.yaml on the first nodes; `environment`, `server` and the like as in the file."""
        text = yaml.safe_load(Path(self.file).read_text())
        text["nodes"] = text["nodes"][:nodes]
        if nodes < ENOUGH:
            text["doctor"] = FEW
        for key, value in more.items():
            text[key] = {**text[key], **value} if isinstance(text.get(key), dict) else value
        file = self.folder / f"cluster-{nodes}-{abs(hash(json.dumps(more, sort_keys=True)))}.yaml"
        file.write_text(yaml.safe_dump(text))
        return str(file)

    def run(self, *words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*CLI, *words), cwd=ROOT, env=environ or self.environ(), capture_output=True, text=True, timeout=280,
            check=False,
        )  # fmt: skip

    def good(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        done = self.run(*words, environ=self.environ(**environ))
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (*CLI, *words), cwd=ROOT, env=self.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def sh(self, rank: int, script: str) -> str:
        """Run a script on a node, as the SSH user."""
        self.fleet.revive((rank,), 10)
        done = self.fleet.each({rank: Command(("sh", "-c", script))})[rank]
        return done.stdout + done.stderr

    def containers(self) -> list[str]:
        """Every container of every node, with its state."""
        script = "docker ps -a --format '{{.Names}} {{.State}}'"
        self.fleet.revive(self.fleet.ranks, 10)
        found = self.fleet.each(dict.fromkeys(self.fleet.ranks, Command(("sh", "-c", script))))
        return [line for result in found.values() for line in result.stdout.splitlines()]

    def listening(self, rank: int, port: int) -> bool:
        return f":{port} " in self.sh(rank, "ss -ltnH")


def open_lab(folder: Path) -> Lab:
    """Start a lab with the image built and pushed."""
    subprocess.run((*CLI, "lab", "up", "--nodes", str(NODES), "--subnet", SUBNET, "--dir", str(folder)),
                   cwd=ROOT, check=True)  # fmt: skip
    fleet = Fleet(load(folder / "cluster.yaml").cluster)
    fleet.connect()
    return Lab(folder, fleet)


def close_lab(folder: Path) -> None:
    subprocess.run((*CLI, "lab", "down", "--dir", str(folder)), cwd=ROOT, check=True)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Mark the labs below a folder as in use, for as long as this process lives; those of killed test runs go."""
    with (folder / OWNER).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        form = f'{{{{.Label "{FOLDER_LABEL}"}}}}'
        argv = ("docker", "network", "ls", "--filter", f"label={FOLDER_LABEL}", "--format", form)
        listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        for lab in map(Path, dict.fromkeys(listed.splitlines())):
            if f"/pytest-of-{getpass.getuser()}/" in str(lab) and not _in_use(lab):
                close_lab(lab)
        yield


def _in_use(lab: Path) -> bool:
    """Somebody who lives holds the mark above it."""
    mark = next((parent / OWNER for parent in lab.parents if (parent / OWNER).exists()), None)
    if mark is None:
        return False
    with mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_until(process: subprocess.Popen[str], mark: str) -> str:
    """What a command says on stderr up to the line with `mark`."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if mark in line:
            return "".join(said)
    raise AssertionError(f"it ended without {mark!r}: {''.join(said)}")


def interrupt_at(process: subprocess.Popen[str], mark: str, delay: float = 0.0) -> tuple[int, str]:
    """Read what a command says until `mark`, then send Ctrl-C; its exit code and all that it said."""
    said = read_until(process, mark)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate(timeout=10)
        raise AssertionError(f"it has not ended 90 s after Ctrl-C: {said}{err}{out}") from None
    return process.returncode, said + err + out
