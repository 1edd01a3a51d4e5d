"""PNG pictures made small: 256 colours at most, as a screen of text needs no more."""

from __future__ import annotations

import struct
import zlib
from collections import Counter

__all__ = ["smaller"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def smaller(png: bytes) -> bytes:
    """The picture with a palette; as it is when that is not smaller. Takes 8-bit RGB without interlace, as Chromium writes it."""
    chunks = _chunks(png)
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, kind, interlace) == (8, 2, 0), "another kind of PNG"
    pixels = _unfiltered(zlib.decompress(chunks[b"IDAT"]), width * 3, height)
    colours = [bytes(pixels[at : at + 3]) for at in range(0, len(pixels), 3)]
    counts = Counter(colours)
    palette = [colour for colour, _ in counts.most_common(256)]
    index = {colour: n for n, colour in enumerate(palette)}
    for colour in counts:
        if colour not in index:
            index[colour] = min(range(len(palette)), key=lambda n: sum((a - b) ** 2 for a, b in zip(colour, palette[n], strict=True)))
    lines = bytes(index[colour] for colour in colours)
    rows = b"".join(b"\0" + lines[at : at + width] for at in range(0, len(lines), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    made = _SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)
    return min(made, png, key=len)


def _chunks(png: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = len(_SIGNATURE)
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        name = png[at + 4 : at + 8]
        found[name] = found.get(name, b"") + png[at + 8 : at + 8 + size]
        at += size + 12
    return found


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _unfiltered(data: bytes, stride: int, height: int) -> bytearray:
    """The bytes of the pixels: each line of a PNG is stored as differences to its neighbours."""
    out = bytearray()
    before = bytearray(stride)
    for row in range(height):
        start = row * (stride + 1)
        line = bytearray(data[start + 1 : start + 1 + stride])
        _restore(data[start], line, before)
        out += line
        before = line
    return out


def _restore(kind: int, line: bytearray, above: bytearray) -> None:
    for n in range(len(line)) if kind else ():
        left = line[n - 3] if n >= 3 else 0
        corner = above[n - 3] if n >= 3 else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[n]
        elif kind == 3:
            guess = (left + above[n]) // 2
        else:
            base = left + above[n] - corner
            guess = min((left, above[n], corner), key=lambda one: abs(base - one))
        line[n] = (line[n] + guess) & 255
