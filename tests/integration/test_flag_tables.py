"""The flag tables kept are what the wheels on PyPI say."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.launch.derive import TABLES, check, from_wheel
from tests.integration.trees import VERSIONS, wheel


@pytest.mark.integration
@pytest.mark.parametrize("version", VERSIONS)
def test_a_table_kept_is_what_its_wheel_says(version: str, tmp_path: Path) -> None:
    table = from_wheel(version, wheel(version))
    check(table, TABLES)
    changed = tmp_path / f"{version}.json"
    changed.write_text(table.to_json().replace("--tp", "--pt"))
    with pytest.raises(ConfigError, match="not what the wheel says"):
        check(table, tmp_path)
