"""The append engine against a real registry alone: what it reads, what it sends, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy import store
from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image import append, buildx
from deploy.image.base import lock as locks
from deploy.image.base import reading
from deploy.image.dockerfile import TREE
from deploy.image.order import Order, order
from deploy.registry.client import Registry
from deploy.registry.manifest import Manifest
from deploy.registry.repository import Repository
from tests.integration import small_base
from tests.integration.image_parts import registry
from tests.integration.test_append import PASSWORD, USER, VERSION, log_in
from tests.operation import run

pytestmark = pytest.mark.integration
PLATFORM = "linux/arm64"
PARSER = "sglang/srt/function_call/function_call_parser.py"
NONE = Path("/nonexistent/image.lock.json")


@dataclass(frozen=True)
class World:
    """A registry that wants a login, and a client of it."""

    address: str
    client: Registry
    made: list[small_base.Made]
    folder: Path

    def repository(self, name: str) -> Repository:
        return Repository(self.client, name)

    def repository_of(self, wanted: Order) -> Repository:
        return self.repository(wanted.image.repository.partition("/")[2])

    def push(self, made: list[small_base.Made], platform: str = PLATFORM) -> str:
        """A base under a name of its own."""
        name = f"lab/base-{secrets.token_hex(4)}"
        small_base.push(self.repository(name), made, platform, "spark")
        return f"{self.address}/{name}:spark"

    def blobs(self) -> dict[str, int]:
        """What the registry keeps, with its bytes."""
        kept = (self.folder / "blobs").glob("docker/registry/v2/blobs/sha256/*/*/data")
        return {one.parent.name: one.stat().st_size for one in kept}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("append")
    with registry(folder, USER, PASSWORD) as address, pytest.MonkeyPatch.context() as patch:
        log_in(folder / "docker", address)
        patch.setenv("DOCKER_CONFIG", str(folder / "docker"))
        with Registry(address) as client:
            yield World(address, client, small_base.layers(VERSION, folder / "tree"), folder)


@pytest.fixture(scope="module")
def base(world: World) -> str:
    return world.push(world.made)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which SGLang's package alone is at hand."""
    package = store.package("sglang", VERSION)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = store.cache() / "packages" / package.name
    kept.parent.mkdir(parents=True)
    kept.symlink_to(package)
    return store.cache()


def ordered(world: World, root: Path, base: str, **more: Any) -> Order:
    repository = f"{world.address}/test/{secrets.token_hex(4)}"
    words = {"base": base, "sglang": VERSION, "repository": repository, "platform": PLATFORM, "nccl": None}
    return order(Image(**(words | more)), root)


def texts(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Note))


def appended(wanted: Order, lock: Path = NONE, *, again: bool = False) -> tuple[str, str]:
    """(what was said, digest)."""
    events, digest = run(append.build(wanted, lock, again=again))
    return texts(events), digest


def manifest(world: World, wanted: Order, digest: str) -> tuple[Manifest, dict[str, Any]]:
    """The image's manifest and config."""
    target = world.repository_of(wanted)
    found = target.manifest(digest)
    return found, json.loads(target.content(found.config))


def top(world: World, wanted: Order, digest: str) -> dict[str, tarfile.TarInfo]:
    """What is in the project's layer."""
    found, _ = manifest(world, wanted, digest)
    target = world.repository_of(wanted)
    with tarfile.open(fileobj=io.BytesIO(target.content(found.layers[-1]))) as tar:
        return {one.name: one for one in tar}


def test_manifest_and_config_say_what_was_laid_on_what(world: World, base: str, root: Path) -> None:
    wanted = ordered(world, root, base)
    said, digest = appended(wanted)
    found, config = manifest(world, wanted, digest)
    index = world.repository(base.partition("/")[2].partition(":")[0]).digest("spark")
    assert found.content["annotations"]["org.opencontainers.image.base.digest"] == index
    assert found.content["annotations"]["org.opencontainers.image.base.name"] == base
    assert found.content["annotations"]["io.sglang-spark.recipe"] == wanted.context.recipe
    assert config["config"]["Labels"]["kept"] == "yes"
    assert config["config"]["Labels"]["org.opencontainers.image.revision"] == wanted.arguments["REVISION"]
    assert config["config"]["Env"][1].startswith("SGLANG_SPARK_BUILT_FOR=")
    assert config["created"] == "2025-11-11T11:11:11Z"
    assert config["history"][-1]["created_by"].endswith("kernel tables, patches and self-test")
    assert len(config["rootfs"]["diff_ids"]) == len(found.layers) == 4
    assert f"pin it with @{index}" in said
    assert "its self-test was not run here" in said


