"""What is refused before a registry is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli.image import build
from deploy.cli.supply import image
from deploy.errors import ConfigError

IDENTITY = ("--identity", "me", "--issuer", "https://issuer")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify",), "which image"),
        (("verify", "ghcr.io/o/n", "--identity", "me"), "an identity is --identity and --issuer"),
        (("verify", "ghcr.io/o/n", "--key", "none.pub"), "none.pub: No such file"),
        (("sign", "ghcr.io/o/n"), "who signs"),
        (("sign", "ghcr.io/o/n", "--key", "none.key", "--keyless"), "who signs"),
        (("sign", "ghcr.io/o/n", "--key", "none.key"), "none.key: No such file"),
        (("attest", "ghcr.io/o/n", "--nodes", "none.yaml"), "none.yaml: No such file"),
    ],
)
def test_a_mistake_is_named_before_anything_is_asked(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(image, words).exception
    assert isinstance(found, ConfigError)
    assert said in found.message
    assert found.hint


def test_a_key_and_an_identity_are_not_both_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.supply.key.public", lambda path: path)
    found = CliRunner().invoke(image, ("verify", "ghcr.io/o/n", "--key", "x", *IDENTITY)).exception
    assert isinstance(found, ConfigError)
    assert "name one of them" in found.hint


@pytest.mark.parametrize("words", [("--attest",), ("--sign-key", "x"), ("--keyless",)])
def test_what_is_kept_in_a_registry_needs_a_push(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.cli.image._seal", lambda *_, **__: object())
    done = CliRunner().invoke(build, words)
    assert done.exit_code == 2
    assert "need --push" in done.stderr
