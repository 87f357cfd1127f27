"""The lab's nodes as this machine's kernel shows them: rank processes, their logs, ports, locks; asks no tool of ours.

A node is a container here and its ranks are containers within it, so every process of theirs has a cgroup below the
node's. Read with cgroup v1; for v2 the paths are written from its documentation.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVER = b"sglang.launch_server"
_CGROUP = Path("/sys/fs/cgroup")
_BASELINE = ("lab-node", "dockerd", "containerd", "[listener]")
_ENGINE = (b"dockerd", b"containerd")
_TAIL = 8192


@dataclass(frozen=True)
class Node:
    """One node of a lab: its container here, and the main process of that."""

    name: str
    address: str
    container: str
    pid: int

    @property
    def root(self) -> Path:
        return Path("/proc", str(self.pid), "root")

    @property
    def cgroup(self) -> Path:
        rows = [line.split(":", 2) for line in _read(Path("/proc", str(self.pid), "cgroup")).splitlines()]
        one = next((path for _, kind, path in rows if kind == "pids"), None)
        if one is not None:
            return _CGROUP / "pids" / one.strip("/")
        unified = next((path for _, kind, path in rows if not kind), "")
        return (_CGROUP / unified.strip("/")).parent


def ranks(node: Node) -> dict[str, list[int]]:
    """The running rank containers of a node, by full id: their processes, as this machine numbers them."""
    found = {}
    for folder in _folders(node.cgroup / "docker"):
        pids = _pids(folder)
        if any(SERVER in _command(pid) for pid in pids):
            found[folder.name] = pids
    return found


def server(pids: list[int]) -> int:
    """The server among a container's processes: the youngest whose command it is, the init's child."""
    return max(pid for pid in pids if SERVER in _command(pid))


def containers(node: Node) -> list[str]:
    """Ids of all containers of the node's engine, running or not."""
    return [folder.name for folder in _folders(node.root / "var/lib/docker/containers")]


def strangers(node: Node) -> list[str]:
    """Processes of the node that a node without ranks and logins does not have."""
    shown = [_command(pid).replace(b"\0", b" ").decode(errors="replace").strip() for pid in _pids(node.cgroup)]
    nested = [f"container {folder.name[:12]}" for folder in _folders(node.cgroup / "docker") if _pids(folder)]
    return [text[:100] for text in shown if text and not any(word in text for word in _BASELINE)] + nested


def last_line(node: Node, container: str) -> str:
    """The last whole line that a container logged, as its engine has it on disk; empty where there is none."""
    file = node.root / f"var/lib/docker/containers/{container}/{container}-json.log"
    try:
        with file.open("rb") as opened:
            opened.seek(0, 2)
            opened.seek(max(opened.tell() - _TAIL, 0))
            lines = [line for line in opened.read().splitlines(keepends=True) if line.endswith(b"\n")]
        return str(json.loads(lines[-1])["log"]).strip() if lines else ""
    except (OSError, ValueError, LookupError):
        return ""


def log_size(node: Node, container: str) -> int:
    """Bytes in a container's log; -1 where it is not there."""
    try:
        return (node.root / f"var/lib/docker/containers/{container}/{container}-json.log").stat().st_size
    except OSError:
        return -1


def listening(node: Node, ports: set[int]) -> list[int]:
    """Which of the ports somebody listens on in the node's network."""
    lines = [
        line.split() for table in ("tcp", "tcp6") for line in _read(Path(f"/proc/{node.pid}/net/{table}")).splitlines()
    ]
    held = {int(row[1].rpartition(":")[2], 16) for row in lines[1:] if len(row) > 3 and row[3] == "0A"}
    return sorted(held & ports)


def connections(node: Node, port: int = 22) -> int:
    """Established connections to a port of the node."""
    lines = [line.split() for line in _read(Path(f"/proc/{node.pid}/net/tcp")).splitlines()]
    return sum(row[3] == "01" and int(row[1].rpartition(":")[2], 16) == port for row in lines if len(row) > 3)


def locked(node: Node, cluster: str) -> bool:
    """Whether somebody holds the cluster's lock on the node."""
    file = node.root / f"root/.cache/sglang-spark/{cluster}.lock"
    try:
        with file.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def session(leader: int) -> list[str]:
    """Living processes of the session that a command began."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _read(folder / "stat").rpartition(")")[2].split()
        if len(fields) > 3 and int(fields[3]) == leader and fields[0] != "Z":
            found.append(_command(int(folder.name)).replace(b"\0", b" ").decode(errors="replace")[:100])
    return found


def _folders(parent: Path) -> Iterator[Path]:
    try:
        yield from (path for path in parent.iterdir() if path.is_dir())
    except OSError:
        return


def _pids(cgroup: Path) -> list[int]:
    return [int(word) for word in _read(cgroup / "cgroup.procs").split()]


def _command(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def engine(node: Node) -> list[int]:
    """The processes of the node's Docker Engine."""
    return [pid for pid in _pids(node.cgroup) if _command(pid).split(b"\0")[0].rpartition(b"/")[2] in _ENGINE]
