"""What the lab's parts trust each other by: keys, certificates, one registry login. Texts and command lines only."""

from __future__ import annotations

import base64
import json

from deploy.lab.layout import Layout

USER = "lab"
_DAYS = "365"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def ssh_key(layout: Layout) -> tuple[str, ...]:
    """Makes the key pair that logs in to every node."""
    return ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sglang-spark lab", "-f", str(layout.identity))


def authority(key: str, certificate: str) -> tuple[str, ...]:
    """Makes the lab's own certificate authority."""
    use = ("-addext", "keyUsage=critical,keyCertSign")
    return (
        "openssl",
        "req",
        "-x509",
        *_CURVE,
        "-days",
        _DAYS,
        "-subj",
        "/CN=sglang-spark lab",
        *use,
        *_out(key, certificate),
    )


def server_certificate(layout: Layout, authority_files: tuple[str, str], key: str, certificate: str) -> tuple[str, ...]:
    """Makes the registry's certificate, for its address, signed by the authority (key, certificate)."""
    address = f"subjectAltName=IP:{layout.registry_address}"
    signed = ("-CAkey", authority_files[0], "-CA", authority_files[1], "-addext", "basicConstraints=CA:FALSE")
    subject = ("-subj", "/CN=sglang-spark lab registry", "-addext", address)
    return ("openssl", "req", "-x509", *_CURVE, "-days", _DAYS, *signed, *subject, *_out(key, certificate))


def _out(key: str, certificate: str) -> tuple[str, ...]:
    return ("-keyout", key, "-out", certificate)


def docker_config(registry: str, password: str) -> str:
    """Docker's config.json with one login."""
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": login}}}, indent=2) + "\n"


def engine_trust(layout: Layout) -> str:
    """The folder where this machine's engine looks for the authority of the lab's registry."""
    return f"/etc/docker/certs.d/{layout.registry}"


def known_hosts(host_keys: dict[str, str]) -> str:
    """A known_hosts file from address to "TYPE KEY"."""
    return "".join(f"{address} {key}\n" for address, key in host_keys.items())
