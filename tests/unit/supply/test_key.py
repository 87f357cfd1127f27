"""Keys from files: PEM in its kinds, and cosign's own, made here as its source describes it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.secret import SecretBox

from deploy.errors import ConfigError
from deploy.supply.key import private, public

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, SEC1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
PLAIN, LOCKED = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"word")
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def of_cosign(password: bytes, n: int = 1 << 12, kind: str = "SIGSTORE") -> bytes:
    salt, nonce = b"s" * 32, b"n" * 24
    secret = Scrypt(salt, 32, n, 8, 1).derive(password)
    box = SecretBox(secret).encrypt(KEY.private_bytes(DER, PKCS8, PLAIN), nonce).ciphertext
    said = {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(box).decode(),
    }
    lines = base64.encodebytes(json.dumps(said).encode())
    begin, end = (f"-----{word} ENCRYPTED {kind} PRIVATE KEY-----\n".encode() for word in ("BEGIN", "END"))
    return begin + lines + end


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.mark.parametrize(
    "content",
    [
        KEY.private_bytes(PEM, PKCS8, PLAIN),
        KEY.private_bytes(PEM, SEC1, PLAIN),
        KEY.private_bytes(PEM, PKCS8, LOCKED),
        KEY.private_bytes(PEM, SEC1, LOCKED),
        of_cosign(b"word"),
        of_cosign(b"word", kind="COSIGN"),
    ],
)
def test_every_kind_of_file_signs_and_its_public_key_verifies(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    signature = private(file, {"MINE": "word"}, "MINE").sign(b"content")
    file.write_bytes(PUBLIC)
    key = public(file)
    assert key.verifies(signature, b"content")
    assert not key.verifies(signature, b"other content")
    assert not key.verifies(b"no signature", b"content")
    assert not key.verifies(b"", b"content")


@pytest.mark.parametrize("content", [of_cosign(b"word"), KEY.private_bytes(PEM, PKCS8, LOCKED)])
def test_a_password_is_asked_for_by_the_name_of_its_variable_and_never_shown(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="MINE is not set"):
        private(file, {}, "MINE")
    with pytest.raises(ConfigError, match="cannot be opened with this password") as caught:
        private(file, {"MINE": "wrong-word"}, "MINE")
    assert "wrong-word" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        PUBLIC,
        ec.generate_private_key(ec.SECP384R1()).private_bytes(PEM, PKCS8, PLAIN),
        ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, PLAIN),
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        of_cosign(b"word").replace(b"-----END", b"=====END"),
    ],
)
def test_what_is_no_such_private_key_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError):
        private(file, {"COSIGN_PASSWORD": "other"})


def test_a_file_that_asks_for_gigabytes_is_refused(file: Path) -> None:
    file.write_bytes(of_cosign(b"word"))
    said = json.loads(base64.b64decode(b"".join(file.read_bytes().splitlines()[1:-1])))
    said["kdf"]["params"]["N"] = 1 << 24
    lines = base64.encodebytes(json.dumps(said).encode())
    file.write_bytes(b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n" + lines + b"-----END X-----\n")
    with pytest.raises(ConfigError, match="scrypt with N=16777216"):
        private(file, {"COSIGN_PASSWORD": "word"})


def test_a_private_key_in_the_place_of_a_public_one_is_told(file: Path, tmp_path: Path) -> None:
    file.write_bytes(KEY.private_bytes(PEM, PKCS8, PLAIN))
    with pytest.raises(ConfigError) as caught:
        public(file)
    assert "not the private one" in caught.value.hint
    with pytest.raises(ConfigError, match="No such file"):
        public(tmp_path / "none")
