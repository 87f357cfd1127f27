"""A base of a few megabytes, made without a Docker Engine: SGLang's real tree in a layer, and nothing that runs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.image.dockerfile import TREE
from deploy.image.layer import Entry, file, folder, hidden, write
from deploy.registry.manifest import LAYERS, OCI, OCI_INDEX, Descriptor, Manifest, compact, sha256
from deploy.registry.repository import Repository, of_bytes
from tests.integration.trees import unpack

CONFIG = "application/vnd.oci.image.config.v1+json"
ROOT = TREE.lstrip("/")
SITE = "usr/local/lib/python3.12/dist-packages"
CACHED = f"{ROOT}/sglang/srt/function_call/__pycache__/function_call_parser.cpython-312.pyc"
PARTS = ("function_call", "parser", "entrypoints/openai", "layers/moe/fused_moe_triton")
"""What is taken of the tree: the folders in which something is patched."""
Made = tuple[Sequence[Entry], str]
"""The entries of a layer, and its line in the history."""


def layers(version: str, to: Path, changes: Mapping[str, bytes] | None = None) -> list[Made]:
    """Below a system with an NCCL, then SGLang's tree with `changes`, and on top what later steps left behind."""
    unpack(version, to)
    srt = to / "sglang" / "srt"
    found = {str(one.relative_to(to)): one.read_bytes() for part in PARTS for one in (srt / part).glob("*.py")}
    found |= dict(changes or {})
    parents = {str(parent) for path in found for parent in Path(path).parents if str(parent) != "."}
    copied = [folder(f"{ROOT}/{one}") for one in parents] + [file(f"{ROOT}/{path}", one) for path, one in found.items()]
    old = f"{SITE}/nvidia_nccl_cu13-2.28.3.dist-info"
    below = [folder("opt"), folder(SITE), file(f"{old}/RECORD", b""), file(f"{SITE}/gone/x", b"")]
    return [
        (below, "/bin/sh -c pip install torch"),
        (copied, "COPY . /sgl-workspace/sglang # buildkit"),
        ([file(CACHED, b"stale"), hidden(f"{SITE}/gone")], "/bin/sh -c pip install -e python"),
    ]


def push(target: Repository, made: Sequence[Made], platform: str, tag: str) -> str:
    """Put it there as an index with one image for the platform; the digest of the index."""
    system, architecture = platform.split("/")
    packed = [_sent(target, entries) for entries, _ in made]
    config = {
        "created": "2025-11-11T11:11:11Z",
        "architecture": architecture,
        "os": system,
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Labels": {"kept": "yes"}},
        "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in packed]},
        "history": [{"created_by": line} for _, line in made] + [{"created_by": "ENV x=y", "empty_layer": True}],
    }
    raw = json.dumps(config).encode()
    blob = Descriptor(CONFIG, sha256(raw), len(raw))
    target.upload(blob, of_bytes(raw))
    parts = {"config": blob.content, "layers": [one.content for one, _ in packed]}
    manifest = Manifest(compact({"schemaVersion": 2, "mediaType": OCI, **parts}), OCI)
    target.put(manifest.raw, OCI, manifest.digest)
    inner = Descriptor(OCI, manifest.digest, len(manifest.raw)).content
    index = [{**inner, "platform": {"os": system, "architecture": architecture}}]
    return target.put(compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index}), OCI_INDEX, tag)


def _sent(target: Repository, entries: Sequence[Entry]) -> tuple[Descriptor, str]:
    buffer = io.BytesIO()
    packed = write(entries, buffer)
    layer = Descriptor(LAYERS[OCI], packed.digest, packed.size)
    if not target.has(layer.digest):
        target.upload(layer, of_bytes(buffer.getvalue()))
    return layer, packed.diff_id
