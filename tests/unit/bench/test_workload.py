from __future__ import annotations

import pytest

from deploy.bench.workload import KINDS, Kind, Scale, text


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_and_name_give_the_same_text_and_others_begin_otherwise(kind: Kind) -> None:
    made = text(kind, 3000, 1, "a")
    assert made == text(kind, 3000, 1, "a")
    assert len(made) == 3000
    for other in (text(kind, 3000, 2, "a"), text(kind, 3000, 1, "b")):
        assert other[:30] != made[:30]
    assert len({made[40 + at : 60 + at] for at in range(0, 2900, 20)}) > 100


def test_a_scale_gives_the_length_that_the_server_counts() -> None:
    scale = Scale.between((600, 130), (6000, 1210))
    assert scale.characters == 5
    assert scale.overhead == 10
    assert scale.length(1010) == 5000
    assert Scale.between((600, 7), (6000, 7)) == Scale()
