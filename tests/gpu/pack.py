"""Packs the real SGLang for a GPU machine without a network: pack.py [FOLDER]; needs PyPI and xz, and no GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
GLIBC = (39, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)
# Of the kernels only the library for sm_90: FlashAttention 3 alone would be 1.8 GB.
KERNELS_KEPT = ("sgl_kernel/sm90/", "sgl_kernel/spatial", "triton_kernels/")
# What neither serving nor its kernels read, by the start of the path.
LEFT_OUT = (
    "sglang/multimodal_gen/",
    "torch_memory_saver_hook_mode_preload_cu12",
    "torch_memory_saver_hook_mode_torch_cu12",
    *(f"flashinfer/data/cutlass/{part}/" for part in ("test", "examples", "docs", "media", "python")),
)
LIMIT = 55 * 2**20


def download(wheels: Path, pins: Path = HERE / "requirements.txt") -> None:
    """Fetch every pinned wheel for the GPU machine's Python, whatever this machine runs."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "any"]
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp"]
    command += [word for name in platforms for word in ("--platform", name)]
    subprocess.run([*command, "--dest", str(wheels), "-r", str(pins)], check=True)


def wanted(wheel: str, path: str) -> bool:
    """Whether a file of a wheel goes into the archive."""
    if path.startswith(LEFT_OUT) or path.endswith(".dist-info/RECORD"):
        return False
    if wheel.startswith("sglang_kernel-"):
        top_python = path.startswith("sgl_kernel/") and path.endswith(".py")
        return top_python or path.startswith(KERNELS_KEPT) or path.endswith(".dist-info/METADATA")
    # Without kernel tables the engine says which file it looked for, which the record wants.
    return not (path.startswith("sglang/srt/") and "triton_utils/configs/" in path and path.endswith(".json"))


def unpack(wheels: Path, site: Path) -> None:
    """Lay the wanted files of all wheels into one folder."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site, [name for name in archive.namelist() if wanted(wheel.name, name)])


def compress(site: Path, archive: Path, *how: str) -> None:
    """Write the folder as tar.xz, on all cores."""
    with archive.open("wb") as out:
        tar = subprocess.Popen(["tar", "-C", str(site), "-cf", "-", "."], stdout=subprocess.PIPE)
        subprocess.run(["xz", "-T0", *(how or ("-4",))], stdin=tar.stdout, stdout=out, check=True)
        if tar.wait():
            sys.exit("tar failed")


def weigh(archive: Path, limit: int) -> None:
    """Say how large an archive is; exits where it is larger than `limit` bytes."""
    size = archive.stat().st_size
    print(f"{archive}: {size / 2**20:.1f} MiB")
    if size > limit:
        sys.exit(f"larger than {limit / 2**20:.0f} MiB")


def main() -> None:
    """Make FOLDER/site.tar.xz, by default in .gpu-site, and refuse one that is too large to carry."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".gpu-site")
    wheels, site, archive = folder / "wheels", folder / "site", folder / "site.tar.xz"
    for old in (wheels, site):
        shutil.rmtree(old, ignore_errors=True)
    wheels.mkdir(parents=True)
    download(wheels)
    unpack(wheels, site)
    compress(site, archive)
    for done in (wheels, site):
        shutil.rmtree(done)
    weigh(archive, LIMIT)


if __name__ == "__main__":
    main()
