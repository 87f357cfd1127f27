"""The gate: what cannot run is refused with entry, bytes and limit, unless it is allowed by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.cluster.load import Document, parse
from deploy.errors import ConfigError, KernelError
from deploy.workflow.gate import allowing_unsafe, gate

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
# SGLang's own default above 160 tokens, which needs 147,456 bytes.
TOO_LARGE = {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "BLOCK_SIZE_K": 128, "GROUP_SIZE_M": 32, "num_warps": 8}
FITS = {"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 128, "BLOCK_SIZE_K": 128, "GROUP_SIZE_M": 1, "num_warps": 4}


def document(allow: str = "[]", sglang: str = "0.5.4.post2") -> Document:
    text = f"image: {{repository: a/b, sglang: {sglang}, allow: {allow}}}\nnodes: [{{host: a, fabric: 1.2.3.4}}]\n"
    return parse("c.yaml", f"name: c\n{text}")


def put(root: Path, entry: object, name: str = NAME) -> Path:
    folder = root / "configs" / "triton_3_5_0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(
        entry if isinstance(entry, str) else json.dumps({"1": FITS | {"num_stages": 4}, "64": entry})
    )
    return root


def test_what_ships_passes() -> None:
    assert gate(document().cluster, Path(__file__).resolve().parents[3]) == ()


def test_an_entry_that_does_not_fit_is_told_with_its_bytes_and_the_limit(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as raised:
        gate(document().cluster, put(tmp_path, TOO_LARGE | {"num_stages": 4}))
    assert f"{NAME}: 64: needs 147,456 bytes" in raised.value.message
    assert "101,376" in raised.value.message
    assert "--allow-unsafe" in raised.value.hint


@pytest.mark.parametrize("broken", ["{", "[]", '{"64": {"BLOCK_SIZE_M": 64}}'])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, broken: str) -> None:
    with pytest.raises(KernelError, match=NAME.replace("=", ".")):
        gate(document().cluster, put(tmp_path, broken))


def test_a_pair_that_disagrees_is_refused(tmp_path: Path) -> None:
    put(tmp_path, FITS | {"num_stages": 3})
    put(tmp_path, FITS | {"BLOCK_SIZE_M": 16, "num_stages": 3}, NAME.replace(".json", "_down.json"))
    with pytest.raises(KernelError, match=r"_down\.json: 64: BLOCK_SIZE_M is 16"):
        gate(document().cluster, tmp_path)


def test_another_gpu_s_table_is_not_held_against_this_one(tmp_path: Path) -> None:
    put(tmp_path, TOO_LARGE | {"num_stages": 4}, NAME.replace("GB10", "H200"))
    assert gate(document().cluster, tmp_path) == ()


def test_what_is_allowed_passes_and_is_said(tmp_path: Path) -> None:
    put(tmp_path, TOO_LARGE | {"num_stages": 4})
    asked = allowing_unsafe(document(), asked=True)
    assert asked.cluster.image.allow == ["unsafe-table"]
    for one in (asked, document("[unsafe-table]")):
        lines = gate(one.cluster, tmp_path)
        assert any("147,456" in line for line in lines)


def test_the_option_adds_to_what_the_file_says_and_nothing_twice() -> None:
    both = allowing_unsafe(document("[unknown-base]"), asked=True)
    assert both.cluster.image.allow == ["unknown-base", "unsafe-table"]
    assert allowing_unsafe(both, asked=True) is both
    assert allowing_unsafe(document(), asked=False).cluster.image.allow == []


def test_a_version_without_known_rules_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image\.sglang"):
        gate(document(sglang="0.4.0").cluster, put(tmp_path, FITS | {"num_stages": 3}))
