"""The steps of .github/workflows/image.yml as a runner would run them, against a registry on this machine.

In the place of GitHub: a folder with the repository, and words for what GitHub would put in. `Install` is not run: the
packages of this test's own environment are taken, which come from the same requirements.lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.registry.name import parse
from deploy.supply import store
from deploy.supply.statement import PAYLOAD_TYPE
from tests.integration.supply_parts import PASSWORD, USER, VERSION, WORD, World, pushed

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", ".hypothesis", ".lab")
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pushed(tmp_path_factory.mktemp("workflow")) as one:
        yield one


def repository(world: World, to: Path) -> str:
    """A user's repository: this project with a cluster.yaml and a public key of their own; gives its commit."""
    shutil.copytree(ROOT, to, ignore=LEFT_OUT)
    image = {"base": world.base, "repository": f"{parse(world.base).host}/user/image", "sglang": VERSION, "nccl": None}
    document = {"name": "x", "image": image, "nodes": [{"host": "spark1", "fabric": "192.168.101.11"}]}
    (to / "cluster.yaml").write_text(yaml.safe_dump(document))
    shutil.copy(world.folder / "mine.pub", to / "cosign.pub")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "x")):
        subprocess.run((*GIT, *words), cwd=to, check=True)
    return subprocess.run(
        (*GIT, "rev-parse", "HEAD"), cwd=to, check=True, capture_output=True, text=True
    ).stdout.strip()


class Runner:
    """Runs steps as GitHub's runner does: one shell each, with files for what a step says to those after it."""

    def __init__(self, folder: Path, words: dict[str, str], environ: dict[str, str]) -> None:
        self.work, self.temp, self.words, self.environ = folder / "work", folder / "temp", words, environ
        self.files = {name: folder / name.lower() for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for place in (self.work, self.temp):
            place.mkdir()
        for file in self.files.values():
            file.touch()

    def filled(self, named: dict[str, Any]) -> dict[str, str]:
        return {name: self.words.get(str(value), str(value)) for name, value in named.items()}

    def run(self, step: dict[str, Any]) -> str:
        """What the step printed."""
        said = dict(line.split("=", 1) for line in self.files["GITHUB_ENV"].read_text().splitlines())
        own = {**self.files, "RUNNER_TEMP": self.temp, **said, **self.filled(step.get("env", {}))}
        environ = {**self.environ, **{name: str(value) for name, value in own.items()}}
        shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"])
        done = subprocess.run(shell, cwd=self.work, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step['name']}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def test_the_workflow_builds_attests_signs_and_verifies(world: World, tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/image.yml").read_text())["jobs"]["build"]
    commit, host = repository(world, tmp_path / "owner" / "image"), parse(world.base).host
    words = {
        "${{ github.token }}": PASSWORD,
        "${{ inputs.nodes || 'cluster.yaml' }}": "cluster.yaml",
        "${{ secrets.COSIGN_KEY }}": (world.folder / "mine.pem").read_text(),
        "${{ secrets.COSIGN_PASSWORD }}": WORD,
    }
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": f"file://{tmp_path}",
        "GITHUB_REPOSITORY": "owner/image",
        "GITHUB_SHA": commit,
        "GITHUB_ACTOR": USER,
        "GITHUB_RUN_ID": "7",
        "GITHUB_WORKFLOW_REF": "owner/image/.github/workflows/image.yml@refs/heads/main",
    }
    inherited = {name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"}
    runner = Runner(tmp_path, words, inherited | github)
    runner.environ |= runner.filled(job["env"]) | {"REGISTRY": host}
    said = ""
    for step in job["steps"]:
        if step["name"] == "Install":
            (runner.work / ".venv").symlink_to(sys.prefix)
        else:
            said += runner.run(step)
    assert not any(secret in said for secret in (PASSWORD, WORD, "PRIVATE KEY"))
    assert "9 passed, 1 not checked, 0 failed" in runner.files["GITHUB_STEP_SUMMARY"].read_text()
    reference = runner.files["GITHUB_OUTPUT"].read_text().strip().removeprefix("reference=")
    assert reference.startswith(f"{host}/user/image@sha256:")
    assert list(runner.temp.iterdir()) == []
    assert PASSWORD not in "".join(file.read_text() for file in (runner.work / ".git").glob("config*"))
    with world.repository(reference) as found:
        (built,) = store.attached(found, parse(reference).digest, PAYLOAD_TYPE)
    assert b"/owner/image/.github/workflows/image.yml@refs/heads/main" in built.payload
