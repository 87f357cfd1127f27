"""Options and guards that all tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]
GANGS = "tests/integration/gangs/"
# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="Write what the golden tests find.")
    parser.addoption("--gpu", action="store_true", help="Run the tests that need GPUs.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not config.getoption("--gpu"):
            item.add_marker(pytest.mark.skip(reason="needs GPUs; run with --gpu"))
        if "integration" in item.path.parts and not item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.integration)
    # The longest group first, so that the other worker does not wait for it at the end.
    items.sort(key=lambda item: not item.nodeid.startswith(GANGS))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """With `-n 2` the tests of a file are run by one worker, and all that need the lab by one: there is one lab."""

    def _split_scope(self, nodeid: str) -> str:
        return GANGS if nodeid.startswith(GANGS) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.fixture
def root() -> Path:
    return ROOT
