"""Reading a cubin; the integration tests read real ones."""

from __future__ import annotations

import struct

import pytest

from deploy.kernels.exact.cubin import FRAME, REGISTERS, Resources, resources


def elf(info: bytes) -> bytes:
    """A 64-bit ELF file with one section of attributes and the names of sections."""
    names = b"\0.nv.info\0.shstrtab\0"
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", header, 0x28, 64 + len(info) + len(names))
    struct.pack_into("<HHH", header, 0x3A, 64, 2, 1)
    sections = ((1, 64, len(info)), (10, 64 + len(info), len(names)))
    table = b"".join(struct.pack("<IIQQQQ", name, 1, 0, 0, at, size).ljust(64, b"\0") for name, at, size in sections)
    return bytes(header) + info + names + table


def attribute(kind: int, value: int) -> bytes:
    return struct.pack("<BBHII", 4, kind, 8, 7, value)


def test_registers_and_the_frame_are_found_among_other_attributes() -> None:
    other = struct.pack("<BBHI", 4, 0x50, 4, 1) + struct.pack("<BBH", 3, 0x19, 0x60)
    assert resources(elf(other + attribute(REGISTERS, 168) + attribute(FRAME, 32))) == Resources(168, 32)


def test_no_frame_is_no_spill() -> None:
    assert resources(elf(attribute(REGISTERS, 64))) == Resources(64, 0)


@pytest.mark.parametrize("content", [b"", b"MZ" * 100, elf(b""), elf(attribute(FRAME, 8))])
def test_a_file_that_does_not_say_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"ELF|registers"):
        resources(content)
