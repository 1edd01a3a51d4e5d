"""The log ring: how a guest writes log lines, exceptions and spans into memory, and how they are read back.

A guest fills a bounded buffer while it runs; the host copies the used bytes out between slices, so that no log call
ever enters Python. An entry is a header of 24 bytes, its payload, and zeros up to a multiple of 8:

    u32 length   bytes of payload      u8 kind   u8 level   u16 zero
    u64 time     nanoseconds, as the guest saw the clock
    u32 span     number of the guest's span, 0 for none    u32 extra   bytes at the payload's end that hold errorInfo

Everything in it is the guest's claim: walk() accepts nothing that it has not checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

__all__ = [
    "DIAGNOSTIC",
    "EXCEPTION",
    "HEADER_BYTES",
    "LEVELS",
    "LOG",
    "SPAN_CLOSE",
    "SPAN_OPEN",
    "TEXT",
    "Entry",
    "check",
    "pack",
    "walk",
]

LOG = 0  # payload: JSON array of console arguments, then `extra` bytes of JSON errorInfo
TEXT = 1  # payload: text or JSON, from a guest without our console (worker ABI 1, WASI)
EXCEPTION = 2  # payload: JSON {name, message, stack?}
DIAGNOSTIC = 3  # payload: JSON {channel, message}
SPAN_OPEN = 4  # payload: JSON {name, parent}
SPAN_CLOSE = 5  # payload: JSON {attributes}

LEVELS = ("debug", "log", "info", "warn", "error")

_HEADER = struct.Struct("<IBBHQII")
HEADER_BYTES = _HEADER.size
_unpack = _HEADER.unpack_from
_unpack_checked = struct.Struct("<IBB14xI").unpack_from  # length, kind, level, extra: it runs for every line of every request


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of the ring. `level` indexes LEVELS; `payload` and `extra` are bytes a guest wrote."""

    kind: int
    level: int
    time_ns: int
    span: int
    payload: bytes
    extra: bytes


def pack(kind: int, payload: bytes, *, level: int = 0, time_ns: int = 0, span: int = 0, extra: bytes = b"") -> bytes:
    """One entry as a guest would have written it; the host uses this for what it adds itself."""
    body = payload + extra
    head = _HEADER.pack(len(body), kind, level, 0, time_ns, span, len(extra))
    return head + body + bytes(-len(body) % 8)


def check(ring: bytes) -> tuple[int, int]:
    """How much of the ring is well-formed: (bytes, entries). What follows the first malformed entry is not counted."""
    at = count = 0
    size = len(ring)
    while at + HEADER_BYTES <= size:
        length, kind, level, extra = _unpack_checked(ring, at)
        end = (at + HEADER_BYTES + length + 7) & -8
        if end > size or extra > length or kind > SPAN_CLOSE or level >= len(LEVELS):
            break
        at = end
        count += 1
    return at, count


def walk(ring: bytes) -> Iterator[Entry]:
    """The entries of a ring, up to its end or to the first malformed one."""
    at = 0
    size = len(ring)
    while at + HEADER_BYTES <= size:
        length, kind, level, _, time_ns, span, extra = _unpack(ring, at)
        start = at + HEADER_BYTES
        end = start + length
        at = (end + 7) & -8
        if at > size or extra > length or kind > SPAN_CLOSE or level >= len(LEVELS):
            return
        yield Entry(kind, level, time_ns, span, ring[start : end - extra], ring[end - extra : end] if extra else b"")
