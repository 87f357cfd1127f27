"""The NCCL wheel that goes into an image: pinned by hash in the project, fetched once, kept in the user's cache.

python -m deploy.image.nccl 2.31.2     pins another version
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

from deploy.errors import BuildError, ConfigError, DeployError
from deploy.image.dockerfile import PINS
from deploy.store import cache, keep
from deploy.wheel import fetch

DISTRIBUTION = "nvidia-nccl-cu13"
MACHINES = {"linux/arm64": "aarch64", "linux/amd64": "x86_64"}
ROOT = Path(__file__).resolve().parents[2]


def pin_path(version: str) -> str:
    """The file in pip's format that names the wheels of a version by hash, relative to the project."""
    return f"{PINS}/nccl-{version}/requirements.txt"


def not_pinned(version: str, found: list[str]) -> ConfigError:
    """No hash is known of this version; `found` are those that have one."""
    known = ", ".join(sorted(found)) or "none"
    hint = f"use one of those, or look at it and pin it: python -m deploy.image.nccl {version}"
    return ConfigError(f"image.nccl: {version} is not pinned (pinned: {known})", hint)


def machine(platform: str) -> str:
    """The name that wheels have for the platform. Raises ConfigError where there is no NCCL for it."""
    found = MACHINES.get(platform.removesuffix("/v8"))
    if not found:
        hint = "set image.nccl to null: the base's own NCCL is then used, and the self-test judges it"
        raise ConfigError(f"image.nccl: there is no wheel for {platform}", hint)
    return found


def wheel(version: str, platform: str, pin: bytes) -> Path:
    """The wheel, from the cache or by pip, held to the hashes in `pin`. Raises BuildError, ConfigError."""
    folder = cache() / "wheels" / f"{DISTRIBUTION}-{version}" / machine(platform)
    known = set(re.findall(r"sha256:([0-9a-f]{64})", pin.decode()))
    try:
        if any(sha256(path) not in known for path in folder.glob("*.whl")):
            shutil.rmtree(folder)
        keep(folder, lambda new: _fetch(version, platform, pin, new))
    except OSError as error:
        hint = "make room there, or name another folder with XDG_CACHE_HOME"
        raise BuildError(f"{folder}: {error.strerror}", hint) from None
    return next(folder.glob("*.whl"))


def _fetch(version: str, platform: str, pin: bytes, folder: Path) -> None:
    """pip itself holds the wheel to its hashes."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as hashes:
        hashes.write(pin)
        hashes.flush()
        fetch((*tags(platform), "--require-hashes", "-r", hashes.name), folder, f"{DISTRIBUTION} {version}")


def tags(platform: str) -> tuple[str, ...]:
    """pip's words for the wheels of a platform with glibc 2.28 or newer."""
    words = [("--platform", f"manylinux_2_{minor}_{machine(platform)}") for minor in range(28, 16, -1)]
    return ("--implementation", "py", *(word for pair in words for word in pair))


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pin(version: str) -> Path:
    """For developers: record the hashes of what pip's index has of this version now, for every platform."""
    lines = [f"{DISTRIBUTION}=={version}"]
    for platform in MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            found = fetch((*tags(platform), lines[0]), Path(folder), lines[0])
            lines.append(f"    --hash=sha256:{sha256(found)}")
    path = ROOT / pin_path(version)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" \\\n".join(lines) + "\n", encoding="utf-8")
    return path


def main(versions: list[str]) -> int:
    """Exit code 0, or that of the first error."""
    try:
        for version in versions:
            print(f"wrote {pin(version)}")
    except DeployError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
