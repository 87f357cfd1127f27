"""The page and the Markdown: what they show, and that nothing a run says becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from random import Random

import pytest
from markupsafe import escape

from deploy.bench.gather import gathered
from deploy.bench.inline import plain
from deploy.bench.markdown import escaped, markdown
from deploy.bench.picture import looks
from deploy.bench.plots import SPECS, Numbered, Plot
from deploy.bench.report import Heading, numbered, page
from deploy.bench.results import Case, Figure, Repeat, Run, as_json
from deploy.bench.seeds import MARK, published
from deploy.bench.series import plotted
from deploy.errors import BenchError
from tests.unit.bench.samples import CRASH, agentic, all_suites, case, context, kernels, noisy, run, tables, toolcall

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://evil.invalid/x onerror=alert(1)>',
    "</svg></style><iframe src='//evil.invalid'>",
    r"$\frac{1}{$ {{ 7 * 7 }} {% raw %} ]]> --> | `x` **y** [z](http://evil.invalid)",
    "\x00\x1b[31m\u202egnp.exe\ud800\r\n# heading",
)


class Tags(HTMLParser):
    """Every element with its attributes, and the ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def full() -> str:
    """A page of all suites, one of them twice."""
    return made([*all_suites(), context(2)])


def made(runs: list[Run], heading: Heading | None = None) -> str:
    return page(
        numbered({f"made-up-{place}.json": one for place, one in enumerate(runs)}), published(), heading or Heading()
    )


def hostile(word: str) -> list[Run]:
    figures = {word: Figure(word, 1, 1, 1, 1, "lower"), "ttft_s": Figure("s", 1, -1, 2, 3, "lower")}
    figures["decode_tok_s"] = Figure(word, 1, 1, 1, 1, "higher")
    good = Repeat(True, usage={word: word}, figures={word: 1.0}, chunks=[0.1])
    bad = Repeat(False, word, word)
    cases = [Case(word, {word: word, "tokens": tokens}, figures, [good, bad]) for tokens in (512, 1024)]
    cases += [replace(one, parameters={**one.parameters, "prefix": word * 20}) for one in cases]
    runs = []
    for suite in ("context", "tables", word):
        one = run(suite, cases, notes=(word,), complete=False)
        server = replace(
            one.server, url=word, model=word, image=word, tables=[word], flags={word: word, "x": {word: [word]}}
        )
        runs.append(replace(one, began=word, server=server))
    return runs


@pytest.mark.parametrize("word", HOSTILE)
def test_what_a_run_says_is_never_markup(word: str) -> None:
    runs = numbered(dict(zip((word, word + "2", word + "3"), hostile(word), strict=True)))
    text = page(runs, published(), Heading(word, refused=(word,)))
    tags = Tags(text).tags
    assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "object", "link", "base", "form"}
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"], tag
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert str(escape(plain(word))) in text
    assert not set("\x00\x1b\u202e\ud800") & set(text)
    text.encode()


