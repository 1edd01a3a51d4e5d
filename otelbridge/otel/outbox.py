"""Puts records together into requests of a limited number of records and bytes, and remembers whose frames they are."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from otelbridge.model.part import Notice, Part, WorkerRef
from otelbridge.otel.environment import BatchLimits, Signal
from otelbridge.otel.feed import Token
from otelbridge.otel.mapping import LogRow, SpanRow
from otelbridge.otel.request import BRIDGE, Request
from otelbridge.otel.resource import Resources
from otelbridge.otel.sender import Fate

__all__ = ["Batch", "Outbox"]

# The first requests leave at once: who has just started wants to see something arrive.
_EAGER_BATCHES = 10
_EAGER_SECONDS = 0.1


class Batch:
    """One request and the frames its records come from."""

    __slots__ = ("_shares", "bytes", "oldest_ns", "request", "since")

    def __init__(self, signal: Signal) -> None:
        self.request = Request(signal)
        self.since = time.monotonic()
        self.oldest_ns = time.time_ns()
        self.bytes = 0  # estimated
        self._shares: list[tuple[Token, str, int]] = []

    def add(self, token: Token, worker_id: str, count: int) -> None:
        token.hold()
        self._shares.append((token, worker_id, count))
        self.oldest_ns = min(self.oldest_ns, token.time_ns)

    def settle(self, fates: Iterable[Fate]) -> None:
        """Tell the frames what became of their records. Which one of a worker's frames a loss falls on does not matter:
        it counts for the worker."""
        pools: dict[str, list[list[int | str | None]]] = {}
        for fate in fates:
            for worker_id, count in fate.counts.items():
                pools.setdefault(worker_id, []).append([fate.reason, count])
        for token, worker_id, count in self._shares:
            pool = pools.get(worker_id, [])
            while count and pool:
                reason, left = pool[-1]
                assert isinstance(left, int)
                taken = min(count, left)
                token.fate(reason if isinstance(reason, str) else None, taken)
                count -= taken
                pool[-1][1] = left - taken
                if left == taken:
                    pool.pop()
            token.release()


class Outbox:
    """See the module's text. `queued` counts the records of all batches that are
    not settled, `queued_bytes` about what they take in memory."""

    def __init__(self, signal: Signal, limits: BatchLimits, resources: Resources, *, max_bytes: int) -> None:
        self._signal: Signal = signal
        self._limits = limits
        self._resources = resources
        self._max_bytes = max_bytes
        self._batch: Batch | None = None
        self._ready: deque[Batch] = deque()
        self._made = 0
        self.queued = 0
        self.queued_bytes = 0

    def add_logs(self, part: Part, rows: list[LogRow], token: Token) -> None:
        """Log records of one part; they may end up in several batches."""
        size = len(part.ring)
        for some in self._slices(rows):
            batch = self._current()
            added = batch.request.add_logs(part, some, self._resources)
            self._put(batch, token, part.worker.worker_id, added, size * added // max(len(rows), 1))

    def add_notice(self, notice: Notice, uid: str, token: Token) -> None:
        """A record of the bridge itself."""
        batch = self._current()
        self._put(batch, token, BRIDGE, batch.request.add_notice(notice, uid, self._resources), 300)

    def add_spans(self, worker: WorkerRef, rows: list[SpanRow], tokens: list[tuple[Token, int]]) -> None:
        """Spans of one invocation. `tokens`: its frames, and how many spans each stands for."""
        at = 0
        shares = [token for token, count in tokens for _ in range(count)]
        for some in self._slices(rows):
            batch = self._current()
            batch.request.add_spans(worker, some, self._resources)
            owners = shares[at : at + len(some)]
            at += len(some)
            for token, group in itertools.groupby(owners):
                count = sum(1 for _ in group)
                self._put(batch, token, worker.worker_id, count, 400 * count)

    def _slices(self, rows: list[Any]) -> Iterator[list[Any]]:
        """Pieces of rows that fit into what is left of a batch."""
        at = 0
        while at < len(rows):
            room = self._limits.max_batch - (self._batch.request.records if self._batch is not None else 0)
            yield rows[at : at + room]
            at += room

    def _current(self) -> Batch:
        if self._batch is None:
            self._batch = Batch(self._signal)
        return self._batch

    def _put(self, batch: Batch, token: Token, worker_id: str, count: int, size: int) -> None:
        """Note whose the records are that were added to a batch; a full batch is ready."""
        batch.add(token, worker_id, count)
        size += 100 * count
        batch.bytes += size
        self.queued_bytes += size
        self.queued += count
        if batch is self._batch and (batch.request.records >= self._limits.max_batch or batch.bytes >= self._max_bytes):
            self._ready.append(batch)
            self._batch = None

    def take(self, *, flush: bool = False) -> Batch | None:
        """A batch that is full, or old enough, or, with flush, any."""
        if self._ready:
            self._made += 1
            return self._ready.popleft()
        batch = self._batch
        if batch is not None and (flush or self.due_s() <= 0):
            self._batch = None
            self._made += 1
            return batch
        return None

    def due_s(self) -> float:
        """Seconds until something is to be sent; infinite when there is nothing."""
        if self._ready:
            return 0.0
        if self._batch is None:
            return float("inf")
        delay = self._limits.delay_ms / 1000
        if self._made < _EAGER_BATCHES:
            delay = min(delay, _EAGER_SECONDS)
        return self._batch.since + delay - time.monotonic()

    def settled(self, batch: Batch, fates: Iterable[Fate]) -> None:
        """The fate of a batch is known."""
        self.queued -= batch.request.records
        self.queued_bytes -= batch.bytes
        batch.settle(fates)
