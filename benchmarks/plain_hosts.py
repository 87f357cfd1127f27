"""Many light hosts: a real sshd each, in a network namespace of their own, with a counting stand-in for `docker`.

The stand-in runs no container. It answers the calls of a launch as Docker would on a DGX Spark, counts them, and
keeps the names of "started" ranks, so that what is measured is the launcher and SSH, not Docker.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DIGEST = "sha256:" + "5c" * 32
_DOCKER = """#!/bin/sh
# A counting stand-in for docker: runs no container.
# The pulse looks each second, and under a time limit of its own: its looks are counted apart.
case "$(cat /proc/$PPID/comm) $1" in
  "timeout ps"|"timeout inspect") echo "$*" >> "$STANDIN_STATE/looks" ;;
  *) echo "$*" >> "$STANDIN_STATE/calls" ;;
esac
if [ -e "$STANDIN_STATE/fail-$1" ]; then cat "$STANDIN_STATE/fail-$1" >&2; exit 1; fi
case "$1 $2" in
  "info "*) echo '{"ServerVersion":"stand-in","Runtimes":{"nvidia":{}}}' ;;
  "image ls") [ -e "$STANDIN_STATE/no-image" ] || echo 'image stand-in DIGEST self-tested' ;;
  "ps "*) [ -e "$STANDIN_STATE/started" ] && echo 0123456789ab ;;
  "run --rm") if [ -e "$STANDIN_STATE/self-test" ]; then cat "$STANDIN_STATE/self-test"; exit 1; fi
    echo '{"format":1,"passed":true,"checks":[]}' ;;
  "run "*) [ ! -e "$STANDIN_STATE/slow-run" ] || sleep 3
    for word; do case $word in io.sglang-spark.rank=*) rank=${word#*=} ;; esac; done
    echo "$rank" > "$STANDIN_STATE/started"; echo 0123456789ab ;;
  "logs --follow") while [ -e "$STANDIN_STATE/started" ]; do sleep 0.5; done ;;
  "inspect "*) read -r rank < "$STANDIN_STATE/started" || exit 1
    labels="{\\"io.sglang-spark.rank\\":\\"$rank\\"}"
    state='{"Status":"running","StartedAt":"2026-01-01T00:00:00Z","ExitCode":0,"OOMKilled":false}'
    echo "container {\\"name\\":\\"rank$rank\\",\\"labels\\":$labels,\\"state\\":$state}" ;;
  "rm "*|"kill "*|"stop "*) rm -f "$STANDIN_STATE/started" ;;
