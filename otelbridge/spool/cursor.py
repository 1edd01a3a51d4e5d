"""Where the consumers of a spool stand: one small file each, written in place.

In place, because a consumer must be able to commit on a full disk: that is what brings space back. The file has two
slots that are written in turn, each with a crc, so that a torn write leaves the one before it.
A segment is removed when every registered consumer is past it; the newest one never is.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zlib
from pathlib import Path

from otelbridge.errors import SpoolError
from otelbridge.spool.frame import SEGMENT_BYTES, Position, list_segments, segment_path

__all__ = [
    "bytes_behind",
    "cursors",
    "forget_consumer",
    "highest_committed",
    "read_cursor",
    "registered_consumers",
    "release",
    "waiting_bytes",
    "write_cursor",
]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SLOT = struct.Struct("<QQQI")  # number of the write, segment, offset, crc


def write_cursor(directory: Path, name: str, position: Position, *, durable: bool) -> None:
    """Set a consumer's cursor. `durable`: also through a power cut (costs an fdatasync)."""
    path = _path(directory, name)
    path.parent.mkdir(exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        number = max((n for n, _ in _slots(os.pread(fd, 2 * _SLOT.size, 0))), default=0) + 1
        slot = _SLOT.pack(number, *position, 0)[:-4]
        slot += zlib.crc32(slot).to_bytes(4, "little")
        # The first write fills both slots: from then on no write needs space.
        os.pwrite(fd, slot * 2 if number == 1 else slot, 0 if number == 1 else number % 2 * _SLOT.size)
        if durable:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def read_cursor(directory: Path, name: str) -> Position | None:
    """A consumer's cursor; None when it has none, or one that can't be read (it then begins again: no loss)."""
    try:
        slots = _slots(_path(directory, name).read_bytes())
    except OSError:
        return None
    return max(slots)[1] if slots else None


def _slots(data: bytes) -> list[tuple[int, Position]]:
    out = []
    for at in range(0, len(data) - _SLOT.size + 1, _SLOT.size):
        number, segment, offset, crc = _SLOT.unpack_from(data, at)
        if zlib.crc32(data[at : at + _SLOT.size - 4]) == crc:
            out.append((number, Position(segment, offset)))
    return out


def cursors(directory: Path) -> dict[str, Position]:
    """All registered consumers; one with a damaged cursor counts as standing at the beginning."""
    names = registered_consumers(directory)
    return {name: read_cursor(directory, name) or Position(0, 0) for name in names}


def registered_consumers(directory: Path) -> list[str]:
    """The names of all consumers that hold on to segments."""
    return sorted(p.name.removesuffix(".cursor") for p in (directory / "consumers").glob("*.cursor"))


def forget_consumer(directory: Path, name: str) -> None:
    """A consumer is gone for good: let go of what it held."""
    with contextlib.suppress(FileNotFoundError):
        _path(directory, name).unlink()
    release(directory)


def highest_committed(directory: Path) -> int:
    """The newest segment that any consumer has been in: new segments are numbered above it."""
    return max((p.segment for p in cursors(directory).values()), default=0)


def bytes_behind(directory: Path, position: Position) -> int:
    """What a spool holds behind a position, without heads of segments."""
    size = -max(position.offset - SEGMENT_BYTES, 0)
    for segment in list_segments(directory):
        if segment >= position.segment:
            with contextlib.suppress(FileNotFoundError):
                size += segment_path(directory, segment).stat().st_size - SEGMENT_BYTES
    return max(size, 0)


def waiting_bytes(directory: Path) -> int:
    """What the last of a spool's consumers is not done with."""
    standing = cursors(directory)
    return bytes_behind(directory, min(standing.values())) if standing else 0


def release(directory: Path) -> None:
    """Remove the segments that all registered consumers are past."""
    standing = cursors(directory)
    if not standing:
        return
    lowest = min(standing.values()).segment
    for segment in list_segments(directory)[:-1]:
        if segment >= lowest:
            break
        with contextlib.suppress(FileNotFoundError):
            segment_path(directory, segment).unlink()


def _path(directory: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise SpoolError(f"A consumer's name has letters, digits, dots, dashes and underscores: {name!r}")
    return directory / "consumers" / f"{name}.cursor"
