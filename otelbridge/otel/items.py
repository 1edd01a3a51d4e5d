"""What the frames of spools hold, read once for all lanes: they follow each other closely, and each needs all of it.

A lane that lags behind reads its frames itself: what is kept is bounded, the oldest goes first.
"""

from __future__ import annotations

from collections import deque

from otelbridge.model.count import Counts, count
from otelbridge.model.part import SpoolItem, decode
from otelbridge.spool import Frame

__all__ = ["Items"]

_MAX_BYTES = 4 << 20

_Key = tuple[str, int, int, int, int]


class Items:
    """See the module's text. For the event loop alone."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self.kept_bytes = 0
        self._known: dict[_Key, tuple[SpoolItem, Counts, int]] = {}
        self._order: deque[_Key] = deque()

    def of(self, spool: str, frame: Frame) -> tuple[SpoolItem, Counts]:
        """The item of a frame of a spool, and what it stands for. Errors as of decode()."""
        key = _key(spool, frame)
        known = self._known.get(key)
        if known is not None:
            return known[0], known[1]
        item = decode(frame.payload)
        counts = count(item)
        size = len(frame.payload)
        if size <= self._max_bytes // 16:
            self._known[key] = item, counts, size
            self._order.append(key)
            self.kept_bytes += size
            while self.kept_bytes > self._max_bytes:
                self.kept_bytes -= self._known.pop(self._order.popleft())[2]
        return item, counts

    def item(self, spool: str, frame: Frame) -> SpoolItem:
        """The item alone, which is not kept: for who comes behind the others. Errors as of decode()."""
        known = self._known.get(_key(spool, frame))
        return decode(frame.payload) if known is None else known[0]


def _key(spool: str, frame: Frame) -> _Key:
    """No two frames have the same."""
    return (spool, frame.boot, *frame.position, frame.time_ns)