esac
exit 0
"""
_NAMESPACE = "plain-"
# They have no RDMA device, and one interface for everything.
_ALLOWED = "doctor: {allow: [rdma.device, fabric.not-management]}\n"
_SMI = """#!/bin/sh
# A stand-in for nvidia-smi.
case "$*" in *--query-gpu=*) echo 'NVIDIA GB10, 580.95.05' ;; esac
"""


@dataclass(frozen=True)
class Host:
    """One sshd: its address (SSH and fabric), and the folder where its `docker` counts."""

    address: str
    state: Path
    log: Path

    def calls(self) -> list[str]:
        """The argument lines of every docker call so far."""
        file = self.state / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def logins(self) -> int:
        return self.log.read_text(errors="replace").count("Accepted publickey")

    def fail(self, verb: str, text: str) -> None:
        """Make `docker VERB` fail with this text until `forget`."""
        (self.state / f"fail-{verb}").write_text(text)

    def forget(self) -> None:
        """Start to count anew."""
        for file in self.state.iterdir():
            if file.is_file():
                file.unlink()
        self.log.write_text("")


@dataclass(frozen=True)
class Hosts:
    """All hosts, and the prefix that runs a command where they can be reached."""

    namespace: str
    folder: Path
    hosts: tuple[Host, ...]

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)

    def cluster_yaml(self, count: int, extra: str = "") -> Path:
        """A cluster.yaml of the first `count` hosts."""
        nodes = "".join(f"  - {{host: {one.address}, fabric: {one.address}}}\n" for one in self.hosts[:count])
        file = self.folder / f"cluster-{count}.yaml"
        file.write_text(
            f"name: plain\nimage: {{repository: stand-in, platform: linux/{machine()}}}\nnodes:\n{nodes}"
            f"ssh: {{user: root, identity: {self.folder}/id, known_hosts: {self.folder}/known_hosts}}\n"
            f"{_ALLOWED}{extra}"
        )
        return file


def machine() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


@contextmanager
def plain_hosts(count: int, folder: Path) -> Iterator[Hosts]:
    """Start `count` hosts; needs root. Everything is gone afterwards, also after a failure."""
    _clear_abandoned()
    namespace = f"{_NAMESPACE}{os.getpid()}"
    _call("ip", "netns", "add", namespace)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        _call("ip", "-n", namespace, "link", "set", "lo", "up")
        _keys(folder)
        hosts = tuple(_host(folder, number) for number in range(1, count + 1))
        for host in hosts:
            _call("ip", "-n", namespace, "addr", "add", f"{host.address}/32", "dev", "lo")
            processes.append(_sshd(namespace, folder, host))
        _known(folder, hosts)
        _listening(namespace, count)
        yield Hosts(namespace, folder, hosts)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _call("ip", "netns", "delete", namespace)


def _clear_abandoned() -> None:
    """End the hosts of runs that were killed: their namespaces carry the id of a process that is no more."""
    for line in _call("ip", "netns", "list").splitlines():
        name = line.split()[0]
        owner = name.removeprefix(_NAMESPACE)
        if owner != name and not Path("/proc", owner).exists():
            for process in _call("ip", "netns", "pids", name).split():
                os.kill(int(process), signal.SIGKILL)
            _call("ip", "netns", "delete", name)


def _call(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def _keys(folder: Path) -> None:
    for name in ("id", "host"):
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    tools = folder / "bin"
    tools.mkdir()
    for name, text in (("docker", _DOCKER.replace("DIGEST", DIGEST)), ("nvidia-smi", _SMI)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (folder / "meminfo").write_text("MemAvailable: 120586240 kB\n")
    Path("/run/sshd").mkdir(exist_ok=True)


def _host(folder: Path, number: int) -> Host:
    state = folder / f"host{number}"
    state.mkdir()
    return Host(f"127.0.1.{number}", state, folder / f"sshd{number}.log")


def _sshd(namespace: str, folder: Path, host: Host) -> subprocess.Popen[bytes]:
    options = [
        f"ListenAddress={host.address}", "Port=22", f"HostKey={folder}/host", "PidFile=none", "UsePAM=no",
        f"AuthorizedKeysFile={folder}/authorized_keys", "StrictModes=no", "PermitRootLogin=prohibit-password",
        "PasswordAuthentication=no", "UseDNS=no", "LogLevel=VERBOSE",
        f"SetEnv=PATH={folder}/bin:/usr/bin:/bin:/usr/sbin STANDIN_STATE={host.state} HOME={host.state} "
        f"SGLANG_SPARK_MEMINFO={folder}/meminfo",
    ]  # fmt: skip
    argv = ["ip", "netns", "exec", namespace, "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null"]
    argv += [word for option in options for word in ("-o", option)]
    return subprocess.Popen(argv, stderr=host.log.open("ab"), stdin=subprocess.DEVNULL, start_new_session=True)


def _known(folder: Path, hosts: tuple[Host, ...]) -> None:
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text("".join(f"{host.address} {key}\n" for host in hosts))


def _listening(namespace: str, count: int) -> None:
    for _ in range(100):
        if _call("ip", "netns", "exec", namespace, "ss", "-ltnH").count(":22 ") >= count:
            return
        time.sleep(0.1)
    raise TimeoutError("sshd does not listen")
