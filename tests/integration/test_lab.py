"""The lab itself, on this machine's Docker Engine: two nodes on a network of their own, beside any other lab."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.errors import LabError
from deploy.lab import faults, operation
from deploy.lab.demolition import demolish
from deploy.lab.host import Host
from deploy.lab.layout import Layout, lay_out

pytestmark = pytest.mark.integration
SUBNET = "172.31.251.0/24"
OTHER_SUBNET = "172.31.252.0/24"
RANK_OPTIONS = (
    "--network host --ipc=host --gpus all --init --ulimit memlock=-1 --ulimit stack=67108864 "
    "--ulimit nofile=1048576:1048576 --device /dev/infiniband/uverbs0 --device /dev/infiniband/rdma_cm"
)
ROOT = Path(__file__).resolve().parents[2]
LAB_COMMAND = "from deploy.cli.lab import lab; lab()"


def run(*argv: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)


def remains(layout: Layout) -> str:
    """Whatever a lab may leave behind, but for the registry's volume, which is a cache."""
    containers = run("docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"name={layout.slug}").stdout
    volumes = run("docker", "volume", "ls", "--quiet", "--filter", f"name={layout.slug}").stdout
    networks = run("docker", "network", "ls", "--format", "{{.Name}}", "--filter", f"name={layout.slug}").stdout
    trust = Path(f"/etc/docker/certs.d/{layout.registry}")
    files = str(trust) if trust.exists() else ""
    return (containers + volumes.replace(layout.registry_name, "") + networks + files).strip()


@pytest.fixture(scope="module")
def lab(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    layout = lay_out(tmp_path_factory.mktemp("lab") / ".lab", SUBNET, 2)
    try:
        list(operation.up(Host(), layout))
        yield layout
    finally:
        demolish(Host(), layout.folder)
        run("docker", "volume", "rm", layout.registry_name)
    assert not remains(layout)


def ssh(lab: Layout, index: int, command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Log in as a user would, to known hosts only; 255 where that fails."""
    options = (
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={lab.known_hosts}",
        "BatchMode=yes",
        "ConnectTimeout=2",
    )
    words = [word for option in options for word in ("-o", option)]
    target = f"root@{lab.node_address(index)}"
    return run("ssh", "-F", "none", "-i", str(lab.identity), *words, target, command, seconds=seconds)


def reachable(lab: Layout, index: int) -> bool:
    """Whether a login works within a few seconds; a frozen node neither answers nor refuses."""
    try:
        return ssh(lab, index, "true", seconds=4).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def base(lab: Layout) -> str:
    return str(yaml.safe_load(lab.cluster_file.read_text())["image"]["base"])


def test_each_node_has_its_own_host_key_and_engine(lab: Layout) -> None:
    engines = [ssh(lab, index, "docker info --format '{{.ID}} {{.Name}}'").stdout.split() for index in range(2)]
    assert [name for _, name in engines] == ["spark0", "spark1"]
    assert engines[0][0] != engines[1][0]
    keys = [line.split()[-1] for line in lab.known_hosts.read_text().splitlines()]
    assert len(set(keys)) == 2


def test_a_wrong_host_key_and_a_wrong_user_are_refused(lab: Layout, tmp_path: Path) -> None:
    lines = lab.known_hosts.read_text().splitlines()
    swapped = tmp_path / "known_hosts"
    swapped.write_text(f"{lines[0].split()[0]} {lines[1].split(maxsplit=1)[1]}\n")
    strict = ("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-i", str(lab.identity))
    address = str(lab.node_address(0))
    wrong_key = run("ssh", "-F", "none", *strict, "-o", f"UserKnownHostsFile={swapped}", f"root@{address}", "true")
    assert "Host key verification failed" in wrong_key.stderr
    known = f"UserKnownHostsFile={lab.known_hosts}"
    assert "Permission denied" in run("ssh", "-F", "none", *strict, "-o", known, f"games@{address}", "true").stderr


def test_the_imitated_rdma_port_carries_the_fabric_address_as_a_roce_v2_gid(lab: Layout) -> None:
    port = "$SGLANG_SPARK_SYSFS/class/infiniband/rocep1s0f0/ports/1"
    shown = ssh(lab, 1, f"cd {port} && cat state gids/3 gid_attrs/types/3 gid_attrs/ndevs/3").stdout.splitlines()
    assert shown == ["4: ACTIVE", "0000:0000:0000:0000:0000:ffff:ac1f:fb0c", "RoCE v2", "eth0"]


def test_a_node_runs_the_base_by_digest_with_all_options_of_a_rank(lab: Layout) -> None:
    parser = "sglang.srt.function_call.function_call_parser"
    code = f"import sglang, {parser} as parser; print(sglang.__version__, parser.__file__)"
    shown = ssh(lab, 0, f"docker run --rm {RANK_OPTIONS} {base(lab)} python3 -c '{code}'", seconds=120)
    assert shown.returncode == 0, shown.stderr
    version, file = shown.stdout.split()
    assert version == "0.5.4.post2"
    assert file == "/sgl-workspace/sglang/python/sglang/srt/function_call/function_call_parser.py"


def test_the_base_s_server_names_itself_a_stand_in(lab: Layout) -> None:
    shown = ssh(lab, 0, f"docker run --rm {base(lab)} cat /sgl-workspace/sglang/python/sglang/launch_server.py")
    assert "stand-in" in shown.stdout


def test_the_registry_refuses_whoever_does_not_log_in(lab: Layout) -> None:
    refused = ssh(lab, 1, f"DOCKER_CONFIG=/nowhere docker pull {lab.base}")
    assert refused.returncode != 0
    assert "no basic auth credentials" in refused.stderr


def test_a_second_up_changes_nothing(lab: Layout) -> None:
    argv = ("docker", "ps", "--quiet", "--no-trunc", "--filter", f"name={lab.slug}")
    before = run(*argv).stdout.split()
    assert len(before) == lab.nodes + 1
    events = list(operation.up(Host(), lab))
    assert "nothing changed" in str(events)
    assert run(*argv).stdout.split() == before


def test_another_lab_on_the_same_subnet_is_refused_and_leaves_nothing(lab: Layout, tmp_path: Path) -> None:
    other = lay_out(tmp_path / ".lab", SUBNET, 1)
    with pytest.raises(LabError, match=f"the lab of {re.escape(str(lab.folder))}"):
        list(operation.up(Host(), other))
    assert not other.folder.exists()
    assert ssh(lab, 0, "true").returncode == 0


@pytest.mark.parametrize(("fault", "remedy"), [("pause", "unpause"), ("cut", "heal"), ("poweroff", "poweron")])
def test_a_node_that_fails_is_out_of_reach_until_it_recovers(lab: Layout, fault: str, remedy: str) -> None:
    faults.cause(Host(), lab.folder, fault, 1)
    try:
        assert not reachable(lab, 1)
        assert ssh(lab, 0, "true").returncode == 0
    finally:
        faults.cause(Host(), lab.folder, remedy, 1)
    assert ssh(lab, 1, "docker version").returncode == 0


def test_a_stopped_engine_leaves_the_login_and_starts_again(lab: Layout) -> None:
    faults.cause(Host(), lab.folder, "engine-stop", 1)
    try:
        assert "Cannot connect" in ssh(lab, 1, "docker version").stderr
    finally:
        faults.cause(Host(), lab.folder, "engine-start", 1)
    assert ssh(lab, 1, "docker version").returncode == 0


def test_a_running_container_is_known_as_dead_after_the_power_was_lost(lab: Layout) -> None:
    started = ssh(lab, 1, f"docker run --detach --name victim {RANK_OPTIONS} {base(lab)} sleep 600", seconds=120)
    assert started.returncode == 0, started.stderr
    faults.cause(Host(), lab.folder, "poweroff", 1)
    faults.cause(Host(), lab.folder, "poweron", 1)
    assert ssh(lab, 1, "docker inspect --format '{{.State.Running}}' victim; docker rm victim").stdout.split() == [
        "false",
        "victim",
    ]


def test_a_slow_node_sends_no_faster_than_it_is_told(lab: Layout) -> None:
    def seconds() -> float:
        began = time.monotonic()
        assert len(ssh(lab, 1, "head -c 500000 /dev/zero").stdout) == 500_000
        return time.monotonic() - began

    faults.cause(Host(), lab.folder, "slow", 1, faults.Strength("2mbit"))
    try:
        assert seconds() > 1.2
    finally:
        faults.cause(Host(), lab.folder, "fast", 1)
    assert seconds() < 1.2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals) -> None:
    layout = lay_out(tmp_path / ".lab", OTHER_SUBNET, 2)
    both = "for number in (2, 15): signal.signal(number, signal.default_int_handler)"
    code = f"import signal\n{both}\n{LAB_COMMAND}"
    argv = (sys.executable, "-c", code, "up", "--nodes", "2", "--subnet", OTHER_SUBNET, "--dir", str(layout.folder))
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        try:
            deadline = time.monotonic() + 60
            while not remains(layout) and time.monotonic() < deadline and child.poll() is None:
                time.sleep(0.05)
            os.kill(child.pid, sent)
            assert child.wait(60) != 0
        finally:
            child.kill()
            leftover = remains(layout)
            demolish(Host(), layout.folder)
            run("docker", "volume", "rm", layout.registry_name)
    assert not leftover
    assert not layout.folder.exists()
