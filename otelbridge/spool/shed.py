"""What a spool that runs full gives up first: debug lines of the noisiest workers, then all of their logs, then
everybody's logs; exceptions and ends last. Each record that goes is counted by worker and reason.

    level 1, above 80 %   debug lines of the noisy workers
    level 2, above 90 %   every log line of the noisy workers, debug lines of everybody
    level 3, above 98 %   everything but exceptions and ends
    level 4, full         everything
"""

from __future__ import annotations

import msgspec

from otelbridge.model import ring
from otelbridge.model.count import count
from otelbridge.model.part import Part, decode, encode
from otelbridge.model.trace import Dropped

__all__ = ["FULL", "Noise", "Tally", "lighten", "pressure", "tally"]

FULL = 4
_LEVELS = (0.80, 0.90, 0.98, 1.0)


class Tally(msgspec.Struct):
    """How much was left out."""

    frames: int = 0
    logs: int = 0
    spans: int = 0
    bytes: int = 0

    def add(self, other: Tally) -> None:
        self.frames += other.frames
        self.logs += other.logs
        self.spans += other.spans
        self.bytes += other.bytes


def pressure(used: int, max_bytes: int) -> int:
    """The level that a spool of `used` bytes is at, 0 to 4."""
    return sum(used >= share * max_bytes for share in _LEVELS)


def tally(payload: bytes) -> Tally:
    """What is lost when this payload is."""
    try:
        counts = count(decode(payload))
    except msgspec.DecodeError:
        return Tally(1, 0, 0, len(payload))
    return Tally(1, counts.logs, counts.spans, len(payload))


def lighten(payload: bytes, *, level: int, noisy: bool, rank: int) -> tuple[bytes | None, Tally]:
    """What of a payload is still written at a level, and what is not. Payloads that are no parts go by their rank."""
    if level >= FULL:
        return None, tally(payload)
    try:
        part = decode(payload)
    except msgspec.DecodeError:
        part = None
    if not isinstance(part, Part):
        goes = rank == 0 or (rank == 1 and level >= 3)
        return (None, tally(payload)) if goes else (payload, Tally())
    kept, left_out = _filter(part.ring, level, noisy)
    if not left_out.logs and not left_out.spans:
        return payload, left_out
    end = part.end
    if end is None and not kept:
        return None, Tally(1, left_out.logs, left_out.spans, len(payload))
    if end is not None:
        d = end.dropped
        end = msgspec.structs.replace(end, truncated=True, dropped=Dropped(d.logs + left_out.logs, d.exceptions, d.bytes + left_out.bytes))
    return encode(msgspec.structs.replace(part, ring=kept, end=end)), left_out


def _filter(data: bytes, level: int, noisy: bool) -> tuple[bytes, Tally]:
    kept = []
    left_out = Tally()
    for entry in ring.walk(data):
        log = entry.kind in (ring.LOG, ring.TEXT)
        debug = log and entry.level == 0
        goes = (debug and (noisy or level >= 2)) or (log and noisy and level >= 2) or (level >= 3 and entry.kind != ring.EXCEPTION)
        if not goes:
            kept.append(ring.pack(entry.kind, entry.payload, level=entry.level, time_ns=entry.time_ns, span=entry.span, extra=entry.extra))
            continue
        left_out.logs += entry.kind <= ring.DIAGNOSTIC
        left_out.spans += entry.kind == ring.SPAN_OPEN
        left_out.bytes += ring.HEADER_BYTES + len(entry.payload) + len(entry.extra)
    return b"".join(kept), left_out


class Noise:
    """Who writes how much, of late. Bounded: halving forgets the quiet ones."""

    def __init__(self, *, window_bytes: int, max_workers: int = 10_000) -> None:
        self._window = window_bytes
        self._max = max_workers
        self._bytes: dict[str, int] = {}
        self._total = 0

    def add(self, worker_id: str, size: int) -> None:
        self._bytes[worker_id] = self._bytes.get(worker_id, 0) + size
        self._total += size
        if self._total > self._window or len(self._bytes) > self._max:
            self._bytes = {w: half for w, n in self._bytes.items() if (half := n // 2) >= 512}
            self._total = sum(self._bytes.values())

    def is_noisy(self, worker_id: str) -> bool:
        """Whether a worker writes at least as much as the average one."""
        return self._bytes.get(worker_id, 0) * len(self._bytes) >= self._total
