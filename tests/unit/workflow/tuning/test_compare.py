"""`tune compare`: which tables are taken, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.workflow.tuning.compare import compared, sides
from deploy.workflow.tuning.order import Order
from deploy.workflow.tuning.outcome import compared_json, compared_text
from tests.operation import run
from tests.unit.workflow.tuning.test_run import ONLY, Device, Site, order

__all__ = ["order"]
NAME = "E=8,N=64,device_name=NVIDIA_GB10,dtype=fp8_w8a8"


@pytest.fixture
def table(tmp_path: Path) -> str:
    """An up table alone, of the slowest candidate."""
    file = tmp_path / f"{NAME}.json"
    file.write_text(json.dumps({str(size): ONLY[0].as_json() for size in (1, 16)}))
    return str(file)


def better(table: str) -> str:
    """Another one, with its `_down` table."""
    folder = Path(table).parent / "better"
    folder.mkdir()
    for end in ("", "_down"):
        (folder / f"{NAME}{end}.json").write_text(json.dumps({"8": ONLY[-1].as_json()}))
    return str(folder / f"{NAME}.json")


def test_two_tables_are_measured_at_the_batch_sizes_of_both(order: Order, table: str) -> None:
    both = sides((table, better(table)), order)
    assert both.sizes == (1, 8, 16)
    site = Site()
    found = run(compared(order, both, site, None))[1]
    assert site.asked == [[16, 1]]
    assert site.closed == 1
    assert found[16].verdict == "faster"
    text = compared_text(("a.json", "b.json"), found)
    assert "B is b.json" in text
    assert text.count("faster") == 2
    assert compared_json(found[16])["verdict"] == "faster"
    assert not order.home.exists()


def test_the_default_is_a_side_too(order: Order, table: str) -> None:
    both = sides(("default", table), order)
    assert both.sizes == (1, 16)
    assert run(compared(order, both, Site(), None))[1][1].verdict == "faster"


def test_without_a_journal_everything_is_measured_anew_and_with_one_nothing_is(order: Order, table: str) -> None:
    both = sides(("default", table), order)
    device = Device()
    run(compared(order, both, Site(device), None))
    once = len(device.made)
    run(compared(order, both, Site(device), None))
    assert len(device.made) == 2 * once
    for _ in range(2):
        run(compared(order, both, Site(device), order.journal))
    assert len(device.made) == 3 * once


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("none.json", "is no file"),
        (f"{NAME}_down.json", "is a _down table"),
        ("E=9,N=64,device_name=NVIDIA_GB10.json", "is for E=9,N=64, and the model has E=8,N=64"),
        ("broken.json", "is not JSON"),
    ],
)
def test_what_is_no_table_of_the_model_is_refused(order: Order, tmp_path: Path, file: str, expected: str) -> None:
    if file != "none.json":
        (tmp_path / file).write_text("{")
    with pytest.raises(ConfigError, match=expected):
        sides((str(tmp_path / file), "default"), order)


def test_a_table_is_not_compared_with_itself(order: Order) -> None:
    with pytest.raises(ConfigError, match="both are default"):
        sides(("default", "default"), order)
