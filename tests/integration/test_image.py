"""Build and push against a real Docker Engine and a real registry that wants a login."""

from __future__ import annotations

import base64
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.event import Event, Note, Progress
from deploy.image.context import ContextFile
from deploy.image.dockerfile import TREE, render
from deploy.image.engine import build, present, push
from deploy.image.order import Order, order
from deploy.image.patched import manifest, status_of_image
from deploy.registry.lookup import resolve
from tests.integration.image_parts import docker, load_empty, need_engine, registry, remove_images, rootfs
from tests.integration.trees import VERSIONS
from tests.operation import run

pytestmark = pytest.mark.integration
HERE = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
OTHER = "linux/arm64" if HERE == "linux/amd64" else "linux/amd64"
USER, PASSWORD = "builder", "marker-" + secrets.token_hex(8)


@dataclass(frozen=True)
class Parts:
    """A registry that wants a login, and a base image that is known by this name here."""

    registry: str
    base: str
    version: str
    folder: Path


@pytest.fixture(scope="module", params=VERSIONS)
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    need_engine()
    folder = tmp_path_factory.mktemp("image")
    base = f"sglang-spark-test/base-{secrets.token_hex(4)}:spark"
    with registry(folder, USER, PASSWORD) as address:
        docker("import", "--platform", HERE, "-", base, stdin=rootfs(request.param, folder))
        try:
            yield Parts(address, base, request.param, folder)
        finally:
            remove_images(base)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own, without logins."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path / "config.json"


@pytest.fixture
def login(config: Path, parts: Parts) -> None:
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config.write_text(json.dumps({"auths": {parts.registry: {"auth": auth}}}))


@pytest.fixture
def wanted(parts: Parts, root: Path) -> Iterator[Order]:
    """An order for a repository of this test's own; what was built is removed."""
    repository = f"{parts.registry}/test/{secrets.token_hex(4)}"
    made = order(Image(base=parts.base, sglang=parts.version, repository=repository, platform=HERE, nccl=None), root)
    yield made
    remove_images(made.reference)


def texts(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Note))


def in_image(reference: str, path: str, to: Path) -> bytes:
    container = docker("create", reference, "true")
    try:
        docker("cp", f"{container}:{path}", str(to / "copied"))
    finally:
        docker("rm", container)
    return (to / "copied").read_bytes()


def test_an_image_is_built_with_tables_patches_and_labels(wanted: Order, root: Path, tmp_path: Path) -> None:
    events, reference = run(build(wanted))
    assert reference == wanted.reference
    assert "patched sglang/srt/function_call/function_call_parser.py" in texts(events)
    assert any(isinstance(event, Progress) and "python3 -m deploy.inside.patch" in event.detail for event in events)
    labels = json.loads(docker("image", "inspect", "-f", "{{json .Config.Labels}}", reference))
    assert labels["io.sglang-spark.recipe"] == wanted.context.recipe
    assert labels["org.opencontainers.image.base.name"] == wanted.image.base
    assert labels["org.opencontainers.image.version"] == reference.rpartition(":")[2]
    assert labels["org.opencontainers.image.revision"] == wanted.arguments["REVISION"] != "unknown"
    parser = in_image(reference, f"{TREE}/sglang/srt/function_call/function_call_parser.py", tmp_path)
    assert b'"glm47": Glm47MoeDetector' in parser
    table = next((root / "configs" / "triton_3_5_0").iterdir())
    place = f"{TREE}/sglang/srt/layers/moe/fused_moe_triton/configs/triton_3_5_0/{table.name}"
    assert in_image(reference, place, tmp_path) == table.read_bytes()


def test_an_image_that_is_there_is_not_built_again(wanted: Order) -> None:
    assert not present(wanted.reference, wanted.context.recipe)
    run(build(wanted))
    assert present(wanted.reference, wanted.context.recipe)
    assert not present(wanted.reference, "another recipe")
    events, reference = run(build(wanted))
    assert texts(events) == f"{reference} is here already: nothing to build"
    assert len(events) == 1
    events, _ = run(build(wanted, again=True))
    assert f"built {reference} for {HERE}" in texts(events)


@pytest.mark.usefixtures("login")
def test_a_pushed_image_is_found_by_its_digest_and_not_pushed_again(wanted: Order) -> None:
    run(build(wanted))
    events, digest = run(push(wanted.reference))
    assert any(isinstance(event, Progress) for event in events)
    assert texts(events) == f"pushed {wanted.reference}: {digest}"
    assert resolve(wanted.reference) == digest
    events, again = run(push(wanted.reference))
    assert (len(events), again) == (1, digest)
    assert "the registry has" in texts(events)
    docker("rmi", wanted.reference)
    events, _ = run(build(wanted))
    assert texts(events) == f"{wanted.reference} is in the registry already: nothing to build"
    assert run(push(wanted.reference))[1] == digest


