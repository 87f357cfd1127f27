"""NCCL in real images, with NVIDIA's own wheels: an old one is found, and replaced by the pinned one."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.image.context import build_context
from deploy.image.engine import build
from deploy.image.order import order
from deploy.image.pinned import NCCL, Pinned, wheels
from deploy.store import wheel as any_wheel
from tests.integration.image_parts import docker, need_engine, remove_images, rootfs
from tests.operation import run

pytestmark = pytest.mark.integration
HERE = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
VERSION, OLD, NEW = "0.5.4.post2", "2.28.9", "2.30.7"
DISTRIBUTION, WANTED = NCCL.distribution, Pinned(NCCL, NEW, HERE)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stand-in for the real base, with the NCCL that the real one is thought to have."""
    need_engine()
    folder = tmp_path_factory.mktemp("base")
    try:
        old = any_wheel(DISTRIBUTION, OLD, f"manylinux_2_18_{WANTED.machine}")
    except BuildError as error:
        pytest.skip(error.message)
    with zipfile.ZipFile(old) as archive:
        archive.extractall(folder / "site")
    name = f"sglang-spark-test/nccl-{secrets.token_hex(4)}:x"
    docker("import", "--platform", HERE, "-", name, stdin=rootfs(VERSION, folder, site=folder / "site"))
    shutil.rmtree(folder / "site")
    try:
        yield name
    finally:
        remove_images(name)


def image(base: str, nccl: str | None) -> Image:
    return Image(base=base, sglang=VERSION, repository="sglang-spark-test/nccl", platform=HERE, nccl=nccl)


def test_an_old_nccl_in_the_base_ends_the_build(base: str, root: Path) -> None:
    with pytest.raises(BuildError) as caught:
        run(build(order(image(base, None), root)))
    line = next(line for line in caught.value.message.splitlines() if "FAILED       nccl.loaded" in line)
    assert f"{OLD} from /" in line
    assert "needed: 2.29.3 or newer" in line


def test_the_pinned_nccl_replaces_it_and_is_the_one_that_is_loaded(base: str, root: Path) -> None:
    wanted = order(image(base, NEW), root)
    try:
        _, reference = run(build(wanted))
        words = ("--workdir", "/opt/sglang-spark", "--entrypoint", "python3", reference, "-m", "deploy.inside.selftest")
        found = {
            one["id"]: one for one in json.loads(docker("run", "--rm", "--network=none", *words, "--json"))["checks"]
        }
        assert found["nccl.installed"]["outcome"] == "passed"
        assert found["nccl.installed"]["seen"] == f"{DISTRIBUTION} {NEW}"
        assert found["nccl.loaded"]["outcome"] == "passed"
        assert found["nccl.loaded"]["seen"].startswith(f"{NEW} from /")
        layers = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}}", reference).split()
        assert sum(size > 100_000_000 for size in map(int, layers)) == 2, "the base's own layer, and NCCL once"
    finally:
        remove_images(wanted.reference)


def plain_build(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`docker build` of the stage that unpacks NCCL, as a user would type it."""
    return subprocess.run(
        ["docker", "build", "--target", "nccl", *words, str(folder)],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def lay_out(folder: Path, root: Path, image: Image) -> None:
    for path, file in build_context(image, root).files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(file.content)


def test_a_plain_docker_build_without_wheel_and_network_says_what_is_missing(
    base: str, root: Path, tmp_path: Path
) -> None:
    lay_out(tmp_path, root, image(base, NEW))
    done = plain_build(tmp_path, "--network", "none")
    assert done.returncode != 0
    assert f"No matching distribution found for {DISTRIBUTION}=={NEW}" in done.stdout + done.stderr


def test_a_plain_docker_build_lets_pip_fetch_the_wheel(base: str, root: Path, tmp_path: Path) -> None:
    """From an index on loopback, which the base is told of as a user's base or network might be."""
    (found,) = wheels(WANTED, (root / WANTED.pin).read_bytes())
    (tmp_path / "simple").mkdir()
    (tmp_path / "simple" / DISTRIBUTION).symlink_to(found.parent)
    (tmp_path / "context").mkdir()
    lay_out(tmp_path / "context", root, image(base, NEW))
    with serving(tmp_path) as port:
        dockerfile = tmp_path / "context" / "Dockerfile"
        first = f"AS nccl\nENV PIP_INDEX_URL=http://127.0.0.1:{port}/simple\n"
        dockerfile.write_text(dockerfile.read_text().replace("AS nccl\n", first))
        done = plain_build(tmp_path / "context", "--network", "host")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Successfully installed {DISTRIBUTION}-{NEW}" in done.stdout


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Files over HTTP on loopback."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = re.sub(r"sha256:\w+", "sha256:" + "0" * 64, (root / WANTED.pin).read_text())
    with pytest.raises(BuildError, match="DO NOT MATCH THE HASHES") as caught:
        wheels(WANTED, wrong.encode())
    assert "not what was recorded" in caught.value.hint
    assert not list(tmp_path.rglob("*.whl"))
