"""What `up` and `status` find out about an image and a running server, on real nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.load import load
from deploy.workflow.asked import wanted_image
from tests.integration.lab import ROOT, Lab

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
DOWN = NAME.replace(".json", "_down.json")
SHIPPED = (ROOT / "configs" / "triton_3_5_0" / NAME).read_text()
RANK1 = "sglang-spark-lab-rank1"
# On two nodes each rank has half of the experts' size: of this one, as much as a rank of four has of GLM-4.7's.
HALF = {"STANDIN_MOE_SIZE": "768"}


def test_up_says_what_it_proved_and_bench_measures_it(lab: Lab, tmp_path: Path) -> None:
    file = lab.cluster(2, environment=HALF)
    lab.sh(1, "docker rmi -f $(docker images -q)")
    first = lab.good("up", "--nodes", file).stderr
    assert f"self-test on {lab.fleet.nodes[1].host}: " in first.replace(f"{lab.fleet.nodes[0].host}, ", "")
    assert "tool calls: glm47 reads a canned call exactly" in first
    assert 'tool calls: a streamed call came whole: get_weather({"city": ' in first
    assert f"kernel table on 2 of 2 ranks: {NAME} of triton_3_5_0" in first
    assert "NCCL on 2 of 2 ranks: not checked: no libnccl is mapped" in first
    words = ("--repeats", "1", "--lengths", "512", "--tokens", "24", "--out", str(tmp_path), "--nodes", file)
    lab.good("bench", "run", "context", *words)
    (run,) = (json.loads(one.read_text()) for one in tmp_path.glob("*.json"))
    status = json.loads(lab.good("status", "--json", "--nodes", file).stdout)
    assert run["server"]["image"].endswith(status["ranks"][0]["digest"])
    assert NAME in run["server"]["tables"][0]
    assert all(repeat["ok"] for case in run["cases"] for repeat in case["repeats"])
    lab.good("down", "--nodes", file)
    plan = json.loads(lab.good("up", "--dry-run", "--json", "--nodes", file).stdout)
    assert [step["step"] for step in plan["steps"]] == ["prepare", "start"], "a proven image is not asked again"
    found = json.loads(lab.good("image", "verify", "--nodes", file, "--json").stdout)["checks"]
    proofs = [one["outcome"] for one in found if one["id"].startswith("self-test.")]
    assert proofs == ["passed", "passed"], "what the nodes keep of it is a proof to others too"


@pytest.mark.parametrize(
    ("parser", "said"),
    [("glm45", "glm47 read '"), ("none", "glm47 leaks <tool_call>, </tool_call>, <arg_key>, <arg_value> into the str")],
)
def test_a_server_that_reads_tool_calls_wrongly_is_taken_down(lab: Lab, parser: str, said: str) -> None:
    done = lab.run("up", "--nodes", lab.cluster(2, environment={"STANDIN_PARSER": parser}))
    assert done.returncode == 5, done.stderr
    assert said in done.stderr
    assert "<tool_call>get_weather" in done.stderr
    assert "hint: the server's tool-call parser is at fault" in done.stderr
    assert {line.split()[1] for line in lab.containers()} == {"exited"}


FREEZE = """
import os, pathlib
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    line = (folder / "cmdline").read_bytes()
    if b"sglang.launch_server" in line and folder.name not in ("1", str(os.getpid())):
        os.kill(int(folder.name), %s)
