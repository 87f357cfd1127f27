"""What `status` prints."""

from __future__ import annotations

import json

from deploy.launch import nccl, table_report
from deploy.launch.kernel_log import TableUse
from deploy.launch.load import Load
from deploy.launch.standing import Standing
from deploy.launch.table_report import Carried
from deploy.report import ClusterStatus, RankStatus, status_json, status_text

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
TABLES = table_report.findings(
    {0: (TableUse(NAME, "triton_3_5_0", "triton_3_5_0"),), 1: (TableUse(NAME, "triton_3_5_0", ""),)},
    Carried("triton_3_5_0", (NAME,)),
)
STATUS = ClusterStatus(
    "sparks",
    Standing("degraded", "2026-01-01T00:00:00Z", "rank 1: exit code 1; `up` of ana, is at work"),
    (RankStatus(0, "spark1", "degraded", "", "it runs alone", "running", "200", "sha256:" + "ab" * 32),
     RankStatus(1, "spark2", "down", "2026-01-01T00:00:00Z", "exit code 1", "exited")),
    Load("/get_load", 2, 1, 812),
    TABLES,
    nccl.findings({0: (nccl.Library("/lib/libnccl.so.2", "2.28.3"),)}),
)  # fmt: skip


def test_the_text_is_a_table_and_what_the_ranks_use() -> None:
    lines = status_text(STATUS).splitlines()
    assert lines[:3] == [
        "sparks: degraded since 2026-01-01T00:00:00Z",
        "  rank 1: exit code 1",
        "  `up` of ana, is at work",
    ]
    assert lines[4].split() == ["0", "spark1", "degraded", "-", "running", "ok", "abababababab"]
    assert lines[6] == "requests: 2 running, 1 waiting, with 812 tokens (/get_load)"
    assert lines[7] == f"kernel table on 1 of 2 ranks (0): {NAME} of triton_3_5_0, for both GEMMs"
    assert lines[8].startswith("warning: kernel table on 1 of 2 ranks (1): SGLang's default")
    assert lines[9].startswith("  cure: ")
    assert lines[10].startswith("warning: NCCL on 1 of 1 ranks: 2.28.3")


def test_the_json_says_the_same() -> None:
    found = json.loads(status_json(STATUS))
    assert found["serving"] is False
    assert (found["state"], found["since"]) == ("degraded", "2026-01-01T00:00:00Z")
    assert found["why"].startswith("rank 1: exit code 1")
    assert {"state", "since", "why", "container", "health"} < found["ranks"][1].keys()
    assert found["load"] == {"source": "/get_load", "running": 2, "waiting": 1, "tokens": 812}
    assert [(one["kind"], one["level"], one["ranks"]) for one in found["kernel_tables"]] == [
        ("table", "info", [0]),
        ("default", "warning", [1]),
    ]
    assert found["kernel_tables"][0]["table"] == NAME
    assert found["nccl"][0]["libraries"] == [{"path": "/lib/libnccl.so.2", "version": "2.28.3"}]
    assert found["nccl"][0]["kind"] == "old"
    assert found["nccl"][0]["cure"]
