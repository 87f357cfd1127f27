"""The page of `bench report` in a real browser, wide and narrow, light and dark. Its runs are made up, and say so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.plots import SPECS
from deploy.bench.results import as_json
from tests.conftest import ROOT
from tests.integration.browser import Browser, browser
from tests.unit.bench.samples import all_suites, context, load

pytestmark = pytest.mark.integration
PLOTS = len(SPECS)
SHOWN = (1280, 400)
CHECKS = (ROOT / "tests/integration/page.js").read_text().partition("\n")[2]


def found(opened: Browser, check: str) -> Any:
    return opened.asked(f"{CHECKS.strip()}.{check}()")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of made-up runs, by the command."""
    folder = tmp_path_factory.mktemp("made-up-runs")
    for place, run in enumerate([*all_suites(), context(2, 0.9), load(3)]):
        (folder / f"made-up-{place}.json").write_text(as_json(run))
    words = ["bench", "report", str(folder), "--title", "Made up for a test", "--markdown", str(folder / "words.md")]
    done = subprocess.run(
        [sys.executable, "build-and-deploy.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Made up for a test" in (folder / "words.md").read_text()
    return folder / "report.html"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def test_the_page_is_whole_at_every_width_in_both_schemes(made: Path, opened: Browser) -> None:
    for width in SHOWN:
        pictures = {}
        for scheme in ("light", "dark"):
            opened.show(made, width, scheme)
            where = f"{width} px, {scheme}"
            assert opened.requests == [made.resolve().as_uri()], where
            assert opened.asked("document.title") == "Made up for a test"
            assert opened.asked("innerWidth") == width
            for check in ("overflowing", "clipped", "unnamed", "faint"):
                assert found(opened, check) == [], f"{where}: {check}"
            pictures[scheme] = opened.pictured()
            keep(pictures[scheme], f"{width}-{scheme}.png")
            assert opened.errors == [], where
        assert pictures["light"] != pictures["dark"]


def test_every_plot_holds_what_it_is_to_show(made: Path, opened: Browser) -> None:
    opened.show(made, SHOWN[0], "light")
    plots = dict(found(opened, "data"))
    assert len(plots) == PLOTS
    for title, lines in plots.items():
        assert lines, title
        for line in lines:
            assert line["marks"] or line["points"], title
            assert line["side"] > 5, title
    # Only a fitted line has no marks, and each of the two runs with lengths has one.
    bare = [title for title, lines in plots.items() for line in lines if not line["marks"]]
    assert bare == ["Context against the time of a step"] * 2
    # Two runs, cold and warm, at five lengths, and the one published point.
    assert [line["marks"] for line in plots["Context against time to first token"]] == [5, 5, 5, 5, 1]
    assert [line["points"] for line in plots["Context against decode speed"]] == [5, 5, 5, 5, 4]
    assert [line["points"] for line in plots["Throughput against time a token"]] == [6, 3, 6, 3]


def test_a_bad_page_is_caught(made: Path, opened: Browser, tmp_path: Path) -> None:
    """What the other tests rest on."""
    page, text = tmp_path / "bad.html", made.read_text()
    page.write_text("<img src='file:///no/such.png'><script>nowhere()</script>")
    opened.show(page, 400, "light")
    assert len(opened.requests) == 2
    assert len(opened.errors) >= 2
    page.write_text(text.replace("</h1>", "</h1><img src='http://127.0.0.1:9/x.png'>"))
    opened.show(page, 400, "light")
    assert opened.errors, "the page forbids what it does not hold"
    page.write_text(text.replace("</style>", "svg text { font-size: 24px !important } :root { --muted: #ccc }</style>"))
    opened.show(page, 400, "light")
    assert {word.partition(":")[0] for word in found(opened, "clipped")} >= {
        "beyond the figure",
        "over the edge of the plot",
    }
    assert any(" lies on " in word for word in found(opened, "clipped"))
    assert found(opened, "faint") == ["muted"]
    page.write_text(
        text.replace('role="img" aria-labelledby', 'role="img" data-x').replace("</h1>", "</h1><pre>" + "x" * 200)
    )
    opened.show(page, 400, "light")
    assert len(found(opened, "unnamed")) == PLOTS
    assert found(opened, "overflowing")


def test_a_comparison_ends_with_an_exit_code_of_its_own(tmp_path: Path) -> None:
    for name, speed in (("a", 1.0), ("b", 0.8)):
        (tmp_path / f"{name}.json").write_text(as_json(context(1, speed)))
    same, worse = (compared(tmp_path / "a.json", tmp_path / other) for other in ("a.json", "b.json"))
    assert same.returncode == 0, same.stderr
    assert worse.returncode == 11
    assert "context 512 cold (prefix=cold, tokens=512): decode_tok_s" in worse.stderr
    assert len(re.findall(r"^! decode_tok_s.* worse$", worse.stdout, re.MULTILINE)) == 10


def compared(*files: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "build-and-deploy.py", "bench", "compare", *map(str, files)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def keep(picture: bytes, name: str) -> None:
    """For people to look at, where a folder is named for it."""
    if folder := os.environ.get("SGLANG_SPARK_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_bytes(picture)
