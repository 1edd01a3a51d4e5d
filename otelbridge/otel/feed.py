"""One spool as one lane reads it: which frames are done, which are not, and how far records have been counted.

Frames are settled in any order (batches overtake each other, invocations wait for their end), so progress is a lowest
open position and the ranges above it that are done. After a kill, only what lies between them is read again.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import operator
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.model.count import Counts
from otelbridge.model.passage import Place
from otelbridge.otel.items import Items, Opened, Slice
from otelbridge.otel.ledger import Ledger
from otelbridge.otel.passages import Passages, Settled
from otelbridge.spool import Position, SpoolReader, last_boot

__all__ = ["Feed", "Token"]

_log = logging.getLogger("otelbridge.otel")

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0

_NOTHING = Counts()


class Token(msgspec.Struct):
    """A frame under way, and what becomes of its records. `hold()` and `release()` are counted; after the last release
    the frame is done and its fates are in the ledger: never half of a frame, or a kill would count the rest twice."""

    feed: Feed
    number: int
    start: Position
    end: Position
    time_ns: int
    read_ns: int
    worker_id: str
    invocation_id: str  # of a part
    counts: Counts  # what it stands for
    settled: bool = False
    held: int = 1
    placed: int = 0  # records that are in batches
    extra: int = 0  # records that were not counted with the frame: the span of a lost end
    fates: dict[str | None, int] | None = None

    def hold(self) -> None:
        self.held += 1

    def fate(self, reason: str | None, count: int) -> None:
        """What became of `count` records: None for delivered, "rejected", or why they were dropped."""
        if count:
            if self.fates is None:
                self.fates = {}
            self.fates[reason] = self.fates.get(reason, 0) + count

    @property
    def accounted(self) -> int:
        """Records that are in batches or whose fate is known."""
        return self.placed + sum((self.fates or {}).values())

    def release(self) -> None:
        self.held -= 1
        if self.held == 0:
            self.feed.settle(self, self.fates or {})


class Feed:
    """See the module's text. `local` positions are those of one spool directory; blocking calls are named so."""

    def __init__(
        self, directory: Path, *, consumer: str, items: Items, ledger: Ledger, passages: Passages, state: dict[str, Any] | None
    ) -> None:
        self.directory = directory
        self.name = directory.name
        self.reader = SpoolReader(directory, consumer)
        self._items = items
        self._ledger = ledger
        self._passages = passages
        self._scanner = SpoolReader(directory, None)
        self._done: list[tuple[Position, Position]] = []  # of an earlier process, above the lowest open position
        self._open: deque[Token] = deque()
        self._new: list[Token] = []  # settled since the last note in the journal
        self._noting: list[Token] = []
        self._number = 0
        self._pending = 0  # frames that were read and have no token yet
        self._failures = 0
        self._not_before = 0.0
        self.trouble: str | None = None  # why it can't be read now
        self.follows = False  # what was read last, others had read before: there may be more
        self.boot = 0  # of the frames that were read last
        self.last_boot = 0  # of the spool's writer, when it was looked up last
        if state is None or not self.reader.resumed:  # without a cursor, what the journal knows was another spool
            self.counted = self.reader.position
        else:
            low = Position(*state["low"])
            self._done, low = _merge(low, [(Position(*a), Position(*b)) for a, b in state["done"]])
            self.counted = max(Position(*state["counted"]), low)
            self.reader.seek(low)
        self._taken = self.reader.position  # behind the last frame that has a token

    # ------------------------------------------------------------------------------------------------------- reading

    def read_blocking(self, max_bytes: int, max_frames: int) -> list[Slice]:
        """The next frames to be sent; none while it can't be read: `trouble` says why, and after a pause it is tried again."""
        self.follows = False
        if time.monotonic() < self._not_before:
            return []
        found = 0
        self._pending += 1  # `low` may be asked for meanwhile: who stops does not wait for a read
        try:
            pieces, self.follows = self._items.read(self.reader, self.reader.position, max_bytes, max_frames)
            found = sum([len(piece.frames) for piece in pieces])
        except OSError as e:
            pause = min(_FIRST_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE_SECONDS)
            self._failures += 1
            self._not_before = time.monotonic() + pause
            self.trouble = f"spool {self.name} can't be read: {e}"
            _log.error("%s; export tries again in %.1f s", self.trouble, pause)
            return []
        finally:
            self._pending += found - 1
        self._failures, self.trouble = 0, None
        return pieces

    def scan_blocking(self, max_bytes: int, max_frames: int) -> list[Slice]:
        """Frames that have not been counted yet, mostly ahead of the reader, while nothing more can be sent."""
        try:
            return self._items.read(self._scanner, self.counted, max_bytes, max_frames)[0]
        except OSError:  # the reader meets with it too, and tells
            return []

    def tokens(self, piece: Slice, opened: Opened | None, read_ns: int) -> list[Token | None]:
        """Tokens for frames that were read at a time (ns), in order; None for one that an earlier process was done with.
        `opened`: what they hold; None when nobody could see to it: they stay open."""
        frames = piece.frames
        first, self._number = self._number + 1, self._number + len(frames)
        numbers = range(first, first + len(frames))
        if opened is None:
            tokens = [
                Token(self, number, f.start, f.position, f.time_ns, read_ns, "", "", _NOTHING)
                for number, f in zip(numbers, frames, strict=True)
            ]
        else:
            tokens = [
                Token(self, number, f.start, f.position, f.time_ns, read_ns, worker_id, invocation_id, counts)
                for number, f, (worker_id, invocation_id), counts in zip(numbers, frames, opened.owners, opened.counts, strict=True)
            ]
        self._taken = piece.end
        self._open.extend(tokens)
        self._pending -= len(frames)
        return [self._unless_done(token) for token in tokens] if self._done else [*tokens]

    def _unless_done(self, token: Token) -> Token | None:
        token.settled = self._was_done(token.start)
        return None if token.settled else token

    def _was_done(self, start: Position) -> bool:
        at = bisect.bisect_right(self._done, start, key=lambda r: r[0]) - 1
        if at < 0:
            return False
        if at > 0:  # ranges before this one will not be asked for again
            del self._done[:at]
            at = 0
        return start < self._done[at][1]

    # ------------------------------------------------------------------------------------------------------ progress

    def settle(self, token: Token, fates: dict[str | None, int]) -> None:
        """A frame is done: its fates enter the ledger."""
        token.settled = True
        self._new.append(token)
        if token.extra:
            self._ledger.emit(token.worker_id, token.extra)
        for reason, count in fates.items():
            self._ledger.settle(token.worker_id, reason, count)
        if token.invocation_id:
            self._passages.note(token.invocation_id, token.read_ns, fates)

    @staticmethod
    def deliver(tokens: list[Token], counts: Mapping[str, int]) -> None:
        """settle() for many frames of one lane at once, all of whose records were delivered; `counts`: by worker."""
        if not tokens:
            return
        for token in tokens:
            token.settled = True
        for feed, some in itertools.groupby(tokens, _feed):
            feed._new.extend(some)
        for worker_id, count in counts.items():
            feed._ledger.deliver(worker_id, count)
        now = time.time_ns()
        feed._passages.extend([Settled(t.invocation_id, t.read_ns, now, t.placed) for t in tokens if t.invocation_id])

    def waiting(self, invocation_id: str) -> list[int]:
        """When the frames of an invocation were read that are not settled. Looks at all that are under way."""
        return [t.read_ns for t in self._open if t.invocation_id == invocation_id and not t.settled]

    def has_read(self, place: Place) -> bool:
        """Whether a frame of this spool has been read, by this process or an earlier one."""
        boot = self.boot or place.boot  # 0: nothing has been read since the start
        return (place.boot, place.segment, place.offset) <= (boot, *self._taken)

    @property
    def low(self) -> Position:
        """Everything before it is done."""
        while self._open and self._open[0].settled:
            self._open.popleft()
        if self._open:
            return self._open[0].start
        return self._taken if self._pending else self.reader.position

    def take_changes(self) -> dict[str, Any]:
        """What was settled and counted since the last call, for the journal."""
        self._noting, self._new = self._new, []
        return {"done": _ranges(sorted(self._noting, key=_number)), "counted": self.counted}

    def give_back(self) -> None:
        """The journal could not take the last changes: they are still to be noted."""
        self._new = self._noting + self._new

    def snapshot(self) -> dict[str, Any]:
        """All of the progress, for the journal."""
        low = self.low  # ahead of frames that were read and are not taken yet, a kill would lose them
        ranges = _ranges([token for token in self._open if token.settled])
        return {"low": low, "done": ranges + [[a, b] for a, b in self._done if b > low], "counted": self.counted}

    def release_blocking(self) -> None:
        """Let go of the segments that are done, and look who writes."""
        self.last_boot = last_boot(self.directory)
        low = self.low
        if low > self.reader.committed:
            self.reader.commit(low)

    def close(self) -> None:
        self.reader.close()
        self._scanner.close()


_number = operator.attrgetter("number")
_feed = operator.attrgetter("feed")


def _ranges(tokens: list[Token]) -> list[list[Position]]:
    """The places of frames, those of frames read after one another as one. The tokens are sorted by their numbers."""
    if tokens and tokens[-1].number - tokens[0].number == len(tokens) - 1:  # as most
        return [[tokens[0].start, tokens[-1].end]]
    out: list[list[Position]] = []
    last = -1
    for token in tokens:
        if token.number == last + 1:
            out[-1][1] = token.end
        else:
            out.append([token.start, token.end])
        last = token.number
    return out


def _merge(low: Position, ranges: list[tuple[Position, Position]]) -> tuple[list[tuple[Position, Position]], Position]:
    """Sorted ranges without overlaps, and the lowest open position that they leave."""
    out: list[tuple[Position, Position]] = []
    for start, end in sorted(ranges):
        if start <= low:
            low = max(low, end)
        elif out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return out, low
