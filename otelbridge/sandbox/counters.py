"""What a guest's log ring had no room for."""

from __future__ import annotations

import msgspec

__all__ = ["NOTHING", "RingCounters"]


class RingCounters(msgspec.Struct, frozen=True):
    """Counted since the invocation began. `truncated`: a limit cut or dropped something."""

    dropped_logs: int
    dropped_exceptions: int
    dropped_bytes: int
    truncated: bool
    out_of_memory: bool


NOTHING = RingCounters(0, 0, 0, False, False)
