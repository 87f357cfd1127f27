"""A registry on loopback whose packets are counted, and commands of the product that are measured against it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLI = (sys.executable, str(ROOT / "build-and-deploy.py"))
CONFIG = (
    "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\nhttp: {{addr: {addr}}}\n"
)


@dataclass(frozen=True)
class Cost:
    """Of one command: seconds, those of its processor time, and bytes from and to the registry."""

    seconds: float
    processor: float
    down: int
    up: int

    def named(self, name: str) -> dict[str, Any]:
        sides = {f"{name}_bytes_down": self.down, f"{name}_bytes_up": self.up}
        seconds = {f"{name}_s": round(self.seconds, 2), f"{name}_processor_s": round(self.processor, 2)}
        return {**seconds, f"{name}_bytes": self.down + self.up, **sides}


@dataclass(frozen=True)
class Bench:
    """A registry on loopback, a folder, and the environment of the commands."""

    address: str
    folder: Path
    environ: dict[str, str]

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    def cluster(self, base: str, repository: str, python: str) -> Path:
        """A cluster.yaml for an image in this registry."""
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        words = {"platform": f"linux/{architecture}", "nccl": None, "python": python}
        image = {"base": base, "repository": f"{self.address}/{repository}", **words}
        path = self.folder / f"{repository.replace('/', '-')}.yaml"
        path.write_text(json.dumps({"name": "bench", "image": image, "nodes": [{"host": "a", "fabric": "10.0.0.1"}]}))
        return path

    def measured(self, *words: str) -> Cost:
        """One command of the product."""
        before, used, began = self._bytes(), os.times(), time.monotonic()
        run(*CLI, *words, environ=self.environ)
        seconds, spent, after = time.monotonic() - began, os.times(), self._bytes()
        processor = spent.children_user + spent.children_system - used.children_user - used.children_system
        return Cost(seconds, processor, after[0] - before[0], after[1] - before[1])

    def _bytes(self) -> tuple[int, int]:
        """(from the registry, to it) so far."""
        lines = run("iptables", "-nvxL", "OUTPUT").splitlines()
        down, up = (
            int(next(line for line in lines if f"{side}:{self.port} " in f"{line} ").split()[1])
            for side in ("spt", "dpt")
        )
        return down, up


def run(*argv: str, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """The registry, counted; everything goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="sglang-spark-delivery-") as name:
        folder = Path(name)
        (folder / "docker").mkdir()
        (folder / "docker" / "config.json").write_text("{}")
        own = {"DOCKER_CONFIG": "docker", "XDG_CACHE_HOME": "cache", "PYTHONPYCACHEPREFIX": "bytecode"}
        environ = {**os.environ, **{name: str(folder / place) for name, place in own.items()}}
        # As anywhere but in a test: what was imported once is not compiled anew by every command.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        with registry(folder) as address, counted(address.rpartition(":")[2]):
            yield Bench(address, folder, environ)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry, the reference implementation, on a free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    (folder / "registry.yml").write_text(CONFIG.format(root=folder / "blobs", addr=f'"{address}"'))
    process = subprocess.Popen(
        ("docker-registry", "serve", str(folder / "registry.yml")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(address[10:])), 1):
                break
            if process.poll() is not None:
                raise RuntimeError("docker-registry did not start")
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def counted(port: str) -> Iterator[None]:
    """Rules that let everything pass, and count."""
    rules = [("OUTPUT", "-o", "lo", "-p", "tcp", f"--{side}", port) for side in ("sport", "dport")]
    for rule in rules:
        run("iptables", "-I", *rule)
    try:
        yield
    finally:
        for rule in rules:
            run("iptables", "-D", *rule)
