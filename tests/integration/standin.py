"""The lab's stand-in as local processes: the real, patched tree beside it, as in the lab's image, but no container."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.inside import patch
from deploy.lab.images import stand_in_files
from tests.gpu.adapt import Launch
from tests.integration.trees import unpack

ROOT = Path(__file__).resolve().parents[2]
LINE = (
    *("--model-path", "zai-org/GLM-4.7-FP8", "--trust-remote-code", "--max-running-requests", "64"),
    *("--context-length", "32768", "--tool-call-parser", "glm47", "--reasoning-parser", "glm45"),
    *("--speculative-algorithm", "EAGLE", "--speculative-num-steps", "3"),
    *("--speculative-num-draft-tokens", "8", "--speculative-eagle-topk", "2"),
)
QUICK = {"STANDIN_LOAD_SECONDS": "0.3", "STANDIN_TOKENS_PER_SECOND": "400"}


def site(version: str, folder: Path) -> Path:
    """A folder for PYTHONPATH: SGLang's tree, patched, with the stand-in where the engine would be.

    The package's own first modules are left empty: they import libraries that only the image has.
    """
    unpack(version, folder)
    assert patch.main(["apply", str(folder), "--manifest", str(ROOT / "patches")]) == 0
    (folder / "sglang" / "__init__.py").write_text("")
    (folder / "sglang" / "utils.py").write_text("from json import dumps as convert_json_schema_to_str\n")
    for name, content in stand_in_files().items():
        path = folder / ("sglang/launch_server.py" if name == "launch_server.py" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def launches(where: Path, nodes: int, *extra: str, env: Mapping[str, str] | None = None) -> list[Launch]:
    """The ranks of a stand-in on free ports of the loopback address."""
    *ports, meeting = free_ports(nodes + 1)
    made = []
    for rank, port in enumerate(ports):
        words = ["--host", "127.0.0.1", "--port", str(port), "--tp", str(nodes), *LINE, *extra]
        if nodes > 1:
            words += ["--nnodes", str(nodes), "--node-rank", str(rank), "--dist-init-addr", f"127.0.0.1:{meeting}"]
        environment = {"PYTHONPATH": str(where), **QUICK, **(env or {})}
        made.append(Launch(rank, (sys.executable, "-m", "sglang.launch_server", *words), environment, port))
    return made
