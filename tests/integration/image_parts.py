"""Real parts for the image tests: a small base made of this machine's Python and SGLang's tree, and a registry."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from deploy.image.dockerfile import TREE
from deploy.lab.recipe import MARKER
from tests.integration.trees import unpack

LEFT_OUT = {"site-packages", "dist-packages", "test", "idlelib", "tkinter", "lib2to3", "ensurepip", "__pycache__"}
PACKAGES = (
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection", "orjson"),
    *("openai", "httpx", "httpcore", "h11", "anyio", "sniffio", "idna", "certifi", "distro", "jiter", "tqdm"),
    *("partial_json_parser", "pip"),
)
CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {users}}}}}
"""


def docker(*words: str, stdin: bytes | None = None) -> str:
    """Run the docker command; fails with what it said."""
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def need_engine() -> None:
    """Skip, visibly, where no Docker Engine answers."""
    if not shutil.which("docker"):
        pytest.skip("no docker command: apt-get install docker.io")
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        pytest.skip("no Docker Engine answers: start it (dockerd)")


def rootfs(version: str, folder: Path, *, marked: bool = True) -> bytes:
    """A tar with /bin/sh, python3 with its library, and SGLang's tree where the real base has it.

    It stands in for the real base: no GPU engine is in it. Unmarked, it does not say so.
    """
    tree = unpack(version, folder)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()
        for program in (Path("/bin/sh").resolve(), Path(shutil.which("sleep") or "/bin/sleep").resolve(), python):
            _program(tar, program)
        for place, target in (("bin/sh", Path("/bin/sh").resolve()), ("usr/bin/python3", python)):
            _link(tar, place, str(target))
        tar.add(sysconfig.get_path("stdlib"), filter=_source)
        _libraries(tar, Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so"))
        _packages(tar, Path(sys.base_prefix, "lib", python.name, "site-packages"))
        if marked:
            _text(tar, MARKER.lstrip("/"), "made of this machine's Python, for tests\n")
        tar.add(tree / "sglang", TREE.lstrip("/") + "/sglang", filter=_python)
    return buffer.getvalue()


def _packages(tar: tarfile.TarFile, site: Path) -> None:
    """What SGLang's parsers import, pip, and the way to SGLang's tree, where this Python looks for packages."""
    libraries: list[Path] = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin, f"{name} is a package that developers have"
        origin = Path(spec.origin)
        one = origin.parent if origin.name == "__init__.py" else origin
        tar.add(one, str(site / one.name), filter=_source)
        libraries += one.rglob("*.so")
    _libraries(tar, libraries)
    _text(tar, str(site / "sglang-tree.pth").lstrip("/"), f"{TREE}\n")


def _text(tar: tarfile.TarFile, place: str, text: str) -> None:
    entry = tarfile.TarInfo(place)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))


def _program(tar: tarfile.TarFile, program: Path) -> None:
    """The program and the libraries that it is linked to, each at its own place."""
    if str(program).lstrip("/") not in tar.getnames():
        tar.add(program)
    _libraries(tar, [program])


def _libraries(tar: tarfile.TarFile, programs: Iterable[Path]) -> None:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    libraries = {word.lstrip("/") for word in said.split() if word.startswith("/") and not word.endswith(":")}
    for path in libraries - set(tar.getnames()):
        tar.add(os.path.realpath(f"/{path}"), path)


def _link(tar: tarfile.TarFile, place: str, target: str) -> None:
    if place != target.lstrip("/"):
        entry = tarfile.TarInfo(place)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        tar.addfile(entry)


def _source(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(entry.name)
    if name.name in LEFT_OUT or name.name.startswith("config-"):
        return None
    return entry if entry.isdir() or name.suffix in (".py", ".so") else None


def _python(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isdir() or entry.name.endswith(".py") else None


@contextmanager
def registry(folder: Path, user: str, password: str) -> Iterator[str]:
    """A registry of our own that wants a login; gives HOST:PORT."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("no docker-registry: apt-get install docker-registry")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    users = folder / "users"
    users.write_text(f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n")
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(root=folder / "blobs", port=port, users=users))
    process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the registry did not start")


def load_empty(name: str, architecture: str) -> None:
    """Give the engine an image with one empty layer that claims an architecture."""
    layer = b"\0" * 10240
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"manifest.json": json.dumps(manifest), "config.json": json.dumps(config), "layer.tar": layer.decode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    docker("load", stdin=buffer.getvalue())


def remove_images(*names: str) -> None:
    """Remove these images and all that was built on them, and nothing else."""
    for name in names:
        found = subprocess.run(["docker", "image", "inspect", "-f", "{{.Id}}", name], capture_output=True, text=True)
        if found.returncode == 0:
            _remove_with_children(found.stdout.strip())


def _remove_with_children(image: str) -> None:
    every = docker("images", "--all", "--quiet", "--no-trunc").split()
    parents = dict(
        line.split(" ")
        for line in docker("image", "inspect", "-f", "{{.Id}} {{.Parent}}", *set(every)).splitlines()
        if " " in line.strip()
    )
    for child in [child for child, parent in parents.items() if parent == image]:
        _remove_with_children(child)
    subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)
