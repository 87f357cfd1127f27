"""Packs what `bench run` needs on a bare GPU host: pack_bench.py [FOLDER]; needs PyPI.

bench.tar.xz holds `python/` (libraries for the GPU machine's Python) and `cache/` (bench_serving, as `load` keeps it).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy import store
from deploy.bench.serving import program
from tests.gpu import pack_nodes
from tests.gpu.pack import compress, weigh

# Beside what the toolkit imports: what bench_serving does. The GPU machine has the rest of its needs.
MORE = ("datasets", "multiprocess", "pybase64", "dill")
LIMIT = 8 * 2**20


def main() -> None:
    """Make FOLDER/bench.tar.xz, by default in .gpu-site/bench, and refuse one that is too large to carry."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".gpu-site/bench")
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "bench.tar.xz"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        pack_nodes.add_python(work / "bench" / "python", work, (*pack_nodes.PACKAGES, *MORE))
        source = program()
        kept = work / "bench" / "cache" / source.relative_to(store.cache().parent)
        kept.parent.mkdir(parents=True)
        shutil.copy(source, kept)
        compress(work / "bench", archive, "--x86", "--lzma2=preset=9e")
    weigh(archive, LIMIT)


if __name__ == "__main__":
    main()
