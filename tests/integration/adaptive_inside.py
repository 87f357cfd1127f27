"""What a real, patched SGLang tree is to show without a GPU, with real PyTorch; run by its own process, a tree each.

    python3 -m tests.integration.adaptive_inside TREE OUT

Stand-ins: sgl_kernel, which needs a CUDA driver; the kernels themselves, whose numbers a GPU shows; is_cuda.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.integration import adaptive_choosing, adaptive_loading, adaptive_measuring, adaptive_refusing

Check = Callable[[], None]
PARTS = (adaptive_choosing, adaptive_loading, adaptive_refusing, adaptive_measuring)
CHECKS: tuple[Check, ...] = tuple(check for part in PARTS for check in part.CHECKS)


def main(tree: Path, out: Path) -> None:
    """Every check's traceback by name, empty where it passed."""
    from tests.gpu import adaptive_tree

    sys.modules["sgl_kernel"] = adaptive_tree.StandIn("sgl_kernel")
    adaptive_tree.reach(tree, tree)
    adaptive_tree.start(f"file://{out}.rendezvous", "gloo")
    found = {}
    for check in CHECKS:
        try:
            check()
            found[check.__name__] = ""
        except BaseException:
            found[check.__name__] = traceback.format_exc()
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
