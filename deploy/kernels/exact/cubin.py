"""Reads registers and local memory of a kernel from its cubin, an ELF file. Knows nothing of Triton."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

REGISTERS, FRAME, VALUES = 0x2F, 0x11, 0x04
"""Attributes of .nv.info, and the format of those that hold (symbol, value)."""


@dataclass(frozen=True)
class Resources:
    """Of one thread: registers, and bytes of local memory, into which ptxas spills what registers do not hold."""

    registers: int
    spilled: int


def resources(cubin: bytes) -> Resources:
    """What the one kernel of this cubin needs. ValueError where the file does not say."""
    info = b"".join(content for name, content in _sections(cubin) if name == ".nv.info")
    found = dict(_attributes(info))
    if REGISTERS not in found:
        raise ValueError("the cubin names no number of registers")
    return Resources(found[REGISTERS], found.get(FRAME, 0))


def _sections(elf: bytes) -> Iterator[tuple[str, bytes]]:
    if elf[:5] != b"\x7fELF\x02":
        raise ValueError("not a 64-bit ELF file")
    (start,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, start + size * index) for index in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        yield elf[strings + name : elf.index(b"\0", strings + name)].decode(), elf[offset : offset + length]


def _attributes(info: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at + 4 <= len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == VALUES:
            if size == 8:
                yield attribute, struct.unpack_from("<II", info, at)[1]
            at += size
