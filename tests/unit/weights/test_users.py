"""Who uses a model: what is not known counts as use."""

from __future__ import annotations

import json

import pytest

from deploy.container import CLUSTER
from deploy.weights.users import read, users

HUB = "/home/ana/.cache/huggingface/hub"


def container(*args: str, rank: bool = True, mount: str = "/home/ana/.cache/huggingface") -> str:
    labels = {CLUSTER: "sparks"} if rank else {}
    return json.dumps({"name": "/one", "args": args, "labels": labels, "mounts": [{"Source": mount}]})


@pytest.mark.parametrize(
    ("line", "used"),
    [
        (container("-m", "sglang.launch_server", "--model-path", "zai-org/GLM-4.7-FP8"), True),
        (container("--model-path", "/root/.cache/huggingface/hub/models--zai-org--GLM-4.7-FP8/snapshots/x"), True),
        (container("--speculative-draft-model-path", "zai-org/GLM-4.7-FP8"), True),
        (container("--model-path", "other/model"), False),
        (container("--model-path", "zai-org/GLM-4.7-FP8", mount="/srv/else"), False),
        (container("sleep", rank=False), True),
        (container("sleep", rank=False, mount="/"), True),
        (container("sleep", rank=False, mount=f"{HUB}/models--zai-org--GLM-4.7-FP8/blobs"), True),
        (container("sleep", rank=False, mount="/home/ana/.cache/huggingface/hub/models--a--b"), False),
    ],
)
def test_a_rank_is_believed_and_others_are_not(line: str, used: bool) -> None:
    assert users(read(f"{line}\n"), [HUB], "zai-org/GLM-4.7-FP8") == (("one",) if used else ())


def test_a_folder_with_two_names_is_known_by_both() -> None:
    line = container("sleep", rank=False, mount="/data/hf")
    assert users(read(line), [HUB], "a/b") == ()
    assert users(read(line), [HUB, "/data/hf/hub"], "a/b") == ("one",)
