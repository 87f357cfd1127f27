"""Packs what makes a bare GPU host four nodes: pack_nodes.py [FOLDER]; needs PyPI, OpenSSH and iproute2.

nodes.tar.xz holds `python/` (the toolkit's libraries for the GPU machine's Python), `bin/` (this machine's sshd,
ssh-keygen and ip) and `lib/` (the loader and libraries of those three, so that they need nothing of the other machine).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.gpu.pack import compress, download, weigh

# What `up` and the watch import, in the versions that are installed here, less what the GPU machine has beside PyTorch:
# click, Jinja2, PyYAML, Rich, requests and wrapt.
PACKAGES = (
    "fabric", "invoke", "paramiko", "bcrypt", "cryptography", "pynacl", "cffi", "pycparser", "decorator", "deprecated",
    "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions", "docker",
)  # fmt: skip
PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/ssh-keygen", "/usr/sbin/ip")
LEFT_OUT = (".pyi", ".c", ".h", ".pxd", "/RECORD")
LIMIT = 12 * 2**20


def pins(packages: Sequence[str]) -> str:
    """A requirements file of the packages as they are installed here."""
    from importlib.metadata import version

    return "".join(f"{name}=={version(name)}\n" for name in packages)


def add_python(site: Path, work: Path, packages: Sequence[str] = PACKAGES) -> None:
    """The wheels, unpacked."""
    (work / "pins.txt").write_text(pins(packages))
    download(work / "wheels", work / "pins.txt")
    for wheel in sorted((work / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if not name.endswith(LEFT_OUT)]
            archive.extractall(site, wanted)


def add_programs(folder: Path) -> None:
    """The programs, the loader and every library that they are linked with."""
    for name in ("bin", "lib"):
        (folder / name).mkdir(parents=True)
    for program in PROGRAMS:
        shutil.copy(program, folder / "bin")
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for word in linked.split():
            if word.startswith("/"):
                name = "ld.so" if "/ld-linux" in word else Path(word).name
                shutil.copy(word, folder / "lib" / name)


def main() -> None:
    """Make FOLDER/nodes.tar.xz, by default in .gpu-site/faults, and refuse one that is too large to carry."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".gpu-site/faults")
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "nodes.tar.xz"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        add_python(work / "nodes" / "python", work)
        add_programs(work / "nodes")
        compress(work / "nodes", archive, "--x86", "--lzma2=preset=9e")
    weigh(archive, LIMIT)


if __name__ == "__main__":
    main()
