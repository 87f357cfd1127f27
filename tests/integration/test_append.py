"""The append engine against a real registry, and beside the Docker Engine: both make the same image."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import secrets
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.spec import Image
from deploy.event import Note
from deploy.image import append
from deploy.image.context import ContextFile
from deploy.image.engine import build as build_by_docker
from deploy.image.order import Order, order
from deploy.image.pinned import NCCL, Pinned
from tests.integration.image_parts import docker, need_engine, registry, remove_images, rootfs
from tests.operation import run

pytestmark = pytest.mark.integration
HERE = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
USER, PASSWORD = "builder", "marker-" + secrets.token_hex(8)
VERSION, OLD, NEW = "0.5.4.post2", "2.28.9", "2.30.7"
WANTED = Pinned(NCCL, NEW, HERE)
PYTHON = f"python3.{sys.version_info.minor}"
# Bytecode of files that are patched, which Python would never check against them.
ON_TOP = """\
FROM {base}
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /sgl-workspace/sglang/python/sglang/srt/function_call
COPY site/ {site}/
ENV PATH=/usr/bin:/bin OTHER="a b"
LABEL kept=yes
WORKDIR /sgl-workspace/sglang
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["true"]
"""


@dataclass(frozen=True)
class Parts:
    """A registry that wants a login, and in it a base."""

    registry: str
    base: str
    folder: Path


def nccl_wheel(version: str, to: Path) -> Path:
    """A stand-in for NVIDIA's wheel, of the same layout and a few bytes: no library is in it."""
    info = f"nvidia_nccl_cu13-{version}.dist-info"
    files = {
        "nvidia/nccl/include/nccl.h": f"// {version}\n",
        f"nvidia/nccl/lib/only-in-{version}": "x",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: nvidia-nccl-cu13\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    path = to / f"nvidia_nccl_cu13-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            lines.append(f"{name},sha256={digest},{len(text)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    need_engine()
    folder = tmp_path_factory.mktemp("append")
    with registry(folder, USER, PASSWORD) as address:
        imported, base = f"sglang-spark-test/base-{secrets.token_hex(4)}:x", f"{address}/lab/base:spark"
        with zipfile.ZipFile(nccl_wheel(OLD, folder)) as archive:
            archive.extractall(folder / "context" / "site")
        dockerfile = ON_TOP.format(base=imported, site=Path(sys.base_prefix, "lib", PYTHON, "site-packages"))
        (folder / "context" / "Dockerfile").write_text(dockerfile)
        try:
            docker("import", "--platform", HERE, "-", imported, stdin=rootfs(VERSION, folder))
            docker("build", "--tag", base, str(folder / "context"))
            log_in(folder / "docker", address)
            docker("--config", str(folder / "docker"), "push", base)
            yield Parts(address, base, folder)
        finally:
            remove_images(base, imported)


def log_in(config: Path, address: str) -> None:
    config.mkdir()
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (config / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))


@pytest.fixture(autouse=True)
def surroundings(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(parts.folder / "docker"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ordered(parts: Parts, root: Path, **more: Any) -> Order:
    """An order for a repository of its own."""
    repository = f"{parts.registry}/test/{secrets.token_hex(4)}"
    words = {"base": parts.base, "sglang": VERSION, "repository": repository, "platform": HERE, "nccl": None}
    return order(Image(**(words | more)), root)


def with_stand_in_nccl(wanted: Order, cache: Path) -> Order:
    """The same with a wheel of the tests' own behind the pin; in this base the self-test misses no library."""
    wheel = nccl_wheel(NEW, cache.parent)
    kept = cache / "sglang-spark" / "wheels" / WANTED.name.replace(" ", "-") / WANTED.machine
    kept.mkdir(parents=True)
    digest = hashlib.sha256((kept / wheel.name).write_bytes(wheel.read_bytes()) and wheel.read_bytes()).hexdigest()
    files = dict(wanted.context.files)
    files[WANTED.pin] = ContextFile(f"{NCCL.distribution}=={NEW} --hash=sha256:{digest}\n".encode())
    return replace(wanted, context=replace(wanted.context, files=files))


def appended(wanted: Order, lock: Path = Path("none")) -> tuple[str, str]:
    """(what was said, digest)."""
    events, digest = run(append.build(wanted, lock))
    return "\n".join(event.text for event in events if isinstance(event, Note)), digest


def pulled(wanted: Order, digest: str) -> str:
    reference = f"{wanted.image.repository}@{digest}"
    docker("--config", os.environ["DOCKER_CONFIG"], "pull", "--quiet", reference)
    return reference


def inside(reference: str) -> dict[str, tuple[object, ...]]:
    """Every file and folder of an image: kind, mode, owner, link and checksum; without bytecode."""
    container = docker("create", reference, "x")
    try:
        exported = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
    finally:
        docker("rm", container)
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        for one in tar:
            if "__pycache__" not in one.name:
                content = tar.extractfile(one) if one.isreg() else None
                digest = hashlib.sha256(content.read()).hexdigest() if content else ""
                found[one.name] = (one.type, one.mode, one.uid, one.gid, one.linkname, digest)
    return found


def config(reference: str) -> dict[str, Any]:
    found = json.loads(docker("image", "inspect", reference))[0]
    kept = {name: value for name, value in found["Config"].items() if name not in ("Image", "Hostname")}
    return {**kept, "for": (found["Os"], found["Architecture"])}


def self_test(reference: str) -> dict[str, str]:
    """The outcome of each check of the image's own."""
    words = ("--workdir", "/opt/sglang-spark", "--entrypoint", "python3", reference, "-m", "deploy.inside.selftest")
    argv = ("docker", "run", "--rm", "--network=none", *words, "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return {one["id"]: one["outcome"] for one in json.loads(done.stdout)["checks"]}


def test_both_engines_make_the_same_image(parts: Parts, root: Path, tmp_path: Path) -> None:
    wanted = with_stand_in_nccl(ordered(parts, root, nccl=NEW), tmp_path / "cache")
    said, digest = appended(wanted)
    assert "patched sglang/srt/function_call/function_call_parser.py" in said
    ours = pulled(wanted, digest)
    try:
        # The registry has it by now, and would be taken for both.
        events, _ = run(build_by_docker(wanted, again=True))
        assert events[-1] == Note(f"built {wanted.reference} for {HERE}", "done")
        mine, theirs = inside(ours), inside(wanted.reference)
        assert {
            path: (mine.get(path), theirs.get(path)) for path in mine | theirs if mine.get(path) != theirs.get(path)
        } == {}
        assert config(ours) == config(wanted.reference)
        assert any(path.endswith(f"only-in-{NEW}") for path in mine)
        assert not any(OLD in path for path in mine)
        assert docker("run", "--rm", "--network=none", ours, "echo $OTHER; pwd") == "a b\n/sgl-workspace/sglang"
        checks = self_test(ours)
        assert "failed" not in checks.values()
        assert {checks[one] for one in ("patches", "parser.glm47.whole", "nccl.installed")} == {"passed"}
    finally:
        remove_images(ours, wanted.reference)
