"""A check as text and as JSON, and as a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.cluster.spec import DEFAULT_SERVER
from deploy.errors import ConfigError, KernelError
from deploy.kernels.batches import batches
from deploy.kernels.check import TableFile, check
from deploy.kernels.finding import Target
from deploy.kernels.parse import Problem
from deploy.kernels.report import Report, report_json, report_text, served
from deploy.kernels.setting import resolve
from deploy.kernels.shape import Shape
from tests.unit.kernels.samples import CRASHING, GOOD, NAME, file

GLM = Shape(160, 384, 5120, 8, "fp8_w8a8", None, True)
OPTIONS = dict.fromkeys(
    ["gpu", "sglang", "triton", "model", "tp", "ep", "experts", "intermediate", "hidden", "top_k", "dtype", "block"]
) | {"gpu": "GB10", "per_channel": None}


def report(*files: TableFile, fitted: bool = False) -> Report:
    target = Target(fitted_default=fitted)
    verdicts = check(files, target, GLM)
    return Report(target, verdicts, served(verdicts, GLM, target), batches(DEFAULT_SERVER))


def test_a_table_is_shown_entry_by_entry_with_what_takes_them() -> None:
    lines = report_text(report(file({1: GOOD, 512: CRASHING}))).splitlines()
    assert " ".join(lines[1].split()) == "tokens entry M x N x K group warps stages up, bytes down, bytes of limit"
    assert " ".join(lines[2].split()) == "1-256 1 16 x 64 x 128 1 4 4 30,720 30,720 30%"
    assert " ".join(lines[3].split()) == "257-65536 512 128 x 256 x 128 1 8 4 147,456 147,456 145%"
    assert "  EAGLE verify, 8 draft tokens (8, 16, 24, ... 512 tokens): entries 1 512" in lines
    assert any(line.startswith("  error: 512: needs 147,456 bytes") and "(up, down)" in line for line in lines)
    assert lines[-1].startswith("0 of 1 tables would run on GB10 (101,376 bytes a block)")


def test_many_tables_are_shown_a_line_each() -> None:
    many = [file({1: GOOD}, NAME.replace("E=160", f"E={count}")) for count in range(1, 9)]
    broken = TableFile("x/bad.json", None, (Problem("", "is not JSON"),))
    lines = report_text(report(*many, file({1: CRASHING}), broken)).splitlines()
    assert lines[0].split()[:3] == ["ok", "30,720", "bytes"]
    assert lines[8].split()[:3] == ["FAILS", "147,456", "bytes"]
    assert lines[8].endswith("1 of 1 entries: shared_memory")
    assert lines[9] == "BROKEN  x/bad.json: is not JSON"
    assert lines[-1].startswith("8 of 10 tables")


def test_without_a_table_both_defaults_are_told() -> None:
    text = report_text(report(fitted=True))
    assert "found: no, the default serves" in text
    assert "SGLang's default crashes from 161 tokens on: at most 147,456 bytes" in text
    assert "the image's patched default runs: at most 98,304 bytes" in text


def test_json_holds_every_entry_with_its_bytes() -> None:
    said = json.loads(json.dumps(report_json(report(file({1: GOOD, 512: CRASHING}), fitted=True))))
    (table,) = said["tables"]
    assert table["runs"] is False
    assert table["largest"] == 147_456
    assert [one["bytes"] for one in table["entries"]] == [30_720, 147_456] * 2
    assert table["entries"][0]["config"] == GOOD
    assert said["served"]["default"]["crashes_from"] == 161
    assert said["served"]["patched_default"]["crashes_from"] is None
    assert said["served"]["table"] == f"{NAME}.json"
    assert said["summary"] == {"tables": 1, "run": 0, "errors": 2}


def test_the_table_that_serves_is_the_one_in_the_folder_searched_first() -> None:
    files = [file({1: GOOD}, folder=f"configs/{one}") for one in ("triton_3_3_0", "triton_3_1_0", "triton_3_4_0")]
    found = report(*files).served
    assert found
    assert found.file == f"configs/triton_3_4_0/{NAME}.json"


def test_a_picture_has_lines_and_words(tmp_path: Path) -> None:
    from deploy.kernels.picture import draw

    made = report(file({1: GOOD, 512: CRASHING}), file({1: GOOD}, NAME + "_down"))
    for name in ("a.svg", "a.png"):
        draw(made.verdicts, made.target, tmp_path / name)
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(KernelError, match="is no picture"):
        draw(made.verdicts, made.target, tmp_path / "a.gif")


def test_options_win_over_the_defaults() -> None:
    found = resolve(OPTIONS | {"gpu": "h200", "sglang": "0.5.6", "triton": "3.4.0"}, None, {})
    assert (found.target.gpu.name, found.target.sglang, found.target.triton) == ("H200", "0.5.6", "3.4.0")
    assert found.shape is None


def test_a_shape_by_hand_is_taken_as_it_is() -> None:
    hand = {"experts": 8, "intermediate": 64, "hidden": 128, "top_k": 2, "block": "64,128"}
    assert resolve(OPTIONS | hand, None, {}).shape == Shape(8, 64, 128, 2, "fp8_w8a8", (64, 128))


def test_a_model_is_split_as_the_flags_say() -> None:
    by_model = OPTIONS | {"model": "zai-org/GLM-4.7-FP8"}
    assert resolve(by_model, None, {"tp": 4}).shape == GLM
    assert resolve(by_model | {"tp": 8}, None, {"tp": 4}).shape == replace(GLM, intermediate=192)
    assert resolve(by_model, None, {"tp-size": 4, "ep-size": 4}).shape == replace(GLM, experts=40, intermediate=1536)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpu": "RTX 1"}, "--gpu RTX 1: is not known here"),
        ({"sglang": "0.4.0"}, "the rules for kernel tables are known from 0.5.4 on"),
        ({"triton": "three"}, "'three' is no version"),
        ({"experts": 8}, "needs --experts and --intermediate"),
        ({"experts": 8, "intermediate": 8, "dtype": "fp8"}, "--dtype fp8: is not known here"),
        ({"experts": 8, "intermediate": 8, "block": "128"}, "--block 128: is not N,K"),
        ({"model": "nobody/nothing"}, "no config.json of it is on this machine"),
        ({"model": "zai-org/GLM-4.7-FP8", "tp": 7}, "cannot be cut into 7 equal parts"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(OPTIONS | options, None, {})
    assert words in caught.value.message
    assert caught.value.hint
