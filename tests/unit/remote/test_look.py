"""What a node prints for `status`, read back."""

from __future__ import annotations

from deploy.launch.evidence import LogLine
from deploy.remote import live, look

TEXT = """clock 1767225660.5
memory_available 1024
holder `up` of ana on desk, process 7
pulse
start 2026-01-01T00:00:10.000000000Z [2026-01-01 00:00:10 TP0] Load weight begin. avail mem=115 GB
start cut off
batch 2026-01-01T00:00:30.000000000Z [2026-01-01 00:00:30 TP0] Prefill batch, #new-seq: 1, #new-token: 9,
watts 11.50
watts [N/A]
said Using MoE kernel config from /x/triton_3_5_0/E=160,N=384.json.
nccl
"""


def test_each_part_takes_its_own_lines() -> None:
    found = look.read(2, TEXT)
    assert (found.pulse.rank, found.pulse.clock, found.pulse.memory_available) == (2, 1767225660.5, 1 << 20)
    assert found.pulse.holder.startswith("`up` of ana")
    assert found.lines == (LogLine(1767225610, "[2026-01-01 00:00:10 TP0] Load weight begin. avail mem=115 GB"),)
    assert found.batch
    assert found.batch.at == 1767225630
    assert found.watts == (11.5,)
    assert live.read(TEXT).nccl == ()
    assert live.read(TEXT).tables


def test_one_script_says_a_pulse_once_and_goes_on() -> None:
    *_, cluster, seconds = look.command("sparks").argv
    assert (cluster, seconds) == ("sparks", "0")
