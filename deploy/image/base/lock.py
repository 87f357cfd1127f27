"""image.lock.json: what is known of bases, by digest, so that a build reads nothing of them. Fetches nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import BuildError, ConfigError
from deploy.image.base.sight import Base, File, Wanted
from deploy.inside.manifest import sha256

NAME = "image.lock.json"
"""Beside cluster.yaml."""
FORMAT = 1
AGAIN = "look at what changed, then write it anew: python build-and-deploy.py build --lock"


@dataclass(frozen=True)
class LockedFile:
    """One file of a base: SHA-256 as it comes and once it is patched ("" where nothing patches it)."""

    layer: str
    mode: int
    before: str
    after: str


@dataclass(frozen=True)
class Locked:
    """One base. `folders` says of each that was asked for whether the base has it; the rest is as in Base."""

    name: str
    files: Mapping[str, LockedFile]
    compiled: tuple[str, ...]
    folders: Mapping[str, bool]
    nccl: tuple[str, ...]
    python: str

    def base(self, contents: Mapping[str, bytes]) -> Base:
        """The base, with contents that are what is locked. Raises BuildError where one is not."""
        for path, content in contents.items():
            if sha256(content) != self.files[path].before:
                what = f"{path}: sha256 {sha256(content)}, and {self.files[path].before} is locked"
                raise BuildError(f"{NAME}: {what}", AGAIN)
        files = {path: File(contents[path], one.mode, one.layer) for path, one in self.files.items()}
        folders = tuple(sorted(path for path, there in self.folders.items() if there))
        return Base(files, self.compiled, folders, self.nccl, self.python)


def locked(name: str, base: Base, wanted: Wanted, after: Mapping[str, bytes]) -> Locked:
    """What is to be locked of a base that was read whole; `after` are the files that a patch changes."""
    files = {
        path: LockedFile(one.layer, one.mode, sha256(one.content), sha256(after[path]) if path in after else "")
        for path, one in sorted(base.files.items())
    }
    folders = {path: path in base.folders for path in sorted(wanted.folders)}
    return Locked(name, files, base.compiled, folders, base.nccl, base.python)


def find(path: Path, digest: str, name: str) -> Locked | None:
    """What is locked of the base with this digest; None where the lock says nothing of it.

    Raises BuildError where it has another one under this name: a tag that moved. Raises ConfigError.
    """
    bases = read(path)
    if digest in bases:
        return bases[digest]
    others = [known for known, one in bases.items() if one.name == name]
    if others:
        what = f"{name} is {digest} now, and {path} was written for {', '.join(others)}"
        raise BuildError(f"the base changed: {what}", f"pin the one that is meant with @sha256:..., or {AGAIN}")
    return None


def check(lock: Locked, wanted: Wanted, after: Mapping[str, bytes]) -> None:
    """The patches of today give what was locked. Raises BuildError."""
    lacking = [path for path in wanted.needed if path not in lock.files]
    if lacking:
        raise BuildError(f"{NAME}: says nothing of {lacking[0]}, which patches/ changes", AGAIN)
    for path, one in lock.files.items():
        found = sha256(after[path]) if path in after else ""
        if found != one.after:
            what = f"{path}: patched it is {_said(found)}, and {_said(one.after)} is locked"
            raise BuildError(f"{NAME}: {what}: patches/ changed since", AGAIN)
    if wanted.nccl and not lock.nccl:
        hint = "set image.nccl to null, which leaves the base's own NCCL, or build with --engine docker"
        raise BuildError(f"{NAME}: the base has no package nvidia-nccl-cu13 that could be replaced", hint)


def _said(checksum: str) -> str:
    return f"sha256 {checksum}" if checksum else "as before"


def read(path: Path) -> dict[str, Locked]:
    """All bases by digest; none where there is no file. Raises ConfigError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']}, not {FORMAT}")
        return {digest: _locked(one) for digest, one in raw["bases"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be used: {error}", "remove it, or write it anew with build --lock") from None


def _locked(raw: Mapping[str, Any]) -> Locked:
    files = {path: LockedFile(**one) for path, one in raw["files"].items()}
    return Locked(
        raw["name"], files, tuple(raw["compiled"]), dict(raw["folders"]), tuple(raw["nccl"]), str(raw["python"])
    )


def write(path: Path, digest: str, lock: Locked) -> None:
    """Put this base in, in the place of others of its name. Raises ConfigError."""
    bases = {known: one for known, one in read(path).items() if one.name != lock.name} | {digest: lock}
    raw = {
        "format": FORMAT,
        "bases": {
            known: {**vars(one), "files": {place: vars(file) for place, file in one.files.items()}}
            for known, one in sorted(bases.items())
        },
    }
    try:
        path.write_text(json.dumps(raw, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "the folder must be yours to write") from None