def test_a_refused_login_is_said_and_shows_no_password(wanted: Order, parts: Parts, config: Path) -> None:
    run(build(wanted))
    with pytest.raises(BuildError, match="refused the login") as caught:
        run(push(wanted.reference))
    assert "docker login" in caught.value.hint
    auth = base64.b64encode(f"{USER}:wrong-{PASSWORD}".encode()).decode()
    config.write_text(json.dumps({"auths": {parts.registry: {"auth": auth}}}))
    for attempt in (lambda: run(push(wanted.reference)), lambda: resolve(wanted.reference)):
        with pytest.raises(BuildError, match="refused the login") as caught:
            attempt()
        assert PASSWORD not in f"{caught.value.message}{caught.value.hint}{caught.value!r}"
        assert auth not in caught.value.message


def test_credentials_come_from_a_helper_and_a_missing_one_is_said(
    wanted: Order, parts: Parts, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(build(wanted))
    config.write_text(json.dumps({"credHelpers": {parts.registry: "ours"}}))
    with pytest.raises(BuildError, match="credential helper failed"):
        run(push(wanted.reference))
    helper = config.with_name("docker-credential-ours")
    answer = json.dumps({"ServerURL": parts.registry, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{config.parent}:{os.environ['PATH']}")
    assert run(push(wanted.reference))[1].startswith("sha256:")


@pytest.mark.usefixtures("login")
def test_a_base_that_only_the_registry_has_is_pulled_and_recorded(wanted: Order, parts: Parts, root: Path) -> None:
    there = f"{parts.registry}/test/base:spark"
    docker("tag", parts.base, there)
    docker("--config", os.environ["DOCKER_CONFIG"], "push", there)
    digest = resolve(there)
    docker("rmi", there)
    try:
        for base in (there, f"{there}@{digest}"):
            pulled = order(wanted.image.model_copy(update={"base": base}), root)
            events, _ = run(build(pulled))
            label = '{{index .Config.Labels "org.opencontainers.image.base.digest"}}'
            assert docker("image", "inspect", "-f", label, pulled.reference) == digest
            assert ("may change under its tag" in texts(events)) == (base == there)
            assert f"pulling {base} for {HERE}" in texts(events)
            remove_images(pulled.reference)
            docker("rmi", base)
    finally:
        subprocess.run(["docker", "rmi", there, f"{there}@{digest}"], capture_output=True, check=False)


@pytest.mark.usefixtures("login")
@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("REGISTRY/test/none:x", "there is no such image"),
        ("127.0.0.1:9/none:x", "the registry cannot be reached"),
        ("sglang-spark.invalid/none:x", "the registry cannot be reached"),
    ],
)
def test_a_base_that_cannot_be_had_is_said(wanted: Order, parts: Parts, root: Path, base: str, words: str) -> None:
    name = base.replace("REGISTRY", parts.registry)
    missing = order(wanted.image.model_copy(update={"base": name}), root)
    with pytest.raises(BuildError, match=words) as caught:
        run(build(missing))
    assert name in caught.value.message


def test_a_base_for_another_platform_is_refused(wanted: Order, root: Path) -> None:
    base = f"sglang-spark.invalid/{secrets.token_hex(4)}:x"
    load_empty(base, OTHER.partition("/")[2])
    try:
        wrong = order(wanted.image.model_copy(update={"base": base}), root)
        with pytest.raises(BuildError, match=f"that is here is for {OTHER}, not for {HERE}; pulling {base}"):
            run(build(wrong))
    finally:
        docker("rmi", base)


def test_a_base_with_other_files_stops_the_build_and_leaves_no_image(wanted: Order, root: Path) -> None:
    line = f"RUN echo '# changed' >> {TREE}/sglang/srt/function_call/function_call_parser.py\nRUN cd"
    text = wanted.context.files["Dockerfile"].content.replace(b"RUN cd", line.encode())
    changed = replace(
        wanted, context=replace(wanted.context, files={**wanted.context.files, "Dockerfile": ContextFile(text)})
    )
    with pytest.raises(BuildError) as caught:
        run(build(changed))
    assert "failed at RUN cd /opt/sglang-spark && python3 -m deploy.inside.patch" in caught.value.message
    assert "refused, nothing was changed: sglang/srt/function_call/function_call_parser.py" in caught.value.message
    assert "manifest.json" in caught.value.hint
    assert not present(wanted.reference, changed.context.recipe)


def test_a_strange_base_is_patched_where_cluster_yaml_allows_it_and_the_image_says_so(
    wanted: Order, root: Path, tmp_path: Path
) -> None:
    path = "sglang/srt/function_call/function_call_parser.py"
    strange = f"{wanted.image.base.partition(':')[0]}-strange:x"
    dockerfile = f"FROM {wanted.image.base}\nRUN echo '# another version' >> {TREE}/{path}\n"
    docker("build", "--tag", strange, "-", stdin=dockerfile.encode())
    try:
        image = wanted.image.model_copy(update={"base": strange})
        with pytest.raises(BuildError, match="refused, nothing was changed"):
            run(build(order(image, root)))
        allowed = order(image.model_copy(update={"allow": ["unknown-base"]}), root)
        events, reference = run(build(allowed))
        assert f"unknown base, allowed: {path}" in texts(events)
        label = '{{index .Config.Labels "io.sglang-spark.allowed"}}'
        assert docker("image", "inspect", "-f", label, reference) == "unknown-base"
        assert b'"glm47": Glm47MoeDetector' in in_image(reference, f"{TREE}/{path}", tmp_path)
        found = status_of_image(reference, manifest(root / "patches"))
        assert (found.state, found.allowed) == ("patched", ("unknown-base",))
        remove_images(reference)
    finally:
        remove_images(strange)


def test_an_interrupted_build_leaves_no_container(wanted: Order) -> None:
    marker = secrets.token_hex(4)
    text = wanted.context.files["Dockerfile"].content.replace(b"RUN cd", f"RUN sleep 120 # {marker}\nRUN cd".encode())
    slow = replace(
        wanted, context=replace(wanted.context, files={**wanted.context.files, "Dockerfile": ContextFile(text)})
    )
    events = build(slow)
    for event in events:
        if isinstance(event, Progress) and marker in event.detail:
            break
    _wait_until(lambda: marker in _commands())
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    _wait_until(lambda: marker not in _commands())


def _commands() -> str:
    return docker("ps", "--all", "--no-trunc", "--format", "{{.Command}}")


def _wait_until(true: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_no_engine_is_said_with_what_to_do(wanted: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(BuildError, match="no Docker Engine answers") as caught:
        run(build(wanted))
    assert "DOCKER_HOST" in caught.value.hint


@pytest.mark.usefixtures("login")
def test_what_is_not_in_the_registry_has_no_digest(wanted: Order) -> None:
    with pytest.raises(BuildError, match="no such image"):
        resolve(wanted.reference)
    with pytest.raises(BuildError, match="neither here nor in the registry"):
        run(push(wanted.reference))


@pytest.mark.usefixtures("login")
def test_the_command_builds_and_pushes_and_prints_the_digest(wanted: Order, parts: Parts, root: Path) -> None:
    image = {"base": parts.base, "repository": wanted.image.repository, "platform": HERE}
    image |= {"sglang": parts.version, "nccl": None}
    cluster = {"name": "c", "image": image, "nodes": [{"host": "a", "fabric": "10.0.0.1"}]}
    path = parts.folder / "cluster.yaml"
    path.write_text(json.dumps(cluster))
    command = [sys.executable, "build-and-deploy.py", "build", "--push", "--engine", "docker", "--nodes", str(path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{wanted.image.repository}@{resolve(wanted.reference)}\n"
    assert f"built {wanted.reference}" in done.stderr
    image["base"] = "sglang-spark.invalid/none:x"
    path.write_text(json.dumps(cluster))
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plain_docker_build_of_the_folder_works(parts: Parts, root: Path, tmp_path: Path) -> None:
    """The rendered Dockerfile and the committed .dockerignore; NCCL's part of it has a test of its own."""
    for name in ("configs", "patches", "deploy/inside", "deploy/image", "deploy/kernels"):
        shutil.copytree(root / name, tmp_path / "project" / name)
    shutil.copy(root / "deploy" / "__init__.py", tmp_path / "project" / "deploy")
    shutil.copy(root / ".dockerignore", tmp_path / "project")
    (tmp_path / "project" / "large").write_bytes(b"\0" * 10_000_000)
    image = Image(base=parts.base, sglang=parts.version, repository="a/b", platform=HERE, nccl=None)
    (tmp_path / "project" / "Dockerfile").write_text(render(image))
    tag = f"sglang-spark-test/plain-{secrets.token_hex(4)}:x"
    done = subprocess.run(
        ["docker", "build", "--tag", tag, str(tmp_path / "project")],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    remove_images(tag)
    assert done.returncode == 0, done.stdout + done.stderr
    sent = next(line for line in done.stdout.splitlines() if "build context" in line).split()[-1]
    assert sent.endswith("kB"), sent


def test_the_docker_sdk_is_imported_only_when_it_is_used() -> None:
    code = "import sys, deploy.image.engine, deploy.cli.image; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "deploy.image.engine" in loaded
    assert not {"docker", "requests", "jinja2"} & set(loaded)


def test_two_builds_at_once_give_the_same_reference(wanted: Order) -> None:
    ends: list[str] = []
    threads = [threading.Thread(target=lambda: ends.append(run(build(wanted))[1])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert ends == [wanted.reference] * 2
