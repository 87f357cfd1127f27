"""Kernel tables out of a git repository, by the git command: one commit, its JSON files alone, no working tree."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
from pathlib import Path

from deploy.errors import KernelError
from deploy.kernels.candidates import Found, of_tar

SECONDS = 300
_ALLOWED = ("https", "ssh", "file")
_URL = re.compile(r"(https|ssh|file)://[^\s#]+|[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s#]+")
_OTHER_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_HEX = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def is_address(source: str) -> bool:
    """Whether a source is written as an address, whatever its scheme."""
    return "://" in source or _URL.fullmatch(source.partition("#")[0]) is not None


def fetch(source: str) -> tuple[Found, str, str]:
    """The tables of ADDRESS or ADDRESS#REF, the address without credentials, and the commit. Raises KernelError."""
    address, _, ref = source.partition("#")
    if not _URL.fullmatch(address):
        raise KernelError(
            f"{shown(address)}: is no address that git may fetch", f"{', '.join(_ALLOWED)} or USER@HOST:PATH"
        )
    if ref.startswith("-"):
        raise KernelError(f"{ref}: is no branch, tag or commit", "write it as ADDRESS#REF")
    with tempfile.TemporaryDirectory(prefix="sglang-spark-git-") as folder:
        place = Path(folder)
        _git(place, "init", "--quiet", "--bare", ".")
        _git(place, "fetch", "--quiet", "--depth=1", "--no-tags", "--", address, ref or "HEAD")
        commit = _git(place, "rev-parse", "FETCH_HEAD^{commit}").decode().strip()
        if not _HEX.fullmatch(commit):
            raise KernelError(f"{shown(address)}: git names no commit", "give a branch, a tag or a commit as #REF")
        try:
            packed = _git(place, "archive", "--format=tar", commit, "--", ":(glob)**/*.json")
        except KernelError as error:
            if "did not match" in error.message:
                return {}, shown(address), commit
            raise
    return of_tar(io.BytesIO(packed), shown(address)), shown(address), commit


def shown(address: str) -> str:
    """An address without the name and password in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def _git(place: Path, *words: str) -> bytes:
    """git's answer. It asks nothing, runs no hook, and takes no other protocol than those."""
    only = [word for name in _ALLOWED for word in ("-c", f"protocol.{name}.allow=always")]
    command = ["git", "-C", str(place), "-c", "protocol.allow=never", *only, "-c", "core.hooksPath=/dev/null", *words]
    kept = {name: value for name, value in os.environ.items() if name not in _OTHER_PLACES}
    environment = {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise KernelError("git is not installed", "install git, or name a folder or an archive") from None
    except subprocess.TimeoutExpired:
        raise KernelError(f"git did not answer within {SECONDS} s", "fetch it yourself and name the folder") from None
    if done.returncode:
        said = shown(done.stderr.decode(errors="replace").strip())
        raise KernelError(f"git {words[0]}: {said}", "check the address and the ref: ADDRESS#REF")
    return done.stdout
