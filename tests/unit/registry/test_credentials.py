"""The logins of Docker's config.json."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.registry.credentials import Login, kept, login

ENTRY = {"auth": base64.b64encode(b"me:a:b").decode()}


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_a_login_is_found_however_its_address_is_written(address: str, host: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"other.io": {}, address: ENTRY}}))
    assert login(host, {"DOCKER_CONFIG": str(tmp_path)}) == Login("me", "a:b")
    assert login("other.io", {"DOCKER_CONFIG": str(tmp_path)}) is None


def test_an_identity_token_is_no_password() -> None:
    found = kept({"auths": {"r.io": {"auth": "", "identitytoken": "secret"}}}, "r.io", Path("x"))
    assert found == Login(identity="secret")
    assert "secret" not in repr(found)


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert login("ghcr.io", {"DOCKER_CONFIG": str(tmp_path / "none")}) is None


@pytest.mark.parametrize(
    "text", ["{", '{"auths": {"ghcr.io": {"auth": "%%"}}}', '{"auths": {"ghcr.io": {"auth": "bWU="}}}']
)
def test_a_broken_file_is_said_with_its_place_and_without_its_content(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json") as caught:
        login("ghcr.io", {"DOCKER_CONFIG": str(tmp_path)})
    assert "bWU=" not in caught.value.message
