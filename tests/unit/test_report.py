"""What `status` prints."""

from __future__ import annotations

import json

from deploy.launch import nccl, table_report
from deploy.launch.kernel_log import TableUse
from deploy.launch.table_report import Carried
from deploy.report import ClusterStatus, RankStatus, status_json, status_text

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
TABLES = table_report.findings(
    {0: (TableUse(NAME, "triton_3_5_0", "triton_3_5_0"),), 1: (TableUse(NAME, "triton_3_5_0", ""),)},
    Carried("triton_3_5_0", (NAME,)),
)
STATUS = ClusterStatus(
    "sparks",
    (RankStatus(0, "spark1", "running", "ok", "sha256:" + "ab" * 32, "2026-01-01T00:00:00.5Z"),
     RankStatus(1, "spark2", "exited", "exit code 1")),
    TABLES,
    nccl.findings({0: (nccl.Library("/lib/libnccl.so.2", "2.28.3"),)}),
)  # fmt: skip


def test_the_text_is_a_table_and_what_the_ranks_use() -> None:
    lines = status_text(STATUS).splitlines()
    assert lines[1].split() == ["0", "spark1", "running", "ok", "abababababab", "2026-01-01T00:00:00"]
    assert lines[3] == f"kernel table on 1 of 2 ranks (0): {NAME} of triton_3_5_0, for both GEMMs"
    assert lines[4].startswith("warning: kernel table on 1 of 2 ranks (1): SGLang's default")
    assert lines[5].startswith("  cure: ")
    assert lines[6].startswith("warning: NCCL on 1 of 1 ranks: 2.28.3")


def test_the_json_says_the_same() -> None:
    found = json.loads(status_json(STATUS))
    assert found["serving"] is False
    assert [(one["kind"], one["level"], one["ranks"]) for one in found["kernel_tables"]] == [
        ("table", "info", [0]),
        ("default", "warning", [1]),
    ]
    assert found["kernel_tables"][0]["table"] == NAME
    assert found["nccl"][0]["libraries"] == [{"path": "/lib/libnccl.so.2", "version": "2.28.3"}]
    assert found["nccl"][0]["kind"] == "old"
    assert found["nccl"][0]["cure"]
