"""Where the consumers of a spool stand: one small file each, replaced as a whole.

A segment is removed when every registered consumer is past it; the newest one never is.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from otelbridge.errors import SpoolError
from otelbridge.spool.frame import Position, list_segments, segment_path

__all__ = ["cursors", "forget_consumer", "highest_committed", "read_cursor", "registered_consumers", "release", "write_cursor"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CURSOR = re.compile(rb"(\d+) (\d+)\n")


def write_cursor(directory: Path, name: str, position: Position, *, durable: bool) -> None:
    """Replace a consumer's cursor. `durable`: also through a power cut (costs an fsync)."""
    path = _path(directory, name)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(b"%d %d\n" % position)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def read_cursor(directory: Path, name: str) -> Position | None:
    """A consumer's cursor; None when it has none, or one that can't be read (it then begins again: no loss)."""
    try:
        found = _CURSOR.fullmatch(_path(directory, name).read_bytes())
    except OSError:
        return None
    return Position(int(found[1]), int(found[2])) if found else None


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
