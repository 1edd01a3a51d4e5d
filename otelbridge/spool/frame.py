"""Frames and segments: what a spool's files look like, and how damage in them is told from a write under way.

A segment is 16 bytes (magic, u64 boot: when its writer was opened, ns) and frames after one another:

    u32 length   u32 crc   u64 time (ns, when it was appended)   length bytes of payload

The crc is seeded with the frame's offset and time: a frame is valid only where it was written, so that bytes a guest
made look like a frame, or an old block that a power cut brought back, never pass for one.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

__all__ = [
    "FRAME_BYTES",
    "MAX_PAYLOAD_BYTES",
    "SEGMENT_BYTES",
    "Frame",
    "Position",
    "frame_length",
    "frame_time",
    "good_length",
    "list_segments",
    "pack_frame",
    "pack_segment",
    "read_boot",
    "scan",
    "segment_path",
]

MAGIC = b"OBSPOOL1"
_SEGMENT = struct.Struct("<8sQ")
_FRAME = struct.Struct("<IIQ")
SEGMENT_BYTES = _SEGMENT.size
FRAME_BYTES = _FRAME.size
MAX_PAYLOAD_BYTES = 64 << 20


class Position(NamedTuple):
    """A place in a spool; positions are ordered as the frames are."""

    segment: int
    offset: int


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What one append() wrote. `position` is the place behind it: commit that when the frame is done with.

    `time_ns`: when it was appended; `boot`: when its writer was opened, so a change says that a process has gone.
    """

    start: Position
    position: Position
    time_ns: int
    boot: int
    payload: bytes


def pack_frame(payload: bytes, offset: int, time_ns: int) -> bytes:
    """The bytes of a frame that will stand at `offset` of its segment."""
    return _FRAME.pack(len(payload), zlib.crc32(payload, (offset + time_ns) & 0xFFFFFFFF), time_ns) + payload


def pack_segment(boot: int) -> bytes:
    """The first bytes of a segment."""
    return _SEGMENT.pack(MAGIC, boot)


def read_boot(head: bytes) -> int | None:
    """The boot of a segment that starts with these bytes; None when they are no segment's."""
    if len(head) < SEGMENT_BYTES:
        return None
    magic, boot = _SEGMENT.unpack_from(head)
    return boot if magic == MAGIC else None


def scan(buffer: bytes, at: int, offset: int) -> tuple[int, int, bytes | None] | None:
    """The frame at buffer[at], which stands at `offset` of its segment: (time, end in the buffer, payload if valid).

    None: the buffer ends inside the frame. A length that no writer would write is invalid and ends at once.
    """
    if at + FRAME_BYTES > len(buffer):
        return None
    length, crc, time_ns = _FRAME.unpack_from(buffer, at)
    if not 0 < length <= MAX_PAYLOAD_BYTES:
        return time_ns, at, None
    end = at + FRAME_BYTES + length
    if end > len(buffer):
        return None
    payload = buffer[at + FRAME_BYTES : end]
    return time_ns, end, payload if zlib.crc32(payload, (offset + time_ns) & 0xFFFFFFFF) == crc else None


def frame_length(head: bytes) -> int:
    """Bytes of the whole frame that begins with these, or of a header when that is cut off or impossible."""
    length: int = _FRAME.unpack_from(head)[0] if len(head) >= FRAME_BYTES else 0
    return FRAME_BYTES + length if length <= MAX_PAYLOAD_BYTES else FRAME_BYTES


def frame_time(head: bytes) -> int:
    """When the frame that begins with these bytes was appended."""
    time_ns: int = _FRAME.unpack_from(head)[2]
    return time_ns


def good_length(data: bytes) -> int:
    """How much of a segment to keep when its writer is gone: without a last frame that was never finished.

    Damage in the middle stays as it is, for readers to count.
    """
    if read_boot(data) is None:
        return 0
    at = SEGMENT_BYTES
    while at < len(data):
        found = scan(data, at, at)
        if found is None:
            return at
        if found[1] == at:
            break
        at = found[1]
    return len(data)


def segment_path(directory: Path, segment: int) -> Path:
    """Where a segment lies."""
    return directory / f"{segment:010d}.seg"


def list_segments(directory: Path) -> list[int]:
    """The segments that exist, oldest first."""
    return sorted(int(p.name[:-4]) for p in directory.glob("??????????.seg") if p.name[:-4].isdigit())
