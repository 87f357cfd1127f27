"""The self-test inside real images: a good one passes, and each defect ends its build with the right words."""

from __future__ import annotations

import json
import platform
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.event import Note
from deploy.image.context import Context, ContextFile
from deploy.image.dockerfile import TREE
from deploy.image.engine import build
from deploy.image.order import Order, order
from deploy.inside.manifest import sha256
from tests.integration.image_parts import docker, need_engine, remove_images, rootfs
from tests.operation import run

pytestmark = pytest.mark.integration
HERE = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
VERSION = "0.5.4.post3"
TABLE = "configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
DETECTOR = "patches/glm47/files/glm47_moe_detector.py"
PARSERS = f"{TREE}/sglang/srt/function_call/function_call_parser.py"
MANIFEST = "patches/manifest.json"
SELFTEST = "RUN cd /opt/sglang-spark && python3 -B -m deploy.inside.selftest"
Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module", params=[True], ids=["stand-in"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stand-in for the real base, which says so unless the parameter is False."""
    need_engine()
    name = f"sglang-spark-test/selftest-{secrets.token_hex(4)}:x"
    folder = tmp_path_factory.mktemp("base")
    docker("import", "--platform", HERE, "-", name, stdin=rootfs(VERSION, folder, marked=request.param))
    try:
        yield name
    finally:
        remove_images(name)


@pytest.fixture
def wanted(base: str, root: Path) -> Iterator[Order]:
    made = ordered(base, root)
    yield made
    remove_images(made.reference)


def ordered(base: str, root: Path, **words: Any) -> Order:
    repository = f"sglang-spark-test/{secrets.token_hex(4)}"
    known = {"base": base, "sglang": VERSION, "repository": repository, "platform": HERE, "nccl": None}
    return order(Image(**{**known, **words}), root)


def changed(wanted: Order, change: Change) -> Order:
    """The same order with other files."""
    files = {path: file.content for path, file in wanted.context.files.items()}
    change(files)
    return replace(wanted, context=Context({path: ContextFile(one) for path, one in files.items()}, "changed"))


def failing(wanted: Order) -> BuildError:
    with pytest.raises(BuildError) as caught:
        run(build(wanted))
    assert "its self-test failed" in caught.value.message
    assert "docs/image.md" in caught.value.hint
    found = subprocess.run(["docker", "image", "inspect", wanted.reference], capture_output=True, check=False)
    assert found.returncode != 0
    return caught.value


def checks_of(reference: str) -> dict[str, dict[str, str]]:
    """As `up` asks a node's copy of the image."""
    words = ("--workdir", "/opt/sglang-spark", "--entrypoint", "python3", reference, "-m", "deploy.inside.selftest")
    found = json.loads(docker("run", "--rm", "--network", "none", *words, "--json"))
    assert (found["format"], found["passed"]) == (1, True)
    return {check["id"]: check for check in found["checks"]}


def test_a_good_image_passes_and_says_what_it_could_not_check(wanted: Order) -> None:
    run(build(wanted))
    checks = checks_of(wanted.reference)
    by_outcome: dict[str, set[str]] = {}
    for name, check in checks.items():
        by_outcome.setdefault(check["outcome"], set()).add(name)
    assert by_outcome["passed"] == {
        *("sglang.place", "sglang.version", "patches", "parser.import"),
        *("parser.glm47.registered", "parser.glm47.whole", "parser.glm47.pieces"),
        *("tables.found", "tables.read", "tables.name", "tables.fit", "tables.pair"),
    }
    assert {"triton.version", "torch.version", "sgl-kernel.version", "nccl.loaded"} <= by_outcome["not_checked"]
    assert {"gpu.kernels", "fabric.rdma", "server.nccl", "server.tables"} <= by_outcome["not_checked"]
    assert set(by_outcome) == {"passed", "not_checked"}
    assert "empty modules stood in for sglang" in checks["parser.import"]["seen"]


