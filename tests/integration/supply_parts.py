"""An image in a real registry that was attested and signed, and what may be done to it."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.cluster.spec import Cluster, Image, Node
from deploy.image import append, patched
from deploy.image.dockerfile import TREE
from deploy.image.layer import file, write
from deploy.image.order import Order, order
from deploy.registry.client import Registry
from deploy.registry.manifest import CONFIGS, LAYERS, OCI, Descriptor, compact, sha256
from deploy.registry.name import parse
from deploy.registry.repository import Repository, of_bytes
from deploy.supply.key import PublicKey, public
from deploy.workflow.attest import Seal, seal, sealed
from deploy.workflow.verify import Asked, verify
from tests.integration.image_parts import registry
from tests.integration.trees import unpack
from tests.operation import run

USER, PASSWORD = "builder", "marker-" + secrets.token_hex(8)
VERSION, WORD = "0.5.4.post2", "word-" + secrets.token_hex(8)
CLI = (sys.executable, str(Path(__file__).resolve().parents[2] / "build-and-deploy.py"))


@dataclass(frozen=True)
class World:
    """A registry with a base, and an image on it that was pushed, attested and signed by `key`."""

    folder: Path
    order: Order
    reference: str
    base: str

    @property
    def digest(self) -> str:
        return parse(self.reference).digest

    @property
    def key(self) -> PublicKey:
        return public(self.folder / "mine.pub")

    @property
    def seal(self) -> Seal:
        return seal(str(self.folder / "mine.pem"), {"MINE": WORD}, variable="MINE")

    @staticmethod
    def cluster(image: Image) -> Cluster:
        """One that asks for this image, of a node that nobody contacts."""
        return Cluster(name="x", image=image, nodes=[Node(host="spark1", fabric="192.168.101.11")])

    @contextmanager
    def repository(self, reference: str = "") -> Iterator[Repository]:
        name = parse(reference or self.reference)
        with Registry(name.host) as made:
            yield Repository(made, name.repository)

    def verified(self, reference: str = "", **more: object) -> dict[str, tuple[str, str]]:
        """(outcome, what was seen) of each check."""
        words = {"cluster": self.cluster(self.order.image), "key": self.key} | more
        _, found = run(verify(Asked(reference or self.reference, **words)))  # type: ignore[arg-type]
        return {one.id: (one.outcome, one.seen) for one in found.checks}

    def failed(self, reference: str = "", **more: object) -> set[str]:
        return {name for name, (outcome, _) in self.verified(reference, **more).items() if outcome == "failed"}


def key_pair(folder: Path, name: str, password: str = "") -> None:
    pem, out = folder / f"{name}.pem", folder / f"{name}.pub"
    cipher = ("-aes256", "-pass", "env:WORD") if password else ()
    made = ("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", *cipher, "-out", str(pem))
    words = ("-passin", "env:WORD") if password else ()
    environ = {**os.environ, "WORD": password}
    subprocess.run(made, check=True, capture_output=True, env=environ)
    subprocess.run(("openssl", "pkey", "-in", pem, *words, "-pubout", "-out", out), check=True, env=environ)


def put_base(repository: Repository, folder: Path, root: Path) -> None:
    """In the place of a base: the files of SGLang that are patched, and nothing that could run."""
    tree = unpack(VERSION, folder)
    paths = patched.manifest(root / "patches").edits
    entries = [file(f"{TREE.lstrip('/')}/{path}", (tree / path).read_bytes()) for path in paths]
    packed = write(entries, buffer := io.BytesIO())
    layer = Descriptor(LAYERS[OCI], packed.digest, packed.size)
    roots = {"type": "layers", "diff_ids": [packed.diff_id]}
    about = {"os": "linux", "architecture": "arm64", "created": "2025-11-01T01:02:03.123456789Z", "config": {}}
    raw = compact({**about, "rootfs": roots, "history": [{"created_by": "COPY . /sgl-workspace/sglang"}]})
    config = Descriptor(CONFIGS[OCI], sha256(raw), len(raw))
    repository.upload(layer, of_bytes(buffer.getvalue()))
    repository.upload(config, of_bytes(raw))
    manifest = {"schemaVersion": 2, "mediaType": OCI, "config": config.content, "layers": [layer.content]}
    repository.put(compact(manifest), OCI, "spark")


@contextmanager
def pushed(folder: Path) -> Iterator[World]:
    """A registry with a base and an image on it; everything is below `folder`."""
    root = Path(__file__).resolve().parents[2]
    with registry(folder, USER, PASSWORD) as host, pytest.MonkeyPatch.context() as patch:
        (folder / "docker").mkdir()
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (folder / "docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        patch.setenv("DOCKER_CONFIG", str(folder / "docker"))
        with Registry(host) as made:
            put_base(Repository(made, "base/sglang"), folder, root)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        image = Image(base=f"{host}/base/sglang:spark", repository=f"{host}/own/image", sglang=VERSION, nccl=None)
        wanted = order(image, root)
        _, digest = run(append.build(wanted, folder / "none"))
        key_pair(folder, "mine", WORD)
        key_pair(folder, "other")
        one = World(folder, wanted, f"{image.repository}@{digest}", image.base)
        run(sealed(wanted, one.reference, one.seal, {}))
        yield one
