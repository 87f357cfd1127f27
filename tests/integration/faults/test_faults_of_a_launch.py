"""What goes wrong in a launch on real parts: ranks that exit, interruptions, registries and disks that refuse."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lab.faults import cause
from deploy.lab.host import Host
from tests.integration.lab import Lab, interrupt_at, read_until

MARKER, KEY = "marker-7c1f9e-secret", "marker-7c1f9e-key"
SECRETS = "/root/.cache/sglang-spark/lab.secrets.env"
PLACES = {
    "docker inspect": "docker inspect $(docker ps -aq)",
    "arguments of processes": "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
    "the engine's and sshd's logs": "cat /var/log/*.log",
    "docker's files": "cat /var/lib/docker/containers/*/*",
}


@pytest.mark.parametrize(("when", "least"), [("start:2:3", 0.0), ("after:8:2:3", 8.0)])
def test_a_rank_that_exits_ends_the_wait_and_the_gang(lab: Lab, when: str, least: float) -> None:
    file = lab.cluster(4, environment={"STANDIN_DIE_AT": when, "STANDIN_LOAD_SECONDS": "60"})
    code, said, took = timed_from("start: ", lab.start("up", "--nodes", file))
    assert code == 5, said
    assert "rank 2 exited with code 3; its last lines:" in said
    # Without the watch it would last until all others have loaded.
    assert least < took < least + 50
    states = [line.split()[1] for line in lab.containers()]
    assert states == ["exited"] * 4
    assert lab.good("logs", "--rank", "2", "--nodes", file).stdout.strip()
    status = lab.run("status", "--json", "--nodes", file)
    assert status.returncode == 13
    assert [rank["container"] for rank in json.loads(status.stdout)["ranks"]] == ["exited"] * 4
    lab.good("up", "--nodes", lab.cluster(4))


def timed_from(mark: str, process: subprocess.Popen[str]) -> tuple[int, str, float]:
    """Exit code, all that was said, and seconds from the line with this mark to the end."""
    assert process.stderr is not None
    said, began = [], float("inf")
    for line in process.stderr:
        said.append(line)
        if mark in line:
            began = time.monotonic()
    return process.wait(60), "".join(said), time.monotonic() - began


def test_a_gang_that_is_not_ready_in_time_is_taken_down(lab: Lab) -> None:
    file = lab.cluster(2, environment={"STANDIN_HANG_AT": "load:1"})
    done = lab.run("up", "--timeout", "12", "--nodes", file)
    assert done.returncode == 5, done.stderr
    assert "not ready in time" in done.stderr, done.stderr
    assert {line.split()[1] for line in lab.containers()} == {"exited"}


@pytest.mark.parametrize(("mark", "code"), [("pull: ", 4), ("25 %", 5)])
def test_a_node_that_is_cut_off_is_noticed_and_the_others_are_down(lab: Lab, mark: str, code: int) -> None:
    if mark == "pull: ":
        lab.sh(1, "docker rmi -f $(docker images -q)")
    process = lab.start("up", "--nodes", lab.cluster(3, environment={"STANDIN_LOAD_SECONDS": "60"}))
    try:
        read_until(process, mark)
        cause(Host(), lab.folder, "cut", 1)
        began = time.monotonic()
        # In a pull the command may end of it before the gang knows.
        said = read_until(process, "the node has not answered for 8 s")
        noticed = time.monotonic() - began
        while any("rank" in lab.sh(rank, "docker ps --format '{{.Names}}'") for rank in (0, 2)):
            assert time.monotonic() - began < 60
        down = time.monotonic() - began
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        cause(Host(), lab.folder, "heal", 1)
    assert process.returncode == code, said + err
    assert noticed < 15
    assert down < noticed + 10


def test_a_paused_rank_ends_the_launch(lab: Lab) -> None:
    process = lab.start("up", "--nodes", lab.cluster(2, environment={"STANDIN_LOAD_SECONDS": "60"}))
    read_until(process, "25 %")
    lab.sh(1, "docker pause sglang-spark-lab-rank1")
    began = time.monotonic()
    read_until(process, "is lost: ")
    assert time.monotonic() - began < 3
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "rank 1 is lost: its container is paused" in err
    assert {line.split()[1] for line in lab.containers()} == {"exited"}


@pytest.mark.parametrize(
    ("mark", "delay"),
    [("pull: ", 0.3), ("self-test: ", 0.5), ("prepare: ", 0.0), ("start: ", 0.05), ("start: ", 0.4)]
    + [("rank 0 on", 0.0), ("weights", 0.5)],
)
def test_ctrl_c_leaves_nothing_behind(lab: Lab, mark: str, delay: float) -> None:
    if mark in ("pull: ", "self-test: "):
        lab.sh(1, "docker rmi -f $(docker images -q)")
    process = lab.start("up", "--nodes", lab.cluster(4, environment={"STANDIN_LOAD_SECONDS": "20"}))
    code, said = interrupt_at(process, mark, delay)
    assert code == 130, said
    assert "Traceback" not in said
    assert lab.containers() == []
    assert not any(lab.listening(rank, 30000) for rank in range(4))


def test_status_tells_what_serves_and_what_does_not(lab: Lab) -> None:
    file = lab.cluster(2, environment={"STANDIN_DEATH_SECONDS": "20"}, watch={"wedge_seconds": 2})
    lab.good("up", "--nodes", file)
    order = "docker exec sglang-spark-lab-rank0 sh -c 'echo {} > /tmp/standin-fault'; sleep 1"
    lab.sh(0, order.format("garbage"))
    assert _told(lab, file) == (11, "degraded", "rank 0: it generates garbage")
    lab.sh(0, order.format("wedge"))
    asking = lab.start("ask", "hello", "--nodes", file)
    try:
        time.sleep(4)
        assert _told(lab, file) == (12, "wedged", "rank 0: requests")
    finally:
        asking.kill()
        asking.communicate()
    lab.sh(1, "docker kill sglang-spark-lab-rank1")
    assert _told(lab, file) == (11, "degraded", "rank 1: exit code")
    cause(Host(), lab.folder, "cut", 1)
    try:
        began = time.monotonic()
        assert _told(lab, file) == (11, "degraded", "rank 1: node")
        assert time.monotonic() - began < 10
    finally:
        cause(Host(), lab.folder, "heal", 1)


def _told(lab: Lab, file: str) -> tuple[int, str, str]:
    """Exit code, state, and the begin of the reason, up to its first number or name of what was seen."""
    done = lab.run("status", "--json", "--nodes", file)
    found = json.loads(done.stdout)
    return done.returncode, found["state"], re.match(r"rank \d+: [a-z :]*", found["why"] + "$")[0].strip(": ")  # type: ignore[index]


def test_secrets_reach_the_server_and_appear_nowhere_else(lab: Lab) -> None:
    file = lab.cluster(2, secrets=["HF_TOKEN"], api_key="API_KEY")
    environ = {"HF_TOKEN": MARKER, "API_KEY": KEY}
    plan = lab.good("up", "--dry-run", "--nodes", file, **environ)
    up = lab.good("up", "--json", "--nodes", file, **environ)
    assert "the API asks for the key in API_KEY" in up.stdout
    seen = {
        "the plan": plan.stdout + plan.stderr,
        "what up says": up.stdout + up.stderr,
        "status": lab.good("status", "--json", "--nodes", file).stdout,
        "logs": lab.good("logs", "--nodes", file).stdout,
        **{f"{what} of rank {rank}": lab.sh(rank, script) for rank in (0, 1) for what, script in PLACES.items()},
    }
    assert [place for place, text in seen.items() if MARKER in text or KEY in text] == []
    assert all(seen.values())
    for rank, secrets, keys in ((0, 1, 1), (1, 1, 0)):
        assert [lab.sh(rank, f"grep -c {mark} {SECRETS}").strip() for mark in (MARKER, KEY)] == [
            f"{secrets}",
            f"{keys}",
        ]
        environs = lab.sh(rank, "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
        assert MARKER in environs
        assert KEY not in environs
        assert lab.sh(rank, f"stat -c %a {SECRETS}").strip() == "600"
        assert "Permission denied" in lab.sh(rank, f"setpriv --reuid 65534 --clear-groups cat {SECRETS}")
    lab.good("ask", "hello", "--nodes", file, **environ)
    done = lab.run("ask", "hello", "--nodes", file, environ=lab.environ(API_KEY="another"))
    assert "answered 401" in done.stderr
    # What is running keeps its key; an `up` with another one says so and leaves it alone.
    done = lab.run("up", "--nodes", file, environ=lab.environ(HF_TOKEN=MARKER, API_KEY="another"))
    assert (done.returncode, "does not take the key in API_KEY" in done.stderr) == (5, True)
    lab.good("down", "--nodes", file)
    assert "No such file" in lab.sh(0, f"stat {SECRETS}")


def test_a_rank_has_few_rights_and_they_suffice(lab: Lab) -> None:
    file = lab.cluster(1, mounts={"compile": "/srv/compile"})
    lab.sh(0, "mkdir -p /srv/compile && chmod 700 /srv/compile && chown 1000:1000 /srv/compile")
    lab.good("up", "--nodes", file)
    rank = "sglang-spark-lab-rank0"
    within = (
        "grep -h -e CapEff -e CapBnd -e NoNewPrivs /proc/1/status; mkdir $TRITON_CACHE_DIR && ls -d $TRITON_CACHE_DIR"
    )
    found = lab.sh(0, f"docker exec {rank} sh -c '{within}'").split()
    assert found[1::2][:3] == ["0000000000000002", "0000000000000002", "1"]
    assert found[-1] == "/var/cache/sglang-spark/triton"
    rights = "{{.HostConfig.Privileged}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.Init}}"
    assert lab.sh(0, f"docker inspect --format '{rights}' {rank}").strip() == "false [ALL] [DAC_OVERRIDE] true"
    lab.sh(0, f"docker stop --time 20 {rank}")
    assert "Gracefully exiting" in lab.sh(0, f"docker logs {rank} 2>&1")


def test_a_secret_is_in_no_exception(lab: Lab) -> None:
    lab.sh(1, "mkdir -p /root/.cache/sglang-spark/lab.secrets.env/in-the-way")
    try:
        done = lab.run("up", "--nodes", lab.cluster(2, secrets=["HF_TOKEN"]), environ=lab.environ(HF_TOKEN=MARKER))
        assert done.returncode == 4, done.stderr
        assert "lab.secrets.env" in done.stderr
        assert MARKER not in done.stdout + done.stderr
    finally:
        lab.sh(1, "rm -r /root/.cache/sglang-spark/lab.secrets.env")


def test_an_image_that_was_never_pushed_is_told(lab: Lab) -> None:
    file = Path(lab.cluster(2))
    file.write_text(file.read_text().replace("lab/sglang-spark", "lab/never-pushed"))
    done = lab.run("up", "--nodes", str(file))
    assert done.returncode == 3, done.stderr
    assert "never-pushed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "repository"), [("up", "lab/other"), ("push", "lab/sglang-spark")])
def test_a_registry_that_refuses_the_login_is_told(lab: Lab, tmp_path: Path, command: str, repository: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = Path(lab.cluster(2))
    file.write_text(file.read_text().replace("lab/sglang-spark", repository))
    done = lab.run(command, "--nodes", str(file), environ=lab.environ(DOCKER_CONFIG=str(tmp_path)))
    assert done.returncode == 3, done.stderr
    assert "hint: `docker login`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def without_login(lab: Lab) -> Iterator[Lab]:
    """Node 1 has no credentials and no image."""
    lab.sh(1, "docker rmi -f $(docker images -q); mv /root/.docker/config.json /root/.docker/away")
    yield lab
    lab.sh(1, "mv /root/.docker/away /root/.docker/config.json")


def test_a_node_whose_login_is_refused_is_to_get_the_image_over_ssh(without_login: Lab) -> None:
    plan = without_login.good("up", "--dry-run", "--nodes", without_login.cluster(2)).stdout
    (line,) = [line for line in plan.splitlines() if line.startswith(f"image for {without_login.fleet.nodes[1].host}")]
    assert ": direct, " in line
    assert "no basic auth credentials" in line


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Lab]:
    """Node 1's engine keeps its images on 60 MB."""
    engine = "dockerd"
    lab.sh(1, f"docker rmi -f $(docker images -q); mkdir -p /run/small && mount -t tmpfs -o size=60m small /run/small; "
              f"pgrep -x {engine}")  # fmt: skip
    lab.sh(1, "mkdir -p /run/small/tmp /run/small/overlay2/l; mount --bind /run/small/tmp /var/lib/docker/tmp; "
              "mount --bind /run/small/overlay2 /var/lib/docker/overlay2")  # fmt: skip
    yield lab
    lab.sh(1, "umount /var/lib/docker/tmp /var/lib/docker/overlay2 /run/small")


def test_a_disk_that_is_full_while_pulling_is_told(small_disk: Lab) -> None:
    done = small_disk.run("up", "--nodes", small_disk.cluster(2))
    assert done.returncode == 4, done.stderr
    assert "no space left on device" in done.stderr
    assert "hint: make room on the node" in done.stderr
    assert small_disk.containers() == []
