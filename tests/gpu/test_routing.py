"""Which experts a batch's tokens go to. Needs PyTorch and no GPU; without PyTorch it is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def routing(monkeypatch: pytest.MonkeyPatch) -> Any:
    from deploy.tune.gpu import routing as room

    monkeypatch.setattr(room, "DEVICE", "cpu")
    torch.manual_seed(0)
    return room


def record(folder: Path, layer: int, ids: Any) -> None:
    torch.save(ids, folder / f"topk_ids_layer{layer}_idx0.pt")


def test_recorded_tokens_come_as_they_came(routing: Any, tmp_path: Path) -> None:
    for layer in (3, 41):
        record(tmp_path, layer, torch.arange(40).reshape(10, 4) % 8)
    recording = routing.Recording(tmp_path, 8, 4)
    for tokens in (1, 7, 10, 33):
        ids = recording.draw(tokens).ids
        assert ids.shape == (tokens, 4)
        assert all(row.tolist() in ([0, 1, 2, 3], [4, 5, 6, 7]) for row in ids)
    assert recording.digest == routing.Recording(tmp_path, 8, 4).digest
    record(tmp_path, 3, torch.zeros(1, 4, dtype=torch.int32))
    assert recording.digest != routing.Recording(tmp_path, 8, 4).digest


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (torch.zeros(4, 6, dtype=torch.int32), "has 6 experts a token, and the model 4"),
        (torch.full((4, 4), 8), "names expert 8, and the rank has 0 to 7"),
        (torch.zeros(4), "is no tensor of"),
        (None, "there is no topk_ids_layer"),
    ],
)
def test_ids_of_another_model_are_refused(routing: Any, tmp_path: Path, ids: Any, expected: str) -> None:
    if ids is not None:
        record(tmp_path, 0, ids)
    with pytest.raises(ValueError, match=expected):
        routing.Recording(tmp_path, 8, 4)


@pytest.mark.parametrize("tile", [16, 64])
def test_every_place_is_in_a_tile_of_its_expert(routing: Any, tile: int) -> None:
    batch = routing.random(33, 8, 2)
    aligned = routing.align(batch.ids, tile, 8)
    used = int(aligned.used)
    assert used % tile == 0
    places = [place for place in aligned.places[:used].tolist() if place < 66]
    assert sorted(places) == list(range(66))
    flat = batch.ids.flatten()
    for at, place in enumerate(aligned.places[:used].tolist()):
        assert place == 66 or int(flat[place]) == int(aligned.experts[at // tile])


def test_skewed_routing_has_favourites_and_no_token_goes_twice_to_one(routing: Any) -> None:
    even, skewed = (torch.bincount(routing.random(4000, 16, 2, skew).ids.flatten()) for skew in (0.0, 1.5))
    assert even.max() / even.min() < 1.5
    assert skewed.max() / skewed.min() > 10
    assert all(len(set(row)) == 2 for row in routing.random(100, 16, 2, 1.5).ids.tolist())