def test_the_layer_has_what_is_new_and_hides_stale_bytecode(world: World, base: str, root: Path) -> None:
    wanted = ordered(world, root, base)
    found = top(world, wanted, appended(wanted)[1])
    cache, _, name = small_base.CACHED.rpartition("/")
    tables = f"{TREE.lstrip('/')}/sglang/srt/layers/moe/fused_moe_triton/configs/triton_3_5_0"
    own = ("opt/sglang-spark/deploy/inside/selftest.py", "opt/sglang-spark/patches/manifest.json")
    assert {f"{cache}/.wh.{name}", f"{TREE.lstrip('/')}/{PARSER}", *own} <= set(found)
    folders = {name for name, one in found.items() if one.isdir()}
    assert "opt/sglang-spark" in folders
    assert not {"opt", TREE.lstrip("/"), f"{TREE.lstrip('/')}/sglang/srt/function_call", cache} & folders
    assert all((one.uid, one.gid, one.uname, one.mtime) == (0, 0, "", 0) for one in found.values())
    assert any(name.startswith(f"{tables}/") for name in found)


def test_the_same_again_is_the_same_digest_and_a_change_moves_little(world: World, base: str, root: Path) -> None:
    wanted = ordered(world, root, base)
    _, digest = appended(wanted)
    before = world.blobs()
    said, again = appended(wanted)
    assert (said, again) == (f"{wanted.reference} is in the registry already: nothing to build", digest)
    assert appended(wanted, again=True)[1] == digest
    assert world.blobs() == before
    table = next(path for path in wanted.context.files if path.startswith("configs/"))
    changed = {**wanted.context.files, table: type(wanted.context.files[table])(b"{}")}
    other = Order(wanted.image, type(wanted.context)(changed, "0" * 64), f"{wanted.reference}-x", wanted.arguments)
    appended(other)
    new = {name: size for name, size in world.blobs().items() if name not in before}
    assert len(new) == 3, "a layer, a config and a manifest"
    assert sum(new.values()) < 200_000


ANEW = """
import sys, tarfile, zlib
from deploy.image.layer import file, folder, write
with tarfile.open(sys.argv[1]) as tar:
    found = {one: tar.extractfile(one) for one in reversed(list(tar))}
    every = [file(one.name, it.read(), one.mode) if it else folder(one.name) for one, it in found.items()]
with open("/dev/null", "wb") as target:
    made = write(every, target)
print(made.digest, made.diff_id, zlib.ZLIB_RUNTIME_VERSION)
"""


def test_another_python_makes_the_same_layer(world: World, base: str, root: Path, tmp_path: Path) -> None:
    wanted = ordered(world, root, base)
    found, config = manifest(world, wanted, appended(wanted)[1])
    (tmp_path / "layer").write_bytes(world.repository_of(wanted).content(found.layers[-1]))
    others = [one for name in ("python3.13", "python3.12", "python3") if (one := shutil.which(name, path="/usr/bin"))]
    if not others:
        pytest.skip("no Python of the system beside this one")
    command = [others[0], "-c", ANEW, str(tmp_path / "layer")]
    digest, diff_id, version = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.split()
    assert diff_id == config["rootfs"]["diff_ids"][-1]
    if version == zlib.ZLIB_RUNTIME_VERSION:
        assert digest == found.layers[-1].digest


def test_with_a_lock_nothing_of_the_base_is_read(world: World, base: str, root: Path, tmp_path: Path) -> None:
    wanted, lock = ordered(world, root, base), tmp_path / locks.NAME
    _, unlocked = appended(wanted)
    run(append.lock(wanted, lock))
    shutil.rmtree(store.cache() / "bases")
    events, digest = run(append.build(wanted, lock, again=True))
    assert digest == unlocked
    assert f"the base's files are those of sglang {VERSION}, by checksum: the base is not read" in texts(events)
    assert not (store.cache() / "bases").exists()
    text = lock.read_text()
    run(append.lock(wanted, lock))
    assert lock.read_text() == text
    assert not (store.cache() / "bases").exists()


