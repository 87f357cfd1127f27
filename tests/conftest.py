"""Options and guards that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="Write what the golden tests find.")
    parser.addoption("--gpu", action="store_true", help="Run the tests that need GPUs.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not config.getoption("--gpu"):
            item.add_marker(pytest.mark.skip(reason="needs GPUs; run with --gpu"))
        if "integration" in item.path.parts and not item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.integration)


@pytest.fixture
def root() -> Path:
    return ROOT
