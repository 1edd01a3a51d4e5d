"""How many log records and spans a part stands for. The spool's drops and the loss ledger count in the same unit."""

from __future__ import annotations

import struct

import msgspec

from otelbridge.model import ring
from otelbridge.model.part import Notice, Part, SpoolItem

__all__ = ["Counts", "count", "count_spans"]

_HEADER = struct.Struct("<IBBHQII")
_unpack = _HEADER.unpack_from


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Records by signal."""

    logs: int = 0
    spans: int = 0


def count(item: SpoolItem) -> Counts:
    """Logs: log lines, exceptions and diagnostics messages; spans: see count_spans(). A notice is one log record."""
    if isinstance(item, Notice):
        return Counts(logs=1)
    logs = opened = at = 0
    data = item.ring
    size = len(data)
    # ring.walk() without building its entries: this runs for every part, also where nobody asks for the entries.
    while at + ring.HEADER_BYTES <= size:
        length, kind, level, _, _, _, extra = _unpack(data, at)
        end = (at + ring.HEADER_BYTES + length + 7) & -8
        if end > size or extra > length or kind > ring.SPAN_CLOSE or level >= len(ring.LEVELS):
            break
        at = end
        if kind <= ring.DIAGNOSTIC:
            logs += 1
        elif kind == ring.SPAN_OPEN:
            opened += 1
    return Counts(logs, opened + count_spans(item))


def count_spans(part: Part) -> int:
    """Spans that a part's end stands for: the invocation, its load and compile when cold, each subrequest."""
    end = part.end
    if end is None:
        return 0
    cold = 0 if end.cold_start is None else 2 if end.cold_start.compile_ns else 1
    return 1 + cold + len(end.subrequests)