def too_large(files: dict[str, bytes]) -> None:
    table = json.loads(files[TABLE])
    table["512"] = {**next(iter(table.values())), "BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "BLOCK_SIZE_K": 128}
    table["512"]["num_stages"] = 4
    files[TABLE] = json.dumps(table).encode()


def another_triton(files: dict[str, bytes]) -> None:
    """A Triton of another version, where Python finds it."""
    add_step(files, f"p = Path('{TREE}/triton'); p.mkdir(); (p / '__init__.py').write_text('__version__ = \"3.4.0\"')")


def unpatched(files: dict[str, bytes]) -> None:
    add_step(files, f"p = Path('{PARSERS}'); p.write_text(p.read_text() + '# changed')")


def not_registered(files: dict[str, bytes]) -> None:
    add_step(files, f"p = Path('{PARSERS}'); p.write_text(p.read_text().replace('\"glm47\":', '\"glm46\":'))")


def broken_detector(files: dict[str, bytes]) -> None:
    """A detector that drops every argument's last character, and a manifest that is content with it."""
    source = files[DETECTOR] + (
        b"\n\n_whole, _pieces = Glm47MoeDetector.detect_and_parse, Glm47MoeDetector.parse_streaming_increment\n\n\n"
        b"def _spoiled(self, text, tools):\n    return _pieces(self, text[:-1], tools)\n\n\n"
        b"Glm47MoeDetector.parse_streaming_increment = _spoiled\n"
    )
    files[MANIFEST] = files[MANIFEST].replace(sha256(files[DETECTOR]).encode(), sha256(source).encode())
    files[DETECTOR] = source


def crashing_parsers(files: dict[str, bytes]) -> None:
    add_step(files, f"Path('{PARSERS}').write_text('import os; os.abort()')")


def elsewhere(files: dict[str, bytes]) -> None:
    """A second SGLang, which Python finds first."""
    add_step(files, f"import shutil; shutil.copytree('{TREE}/sglang', '/opt/sglang-spark/sglang')")


def add_step(files: dict[str, bytes], code: str) -> None:
    """Let the build run Python just before the self-test; the base has no other tools."""
    step = f"RUN {json.dumps(['python3', '-c', f'from pathlib import Path; {code}'])}\n"
    files["Dockerfile"] = files["Dockerfile"].replace(SELFTEST.encode(), step.encode() + SELFTEST.encode())


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (too_large, "tables.fit", ["512: needs 147,456 bytes", "101,376"]),
        (another_triton, "triton.version", ["3.4.0", "image.triton: 3.5.0"]),
        (another_triton, "tables.found", ["no table for NVIDIA_GB10", "triton_3_4_0"]),
        (unpatched, "patches", ["sglang/srt/function_call/function_call_parser.py is unknown"]),
        (not_registered, "parser.glm47.registered", ["--tool-call-parser glm47 is none of"]),
        (broken_detector, "parser.glm47.pieces", ["in pieces of 1 characters"]),
        (crashing_parsers, "parser.import", ["could not be asked", "exit code -6"]),
        (elsewhere, "sglang.place", ["imports sglang from /opt/sglang-spark/sglang", TREE]),
    ],
)
def test_a_defect_ends_the_build_with_the_check_that_found_it(
    wanted: Order, change: Change, check: str, words: list[str]
) -> None:
    message = failing(changed(wanted, change)).message
    line = next(line for line in message.splitlines() if line.startswith(f"  | FAILED       {check} "))
    for word in words:
        assert word in line
    assert "Traceback" not in message


def test_a_broken_detector_is_found_although_the_manifest_is_content(wanted: Order) -> None:
    message = failing(changed(wanted, broken_detector)).message
    assert "FAILED       patches" not in message
    assert "FAILED       parser.glm47.whole" not in message


def test_a_table_that_is_allowed_is_built_told_and_labelled(base: str, root: Path) -> None:
    wanted = changed(ordered(base, root, allow=["unsafe-table"]), too_large)
    try:
        events, reference = run(build(wanted))
        shown = "\n".join(event.text for event in events if isinstance(event, Note))
        assert "allowed      tables.fit" in shown
        assert checks_of(reference)["tables.fit"]["outcome"] == "allowed"
        label = '{{index .Config.Labels "io.sglang-spark.allowed"}}'
        assert docker("image", "inspect", "-f", label, reference) == "unsafe-table"
    finally:
        remove_images(wanted.reference)


@pytest.mark.parametrize("base", [False], indirect=True, ids=["unmarked"])
def test_a_base_that_cannot_serve_and_does_not_say_so_is_refused(wanted: Order) -> None:
    message = failing(wanted).message
    for check in ("triton.version", "torch.version", "sgl-kernel.version", "nccl.loaded"):
        assert f"FAILED       {check} " in message


def test_an_image_that_is_none_of_ours_is_told_apart(base: str, root: Path) -> None:
    words = ("-v", f"{root}/deploy:/opt/sglang-spark/deploy:ro", "--workdir", "/opt/sglang-spark", base)
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", *words, "python3", "-B", "-m", "deploy.inside.selftest"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "SGLANG_SPARK_BUILT_FOR is not set" in done.stderr
