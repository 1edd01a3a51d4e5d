"""What a lane remembers of the invocations that went through it lately: when each was read, and when all of it was settled.

For looking at one invocation, and no part of what is promised: it is in memory, bounded, and goes with the process.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from otelbridge.model.passage import ExportPassage, ExportState
from otelbridge.model.recent import Recent
from otelbridge.otel.ledger import REJECTED

__all__ = ["Passages", "passage"]

# About 300 bytes each, twice as many at most: 6 MB for a lane that is busy.
_REMEMBERED = 10_000


class _Passed(msgspec.Struct, frozen=True, gc=False):
    """When the first frame was read and the last one settled (ns); delivered records, or all fates if some were not."""

    read_ns: int
    settled_ns: int
    fates: int | dict[str | None, int]


class Passages:
    """See the module's text."""

    def __init__(self) -> None:
        self._recent: Recent[_Passed] = Recent(_REMEMBERED)

    def note(self, invocation_id: str, read_ns: int, fates: dict[str | None, int]) -> None:
        """A frame of an invocation is settled. An invocation has one frame or several, which are counted together."""
        known = self._recent.get(invocation_id)
        if known is not None:
            read_ns = min(read_ns, known.read_ns)
            fates = _joined(_spread(known.fates), fates)
        # The dictionary takes as much memory as all else of it: the usual one has one entry.
        plain = fates[None] if len(fates) == 1 and None in fates else fates
        self._recent.put(invocation_id, _Passed(read_ns, time.time_ns(), plain))

    def get(self, invocation_id: str) -> _Passed | None:
        """What is known of an invocation's settled frames."""
        return self._recent.get(invocation_id)


def passage(
    destination: str, signal: Literal["logs", "spans"], done: _Passed | None, *, waits_since: int | None, waits: bool, error: str | None
) -> ExportPassage:
    """What is known, in words for the API. `waits`: a frame is not settled; `waits_since`: the time that the first of these was
    read, if one was."""
    fates = {} if done is None else _spread(done.fates)
    lost = {reason: count for reason, count in fates.items() if reason not in (None, REJECTED)}
    begun = [ns for ns in (done.read_ns if done is not None else None, waits_since) if ns is not None]
    return ExportPassage(
        destination=destination,
        signal=signal,
        state="queued" if waits else "unknown" if done is None else _state(fates),
        read_time_unix_nano=str(min(begun)) if begun else None,
        settled_time_unix_nano=None if waits or done is None else str(done.settled_ns),
        delivered=fates.get(None, 0),
        rejected=fates.get(REJECTED, 0),
        dropped={str(reason): count for reason, count in lost.items()},
        error=error if waits else None,
    )


def _state(fates: dict[str | None, int]) -> ExportState:
    if not fates:
        return "nothing"
    if REJECTED in fates:
        return "rejected"
    return "delivered" if set(fates) == {None} else "dropped"


def _spread(fates: int | dict[str | None, int]) -> dict[str | None, int]:
    return {None: fates} if isinstance(fates, int) else fates


def _joined(one: dict[str | None, int], other: dict[str | None, int]) -> dict[str | None, int]:
    return {reason: one.get(reason, 0) + other.get(reason, 0) for reason in {**one, **other}}
