"""What the frames of spools hold, read once for all lanes: they follow each other closely, and each needs all of it.

A lane that lags behind reads its frames itself: what is kept is bounded, the oldest goes first. Bounded is the memory it
takes, which is two to nine times the frame: of small parts, objects and the place in here are most of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from otelbridge.model.count import Counts, count
from otelbridge.model.part import Part, SpoolItem, decode
from otelbridge.model.trace import FetchEvent
from otelbridge.spool import Frame, Position

__all__ = ["Items"]

_MAX_BYTES = 16 << 20  # some 6,000 parts with a line each: a lane reads 512 at a time

# What the interpreter takes, beside the bytes of a frame: measured, rounded up.
_ITEM_BYTES = 2_000  # of a part: its objects with their fixed texts, its key, and its places in the tables
_HEADER_BYTES = 220  # two texts and their place in a dict that has just grown
_SUBREQUEST_BYTES = 600
_WIDEST = 4  # bytes for each byte of a text, when one character is beyond the Basic Multilingual Plane
_NOTICE_FACTOR = 16  # fields of the bridge's own: short names and numbers

_Key = tuple[str, int, Position, int]  # spool, boot, position and time: no two frames have the same


class Items:
    """See the module's text. `counted`: model.count.count(), or what does the same. For the event loop alone."""

    def __init__(self, counted: Callable[[SpoolItem], Counts] = count, *, max_bytes: int = _MAX_BYTES) -> None:
        self._counted = counted
        self._max_bytes = max_bytes
        self.kept_bytes = 0
        self._known: dict[_Key, tuple[tuple[SpoolItem, Counts], int]] = {}
        self._order: deque[_Key] = deque()

    def of(self, spool: str, frame: Frame) -> tuple[SpoolItem, Counts]:
        """The item of a frame of a spool, and what it stands for. Errors as of decode()."""
        key = spool, frame.boot, frame.position, frame.time_ns
        known = self._known.get(key)
        if known is not None:
            return known[0]
        item = decode(frame.payload)
        found = item, self._counted(item)
        size = _held_bytes(item, len(frame.payload))
        if size <= self._max_bytes // 16:
            self._known[key] = found, size
            self._order.append(key)
            self.kept_bytes += size
            while self.kept_bytes > self._max_bytes:
                self.kept_bytes -= self._known.pop(self._order.popleft())[1]
        return found

    def item(self, spool: str, frame: Frame) -> SpoolItem:
        """The item alone, which is not kept: for who comes behind the others. Errors as of decode()."""
        known = self._known.get((spool, frame.boot, frame.position, frame.time_ns))
        return decode(frame.payload) if known is None else known[0][0]


def _held_bytes(item: SpoolItem, payload_bytes: int) -> int:
    """The most memory that an item takes here. From lengths alone: it is asked for every frame."""
    if not isinstance(item, Part):
        return _ITEM_BYTES + _NOTICE_FACTOR * payload_bytes
    named = len(item.worker.tags) + (len(item.event.headers) if isinstance(item.event, FetchEvent) else 0)
    subrequests = len(item.end.subrequests) if item.end is not None else 0
    logged = len(item.ring)
    return _ITEM_BYTES + logged + _WIDEST * (payload_bytes - logged) + _HEADER_BYTES * named + _SUBREQUEST_BYTES * subrequests
