"""`kernels` as a user calls it: exit codes, sources of every kind, and what is left behind."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.image.dockerfile import TREE
from tests.conftest import ROOT
from tests.integration.image_parts import docker, need_engine, remove_images
from tests.unit.kernels.samples import CRASHING, GOOD, NAME, text

pytestmark = pytest.mark.integration
HOME = "srt/layers/moe/fused_moe_triton/configs/triton_3_4_0"


def run(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "build-and-deploy.py", "kernels", *map(str, words)]
    environment = {**os.environ, **environ}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def table(folder: Path, entries: dict[int, dict[str, int]], name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(text(entries))
    return path


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@invalid", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_what_is_shipped_passes_the_check() -> None:
    done = run("check", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["summary"]["errors"] == 0
    assert said["served"]["file"].endswith(f"configs/triton_3_5_0/{NAME}.json")
    assert said["served"]["default"]["crashes_from"] == 161


def test_a_table_that_cannot_run_ends_with_its_entry_bytes_and_limit(tmp_path: Path) -> None:
    path = table(tmp_path, {1: GOOD, 512: CRASHING})
    done = run("check", path)
    assert done.returncode == 9
    assert f"{path}: 512: needs 147,456 bytes of shared memory, and a block on GB10 may have 101,376" in done.stderr
    assert run("check", path, "--gpu", "H200").returncode == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"1": NaN}', '{"1": {"num_warps": 3}}', "[" * 50_000, '{"01": {}}']
)
def test_no_file_ends_in_a_traceback(tmp_path: Path, content: str) -> None:
    path = tmp_path / f"{NAME}.json"
    path.write_text(content)
    for command in ("check", "show", "import"):
        done = run(command, path, *(["--into", tmp_path / "into"] if command == "import" else []))
        assert (done.returncode, "Traceback" in done.stderr) == (0 if command == "show" else 9, False), done.stderr
        assert NAME in done.stdout + done.stderr
    assert not (tmp_path / "into").exists()


def test_a_path_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path) -> None:
    assert run("check", tmp_path / "none").returncode == 2
    assert run("check", tmp_path).returncode == 9
    assert run("check", "--gpu", "RTX 1").returncode == 2


def test_a_model_has_a_name_for_its_table() -> None:
    done = run("name", "--model", "zai-org/GLM-4.7-FP8", "--tp", 4, "--sglang", "0.5.6", "--triton", "3.5.1")
    assert done.stdout.split() == [
        "configs/triton_3_5_1/E=161,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8,per_channel_quant=True.json"
    ]
    said = json.loads(run("name", "--model", "tests/golden/models/deepseek-v3.json", "--tp", 8, "--json").stdout)
    assert said["shape"]["experts"] == 257
    assert said["files"]["down"].endswith("block_shape=[128, 128]_down.json")
    assert run("name", "--model", "nobody/none").returncode == 2


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: the first, tagged v1, with a good table, the second with one that cannot run."""
    folder = tmp_path / "repository"
    table(folder / "configs/triton_3_4_0", {1: GOOD})
    git(folder, "init", "--quiet")
    for entries, tag in (({1: GOOD}, "v1"), ({1: CRASHING}, "v2")):
        table(folder / "configs/triton_3_4_0", entries)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", tag)
        git(folder, "tag", tag)
    return folder


def test_a_table_comes_from_a_repository_at_a_tag_with_its_commit(repository: Path, tmp_path: Path) -> None:
    done = run("import", f"file://{repository}#v1", "--into", tmp_path / "configs", GIT_DIR="/nowhere")
    assert done.returncode == 0, done.stderr
    place = tmp_path / "configs/triton_3_5_0"
    assert json.loads((place / f"{NAME}.json").read_text()) == {"1": GOOD}
    said = json.loads((place / f"{NAME}.provenance.json").read_text())
    source = {"kind": "git", "place": f"file://{repository}", "revision": git(repository, "rev-parse", "v1")}
    assert said["source"] == source | {"path": f"configs/triton_3_4_0/{NAME}.json"}
    assert run("check", tmp_path / "configs").returncode == 0
    again = run("import", f"file://{repository}#{git(repository, 'rev-parse', 'v1')}", "--into", tmp_path / "configs")
    assert again.stdout.startswith("there already")


def test_what_cannot_run_is_installed_only_where_that_is_wanted(repository: Path, tmp_path: Path) -> None:
    into = ["--into", tmp_path / "configs"]
    refused = run("import", f"file://{repository}", *into)
    assert refused.returncode == 9
    assert "needs 147,456 bytes" in refused.stderr
    assert not (tmp_path / "configs").exists()
    assert run("import", f"file://{repository}", *into, "--allow-unsafe", "--dry-run").returncode == 0
    assert not (tmp_path / "configs").exists()
    assert run("import", f"file://{repository}", *into, "--allow-unsafe").returncode == 0
    said = json.loads((tmp_path / "configs/triton_3_5_0" / f"{NAME}.provenance.json").read_text())
    assert [one["runs"] for one in said["proofs"]] == [False]
    assert run("import", f"file://{repository}#v1", *into).returncode == 9
    assert run("import", f"file://{repository}#v1", *into, "--force").returncode == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("file:///nowhere", "git fetch"),
        ("ext::sh -c id://x", "is no address that git may fetch"),
        ("git://127.0.0.1/x", "is no address that git may fetch"),
        ("https://user:secret@127.0.0.1:9/x", "git fetch"),
    ],
)
def test_an_address_that_gives_nothing_is_said_without_its_password(tmp_path: Path, source: str, words: str) -> None:
    done = run("import", source, "--into", tmp_path / "configs")
    assert done.returncode == 9
    assert words in done.stderr
    assert "secret" not in done.stderr


def test_a_ref_is_no_option_of_git(repository: Path, tmp_path: Path) -> None:
    done = run("import", f"file://{repository}#--upload-pack=touch {tmp_path}/run", "--into", tmp_path / "configs")
    assert done.returncode == 9
    assert not (tmp_path / "run").exists()


@pytest.fixture
def image() -> Iterator[str]:
    """An image with one table where SGLang keeps them, and no shell."""
    need_engine()
    content, buffer = text({1: GOOD}).encode(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(f"{TREE.lstrip('/')}/sglang/{HOME}/{NAME}.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    name = f"sglang-spark-test/tables-{secrets.token_hex(4)}:x"
    try:
        docker("import", "-", name, stdin=buffer.getvalue())
        yield name
    finally:
        remove_images(name)


def test_a_table_comes_out_of_an_image_that_is_never_run(image: str, tmp_path: Path) -> None:
    done = run("import", image, "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "triton_3_5_0" / f"{NAME}.provenance.json").read_text())
    assert (said["source"]["kind"], said["source"]["place"]) == ("image", image)
    assert said["source"]["revision"].startswith("sha256:")
    assert run("import", "sglang-spark.invalid/none:x", "--into", tmp_path).returncode == 3
    newer = run("import", image, "--into", tmp_path, "--sglang", "0.5.11")
    assert (newer.returncode, "has no" in newer.stderr) == (9, True)


def test_a_table_is_drawn(tmp_path: Path) -> None:
    done = run("show", ROOT / "configs/triton_3_5_0" / f"{NAME}.json", "-o", tmp_path / "a.svg")
    assert done.returncode == 0, done.stderr
    assert f"{NAME}_down.json" in done.stdout
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
