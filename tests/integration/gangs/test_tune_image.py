"""The image with the tuning layer: what is below it stays as it is, and the layer proves itself."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.cluster.load import load
from deploy.errors import BuildError
from deploy.image.context import ContextFile
from deploy.image.dockerfile import TUNING, TUNING_STARTED
from deploy.image.engine import build
from deploy.image.order import Order, order
from tests.integration.image_parts import docker
from tests.integration.lab import Lab
from tests.operation import run

pytestmark = pytest.mark.integration


@pytest.fixture
def file(session_lab: Lab) -> str:
    """A cluster.yaml with a repository of its own: the lab's has the image already, made by another engine."""
    repository = load(session_lab.file).cluster.image.repository
    return session_lab.cluster(2, image={"repository": f"{repository}-by-docker"})


@pytest.fixture
def wanted(file: str, root: Path) -> Order:
    """The lab's image with tuning."""
    return order(load(file).cluster.image.with_tune, root)


@pytest.fixture
def built(wanted: Order, session_lab: Lab, file: str) -> str:
    """Its reference; it is built once for all tests, from wheels that pip fetched once for all runs."""
    done = session_lab.run("build", "--with-tune", "--nodes", file)
    if "pip could not download" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout == f"{wanted.reference}\n", done.stderr
    return wanted.reference


def test_ray_and_the_tuner_lie_on_top_of_the_image_without_them(
    built: str, wanted: Order, session_lab: Lab, file: str
) -> None:
    plain = session_lab.good("build", "--nodes", file).stdout.strip()
    below = layers(plain)
    assert layers(built)[: len(below)] == below
    code = f"import ray, {', '.join(TUNING_STARTED)}; print(ray.__version__, ray.__file__)"
    done = inside(built, "--env", f"PYTHONPATH={TUNING}", code)
    assert done.stdout == f"{wanted.image.ray} {TUNING}/ray/__init__.py\n", done.stderr
    for reference in (plain, built):
        assert "No module named 'ray'" in inside(reference, "import ray").stderr, "not where SGLang runs"
    again = session_lab.good("build", "--with-tune", "--nodes", file)
    assert f"{built} is here already: nothing to build" in again.stderr


def layers(reference: str) -> list[str]:
    return list(json.loads(docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", reference)))


def inside(reference: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Python in a container, where the tuner lies."""
    argv = ("docker", "run", "--rm", "--network=none", "--workdir", "/opt/sglang-spark", "--entrypoint", "python3")
    return subprocess.run([*argv, *words[:-1], reference, "-c", words[-1]], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("built")
def test_a_base_with_another_python_ends_the_build(wanted: Order) -> None:
    """As if image.python were 3.99."""
    python = wanted.image.python
    text = wanted.context.files["Dockerfile"].content.replace(python.encode(), b"3.99")
    with pytest.raises(BuildError, match=f"fits: the base has Python {python}, and image.python is 3.99") as caught:
        run(build(changed(wanted, "Dockerfile", text)))
    assert "set image.python" in caught.value.hint


@pytest.mark.usefixtures("built")
def test_a_tuner_that_cannot_be_imported_ends_the_build(wanted: Order) -> None:
    with pytest.raises(BuildError, match="No module named 'missing'"):
        run(build(changed(wanted, "deploy/tune/search.py", b"import missing\n")))


def changed(wanted: Order, path: str, content: bytes) -> Order:
    files = {**wanted.context.files, path: ContextFile(content)}
    return replace(wanted, context=replace(wanted.context, files=files), reference=f"{wanted.reference}-changed")
