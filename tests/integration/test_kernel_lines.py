"""What is read from a rank's log is what SGLang's own function writes there, taken from the real trees."""

from __future__ import annotations

import ast
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.launch.kernel_log import MARK, TableUse, read
from tests.integration.trees import VERSIONS, unpack

SOURCE = "sglang/srt/layers/moe/fused_moe_triton/fused_moe_triton_config.py"
FUNCTIONS = ("get_config_file_name", "get_moe_configs")
HERE = "triton_3_5_0"


def lines(version: str, folder: Path, caplog: pytest.LogCaptureFixture, *, deterministic: bool = False) -> list[str]:
    """What the tree's look-up of an up and a down table logs; the two functions alone are compiled, on stubs."""
    tree = ast.parse((unpack(version, folder) / SOURCE).read_text())
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS]
    for node in body:
        node.decorator_list, node.returns = [], None
        for one in node.args.args:
            one.annotation = None
    logger = logging.getLogger("sglang-tree")
    scope: dict[str, Any] = {
        "os": os, "json": __import__("json"), "logger": logger, "triton": SimpleNamespace(__version__="3.5.0"),
        "get_device_name": lambda: "NVIDIA GB10", "__file__": str(folder / SOURCE),
        "get_global_server_args": lambda: SimpleNamespace(enable_deterministic_inference=deterministic),
    }  # fmt: skip
    exec(compile(ast.Module(body, []), SOURCE, "exec"), scope)
    caplog.set_level(logging.INFO, "sglang-tree")
    for down in (False, True):
        scope["get_moe_configs"](160, 384, "fp8_w8a8", 0, 0, False, down_moe=down)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("up", "down", "kind"),
    [
        (HERE, HERE, "table"),
        (HERE, "", "table"),
        ("triton_3_4_0", "", "fallback"),
        (HERE, "triton_3_2_0", "fallback"),
        ("", "", "default"),
        ("", HERE, "unpaired"),
    ],
)
def test_the_tree_s_own_lines_are_read(
    version: str, up: str, down: str, kind: str, tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
    for folder, file in ((up, name), (down, name.replace(".json", "_down.json"))):
        if folder:
            place = tmp_path / "tables" / "configs" / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / file).write_text("{}")
    monkeypatch.setenv("SGLANG_MOE_CONFIG_DIR", str(tmp_path / "tables"))
    said = lines(version, tmp_path / "tree", caplog)
    assert read(said) == (TableUse(name, HERE, up, down),)
    assert read(said)[0].kind == kind
    assert all(MARK in line for line in said)


@pytest.mark.parametrize("version", VERSIONS)
def test_deterministic_inference_takes_no_table_and_says_so(
    version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(lines(version, tmp_path, caplog, deterministic=True)) == (TableUse("", "", ""),)
