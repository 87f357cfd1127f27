"""The orders in which ways are timed on a GPU."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.gpu.orders import orders


@pytest.mark.parametrize("ways", [2, 3, 4, 5, 6])
def test_each_way_follows_each_other_one_equally_often(ways: int) -> None:
    rows = orders(ways)
    assert all(sorted(row) == list(range(ways)) for row in rows)
    follows = Counter(pair for row in rows for pair in pairwise(row))
    assert len(follows) == ways * (ways - 1)
    assert len(set(follows.values())) == 1
