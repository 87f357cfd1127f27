"""What is changed of `up`'s commands for one host with GPUs, and what is left alone."""

from __future__ import annotations

from pathlib import Path

from tests.gpu.adapt import adapted, changes, flags, replaced, server_flags

GIVEN = {
    "rank": 2,
    "argv": [
        "python3", "-m", "sglang.launch_server", "--model=zai-org/GLM-4.7-FP8", "--revision", "abc", "--tp", "4",
        "--nnodes", "4", "--node-rank", "2", "--dist-init-addr", "10.0.0.1:50000", "--trust-remote-code",
        "--port", "30000",
    ],
    "env": {"NCCL_IB_HCA": "rocep1s0f0", "SGLANG_HOST_IP": "10.0.0.3", "MINE": "kept"},
}  # fmt: skip


def test_flags_of_the_host_are_replaced_and_the_rest_keeps_its_order() -> None:
    launch = adapted(GIVEN, "/py", Path("/site"), Path("/model"))
    assert launch.argv[:3] == ("/py", "-m", "sglang.launch_server")
    kept = ("--tp", "4", "--nnodes", "4", "--node-rank", "2", "--trust-remote-code")
    assert launch.argv[3 : 3 + len(kept)] == kept
    words = list(launch.argv)
    for flag, value in flags(2, Path("/model")).items():
        assert words.count(flag) == 1
        assert words[words.index(flag) + 1] == value
    assert not any("zai-org" in word or "10.0.0" in word or word in ("--revision", "abc") for word in words)


def test_a_single_rank_is_given_no_rendezvous() -> None:
    assert "--dist-init-addr" not in replaced(["--tp", "1"], flags(0, Path("/model")))


def test_the_environment_loses_rdma_devices_and_keeps_what_is_the_users() -> None:
    env = adapted(GIVEN, "/py", Path("/site"), Path("/model")).env
    assert env["MINE"] == "kept"
    assert env["SGLANG_HOST_IP"] == "127.0.0.1"
    assert env["CUDA_VISIBLE_DEVICES"] == "2"
    assert "NCCL_IB_HCA" not in env


def test_the_record_says_what_was_changed() -> None:
    told = changes(GIVEN, adapted(GIVEN, "/py", Path("/site"), Path("/model")))
    assert "NCCL_IB_HCA=rocep1s0f0" in told["environment_dropped"]
    assert "MINE=kept" not in told["environment_added"]
    assert told["argv_given"][0] == "--model=zai-org/GLM-4.7-FP8"


def test_argv_without_the_module_is_taken_as_flags() -> None:
    assert server_flags(["--tp", "4"]) == ["--tp", "4"]
