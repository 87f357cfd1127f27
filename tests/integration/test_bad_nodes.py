"""Wrong or unreachable nodes: every node's problem is listed, and nothing is half-started."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.plain_hosts import Hosts
from tests.integration.light import run, start


def changed(hosts: Hosts, old: str, new: str) -> str:
    file = hosts.cluster_yaml(4)
    text = file.read_text()
    assert old in text
    other = file.with_name("changed.yaml")
    other.write_text(text.replace(old, new))
    return str(other)


def refused(hosts: Hosts, file: str, code: int = 4) -> str:
    """What `up` says when it refuses; no host has started anything."""
    done = run(hosts, "up", "--nodes", file)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    assert not [call for host in hosts.hosts for call in host.calls() if call.startswith(("run", "pull", "rm"))]
    return done.stderr


def test_a_closed_port_is_told_by_its_node(light: Hosts) -> None:
    text = refused(light, changed(light, "{host: 127.0.1.2,", "{host: 127.0.1.2, port: 9,"))
    assert "1 of 4 nodes failed" in text
    assert "127.0.1.2: cannot be reached" in text


def test_every_unreachable_node_is_told(light: Hosts) -> None:
    text = refused(light, changed(light, "ssh: {", "ssh: {port: 9, "))
    assert [f"127.0.1.{number}: cannot be reached" in text for number in range(1, 5)] == [True] * 4


def test_an_unknown_host_key_is_refused(light: Hosts, tmp_path: Path) -> None:
    (tmp_path / "known").write_text("")
    text = refused(light, changed(light, f"known_hosts: {light.folder}/known_hosts", f"known_hosts: {tmp_path}/known"))
    assert text.count("its host key is not in known_hosts") == 4


def test_a_changed_host_key_is_refused(light: Hosts, tmp_path: Path) -> None:
    other = (light.folder / "id.pub").read_text().split()[1]
    (tmp_path / "known").write_text("".join(f"{host.address} ssh-ed25519 {other}\n" for host in light.hosts))
    text = refused(light, changed(light, f"known_hosts: {light.folder}/known_hosts", f"known_hosts: {tmp_path}/known"))
    assert text.count("its host key is not the one in known_hosts") == 4


def test_a_wrong_user_is_refused(light: Hosts) -> None:
    text = refused(light, changed(light, "user: root", "user: nobody"))
    assert text.count("login refused") == 4


def test_a_missing_key_file_is_named(light: Hosts) -> None:
    assert "/nowhere/id" in refused(light, changed(light, f"identity: {light.folder}/id", "identity: /nowhere/id"))


def test_a_node_without_docker_is_told_in_docker_s_words(light: Hosts) -> None:
    light.hosts[2].fail("info", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    text = refused(light, str(light.cluster_yaml(4)))
    assert "127.0.1.3: docker.engine: Docker does not answer: Cannot connect to the Docker daemon" in text


def test_a_wrong_architecture_is_told(light: Hosts) -> None:
    file = changed(light, "platform: linux/amd64", "platform: linux/riscv64")
    assert refused(light, file).count("but image.platform is linux/riscv64") == 4


def test_an_address_that_the_node_does_not_have_is_told(light: Hosts) -> None:
    text = refused(light, changed(light, "fabric: 127.0.1.4", "fabric: 127.0.9.9"))
    assert "fabric.address: has no interface with the fabric address 127.0.9.9" in text


def test_a_port_in_use_is_told_by_its_key(light: Hosts) -> None:
    script = "import socket,time; s=socket.socket(); s.bind(('127.0.1.1', 30000)); s.listen(); print('on', flush=True)"
    argv = (*light.inside, "python3", "-c", f"{script}; time.sleep(60)")
    listener = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        listener.stdout.readline()
        assert "port 30000 (server.port) is in use" in refused(light, str(light.cluster_yaml(4)))
    finally:
        listener.kill()
        listener.communicate()


def test_a_full_disk_while_pulling_is_told_and_nothing_starts(light: Hosts) -> None:
    light.hosts[1].fail("pull", "write /var/lib/docker/tmp/x: no space left on device")
    (light.hosts[1].state / "no-image").touch()
    done = run(light, "up", "--nodes", str(light.cluster_yaml(4)))
    assert done.returncode == 4
    assert "127.0.1.2: exit code 1: docker pull stand-in@sha256:" in done.stderr
    assert "no space left on device" in done.stderr
    assert "hint: make room on the node" in done.stderr
    assert not [call for host in light.hosts for call in host.calls() if call.startswith("run")]


def test_an_image_that_fails_its_self_test_is_told_by_node_and_check_and_nothing_starts(light: Hosts) -> None:
    failed = {"id": "nccl.loaded", "outcome": "failed", "seen": "2.28.3", "needed": "2.29.3", "hint": "set image.nccl"}
    for host in light.hosts[1:]:
        (host.state / "no-image").touch()
    for host in light.hosts[1:3]:
        (host.state / "self-test").write_text(json.dumps({"format": 1, "passed": False, "checks": [failed]}))
    done = run(light, "up", "--nodes", str(light.cluster_yaml(4)))
    assert done.returncode == 4
    assert "2 of 4 nodes failed" in done.stderr
    for number in (2, 3):
        assert f"127.0.1.{number}: self-test: nccl.loaded: 2.28.3, needed: 2.29.3" in done.stderr
    assert "hint: set image.nccl" in done.stderr
    assert not [call for host in light.hosts for call in host.calls() if call.startswith("run --detach")]


def test_a_failing_start_takes_the_others_back(light: Hosts) -> None:
    light.hosts[3].fail("run", "docker: Error response from daemon: could not select device driver")
    done = run(light, "up", "--nodes", str(light.cluster_yaml(4)))
    assert done.returncode == 4
    assert "127.0.1.4: exit code 1" in done.stderr
    assert "could not select device driver" in done.stderr
    assert [host.calls()[-1].startswith("rm --force") for host in light.hosts] == [True, True, True, False]
    assert not any((host.state / "started").exists() for host in light.hosts)


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    for _ in range(300):
        if condition():  # type: ignore[operator]
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def test_a_second_up_is_refused_and_told_who_holds_the_lock(light: Hosts) -> None:
    file = str(light.cluster_yaml(4))
    first = start(light, "up", "--nodes", file)
    try:
        wait_for(lambda: all((host.state / "started").exists() for host in light.hosts), first)
        second = run(light, "up", "--nodes", file)
        assert second.returncode == 4
        assert f"locked by `up` of root on {__import__('socket').gethostname()}, process {first.pid}" in second.stderr
        down = run(light, "down", "--nodes", file)
        assert down.returncode == 4
        assert "locked by `up`" in down.stderr
    finally:
        first.send_signal(signal.SIGINT)
        code = first.wait(60)
    assert code == 130
    assert not any((host.state / "started").exists() for host in light.hosts)


def test_a_killed_controller_leaves_no_lock(light: Hosts) -> None:
    file = str(light.cluster_yaml(4))
    first = start(light, "up", "--nodes", file)
    wait_for(lambda: all((host.state / "started").exists() for host in light.hosts), first)
    first.kill()
    first.communicate()
    time.sleep(1)
    done = run(light, "down", "--nodes", file)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wait", [0.05, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5])
def test_ctrl_c_at_any_moment_leaves_nothing(light: Hosts, wait: float) -> None:
    process = start(light, "up", "--nodes", str(light.cluster_yaml(4)))
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    early = not any(host.logins() for host in light.hosts)
    try:
        _, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        # Python can lose an interrupt that meets C code of its own while it imports: whoever sees that presses again.
        assert early
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    # While Python still imports, nothing is begun that could be undone.
    imports = not any(host.logins() for host in light.hosts)
    assert process.returncode == 130 or (imports and process.returncode < 0), err
    assert "Traceback" not in err or imports
    for host in light.hosts:
        assert not (host.state / "started").exists()
        ran = [call for call in host.calls() if call.startswith("run ")]
        assert not ran or host.calls()[-1].startswith("rm --force")


def test_a_launch_costs_one_login_and_five_docker_calls_a_node(light: Hosts) -> None:
    process = start(light, "up", "--nodes", str(light.cluster_yaml(4)))
    wait_for(lambda: all(len(host.calls()) >= 5 for host in light.hosts), process)
    time.sleep(1.5)
    calls = [host.calls() for host in light.hosts]
    logins = [host.logins() for host in light.hosts]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert [len(one) for one in calls] == [5] * 4, calls
    assert logins == [1] * 4
