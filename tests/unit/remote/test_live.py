"""What a look at the running ranks prints, and what is read from it."""

from __future__ import annotations

from deploy.launch.kernel_log import TableUse
from deploy.launch.nccl import Library
from deploy.remote import facts, live
from tests.unit.launch.test_kernel_log import DOWN, NAME, default, own

NCCL = "/usr/local/lib/python3.12/dist-packages/nvidia/nccl/lib/libnccl.so.2"
TEXT = f"said {own(NAME)}\nsaid {default(DOWN)}\nnccl\nnccl {NCCL} 2.30.7\nnccl /tmp/libnccl.so.2 \n"


def test_tables_and_libraries_are_read() -> None:
    found = live.read(TEXT)
    assert found.tables == (TableUse(NAME, "triton_3_5_0", "triton_3_5_0"),)
    assert found.nccl == (Library(NCCL, "2.30.7"), Library("/tmp/libnccl.so.2", ""))


def test_one_output_serves_both_readers() -> None:
    text = TEXT + "architecture aarch64\nhome /home/me\ndisk_free 1024\n"
    assert live.read(text) == live.read(TEXT)
    assert facts.read(text).architecture == "aarch64"


def test_nothing_printed_is_nothing_seen() -> None:
    assert live.read("") == live.LiveFacts((), None)
    assert live.read("nccl\n") == live.LiveFacts((), ())
