"""Options and guards that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAB = "lab"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="Write what the golden tests find.")
    parser.addoption("--gpu", action="store_true", help="Run the tests that need GPUs.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not config.getoption("--gpu"):
            item.add_marker(pytest.mark.skip(reason="needs GPUs; run with --gpu"))
        if "integration" in item.path.parts and not item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.integration)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    # The longest group first, so that the other worker does not wait for it at the end.
    items.sort(key=lambda item: _group(item) != LAB)


def _group(item: pytest.Item) -> str:
    """What is run by one worker (`-n 2`): all that needs the one lab, and else the tests of a file."""
    return LAB if "session_lab" in getattr(item, "fixturenames", ()) else str(item.path)


@pytest.fixture
def root() -> Path:
    return ROOT
