"""The only home of cryptography and PyNaCl: ECDSA keys on P-256 from files, signing and verifying. Keeps no secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from deploy.errors import ConfigError

PASSWORD = "COSIGN_PASSWORD"
"""The variable that has a key's password where no other is named; cosign's own."""
MAKE = "make a pair with `cosign generate-key-pair`, or by openssl as docs/supply-chain.md says"
_COSIGN = (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", b"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----")
_ALGORITHM = ec.ECDSA(hashes.SHA256())
_COSTLIEST = 1 << 20
"""scrypt's N, with which it takes a gigabyte."""


class PublicKey:
    """What a signature is held against."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Is this a signature (ASN.1) of the content by this key?"""
        try:
            self._key.verify(signature, content, _ALGORITHM)
        except InvalidSignature:
            return False
        return True

    @property
    def fingerprint(self) -> str:
        """sha256:… of the key as DER, which names it to people."""
        made = hashes.Hash(hashes.SHA256())
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        made.update(self._key.public_bytes(serialization.Encoding.DER, kind))
        return f"sha256:{made.finalize().hex()}"


class PrivateKey:
    """What signs; it has its public key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key, self.public = key, PublicKey(key.public_key())

    def sign(self, content: bytes) -> bytes:
        """ECDSA over SHA-256, as ASN.1."""
        return self._key.sign(content, _ALGORITHM)


def public(path: Path) -> PublicKey:
    """A public key in PEM. Raises ConfigError."""
    raw = _read(path)
    try:
        key = serialization.load_pem_public_key(raw)
    except ValueError:
        hint = "name the public key (cosign.pub), not the private one" if b"PRIVATE" in raw else MAKE
        raise ConfigError(f"{path}: is no public key in PEM", hint) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path}: is no ECDSA key on P-256", MAKE)
    return PublicKey(key)


def private(path: Path, environ: Mapping[str, str], variable: str = PASSWORD) -> PrivateKey:
    """A private key: cosign's own file or PEM, its password, where it has one, in a variable. Raises ConfigError."""
    raw, password = _read(path), environ.get(variable)
    if raw.lstrip().startswith(_COSIGN):
        key = _loaded(path, _decrypted(path, raw, _given(path, password, variable)), None, pem=False)
    else:
        secret = _given(path, password, variable) if b"ENCRYPTED" in raw else None
        key = _loaded(path, raw, secret, pem=True)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path}: is no ECDSA key on P-256", MAKE)
    return PrivateKey(key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name the file of the key") from None


def _given(path: Path, password: str | None, variable: str) -> bytes:
    if password is None:
        hint = f"`read -rs {variable}; export {variable}` sets it unseen"
        raise ConfigError(f"{path}: has a password, and {variable} is not set", hint)
    return password.encode()


def _loaded(path: Path, raw: bytes, password: bytes | None, *, pem: bool) -> Any:
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        return load(raw, password)
    except (ValueError, TypeError):
        what = "cannot be opened with this password" if password is not None else "is no private key in PEM"
        raise ConfigError(f"{path}: {what}", MAKE) from None


def _decrypted(path: Path, raw: bytes, password: bytes) -> bytes:
    """PKCS #8 in DER from cosign's file: scrypt makes the key of a NaCl secret box. Raises ConfigError."""
    try:
        found = json.loads(base64.b64decode(b"".join(raw.split(b"-----")[2].split())))
        kdf, cipher = found["kdf"], found["cipher"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise ValueError(f"{kdf['name']} and {cipher['name']}")
        salt, nonce = (base64.b64decode(one) for one in (kdf["salt"], cipher["nonce"]))
        cost = kdf["params"]
        if cost["N"] * cost["r"] > _COSTLIEST * 8:
            raise ValueError(f"scrypt with N={cost['N']}")
        made = Scrypt(salt, 32, cost["N"], cost["r"], cost["p"]).derive(password)
        return SecretBox(made).decrypt(base64.b64decode(found["ciphertext"]), nonce)
    except CryptoError:
        raise ConfigError(f"{path}: cannot be opened with this password", "is it that of this key?") from None
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path}: is no key file of cosign's: {error}", MAKE) from None