"""


def test_a_server_that_does_not_answer_is_left_to_run_by_an_up_that_did_not_start_it(lab: Lab) -> None:
    file = lab.cluster(2)
    lab.good("up", "--nodes", file)
    lab.sh(0, f"docker exec --interactive sglang-spark-lab-rank0 python3 - <<'END'\n{FREEZE % 19}\nEND")
    done = lab.run("up", "--timeout", "3", "--nodes", file)
    lab.sh(0, f"docker exec --interactive sglang-spark-lab-rank0 python3 - <<'END'\n{FREEZE % 18}\nEND")
    assert done.returncode == 5, done.stderr
    assert "not ready in time: rank 0" in done.stderr
    assert {line.split()[1] for line in lab.containers()} == {"running"}


def test_a_parser_without_a_known_call_is_said_not_to_be_probed(lab: Lab) -> None:
    said = lab.good("up", "--nodes", lab.cluster(2, server={"tool-call-parser": "qwen25"})).stderr
    assert "tool calls: not probed" in said
    assert "answer: " in said
    assert "answer: " in lab.good("up", "--nodes", lab.cluster(2, server={"tool-call-parser": None})).stderr


@pytest.fixture
def tables(lab: Lab) -> Iterator[Any]:
    """Puts tables for two nodes into a folder that SGLANG_MOE_CONFIG_DIR names; gives a cluster.yaml that uses it."""

    def put(**folders: tuple[str, ...]) -> str:
        for rank in range(2):
            for folder, names in folders.items():
                for name in names:
                    place = f"/srv/tables/configs/{folder}"
                    lab.sh(rank, f"mkdir -p '{place}' && cat > '{place}/{name}' <<'END'\n{SHIPPED}\nEND")
        environment = {**HALF, "SGLANG_MOE_CONFIG_DIR": "/srv/tables"}
        return lab.cluster(2, environment=environment, mounts={"extra": ["/srv/tables:/srv/tables:ro"]})

    yield put
    for rank in range(2):
        lab.sh(rank, "rm -rf /srv/tables")


@pytest.mark.parametrize(
    ("folders", "kind", "said"),
    [
        ({"triton_3_5_0": (NAME,)}, "table", f"{NAME} of triton_3_5_0, for both GEMMs"),
        ({"triton_3_5_0": (NAME, DOWN)}, "table", f"{NAME} of triton_3_5_0, with its _down table"),
        ({"triton_3_4_0": (NAME,)}, "fallback", f"{NAME} of triton_3_4_0, made for another Triton"),
        ({"triton_3_3_0": (NAME,)}, "default", f"SGLang's default, for want of {NAME} in triton_3_5_0"),
    ],
)
def test_the_table_that_the_ranks_took_is_told(lab: Lab, tables: Any, folders: Any, kind: str, said: str) -> None:
    file = tables(**folders)
    up = lab.good("up", "--nodes", file).stderr
    assert f"kernel table on 2 of 2 ranks: {said}" in up
    assert ("warning: kernel table" in up) is (kind != "table")
    assert ("cure: " in up) is (kind != "table")
    (found,) = json.loads(lab.good("status", "--json", "--nodes", file).stdout)["kernel_tables"]
    assert (found["kind"], found["ranks"], found["table"]) == (kind, [0, 1], NAME)
    assert said in lab.good("status", "--nodes", file).stdout


def test_a_model_whose_table_is_not_there_is_told_what_is(lab: Lab) -> None:
    file = lab.cluster(2, environment={"STANDIN_MOE_SIZE": "1408"})
    up = lab.good("up", "--nodes", file).stderr
    wanted = NAME.replace("N=384", "N=704")
    assert f"SGLang's default, for want of {wanted} in triton_3_5_0; the image carries {NAME} (N is 704 here)" in up
    assert f"put {wanted} into configs/triton_3_5_0/" in up


@pytest.mark.parametrize(("version", "kind"), [("2.28.9", "old"), ("2.30.7", "safe")])
def test_the_nccl_that_a_rank_has_mapped_is_told(lab: Lab, version: str, kind: str) -> None:
    """A stand-in for libnccl: a file of its name that says a version as the real one does, mapped in the container."""
    file = lab.cluster(2)
    lab.good("up", "--nodes", file)
    script = (
        "import mmap, time; f = open('/tmp/libnccl.so.2', 'w+b'); "
        f"f.write(b'\\0NCCL version %d\\0NCCL version {version}+cuda13.0\\0'); f.flush(); "
        "m = mmap.mmap(f.fileno(), 0); time.sleep(60)"
    )
    lab.sh(1, f'docker exec --detach {RANK1} python3 -c "{script}"; sleep 1')
    done = lab.good("status", "--nodes", file).stdout
    assert f"NCCL on 1 of 2 ranks (1): {version} (/tmp/libnccl.so.2)" in done
    assert ("warning: NCCL" in done) is (kind == "old")
    found = json.loads(lab.good("status", "--json", "--nodes", file).stdout)["nccl"]
    assert [(one["kind"], one["ranks"]) for one in found] == [("unmapped", [0]), (kind, [1])]


def pushed(lab: Lab, repository: str, dockerfile: str) -> str:
    """An image of another making under the very reference that `up` asks for; a cluster.yaml that names it."""
    file = Path(lab.cluster(2))
    file.write_text(file.read_text().replace("lab/sglang-spark", repository))
    image = load(file).cluster.image
    wanted = wanted_image(image)
    text = f"{dockerfile}\nLABEL io.sglang-spark.recipe={wanted.recipe}\n"
    environ = lab.environ(DOCKER_BUILDKIT="0")
    for argv in (("build", "--tag", wanted.reference, "-"), ("push", wanted.reference)):
        subprocess.run(("docker", *argv), input=text, env=environ, text=True, check=True, capture_output=True)
    return str(file)


def proven_reference(lab: Lab) -> str:
    return wanted_image(load(lab.file).cluster.image).reference


def test_an_image_of_an_older_toolkit_is_told_and_nothing_starts(lab: Lab) -> None:
    base = load(lab.file).cluster.image.base
    file = pushed(lab, "lab/older", f"FROM {base}")
    done = lab.run("up", "--nodes", file)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("self-test: the image has no self-test: an older toolkit built it") == 2
    assert "hint: make a new image" in done.stderr
    assert lab.containers() == []


def test_an_image_that_fails_its_self_test_is_refused_again_and_again(lab: Lab) -> None:
    parser = "/sgl-workspace/sglang/python/sglang/srt/function_call/function_call_parser.py"
    file = pushed(lab, "lab/broken", f"FROM {proven_reference(lab)}\nRUN sed -i s/glm47/glm48/ {parser}")
    for _ in range(2):
        done = lab.run("up", "--nodes", file)
        assert done.returncode == 4, done.stderr
        assert "2 of 2 nodes failed" in done.stderr
        assert done.stderr.count("self-test: patches: ") == 2
        assert "hint: " in done.stderr
        assert lab.containers() == []


def test_the_lab_s_status_is_json_for_scripts(lab: Lab) -> None:
    found = json.loads(lab.good("lab", "status", "--json", "--dir", str(lab.folder)).stdout)["containers"]
    assert [one["role"] for one in found] == ["registry", *["node"] * len(lab.fleet.nodes)]
    assert [one["address"] for one in found[1:]] == [node.host for node in lab.fleet.nodes]
    assert {one["state"] for one in found} == {"running"}
    nothing = lab.run("lab", "status", "--json", "--dir", str(lab.folder / "nothing"))
    assert (nothing.returncode, json.loads(nothing.stdout)["containers"]) == (1, [])
