"""Options and guards that all tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]
# The folders whose tests need a lab: one a worker, so one worker for each.
LABS = ("tests/integration/gangs/", "tests/integration/faults/")
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
    # The longest groups first, so that no worker waits for them at the end.
    items.sort(key=lambda item: not item.nodeid.startswith(LABS))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """With `-n 3` the tests of a file are run by one worker, and those of a folder that needs a lab by one."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in LABS if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.fixture
def root() -> Path:
    return ROOT