def test_a_page_asks_for_nothing_and_forbids_it(full: str) -> None:
    text = full
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\((?!#)""", text)


def test_ids_are_told_apart_and_what_refers_to_them_finds_them(full: str) -> None:
    text, tags = full, Tags(full).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {
        word
        for _, attributes in tags
        for name in ("aria-labelledby", "aria-describedby")
        if (word := attributes.get(name))
    }
    wanted |= {(attributes["href"] or "").removeprefix("#") for _, attributes in tags if "href" in attributes}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(ids)


def test_no_colour_of_the_drawing_is_left_in_the_page(full: str) -> None:
    drawings = re.findall(r"<svg xmlns.*?</svg>", full, re.DOTALL)
    assert len(drawings) == len(SPECS)
    for text in drawings:
        assert not re.search(r"(?:fill|stroke): #", text)
        assert "var(--ink)" in text
        assert "DejaVu" not in text
        assert 'role="img"' in text


def test_failures_notes_and_unfinished_runs_are_on_the_page() -> None:
    unfinished = run("toolcall", [case("one", [], failed="500: out of memory")], complete=False, notes=("was cut off",))
    text = made([tables(1), unfinished], Heading(refused=("x.json holds no result",)))
    assert CRASH in text
    assert "500: out of memory" in text
    assert "not finished" in text
    assert "was cut off" in text
    assert "not taken: x.json holds no result" in text


def test_published_figures_are_marked_and_never_without_their_faults() -> None:
    text = made([context(1)])
    assert MARK in text
    for one in published():
        for fault in one.wrong:
            assert str(escape(fault)) in text
    assert "published elsewhere" not in page(numbered({"x": context(1)}), (), Heading()).lower().replace("was", "")


def test_what_cannot_be_drawn_is_said() -> None:
    assert "Not drawn, since no case has what it needs: Kernel tables and EAGLE" in made(
        [run("tables", [case("A", [{"ttft_s": 1.0}])])]
    )


def plots(runs: list[Run]) -> list[Plot]:
    ones = [Numbered(place, str(place), one) for place, one in enumerate(runs, 1)]
    return [plot for spec in SPECS if (plot := plotted(spec, ones, published()))]


def test_cold_and_warm_are_lines_of_their_own_in_every_run() -> None:
    first = plots([context(1), context(2)])[0]
    assert [line.label for line in first.lines] == [
        "run 1 cold",
        "run 1 warm",
        "run 2 cold",
        "run 2 warm",
        "published elsewhere",
    ]
    assert all(len(line.points) == 5 for line in first.lines[:4])
    assert [len(line.failed) for line in first.lines] == [1, 0, 1, 0, 0]


def test_the_line_that_was_fitted_is_drawn_without_marks_through_the_points() -> None:
    plot = next(one for one in plots([context(1)]) if one.spec.figure == "step_s")
    *measured, fitted = plot.lines
    assert [line.label for line in plot.lines] == ["cold", "warm", "fitted"]
    assert [(point.x, round(point.y, 4)) for point in fitted.points] == [(512, 0.0501), (131072, 0.0828)]
    assert [look.marker for look in looks(plot.lines)] == ["o", "s", ""]
    assert all(low.y < high.y for low, high in zip(measured[0].points, measured[0].points[2:], strict=False))


def test_a_verdict_parts_no_line_and_a_task_is_named_once() -> None:
    (ratios,) = plots([kernels(1)])
    assert [len(line.points) for line in ratios.lines] == [3]
    right, _ = plots([toolcall(1)])
    assert right.names[:2] == ("no call, streamed", "no call, whole")


def test_turns_of_all_conversations_are_put_together_and_where_they_break_is_marked() -> None:
    times, right, _ = plots([agentic(1)])
    (line,) = times.lines
    assert [point.x for point in line.points] == list(range(1, 13))
    assert all(point.low < point.y < point.high for point in line.points)
    assert [point.y for point in right.lines[0].points] == pytest.approx([1] * 8 + [2 / 3] + [1] * 3)
    assert [(point.x, point.name) for point in line.failed] == [
        (9, "read_file was asked for, list_directory came"),
        (10, "the connection was cut"),
    ]


def test_the_crash_of_the_tables_suite_is_a_mark_beside_the_published_one() -> None:
    (plot,) = plots([tables(1)])
    (ours, theirs) = plot.lines
    assert [plot.names[int(point.x)] for point in ours.failed] == ["C (tables=False, eagle=True)"]
    assert [plot.names[int(point.x)] for point in theirs.failed] == ["published: C: no tables, EAGLE"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_number_that_cannot_be_drawn_ends_no_report(value: float) -> None:
    odd = Figure("s", value, value, value, 3, "lower")
    cases = [
        Case("a", {"tokens": 0}, {"ttft_s": odd, "decode_tok_s": odd}),
        Case("b", {"tokens": value}, {"ttft_s": odd}),
    ]
    assert "</html>" in made([run("context", cases), run("tables", cases), run("load", cases)])


def test_markdown_shows_what_runs_say_as_it_is() -> None:
    assert escaped("a|b`c*d_e[f](g)<h>") == r"a\|b\`c\*d\_e\[f\](g)\<h\>"
    for word in HOSTILE:
        runs = numbered(dict(zip(("1", "2", "3"), hostile(word), strict=True)))
        text = markdown(runs, published(), Heading(word))
        assert "<script" not in text.replace("\\<", "")
        assert_equal_rows(text)
        text.encode()


def assert_equal_rows(text: str) -> None:
    """Every table has as many cells in each row."""
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert blocks
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_markdown_has_a_table_for_each_suite_with_equal_rows() -> None:
    text = markdown(numbered({str(place): one for place, one in enumerate(all_suites())}), published(), Heading("x"))
    assert re.findall(r"^### (\w+)", text, re.MULTILINE)[:8] == [
        "context",
        "agentic",
        "eagle",
        "tables",
        "thinking",
        "toolcall",
        "load",
        "kernels",
    ]
    assert_equal_rows(text)
    assert CRASH in text
    assert MARK in text


def test_a_folder_s_runs_come_oldest_first_and_other_files_are_told(tmp_path) -> None:
    later = replace(context(1), began="2026-01-02T00:00:00Z")
    (tmp_path / "a.json").write_text(as_json(later))
    (tmp_path / "b.json").write_text(as_json(context(1)))
    (tmp_path / "c.json").write_text('{"format": 2}')
    (tmp_path / "d.json").write_bytes(b"\xff")
    found = gathered(tmp_path)
    assert list(found.runs) == ["b.json", "a.json"]
    assert len(found.refused) == 2
    with pytest.raises(BenchError, match=r"c\.json"):
        gathered(tmp_path / "c.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="holds no result"):
        gathered(tmp_path / "empty")


def test_the_same_runs_make_the_same_page() -> None:
    runs = [run("tables", [case("A", noisy(Random(1), decode_tok_s=1.0))])]
    assert made(runs) == made(runs)
