"""The wheels that go into an image: pinned by hash in the project, fetched once, kept in the user's cache.

python -m deploy.image.pinned nccl 2.31.2     pins another version; so does `ray 2.58.1`
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.spec import Image
from deploy.errors import BuildError, ConfigError, DeployError
from deploy.event import Event, Note
from deploy.image.dockerfile import PINS
from deploy.store import cache, keep
from deploy.wheel import fetch, found

MACHINES = {"linux/arm64": "aarch64", "linux/amd64": "x86_64"}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Those that a pin has wheels for, the oldest first: what it needs then fits them all."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Kind:
    """A setting of `image` that names the version of a distribution; `without` is what to do where there is none."""

    setting: str
    distribution: str
    title: str
    megabytes: int
    without: str
    pythons: Sequence[str] = ("",)


NCCL = Kind(
    "nccl",
    "nvidia-nccl-cu13",
    "NCCL",
    216,
    "set image.nccl to null: the base's own NCCL is then used, and the self-test judges it",
)
RAY = Kind("ray", "ray", "Ray", 82, "build without the tuning layer; `tune --local` needs no Ray", PYTHONS)
KINDS = {kind.setting: kind for kind in (NCCL, RAY)}


@dataclass(frozen=True)
class Pinned:
    """A distribution, with what it needs, in one version; `python` is empty where every Python takes the same wheel."""

    kind: Kind
    version: str
    platform: str
    python: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind.distribution} {self.version}"

    @property
    def pin(self) -> str:
        """The file in pip's format that names its wheels by hash, relative to the project."""
        return f"{PINS}/{self.kind.setting}-{self.version}/requirements.txt"

    @property
    def machine(self) -> str:
        """The name that wheels have for the platform. Raises ConfigError where there is none for it."""
        known = MACHINES.get(self.platform.removesuffix("/v8"))
        if not known:
            what = f"image.{self.kind.setting}: there is no wheel for {self.platform}"
            raise ConfigError(what, self.kind.without)
        return known

    @property
    def tags(self) -> tuple[str, ...]:
        """pip's words for the wheels of its platform with glibc 2.28 or newer, and of its Python."""
        kinds = (*(f"manylinux_2_{minor}" for minor in range(28, 16, -1)), "manylinux2014")
        pairs = [("--platform", f"{kind}_{self.machine}") for kind in kinds]
        python = ("cp", "--python-version", self.python) if self.python else ("py",)
        return ("--implementation", *python, *(word for pair in pairs for word in pair))


def pinned(image: Image) -> list[Pinned]:
    """What goes into this image."""
    nccl = [Pinned(NCCL, image.nccl, image.platform)] if image.nccl else []
    return nccl + ([Pinned(RAY, image.ray, image.platform, image.python)] if image.tune else [])


def not_pinned(wanted: Pinned, folders: Sequence[str]) -> ConfigError:
    """No hash is known of this version; `folders` are those of all that have one."""
    setting = wanted.kind.setting
    versions = sorted(one.removeprefix(f"{setting}-") for one in folders if one.startswith(f"{setting}-"))
    hint = f"use one of those, or look at it and pin it: python -m deploy.image.pinned {setting} {wanted.version}"
    return ConfigError(
        f"image.{setting}: {wanted.version} is not pinned (pinned: {', '.join(versions) or 'none'})", hint
    )


def at_hand(image: Image, pins: Mapping[str, bytes]) -> Generator[Event, None, dict[str, Path]]:
    """The files of all wheels by their place in the context, beside their hashes; said before it takes its time."""
    laid: dict[str, Path] = {}
    for one in pinned(image):
        kind = one.kind
        yield Note(f"having {kind.title} {one.version} for {one.platform} at hand ({kind.megabytes} MB, fetched once)")
        laid |= {str(Path(one.pin).with_name(path.name)): path for path in wheels(one, pins[one.pin])}
    return laid


def wheels(wanted: Pinned, pin: bytes) -> list[Path]:
    """The wheels, from the cache or by pip, held to the hashes in `pin`. Raises BuildError, ConfigError."""
    below = "-".join(filter(None, (wanted.machine, wanted.python)))
    folder = cache() / "wheels" / wanted.name.replace(" ", "-") / below
    try:
        if folder.exists() and not _whole(folder, pin.decode()):
            shutil.rmtree(folder)
        keep(folder, lambda new: _fetch(wanted, pin, new))
    except OSError as error:
        hint = "make room there, or name another folder with XDG_CACHE_HOME"
        raise BuildError(f"{folder}: {error.strerror}", hint) from None
    return sorted(folder.glob("*.whl"))


def _whole(folder: Path, pin: str) -> bool:
    """Is there a wheel for every line, and is each one that is meant?"""
    known = set(re.findall(r"sha256:([0-9a-f]{64})", pin))
    here = [sha256(path) for path in folder.glob("*.whl")]
    return len(here) == pin.count("==") and known.issuperset(here)


def _fetch(wanted: Pinned, pin: bytes, folder: Path) -> None:
    """pip itself holds the wheels to their hashes."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as hashes:
        hashes.write(pin)
        hashes.flush()
        fetch((*wanted.tags, "--require-hashes", "-r", hashes.name), folder, wanted.name)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record(kind: Kind, version: str) -> Path:
    """For developers: write down the hashes of what pip's index has of this version now, and of what it needs."""
    hashes: dict[str, dict[str, None]] = {}
    every = [Pinned(kind, version, platform, python) for python in kind.pythons for platform in MACHINES]
    for one in every:
        for project, digest in found((*one.tags, *(hashes or [f"{kind.distribution}=={version}"])), one.name):
            hashes.setdefault(project, {})[digest] = None
    path = ROOT / every[0].pin
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [" \\\n    ".join((project, *(f"--hash=sha256:{one}" for one in of))) for project, of in hashes.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main(words: list[str]) -> int:
    """Exit code 0, or that of the first error."""
    try:
        if len(words) < 2 or words[0] not in KINDS:
            raise ConfigError("which wheels?", f"say {' or '.join(KINDS)}, and a version")
        for version in words[1:]:
            print(f"wrote {record(KINDS[words[0]], version)}")
    except DeployError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
