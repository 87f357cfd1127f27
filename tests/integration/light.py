"""Running the command line against light hosts: real sshd, a counting stand-in for docker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.plain_hosts import Hosts

ROOT = Path(__file__).resolve().parents[2]
CLI = (sys.executable, str(ROOT / "build-and-deploy.py"))


def run(hosts: Hosts, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """One command of the product, in the hosts' network."""
    argv = (*hosts.inside, *CLI, *words)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def start(hosts: Hosts, *words: str) -> subprocess.Popen[str]:
    argv = (*hosts.inside, *CLI, *words)
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
