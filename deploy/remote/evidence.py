"""Two commands a node that gather what its rank left behind, and the reading of what they print."""

from __future__ import annotations

import base64
import binascii
import zlib
from pathlib import Path

from deploy.command import Command, Result
from deploy.launch.watch.evidence import KEPT_HEAD, KEPT_TAIL, cut
from deploy.script import script

_SCRIPT = Path(__file__).with_name("evidence.sh")
_LOG = (
    '{ docker logs "$1" 2>&1 || echo "docker logs failed: $?"; } | { head -c "$2"; tail -c "$3"; } | gzip -c | base64'
)


def facts(container: str) -> Command:
    """The command that prints what is to be known of a rank's container and node."""
    return Command(("sh", "-c", script(_SCRIPT), "sh", container), timeout=90)


def log(container: str) -> Command:
    """The command that prints a container's log, compressed, up to what is kept of it."""
    return Command(("sh", "-c", _LOG, "sh", container, str(KEPT_HEAD), str(KEPT_TAIL)), timeout=120)


def read_log(result: Result) -> bytes | None:
    """The log; None where it did not come whole."""
    if not result.ok:
        return None
    try:
        return cut(zlib.decompress(base64.b64decode(result.stdout), wbits=31))
    except (binascii.Error, zlib.error, ValueError):
        return None
