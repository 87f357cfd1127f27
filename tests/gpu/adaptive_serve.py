"""A whole server of a patched SGLang 0.5.4 tree: adaptive_serve TREE PACKAGES FLAG...

SGLang starts its other processes by importing this module anew, so what the tree lacks here is stood in for in each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.gpu import adaptive_tree

if __name__ == "__main__":
    os.environ["ADAPTIVE_SERVE"] = os.pathsep.join(sys.argv[1:3])
if "ADAPTIVE_SERVE" in os.environ:
    adaptive_tree.reach(*map(Path, os.environ["ADAPTIVE_SERVE"].split(os.pathsep)))


def main() -> None:
    """As SGLang's own launch_server."""
    from sglang.srt.entrypoints.http_server import launch_server  # type: ignore[import-not-found]
    from sglang.srt.server_args import prepare_server_args  # type: ignore[import-not-found]
    from sglang.srt.utils import kill_process_tree  # type: ignore[import-not-found]

    try:
        launch_server(prepare_server_args(sys.argv[3:]))
    finally:
        kill_process_tree(os.getpid(), include_parent=False)


if __name__ == "__main__":
    main()
