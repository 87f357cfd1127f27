from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bench.framing import framed

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x;x=1\r\n%s\r\n" % (len(data), data)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 400), max_size=9), st.data())
def test_chunks_come_out_whole_with_the_time_of_their_last_byte(
    chunks: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    sent = CHUNKED + b"".join(map(chunk, chunks)) + b"0\r\n\r\n"
    size = data.draw(st.integers(1, 50))
    received = [sent[at : at + size] for at in range(0, len(sent), size)]
    found = framed([float(number) for number in range(len(received))], received)
    assert found is not None
    assert (found.status, found.pieces, found.whole) == (200, tuple(chunks), True)
    position = len(CHUNKED)
    for piece, at in zip(chunks, found.stamps, strict=True):
        position += len(chunk(piece))
        assert at == (position - 2 - 1) // size


@pytest.mark.parametrize("end", [b"", b"5\r\nab", b"5\r\nabcde\r\n", b"0"])
def test_a_stream_without_its_last_chunk_is_not_whole(end: bytes) -> None:
    found = framed([0.0], [CHUNKED + chunk(b"x") + end])
    assert found is not None
    assert not found.whole
    assert found.pieces[0] == b"x"


def test_a_body_of_known_length_is_whole_when_it_is_there() -> None:
    head = b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\n"
    for body, whole in ((b"abcd", True), (b"abc", False)):
        found = framed([0.1, 0.2], [head + body[:1], body[1:]])
        assert found is not None
        assert (found.status, found.pieces, found.stamps, found.whole) == (500, (body[:1], body[1:]), (0.1, 0.2), whole)


def test_what_is_no_http_is_refused_and_what_has_no_head_is_none() -> None:
    assert framed([], []) is None
    assert framed([0.0], [b"HTTP/1.1 200 OK\r\n"]) is None
    for head in (b"SSH-2.0 x y\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n", b"nothing\r\n\r\n"):
        with pytest.raises(ValueError, match=r".+"):
            framed([0.0], [head])
