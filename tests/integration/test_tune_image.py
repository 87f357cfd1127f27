"""The image with the tuning layer, with Ray's own wheels: what is below it stays, and the layer proves itself."""

from __future__ import annotations

import json
import platform
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.event import Note
from deploy.image.context import ContextFile
from deploy.image.dockerfile import TUNING, TUNING_STARTED
from deploy.image.engine import build
from deploy.image.order import Order, order
from deploy.image.pinned import ROOT, pinned, wheels
from tests.integration.image_parts import docker, need_engine, remove_images, rootfs
from tests.operation import run

pytestmark = pytest.mark.integration
HERE = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PYTHON = ".".join(platform.python_version_tuple()[:2])
VERSION = "0.5.4.post2"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """A stand-in for the real base, made of this machine's Python, and its image; all of both is removed."""
    need_engine()
    base = f"sglang-spark-test/tune-{secrets.token_hex(4)}:x"
    made = Image(base=base, sglang=VERSION, repository=base[:-2], platform=HERE, nccl=None, python=PYTHON)
    try:
        for one in pinned(made.with_tune):
            wheels(one, (ROOT / one.pin).read_bytes())
    except BuildError as error:
        pytest.skip(error.message)
    docker("import", "--platform", HERE, "-", base, stdin=rootfs(VERSION, tmp_path_factory.mktemp("base")))
    try:
        yield made
    finally:
        remove_images(base)


def inside(reference: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Python in a container, where the tuner lies."""
    run = ("docker", "run", "--rm", "--network=none", "--workdir", "/opt/sglang-spark", "--entrypoint", "python3")
    return subprocess.run([*run, *words[:-1], reference, "-c", words[-1]], capture_output=True, text=True, check=False)


def layers(reference: str) -> list[str]:
    return list(json.loads(docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", reference)))


def test_ray_and_the_tuner_lie_on_top_of_the_image_without_them(image: Image, root: Path) -> None:
    _, plain = run(build(order(image, root)))
    wanted = order(image.with_tune, root)
    _, tuning = run(build(wanted))
    below = layers(plain)
    assert layers(tuning)[: len(below)] == below
    code = f"import ray, {', '.join(TUNING_STARTED)}; print(ray.__version__, ray.__file__)"
    done = inside(tuning, "--env", f"PYTHONPATH={TUNING}", code)
    assert done.stdout == f"{image.ray} {TUNING}/ray/__init__.py\n", done.stderr
    for reference in (plain, tuning):
        assert "No module named 'ray'" in inside(reference, "import ray").stderr, "not where SGLang runs"
    events, _ = run(build(wanted))
    assert events == [Note(f"{tuning} is here already: nothing to build", "done")]


def changed(wanted: Order, old: str, new: str) -> Order:
    text = wanted.context.files["Dockerfile"].content.decode()
    assert old in text
    files = {**wanted.context.files, "Dockerfile": ContextFile(text.replace(old, new).encode())}
    return replace(wanted, context=replace(wanted.context, files=files))


def test_a_base_with_another_python_ends_the_build(image: Image, root: Path) -> None:
    """As if it had been built for 3.99."""
    wanted = order(image.with_tune, root)
    with pytest.raises(BuildError, match=rf"fits: the base has Python {PYTHON}, and image.python is 3.99") as caught:
        run(build(changed(wanted, PYTHON, "3.99"), again=True))
    assert "set image.python" in caught.value.hint


def test_a_tuning_layer_that_cannot_be_imported_ends_the_build(image: Image, root: Path) -> None:
    wanted = order(image.with_tune, root)
    files = dict(wanted.context.files)
    files["deploy/tune/search.py"] = ContextFile(b"import missing\n")
    with pytest.raises(BuildError, match="No module named 'missing'"):
        run(build(replace(wanted, context=replace(wanted.context, files=files), reference=f"{wanted.reference}-x")))
