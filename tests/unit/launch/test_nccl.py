"""The NCCL that runs: safe, old, unknown, twice, or not there."""

from __future__ import annotations

import pytest

from deploy.launch.nccl import Library, findings

PATH = "/usr/lib/python3/dist-packages/nvidia/nccl/lib/libnccl.so.2"


@pytest.mark.parametrize(
    ("versions", "kind", "level"),
    [
        (["2.29.3"], "safe", "info"),
        (["2.30.7"], "safe", "info"),
        (["3.0.1"], "safe", "info"),
        (["2.29.2"], "old", "warning"),
        (["2.28.9"], "old", "warning"),
        (["2.9.6"], "old", "warning"),
        ([""], "unknown", "warning"),
        (["2.30.7", "2.30.4"], "several", "warning"),
        (["2.30.7", "2.28.9"], "old", "warning"),
        ([], "unmapped", "info"),
    ],
)
def test_a_library_is_judged_by_its_version(versions: list[str], kind: str, level: str) -> None:
    (found,) = findings({0: tuple(Library(f"{PATH}{place}", one) for place, one in enumerate(versions))})
    assert (found.kind, found.level) == (kind, level)
    assert bool(found.cure) == (level == "warning")
    assert all(one in found.text for one in versions)


def test_ranks_that_differ_are_named() -> None:
    good, old = (Library(PATH, "2.30.7"),), (Library(PATH, "2.28.3"),)
    found = findings({0: good, 1: old, 2: good})
    assert [one.text.partition(":")[0] for one in found] == ["NCCL on 2 of 3 ranks (0, 2)", "NCCL on 1 of 3 ranks (1)"]
    assert "2.28.3" in found[1].text
    assert "older than 2.29.3 can hang for good on aarch64" in found[1].text


def test_what_was_not_seen_is_not_called_good() -> None:
    mapped, looked = findings({0: (), 1: None})
    assert mapped.text == "NCCL on 1 of 2 ranks (0): not checked: no libnccl is mapped"
    assert looked.text == "NCCL on 1 of 2 ranks (1): not checked: no look into the container was had"
