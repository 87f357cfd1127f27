"""Nodes on one host: a real sshd each, on a loopback address of its own, and the stand-in for `docker` as their engine.

Each sshd has a mount namespace, in which the host's name RANK_HOST means the node's own address: the ranks of one host
can then all listen on one port, as `up` asks of them. Needs root. `tools` is what tests/gpu/pack_nodes.py packs.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gpu.standin_container import Container, Shelf

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "stand-in@sha256:" + "5c" * 32
RANK_HOST = "rank"
SSH_PORT = 2222
NEEDED = ("sh", "awk", "flock", "timeout", "df", "grep", "sed", "date", "unshare", "mount", "tar", "xz", "nvidia-smi")


@dataclass(frozen=True)
class Node:
    """One node: its address (SSH and fabric) and its folder."""

    rank: int
    address: str
    folder: Path

    @property
    def container(self) -> Container | None:
        """Its rank's newest container, running or not."""
        return next(iter(reversed(Shelf(self.folder).all())), None)

    def lines(self, name: str) -> list[str]:
        """What the stand-in for docker wrote down: calls, refused."""
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


def missing() -> list[str]:
    """Programs that the toolkit or this stand-in for a node needs and this host lacks."""
    return [name for name in NEEDED if not shutil.which(name)]


@contextmanager
def nodes(count: int, folder: Path, tools: Path, host: Mapping[str, Any]) -> Iterator[list[Node]]:
    """Start the nodes; `host` says how ranks are started (see standin_docker.run). All is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [Node(rank, f"127.0.1.{rank + 1}", folder / f"node{rank}") for rank in range(count)]
    _commands(folder, tools)
    _keys(folder, found)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for node in found:
            _address(folder, node, "add")
            _make(node, host)
            processes.append(_sshd(folder, tools, node))
        for node in found:
            _await(node)
        yield found
    finally:
        for node in found:
            end_ranks(node)
            _address(folder, node, "del")
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def end_ranks(node: Node) -> None:
    """Leave no process of a rank behind."""
    for container in Shelf(node.folder).all():
        while container.running:
            container.signal(signal.SIGKILL)
            container.ended(0.2)


def cluster_yaml(folder: Path, found: Sequence[Node], more: str) -> Path:
    """A cluster.yaml of those nodes; `more` is appended."""
    lines = "".join(f"  - {{host: {one.address}, fabric: {one.address}}}\n" for one in found)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    file = folder / "cluster.yaml"
    file.write_text(
        f"name: gpu\nimage: {{repository: {IMAGE.split('@')[0]}, platform: linux/{machine}}}\nnodes:\n{lines}"
        f"ssh: {{user: root, port: {SSH_PORT}, identity: {folder}/id, known_hosts: {folder}/known_hosts}}\n{more}"
    )
    return file


def carried(tools: Path, program: str) -> tuple[str, ...]:
    """A packed program with its own loader and libraries, whatever this host has."""
    return (str(tools / "lib" / "ld.so"), "--library-path", str(tools / "lib"), str(tools / "bin" / program))


def _commands(folder: Path, tools: Path) -> None:
    """What stands before everything else on the nodes' PATH."""
    commands = folder / "bin"
    commands.mkdir()
    starts = {"docker": (sys.executable, "-IS", str(ROOT / "tests/gpu/standin_docker.py")), "ip": carried(tools, "ip")}
    for name, words in starts.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (commands / name).chmod(0o755)


def _keys(folder: Path, found: Sequence[Node]) -> None:
    tools = Path((folder / "bin" / "ip").read_text().split()[-2]).parent.parent
    for name in ("id", "host"):
        _call(*carried(tools, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text("".join(f"[{one.address}]:{SSH_PORT} {key}\n" for one in found))


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(argv)}: {done.stderr}")
    return done.stdout


def _address(folder: Path, node: Node, verb: str) -> None:
    """Put the node's address on lo, or take it away; the toolkit looks for the interface of a fabric address."""
    done = subprocess.run([folder / "bin" / "ip", "addr", verb, f"{node.address}/32", "dev", "lo"], capture_output=True)
    if done.returncode and verb == "add" and b"exists" not in done.stderr:
        raise RuntimeError(f"{node.address}: {done.stderr.decode()}")


def _make(node: Node, host: Mapping[str, Any]) -> None:
    """The node's folder: what its docker knows, and the files of /etc that are its own."""
    (node.folder / "etc").mkdir(parents=True)
    told = {"image": IMAGE, "address": node.address, **host}
    (node.folder / "host.json").write_text(json.dumps(told))
    hosts = f"127.0.0.1 localhost\n{node.address} {RANK_HOST}\n"
    users = [
        line for line in Path("/etc/passwd").read_text().splitlines() if line.split(":")[0] not in ("root", "sshd")
    ]
    users += ["root:x:0:0:root:/root:/bin/sh", "sshd:x:65533:65534::/run/sshd:/bin/false"]
    secrets = "root:*:19000:0:99999:7:::\nsshd:!:19000:0:99999:7:::\n"
    for name, text in (("hosts", hosts), ("passwd", "\n".join(users) + "\n"), ("shadow", secrets)):
        (node.folder / "etc" / name).write_text(text)
        Path("/etc", name).touch()


def _sshd(folder: Path, tools: Path, node: Node) -> subprocess.Popen[bytes]:
    Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    environment = [f"PATH={folder}/bin:{os.environ['PATH']}", f"STANDIN_STATE={node.folder}", f"HOME={node.folder}"]
    # nvidia-smi may need it.
    environment += [f"{name}={os.environ[name]}" for name in ("LD_LIBRARY_PATH",) if name in os.environ]
    options = [
        f"ListenAddress={node.address}", f"Port={SSH_PORT}", f"HostKey={folder}/host", "PidFile=none", "UsePAM=no",
        f"AuthorizedKeysFile={folder}/authorized_keys", "StrictModes=no", "PermitRootLogin=prohibit-password",
        "PasswordAuthentication=no", "UseDNS=no", "LogLevel=VERBOSE",
        f"SetEnv={' '.join(environment)}",
    ]  # fmt: skip
    server = [*carried(tools, "sshd"), "-D", "-r", "-e", "-f", "/dev/null"]
    server += [word for option in options for word in ("-o", option)]
    mounts = [f"mount --bind {node.folder}/etc/{name} /etc/{name}" for name in ("hosts", "passwd", "shadow")]
    script = " && ".join([*mounts, f"exec {shlex.join(server)}"])
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    log = (folder / f"sshd{node.rank}.log").open("ab")
    return subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _await(node: Node) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection((node.address, SSH_PORT), timeout=1):
            return
        time.sleep(0.1)
    log = (node.folder.parent / f"sshd{node.rank}.log").read_text(errors="replace")
    raise TimeoutError(f"sshd of {node.address} does not listen:\n{log[-2000:]}")
