"""Scripts go to nodes without their remarks, and mean the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from deploy.script import script
from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "deploy").rglob("*.sh"))


def test_remarks_stay_here_and_all_else_goes(tmp_path: Path) -> None:
    file = tmp_path / "one.sh"
    file.write_text("# what it does\necho '### head'\n  # why\n  echo \"${a#b}\" # beside\n")
    assert script(file) == "echo '### head'\n  echo \"${a#b}\" # beside\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_line_of_a_script_goes_on_in_a_remark(path: Path) -> None:
    lines = path.read_text().splitlines()
    carried = [line for line, after in pairwise(lines) if line.endswith("\\") and "#" in after[:9]]
    assert not carried