def test_a_large_layer_is_left_as_soon_as_all_is_found_and_that_is_said(
    world: World, base: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SMALL", 0)
    wanted = ordered(world, root, base)
    said, digest = appended(wanted)
    assert "3 of the base's 3 layers were not read to their end; `build --lock` reads all" in said
    cache = small_base.CACHED.replace("__pycache__/", "__pycache__/.wh.")
    assert cache not in top(world, wanted, digest)
    run(append.lock(wanted, tmp_path / locks.NAME))
    assert cache in top(world, wanted, appended(wanted, tmp_path / locks.NAME, again=True)[1])


def test_a_base_that_changed_under_its_name_is_refused(world: World, root: Path, tmp_path: Path) -> None:
    base, lock = world.push(world.made), tmp_path / locks.NAME
    run(append.lock(ordered(world, root, base), lock))
    moved = [*world.made, ([small_base.file("etc/changed", b"")], "RUN x")]
    small_base.push(world.repository(base.partition("/")[2].partition(":")[0]), moved, PLATFORM, "spark")
    with pytest.raises(BuildError, match="the base changed: ") as caught:
        appended(ordered(world, root, base), lock)
    assert "build --lock" in caught.value.hint


def test_a_base_with_other_files_is_refused_unless_that_is_allowed(world: World, root: Path) -> None:
    content = (store.package("sglang", VERSION) / PARSER).read_bytes()
    base = world.push(small_base.layers(VERSION, world.folder / "tree", {PARSER: content + b"# another\n"}))
    wanted = ordered(world, root, base)
    with pytest.raises(BuildError, match="refused, nothing was changed") as caught:
        appended(wanted)
    assert PARSER in caught.value.message
    assert not world.repository_of(wanted).digest(wanted.reference.rpartition(":")[2])
    allowed = ordered(world, root, base, allow=["unknown-base"])
    said, digest = appended(allowed)
    assert f"unknown base, allowed: {PARSER}" in said
    _, config = manifest(world, allowed, digest)
    assert config["config"]["Labels"]["io.sglang-spark.allowed"] == "unknown-base"


def test_a_base_for_other_machines_is_refused_with_what_there_is(world: World, root: Path) -> None:
    base = world.push(world.made, "linux/amd64")
    with pytest.raises(BuildError, match="no image for linux/arm64; there is linux/amd64"):
        appended(ordered(world, root, base))


def test_a_base_without_sglang_or_without_nccl_is_refused(world: World, root: Path) -> None:
    base = world.push([([small_base.file("etc/x", b"")], "RUN x")])
    with pytest.raises(BuildError, match=r"no /sgl-workspace/sglang/python/sglang/srt/.* in any of its layers"):
        appended(ordered(world, root, base))
    base = world.push(world.made[1:])
    with pytest.raises(BuildError, match="no package nvidia-nccl-cu13 that could be replaced"):
        appended(ordered(world, root, base, nccl="2.30.7"))


def test_a_buildx_that_is_not_here_is_said(
    world: World, base: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match="`docker buildx` is not here") as caught:
        run(buildx.build(ordered(world, root, base)))
    assert "--engine append" in caught.value.hint


def test_the_command_appends_where_it_pushes(world: World, base: str, root: Path, tmp_path: Path) -> None:
    wanted = ordered(world, root, base)
    cluster = {"name": "c", "nodes": [{"host": "a", "fabric": "10.0.0.1"}]}
    cluster["image"] = {name: getattr(wanted.image, name) for name in ("base", "repository", "platform", "nccl")}
    (tmp_path / "cluster.yaml").write_text(json.dumps(cluster))
    command = [sys.executable, "build-and-deploy.py", "build", "--nodes", str(tmp_path / "cluster.yaml")]
    environ = {**os.environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    done = subprocess.run([*command, "--push"], cwd=root, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{wanted.image.repository}@{appended(wanted)[1]}\n"
    done = subprocess.run(
        [*command, "--engine", "append"], cwd=root, env=environ, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "add --push" in done.stderr
