"""Frames that were read lately: consumers of one process follow each other closely, and each frame is read once for all of them.

Reading one again costs 3 us: a copy, its checksum and its objects. Who lags behind reads for itself: what is kept is bounded.
"""

from __future__ import annotations

import threading
from pathlib import Path

from otelbridge.spool.frame import Frame, Position
from otelbridge.spool.reader import SpoolReader

__all__ = ["ReadCache"]

_MAX_BYTES = 4 << 20  # of payloads: more than a second of a busy loader


class ReadCache:
    """See the module's text. For any thread: who comes second waits until the first has read."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: dict[tuple[Path, Position], tuple[list[Frame], int]] = {}
        self._books = threading.Lock()
        self._reading: dict[Path, threading.Lock] = {}

    def read(self, reader: SpoolReader, max_bytes: int, max_frames: int) -> tuple[list[Frame], bool]:
        """SpoolReader.read(), and whether others were here before: then there may be more at once, and they may be more frames
        than were asked for. OSError as there; the list is everybody's."""
        directory = reader.directory
        with self._books:
            alone = self._reading.setdefault(directory, threading.Lock())
        with alone:  # of one spool: one that can't be read holds up no other
            begin, damaged = reader.position, reader.damaged_bytes
            known = self._known.get((directory, begin))
            if known is not None:
                reader.skip(known[0][-1].position)
                return known[0], True
            frames = reader.read(max_bytes, max_frames)
            # What leads into another segment or past damage is more than a position: each reader finds that by itself.
            if frames and begin.segment == reader.position.segment and damaged == reader.damaged_bytes:
                self._keep((directory, begin), frames)
            return frames, False

    def _keep(self, key: tuple[Path, Position], frames: list[Frame]) -> None:
        size = sum([len(frame.payload) for frame in frames])
        with self._books:
            self._bytes += size
            self._known[key] = frames, size
            while self._bytes > self._max_bytes:
                self._bytes -= self._known.pop(next(iter(self._known)))[1]
