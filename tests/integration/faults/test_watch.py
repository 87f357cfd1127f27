"""`up --watch` and the watch's own parts, on a lab of real sshd and engines; and its unit, held against systemd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deploy.cluster.load import load
from deploy.workflow.watch.post import Post
from tests.integration.lab import CLI, ROOT, Lab

pytestmark = pytest.mark.integration
FAST = {"STANDIN_LOAD_SECONDS": "1"}


class Watching:
    """A command that watches, with its lines and when each came."""

    def __init__(self, lab: Lab, *words: str, state: Path) -> None:
        environ = lab.environ(XDG_STATE_HOME=str(state))
        self.process = subprocess.Popen((*CLI, *words), cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)
        self.lines: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line.rstrip()))

    def until(self, mark: str, timeout: float = 60, after: int = 0) -> float:
        """When a line with the mark came, among those after the first `after`."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = [when for when, line in self.lines[after:] if mark in line]
            if found:
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"no {mark!r} in {timeout} s:\n" + self.text)

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)


@contextmanager
def watching(lab: Lab, *words: str, state: Path) -> Iterator[Watching]:
    one = Watching(lab, *words, state=state)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_a_killed_rank_is_noticed_and_named_the_gang_restarted_and_a_down_ends_it(lab: Lab, tmp_path: Path) -> None:
    file = lab.cluster(2, environment=FAST, watch={"text_seconds": 0})
    with watching(lab, "up", "--watch", "--nodes", file, state=tmp_path) as watch:
        watch.until("watching lab", 120)
        began = time.monotonic()
        lab.sh(1, "docker kill sglang-spark-lab-rank1")
        assert watch.until("rank 1 exited with code 137") - began < 3
        assert watch.until("every rank is down on") - began < 10
        watch.until("cause: rank 1 exited with code 137: somebody or something outside sent SIGKILL")
        watch.until("restart 1 of 3")
        watch.until("serves again", 120)
        folder = next((tmp_path / "sglang-spark" / "lab").iterdir())
        _holds_everything(folder)
        lab.good("down", "--nodes", file)
        assert watch.process.wait(30) == 0
        assert "removed on purpose" in watch.text


def _holds_everything(folder: Path) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-killed", folder.name)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    told = json.loads((folder / "incident.json").read_text())
    assert (told["cause"]["kind"], told["cause"]["rank"], len(told["restarts"])) == ("killed", 1, 1)
    for rank in range(2):
        assert "Init torch distributed ends" in (folder / f"rank{rank}.log").read_text()
        assert "### memory" in (folder / f"rank{rank}.txt").read_text()


def test_a_launch_that_fails_is_kept_and_not_tried_again(lab: Lab, tmp_path: Path) -> None:
    file = lab.cluster(2, environment={**FAST, "STANDIN_DIE_AT": "load:1:3"})
    with watching(lab, "up", "--watch", "--nodes", file, state=tmp_path) as watch:
        assert watch.process.wait(120) == 5
    folder = next((tmp_path / "sglang-spark" / "lab").iterdir())
    assert json.loads((folder / "incident.json").read_text())["cause"]["rank"] == 1
    assert "restart 1" not in watch.text


def test_many_watches_leave_no_thread_and_no_descriptor(lab: Lab) -> None:
    cluster = load(lab.cluster(2)).cluster
    with closing(Post(cluster, "a test")) as post:
        _heard(post)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with closing(Post(cluster, "a test")) as post:
            _heard(post)
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def _heard(post: Post) -> None:
    scene, end = post.scene(), time.monotonic() + 20
    while len(scene.pulses) < len(scene.nodes) and time.monotonic() < end:
        scene = post.look(scene)
    assert len(scene.pulses) == len(scene.nodes)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd's tools (package systemd)")
def test_systemd_takes_the_unit_and_enables_it(tmp_path: Path) -> None:
    file, root = tmp_path / "my $HOME 100% cluster.yaml", tmp_path / "root"
    text = (ROOT / "cluster.yaml").read_text().replace("secrets: []", "secrets: [HF_TOKEN]")
    file.write_text(text)
    root.mkdir()
    marker = 'se"c$r\\et'
    environ = {**os.environ, "HF_TOKEN": marker, "XDG_CONFIG_HOME": "/config", "XDG_STATE_HOME": str(tmp_path)}
    words = ("--nodes", str(file), "--root", str(root))
    subprocess.run((*CLI, "watch", "install", *words), env=environ, check=True, capture_output=True)
    unit = next(root.rglob("sglang-spark-sparks.service"))
    verified = subprocess.run(("systemd-analyze", "verify", str(unit)), capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "my $$HOME 100%% cluster.yaml" in unit.read_text()
    assert next(one.parent.name for one in root.rglob("sglang-*.service") if one.is_symlink()).endswith(".wants")
    secrets = next(root.rglob("sparks.env"))
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert marker not in unit.read_text()
    shown = subprocess.run((*CLI, "watch", "status", "--json", *words), env=environ, capture_output=True, check=False)
    assert json.loads(shown.stdout)["service"]["enabled"] == "enabled"
    subprocess.run((*CLI, "watch", "remove", *words), env=environ, check=True, capture_output=True)
    assert not [one for one in root.rglob("*spark*") if one.is_symlink() or one.is_file()]
