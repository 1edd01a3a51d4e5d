"""What a lane remembers of the invocations that went through it lately: when each was read, and when all of it was settled.

For looking at one invocation, and no part of what is promised: it is in memory, bounded, and goes with the process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Literal

import msgspec

from otelbridge.model.passage import ExportPassage, ExportState
from otelbridge.otel.ledger import REJECTED

__all__ = ["Passages", "Settled", "passage"]

# Frames of about 250 bytes each: 5 MB for a lane that is busy.
_REMEMBERED = 20_000


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A frame. Kept from the garbage collector, which would look at each of them: with one line to an invocation a
    twentieth of the export's CPU time."""

    invocation_id: str
    read_ns: int
    settled_ns: int
    fates: int | dict[str | None, int]  # delivered records, or all fates if some were not


class Passed(msgspec.Struct, frozen=True):
    """When the first frame of an invocation was read and the last one settled (ns), and what became of its records."""

    read_ns: int
    settled_ns: int
    fates: dict[str | None, int]


class Passages:
    """See the module's text. Each frame is noted, and only a look puts those of an invocation together: many are noted, few
    are looked for, and an index would cost three times as much as the note."""

    def __init__(self) -> None:
        self._settled: deque[Settled] = deque(maxlen=_REMEMBERED)

    def note(self, invocation_id: str, read_ns: int, fates: dict[str | None, int]) -> None:
        """A frame of an invocation is settled. An invocation has one frame or several."""
        # The dictionary takes as much memory as all else of it: the usual one has one entry.
        plain = fates[None] if len(fates) == 1 and None in fates else fates
        self._settled.append(Settled(invocation_id, read_ns, time.time_ns(), plain))

    def extend(self, frames: Iterable[Settled]) -> None:
        """note() for many at once."""
        self._settled.extend(frames)

    def get(self, invocation_id: str) -> Passed | None:
        """What is known of an invocation's settled frames. Looks at all, a millisecond of them."""
        found = [one for one in self._settled if one.invocation_id == invocation_id]
        if not found:
            return None
        fates: dict[str | None, int] = {}
        for one in found:
            for reason, count in ({None: one.fates} if isinstance(one.fates, int) else one.fates).items():
                fates[reason] = fates.get(reason, 0) + count
        return Passed(min(one.read_ns for one in found), max(one.settled_ns for one in found), fates)


def passage(
    destination: str, signal: Literal["logs", "spans"], done: Passed | None, *, waits_since: int | None, waits: bool, error: str | None
) -> ExportPassage:
    """What is known, in words for the API. `waits`: a frame is not settled; `waits_since`: the time that the first of these was
    read, if one was."""
    fates = {} if done is None else done.fates
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
