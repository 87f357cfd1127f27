"""An order, wheels and files for the tests of this room."""

from __future__ import annotations

import hashlib

from deploy.cluster.spec import Image
from deploy.image.context import Context, ContextFile
from deploy.image.order import Order
from deploy.supply.content import File
from deploy.supply.sbom import Bill, Wheel
from deploy.supply.statement import Subject

NAME, DIGEST = "ghcr.io/owner/image", f"sha256:{'1' * 64}"
SUBJECT = Subject(NAME, DIGEST)
BASE = f"lmsysorg/sglang:spark@sha256:{'2' * 64}"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TABLE = "sgl-workspace/sglang/python/sglang/srt/layers/moe/fused_moe_triton/configs/triton_3_5_0/E=1.json"
PARSER = "sgl-workspace/sglang/python/sglang/srt/function_call/function_call_parser.py"
SELF_TEST = "opt/sglang-spark/deploy/inside/selftest.py"
WHEEL = Wheel("nvidia_nccl_cu13-2.30.7-py3-none-manylinux_2_18_aarch64.whl", "3" * 64)


def file(content: bytes) -> File:
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return File(len(content), sha1, hashlib.sha256(content).hexdigest())


FILES = {TABLE: file(b"table"), PARSER: file(b"parser"), SELF_TEST: file(b"test")}
BILL = Bill(SUBJECT, BASE, FILES, "2025-11-01T03:02:03.123456789+02:00")


def order(revision: str = COMMIT, source: str = "https://github.com/owner/image") -> Order:
    arguments = {"SOURCE": source, "REVISION": revision, "VERSION": "0.5.4-abc", "RECIPE": "4" * 64}
    context = Context({"configs/E=1.json": ContextFile(b"table")}, "4" * 64)
    return Order(Image(repository=NAME, base=BASE), context, f"{NAME}:0.5.4-abc", arguments)
