"""This package as one argument of `python3 -c`: nodes need nothing of ours, and run what this machine has."""

from __future__ import annotations

import base64
import io
import zipfile
from functools import cache
from pathlib import Path

MODULES = (
    *("__init__", "errors", "inside/__init__", "inside/lifeline", "weights/__init__", "weights/manifest"),
    *(
        f"weights/{name}"
        for name in ("checksum", "cache", "handshake", "sending", "receiving", "hub", "pruning", "node")
    ),
)
"""What runs on nodes: Python 3.10 and its standard library alone, but for huggingface_hub in weights/hub.py."""
_PACKAGE = Path(__file__).resolve().parents[1]
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_START = (
    "import base64,os,runpy,sys;f=os.memfd_create('p');os.write(f,base64.b64decode(sys.argv.pop(1)));"
    "sys.path.insert(0,f'/proc/self/fd/{f}');runpy.run_module('deploy.weights.node',run_name='__main__',alter_sys=False)"
)


def program(role: str) -> tuple[str, ...]:
    """What follows `python3` on a command line: an archive that is imported from memory, and the role to play."""
    return ("-c", _START, _archive(), role)


@cache
def _archive() -> str:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MODULES:
            entry = zipfile.ZipInfo(f"deploy/{name}.py", _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (_PACKAGE / f"{name}.py").read_bytes())
    return base64.b64encode(whole.getvalue()).decode()
