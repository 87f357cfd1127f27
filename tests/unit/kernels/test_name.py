"""Names, folders and rules by version of SGLang."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.kernels.gpu import GPUS, find
from deploy.kernels.name import TableName, folder, read_name, searched, table_name, version_of
from deploy.kernels.rules import UnknownVersionError, number, rules
from deploy.kernels.shape import Shape

GLM = Shape(160, 384, 5120, 8, "fp8_w8a8", None, True)
HEAD = "E=160,N=384,device_name=NVIDIA_GB10"
names = st.builds(
    TableName,
    st.integers(1, 1000),
    st.integers(1, 10**5),
    st.sampled_from([gpu.device for gpu in GPUS.values()]),
    st.sampled_from(["", "fp8_w8a8", "int8_w8a8", "int8_w8a16", "float32"]),
    st.none() | st.tuples(st.integers(1, 512), st.integers(1, 512)),
    st.booleans(),
    st.booleans(),
)


@given(name=names)
def test_a_name_is_read_as_it_was_written(name: TableName) -> None:
    assert read_name(str(name)) == name


@pytest.mark.parametrize(
    ("shape", "version", "down", "name"),
    [
        (GLM, "0.5.4.post2", False, f"{HEAD},dtype=fp8_w8a8.json"),
        (GLM, "0.5.4.post2", True, f"{HEAD},dtype=fp8_w8a8_down.json"),
        (GLM, "0.5.6", False, f"{HEAD},dtype=fp8_w8a8,per_channel_quant=True.json"),
        (Shape(160, 384, 1, 1, "bf16"), "0.5.23", False, f"{HEAD}.json"),
        (Shape(160, 384, 1, 1, "fp32"), "0.5.4", False, f"{HEAD},dtype=float32.json"),
        (
            Shape(160, 384, 1, 1, "fp8_w8a8", (128, 128)),
            "0.5.4",
            True,
            f"{HEAD},dtype=fp8_w8a8,block_shape=[128, 128]_down.json",
        ),
    ],
)
def test_a_shape_has_the_name_that_its_sglang_looks_for(shape: Shape, version: str, down: bool, name: str) -> None:
    assert str(table_name(shape, "NVIDIA_GB10", rules(version), down=down)) == name


@pytest.mark.parametrize(
    "name", ["", "a.json", f"{HEAD}", "E=01,N=384,device_name=X.json", "E=1,N=1,device_name=.json"]
)
def test_what_no_sglang_looks_for_has_no_name(name: str) -> None:
    assert read_name(name) is None


@pytest.mark.parametrize(
    ("version", "triton", "present", "order"),
    [
        ("0.5.4.post2", "3.5.0", (), ("3.5.0", "3.4.0", "3.3.1", "3.2.0", "3.1.0")),
        ("0.5.11", "3.4.0", ("3.6.0",), ("3.4.0", "3.3.1", "3.2.0", "3.1.0")),
        ("0.5.12", "3.5.0", ("3.1.0", "3.10.0", "3.6.0", "3.5.0"), ("3.5.0", "3.10.0", "3.6.0", "3.1.0")),
    ],
)
def test_folders_are_searched_in_sglangs_order(
    version: str, triton: str, present: tuple[str, ...], order: tuple[str, ...]
) -> None:
    assert searched(rules(version), triton, present) == order


@pytest.mark.parametrize(
    ("version", "home"),
    [
        ("0.5.4", "srt/layers/moe/fused_moe_triton"),
        ("0.5.10.post1", "srt/layers/moe/fused_moe_triton"),
        ("0.5.11", "srt/layers/moe/moe_runner/triton_utils"),
        ("0.5.23", "srt/layers/moe/moe_runner/triton_utils"),
    ],
)
def test_the_folders_home_moved_with_0_5_11(version: str, home: str) -> None:
    assert rules(version).home == home


@pytest.mark.parametrize("version", ["0.5.3", "0.4.10.post2", "main", "", "0.5", "1"])
def test_a_version_whose_rules_are_unknown_is_refused(version: str) -> None:
    with pytest.raises(UnknownVersionError):
        rules(version)


def test_a_folder_and_its_version_are_each_others_inverse() -> None:
    assert folder("3.5.0") == "triton_3_5_0"
    assert version_of("triton_3_5_0") == "3.5.0"
    assert version_of("triton_3_5") is version_of("configs") is version_of("triton_3_5_0_old") is None
    assert number("3.10.1") > number("3.9.9")


@pytest.mark.parametrize(
    ("word", "name"),
    [("gb10", "GB10"), ("rtx-5090", "RTX 5090"), ("NVIDIA_H200", "H200"), ("rtx pro 6000", "RTX PRO 6000")],
)
def test_a_gpu_is_found_as_people_write_it(word: str, name: str) -> None:
    gpu = find(word)
    assert gpu
    assert gpu.name == name
    assert find("H1000") is None


@pytest.mark.parametrize(
    ("name", "limit"),
    [("GB10", 101_376), ("RTX 4090", 101_376), ("A100", 166_912), ("H100", 232_448), ("B200", 232_448)],
)
def test_the_limits_are_those_of_the_programming_guide(name: str, limit: int) -> None:
    assert GPUS[name].shared_memory == limit
    assert "CUDA programming guide" in GPUS[name].source
