"""Real parts for integration tests; where one is missing the test is skipped and says what to install."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from benchmarks.plain_hosts import Hosts, plain_hosts


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
