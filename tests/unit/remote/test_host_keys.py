"""No connection is made to a host whose key is not known, on no way."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest

from deploy.cluster.spec import Node, Ssh
from deploy.remote import ssh


def test_nodes_and_the_jump_hosts_on_the_way_are_refused_unless_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host spark*\n  ProxyJump first,second\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    key = paramiko.RSAKey.generate(1024)
    (tmp_path / "known_hosts").write_text(f"spark1 {key.get_name()} {key.get_base64()}\n")
    known = str(tmp_path / "known_hosts")
    found = ssh._connection(Node(host="spark1", fabric="10.0.0.1"), Ssh(known_hosts=known))
    way = [found, found.gateway, found.gateway.gateway]
    assert [one.host for one in way] == ["spark1", "first", "second"]
    assert {type(one.client._policy) for one in way} == {paramiko.RejectPolicy}
    assert all("spark1" in one.client.get_host_keys() for one in way)


def test_only_one_module_logs_in_and_none_takes_unknown_keys() -> None:
    root = Path(ssh.__file__).resolve().parents[1]
    sources = {path: path.read_text() for path in root.rglob("*") if path.suffix in (".py", ".sh")}
    assert [path.name for path, text in sources.items() if "import paramiko" in text] == ["ssh.py"]
    for careless in ("AutoAddPolicy", "WarningPolicy", "StrictHostKeyChecking=no", "accept-new", "ssh-keyscan"):
        assert [path for path, text in sources.items() if careless in text] == []
