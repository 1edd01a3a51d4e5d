"""Split snapshots: an engine's code compiled once, and a worker's memory as an image that instances map copy-on-write.

split() turns the engine module into code that imports its memory and carries no data; its data becomes the first
image. An image is a module without code: compiling one takes milliseconds, mapping it into an instance microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator

from otelbridge.errors import SandboxError

__all__ = ["PAGE", "Split", "image_module", "split"]

PAGE = 65536
_CHUNK = 4096  # zero runs shorter than a page of the host are not worth a segment of their own
_IMPORT, _MEMORY, _EXPORT, _START, _DATA, _DATA_COUNT = 2, 5, 7, 8, 11, 12


class Split:
    """`code`: the module that imports env.memory; `memory`: what its memory holds at the start."""

    __slots__ = ("code", "memory")

    def __init__(self, code: bytes, memory: bytes) -> None:
        self.code = code
        self.memory = memory


def split(wasm: bytes) -> Split:
    """Take a module with one memory apart. SandboxError for a shape that our engine's build never makes."""
    out: list[tuple[int, bytes]] = []
    pages = 0
    segments: list[tuple[int, bytes]] = []
    imported = False
    entry = _name("env") + _name("memory") + b"\x02\x00\x01"
    for kind, body in _sections(wasm):
        if kind == _MEMORY:
            count, at = _uleb_at(body, 0)
            flags, at = _uleb_at(body, at)
            if count != 1 or flags > 1:
                raise SandboxError("the engine module must have exactly one plain memory")
            pages, _ = _uleb_at(body, at)
        elif kind == _DATA:
            segments = list(_segments(body))
        elif kind == _START:
            raise SandboxError("the engine module must not have a start function")
        elif kind == _IMPORT:
            raise SandboxError("the engine module must not import anything")
        elif kind != _DATA_COUNT:
            if kind > _IMPORT and not imported:
                out.append((_IMPORT, _uleb(1) + entry))
                imported = True
            out.append((kind, body))
    memory = bytearray(pages * PAGE)
    for offset, data in segments:
        memory[offset : offset + len(data)] = data
    return Split(_module(out), bytes(memory))


def image_module(memory: bytes) -> bytes:
    """A module that exports `memory` with these contents."""
    runs = list(_runs(memory))
    data = _uleb(len(runs)) + b"".join(b"\0\x41" + _sleb(at) + b"\x0b" + _uleb(len(piece)) + piece for at, piece in runs)
    pages = len(memory) // PAGE
    return _module([(_MEMORY, b"\x01\x00" + _uleb(pages)), (_EXPORT, b"\x01" + _name("memory") + b"\x02\x00"), (_DATA, data)])


def _runs(memory: bytes) -> Iterator[tuple[int, bytes]]:
    zero = bytes(_CHUNK)
    start = -1
    for at in range(0, len(memory), _CHUNK):
        if memory[at : at + _CHUNK] == zero:
            if start >= 0:
                yield start, memory[start:at]
                start = -1
        elif start < 0:
            start = at
    if start >= 0:
        yield start, memory[start:]


def _segments(body: bytes) -> Iterator[tuple[int, bytes]]:
    count, at = _uleb_at(body, 0)
    for _ in range(count):
        flags, at = _uleb_at(body, at)
        if flags != 0 or body[at] != 0x41:
            raise SandboxError("the engine module has a data segment of an unknown kind")
        offset, at = _uleb_at(body, at + 1)  # offsets of our engine are positive: signed and unsigned agree
        if body[at] != 0x0B:
            raise SandboxError("the engine module has a data segment with a computed offset")
        size, at = _uleb_at(body, at + 1)
        yield offset, body[at : at + size]
        at += size


def _sections(wasm: bytes) -> Iterator[tuple[int, bytes]]:
    if wasm[:8] != b"\0asm\x01\0\0\0":
        raise SandboxError("the engine module is not WebAssembly")
    at = 8
    while at < len(wasm):
        kind = wasm[at]
        size, at = _uleb_at(wasm, at + 1)
        yield kind, wasm[at : at + size]
        at += size


def _module(sections: list[tuple[int, bytes]]) -> bytes:
    return b"\0asm\x01\0\0\0" + b"".join(bytes([kind]) + _uleb(len(body)) + body for kind, body in sections)


def _name(text: str) -> bytes:
    return _uleb(len(text)) + text.encode()


def _uleb(number: int) -> bytes:
    out = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _sleb(number: int) -> bytes:
    out = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        if (number == 0 and not byte & 0x40) or (number == -1 and byte & 0x40):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def _uleb_at(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, at
        shift += 7
