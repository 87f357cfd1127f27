"""Kernel tables in use, from lines as SGLang writes them."""

from __future__ import annotations

import pytest

from deploy.launch.kernel_log import MARK, TableUse, read

ROOT = "/sgl-workspace/sglang/python/sglang/srt/layers/moe/fused_moe_triton/configs"
NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
DOWN = NAME.replace(".json", "_down.json")
STAMP = "[2026-01-01 00:00:00 TP2] "


def own(name: str, folder: str = "triton_3_5_0") -> str:
    return f"{STAMP}Using MoE kernel config from {ROOT}/{folder}/{name}."


def other(name: str, version: str = "3.4.0") -> str:
    folder = f"triton_{version.replace('.', '_')}"
    return (
        f"{STAMP}Config file not found at {ROOT}/triton_3_5_0/{name}. Fallback to triton version {version} and use MoE "
        f"kernel config from {ROOT}/{folder}/{name}. Performance might be sub-optimal!"
    )


def default(name: str) -> str:
    return (
        f"{STAMP}Using default MoE kernel config. Performance might be sub-optimal! Config file not found at "
        f"{ROOT}/triton_3_5_0/{name}, you can create them with "
        "https://github.com/sgl-project/sglang/tree/main/benchmark/kernels/fused_moe_triton"
    )


@pytest.mark.parametrize(
    ("lines", "use", "kind"),
    [
        ([own(NAME), own(DOWN)], TableUse(NAME, "triton_3_5_0", "triton_3_5_0", "triton_3_5_0"), "table"),
        ([own(NAME), default(DOWN)], TableUse(NAME, "triton_3_5_0", "triton_3_5_0"), "table"),
        ([other(NAME), default(DOWN)], TableUse(NAME, "triton_3_5_0", "triton_3_4_0"), "fallback"),
        ([own(NAME), other(DOWN)], TableUse(NAME, "triton_3_5_0", "triton_3_5_0", "triton_3_4_0"), "fallback"),
        ([default(NAME), default(DOWN)], TableUse(NAME, "triton_3_5_0", ""), "default"),
        ([default(NAME), own(DOWN)], TableUse(NAME, "triton_3_5_0", "", "triton_3_5_0"), "unpaired"),
        # At --log-level warning a table that is found is not told.
        ([default(DOWN)], TableUse(NAME, "triton_3_5_0", "triton_3_5_0"), "table"),
        ([default(NAME)], TableUse(NAME, "triton_3_5_0", ""), "default"),
    ],
)
def test_what_the_lines_say_of_both_gemms_is_taken_together(lines: list[str], use: TableUse, kind: str) -> None:
    found = read(["something else", *lines, *lines])
    assert found == (use,)
    assert found[0].kind == kind
    assert all(MARK in line for line in lines)


def test_each_shape_is_told_by_itself() -> None:
    draft = NAME.replace("N=384", "N=768")
    assert [use.name for use in read([own(NAME), default(draft), default(DOWN)])] == [NAME, draft]


def test_a_name_with_spaces_is_read_whole() -> None:
    name = NAME.replace(".json", ",block_shape=[128, 128].json")
    assert read([own(name)])[0].name == name
    assert read([other(name)])[0].name == name
    assert read([default(name)])[0].name == name


def test_the_line_that_the_newer_engine_wrote_is_read() -> None:
    line = (
        "[2026-01-01 00:00:00 TP1] Using default MoE kernel config. Performance might be sub-optimal! Config file not "
        "found at /usr/lib/sglang/configs/triton_3_6_0/E=17,N=128,device_name=NVIDIA_H200.json, you can create them"
    )
    assert read([line]) == (TableUse("E=17,N=128,device_name=NVIDIA_H200.json", "triton_3_6_0", ""),)


def test_silence_is_no_table() -> None:
    assert read(["Capture cuda graph begin.", "Using MoE kernels"]) == ()
