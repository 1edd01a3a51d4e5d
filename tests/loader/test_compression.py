"""Compression in pieces: any division gives the same, and nothing a guest sends costs much."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.loader.compression import MAX_CODECS, MAX_INPUT, MAX_OUTPUT, Codecs, CompressionError


def through(mode: str, format: str, pieces: list[bytes]) -> bytes:
    """What comes out when these pieces go in, as the prelude asks for it."""
    codecs = Codecs()
    codecs.perform({"step": "open", "id": 1, "format": format, "mode": mode}, b"")
    out = []
    for step, piece in [*(("push", p) for p in pieces), ("finish", b"")]:
        more, data = codecs.perform({"step": step, "id": 1}, piece)
        out.append(data)
        while more:
            more, data = codecs.perform({"step": "more", "id": 1}, b"")
            assert data is not None
            assert len(data) <= MAX_OUTPUT
            out.append(data)
    return b"".join(d or b"" for d in out)


@given(
    pieces=st.lists(st.binary(max_size=300), max_size=8), cut=st.integers(1, 50), format=st.sampled_from(["gzip", "deflate", "deflate-raw"])
)
def test_there_and_back(pieces: list[bytes], cut: int, format: str) -> None:
    """Whatever is compressed in pieces comes back from other pieces."""
    packed = through("compress", format, pieces)
    assert through("decompress", format, [packed[at : at + cut] for at in range(0, len(packed), cut)]) == b"".join(pieces)


def test_other_programs_read_and_write_the_same() -> None:
    """The formats are gzip's and zlib's own."""
    data = b"text " * 100_000
    assert gzip.decompress(through("compress", "gzip", [data[:MAX_INPUT]])) == data[:MAX_INPUT]
    assert through("decompress", "deflate", [zlib.compress(data)]) == data


def test_a_bomb_comes_out_in_pieces() -> None:
    """64 KiB that hold 64 MiB are never unpacked at once."""
    bomb = zlib.compress(bytes(64 << 20), 9)
    assert len(bomb) <= MAX_INPUT
    assert len(through("decompress", "deflate", [bomb])) == 64 << 20


@pytest.mark.parametrize(
    "pieces",
    [
        [b"nope"],
        [gzip.compress(b"abc")[:-1]],
        [],
        [gzip.compress(b"abc"), b"x"],
        [gzip.compress(b"abc") + b"x"],
        [gzip.compress(b"a") + gzip.compress(b"b")],
    ],
)
def test_data_that_is_not_whole(pieces: list[bytes]) -> None:
    """Rubbish, a missing end and anything behind the end are TypeErrors."""
    with pytest.raises(CompressionError) as caught:
        through("decompress", "gzip", pieces)
    assert caught.value.name == "TypeError"


def test_streams_are_few_and_end() -> None:
    """Only so many are open at once; an error, the end or the guest closes one."""
    codecs = Codecs()
    for number in range(MAX_CODECS):
        codecs.perform({"step": "open", "id": number, "format": "gzip", "mode": "decompress"}, b"")
    with pytest.raises(CompressionError):
        codecs.perform({"step": "open", "id": 99, "format": "gzip", "mode": "compress"}, b"")
    with pytest.raises(CompressionError):
        codecs.perform({"step": "push", "id": 0}, b"rubbish")
    codecs.perform({"step": "drop", "id": 1}, b"")
    codecs.perform({"step": "drop", "id": 1}, b"")
    for number in (0, 1):
        with pytest.raises(CompressionError):
            codecs.perform({"step": "more", "id": number}, b"")
    codecs.perform({"step": "open", "id": 99, "format": "gzip", "mode": "compress"}, b"")


@given(
    step=st.sampled_from(["open", "push", "more", "finish", "drop"]) | st.none() | st.integers(),
    number=st.none() | st.integers() | st.text() | st.booleans(),
    format=st.none() | st.sampled_from(["gzip", "br"]) | st.lists(st.integers()),
    mode=st.none() | st.sampled_from(["compress", "decompress"]),
    blob=st.binary(max_size=50),
)
def test_whatever_a_guest_sends(step: Any, number: Any, format: Any, mode: Any, blob: bytes) -> None:
    """Any request is answered, or refused as a CompressionError."""
    codecs = Codecs()
    codecs.perform({"step": "open", "id": 1, "format": "gzip", "mode": "decompress"}, b"")
    try:
        codecs.perform({"step": step, "id": number, "format": format, "mode": mode}, blob)
    except CompressionError as e:
        assert e.name in ("TypeError", "Error")


def test_a_piece_that_is_too_large() -> None:
    """A step takes 64 KiB at most."""
    codecs = Codecs()
    codecs.perform({"step": "open", "id": 1, "format": "gzip", "mode": "compress"}, b"")
    with pytest.raises(CompressionError):
        codecs.perform({"step": "push", "id": 1}, bytes(MAX_INPUT + 1))
