"""A model on its way to real nodes: once from a stand-in for the hub, then from node to node, and off again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks.hub import COMMIT, Hub, model, serving
from deploy.weights.cache import folder_name
from tests.integration.lab import Lab

pytestmark = pytest.mark.integration
NODES = 3
FOLDER = f"$HOME/.cache/huggingface/hub/{folder_name('lab/random')}"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture
def hub(lab: Lab) -> Iterator[tuple[Hub, str]]:
    """The hub, and a cluster.yaml that asks for its model; nothing of that is left on a node."""
    found = Hub(model(3, 4_000_000))
    with serving(found, lab.fleet.nodes[0].host.rpartition(".")[0] + ".1") as url:
        file = lab.cluster(NODES, model={"path": found.repository}, environment={"HF_ENDPOINT": url})
        try:
            yield found, file
        finally:
            for rank in range(NODES):
                lab.sh(rank, f"rm -rf {FOLDER}")


def received(lab: Lab, rank: int) -> int:
    return int(lab.sh(rank, "cat /sys/class/net/eth0/statistics/rx_bytes"))


def test_a_model_comes_once_from_the_hub_and_goes_from_node_to_node(lab: Lab, hub: tuple[Hub, str]) -> None:
    at, file = hub
    before = received(lab, 2)
    told = json.loads(lab.good("model", "fetch", "-q", "--json", "--nodes", file).stdout)
    into = received(lab, 2) - before
    assert told["commit"] == COMMIT
    assert told["bytes"] == NODES * told["size"]
    assert told["size"] <= into < 1.1 * told["size"], "the last node got it once, and only from the one before it"
    assert at.sent == told["size"] == told["downloaded"]
    assert lab.sh(2, f"cat {FOLDER}/refs/main; readlink {FOLDER}/snapshots/*/config.json").startswith(
        f"{COMMIT}../../blobs/{at.files['config.json'].checksum}"
    )

    lab.sh(1, f"printf wrong | dd of=$(readlink -f {FOLDER}/snapshots/*/{SHARD}) bs=1 seek=77 conv=notrunc")
    # A node that has it gives it to the one that has not, and the hub need not be there.
    at.status, sent = 503, at.sent
    mended = lab.good("model", "fetch", "--verify", "--patience", "1", "--nodes", file)
    assert "fails with HTTP 503" in mended.stderr
    assert f"wrong content, fetched anew: {SHARD}" in mended.stderr
    assert at.sent == sent
    found = lab.sh(1, f"sha256sum {FOLDER}/snapshots/*/{SHARD}").split()[0]
    assert found == at.files[SHARD].checksum

    _used_models_stay(lab, file)


def _used_models_stay(lab: Lab, file: str) -> None:
    image = lab.sh(0, "docker images --quiet | head -n 1").strip()
    lab.sh(0, f"docker run --detach --name reader --volume $HOME/.cache:/x --entrypoint sleep {image} 60")
    try:
        kept = lab.run("model", "prune", "--model", "lab/random", "--nodes", file)
    finally:
        lab.sh(0, "docker rm --force reader")
    assert kept.returncode == 12
    assert "in use by reader" in kept.stderr
    left = [lab.sh(rank, f"ls {FOLDER}/snapshots/*/{SHARD} 2>/dev/null").strip() for rank in range(NODES)]
    assert [bool(one) for one in left] == [True, False, False]
