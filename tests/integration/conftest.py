"""Real parts for integration tests; where one is missing the test is skipped and says what to install."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from benchmarks.plain_hosts import Hosts, plain_hosts
from tests.integration.lab import Lab, close_lab, open_lab, owned


@pytest.fixture(scope="session")
def sshd_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    missing = [name for name in ("/usr/sbin/sshd", "ssh-keygen", "ip", "ss") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, openssh-server and iproute2 (missing: {', '.join(missing) or 'root'})")
    with plain_hosts(4, tmp_path_factory.mktemp("hosts")) as hosts:
        yield hosts


@pytest.fixture
def light(sshd_hosts: Hosts) -> Hosts:
    """Four light hosts that have seen nothing yet."""
    for host in sshd_hosts.hosts:
        host.forget()
    return sshd_hosts


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This machine's Docker Engine, without the labs of test runs that were killed."""
    missing = [name for name in ("docker", "debootstrap", "openssl", "ssh-keygen") if not shutil.which(name)]
    answers = not missing and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    if missing or not answers:
        pytest.skip(f"needs a Docker Engine (`sh deploy/lab/host.sh start`); missing: {', '.join(missing) or 'it'}")
    with owned(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def session_lab(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all tests; it goes also when its start fails half-way."""
    folder = tmp_path_factory.mktemp("lab")
    try:
        lab = open_lab(folder)
        lab.good("build", "--push", "--nodes", lab.file)
        yield lab
        lab.fleet.close()
    finally:
        close_lab(folder)


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """The lab, with no rank on it before and none left after."""
    yield session_lab
    if session_lab.containers():
        session_lab.run("down", "--grace", "0", "--nodes", session_lab.file)
        assert session_lab.containers() == []
