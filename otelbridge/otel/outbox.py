"""Puts records together into requests of a limited number of records and bytes, and remembers whose frames they are."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from otelbridge.model.part import Notice, Part, WorkerRef
from otelbridge.otel import wire
from otelbridge.otel.encoder import Encoded
from otelbridge.otel.environment import BatchLimits, Signal
from otelbridge.otel.feed import Token
from otelbridge.otel.request import Request
from otelbridge.otel.resource import Resources
from otelbridge.otel.sender import Fate

__all__ = ["Batch", "Outbox"]

# The first requests leave at once: who has just started wants to see something arrive.
_EAGER_BATCHES = 10
_EAGER_SECONDS = 0.1


class Batch:
    """One request and the frames its records come from."""

    __slots__ = ("_groups", "_shares", "bytes", "left", "oldest_ns", "request", "since")

    def __init__(self, signal: Signal) -> None:
        self.request = Request(signal)
        self.since = time.monotonic()
        self.oldest_ns = time.time_ns()
        self.left = 0  # records that are not settled
        self.bytes = 0  # of those
        self._groups: list[list[_Share]] = []
        self._shares: deque[_Share] | None = None

    def add(self, token: Token, count: int) -> None:
        """The last `count` records that were added to the request are those of a frame."""
        token.hold()
        token.placed += count
        groups, group = self._groups, self.request.group
        while len(groups) <= group:
            groups.append([])
        groups[group].append([token, count])
        self.left += count
        if token.time_ns < self.oldest_ns:
            self.oldest_ns = token.time_ns

    def settle(self, fates: Sequence[Fate]) -> int:
        """Tell the frames what became of the next records of the request; how many these are. Which of a worker's frames
        among them a loss falls on does not matter: it counts for the worker."""
        shares = self._open_shares()
        if len(fates) == 1 and sum(fates[0].counts.values()) == self.left:  # the usual end: one answer for all
            settled, self.left = self.left, 0
            for token, count in shares:
                token.fate(fates[0].reason, count)
                token.release()
            shares.clear()
            return settled
        pools: dict[str, list[list[Any]]] = {}
        settled = 0
        for fate in fates:
            for worker_id, count in fate.counts.items():
                pools.setdefault(worker_id, []).append([fate.reason, count])
                settled += count
        left = settled
        while left and shares:
            share = shares[0]
            token, count = share
            here = min(count, left)
            share[1], left = count - here, left - here
            pool = pools.get(token.worker_id, [])
            while here and pool:
                reason, there = pool[-1]
                taken = min(here, there)
                token.fate(reason, taken)
                here -= taken
                pool[-1][1] = there - taken
                if there == taken:
                    pool.pop()
            if not share[1]:
                shares.popleft()
                token.release()
        self.left -= settled
        return settled

    def open_counts(self) -> dict[str, int]:
        """The records that are not settled, by worker."""
        counts: dict[str, int] = {}
        for token, count in self._open_shares():
            counts[token.worker_id] = counts.get(token.worker_id, 0) + count
        return counts

    def _open_shares(self) -> deque[_Share]:
        if self._shares is None:  # as the records stand in the request: group by group
            self._shares = deque(itertools.chain.from_iterable(self._groups))
        return self._shares


_Share = list[Any]  # a token and how many records of it are not settled


class Outbox:
    """See the module's text. `queued` counts the records of all batches that are
    not settled, `queued_bytes` what they take on the wire."""

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

    def add_logs(self, part: Part, records: Encoded, token: Token) -> None:
        """Log records of one part; they may end up in several batches."""
        for some in self._pieces(records):
            self._put(self._add(part.worker, some), token, some.count, len(some.data))

    def add_notice(self, notice: Notice, uid: str, token: Token) -> None:
        """A record of the bridge itself."""
        batch = self._current()
        batch.request.add_notice(notice, uid, self._resources)
        self._put(batch, token, 1, 300)

    def add_spans(self, worker: WorkerRef, records: Encoded, tokens: list[tuple[Token, int]]) -> None:
        """Spans of one invocation. `tokens`: its frames, and how many spans each stands for."""
        at = 0
        shares = [token for token, count in tokens for _ in range(count)] if len(tokens) > 1 else []
        for some in self._pieces(records):
            batch = self._add(worker, some)
            if not shares:
                self._put(batch, tokens[0][0], some.count, len(some.data))
                continue
            owners = shares[at : at + some.count]
            at += some.count
            for token, group in itertools.groupby(owners):
                count = sum(1 for _ in group)
                self._put(batch, token, count, len(some.data) * count // some.count)

    def _add(self, worker: WorkerRef, records: Encoded) -> Batch:
        batch = self._current()
        batch.request.add(worker, records, self._resources)
        return batch

    def _pieces(self, records: Encoded) -> Iterator[Encoded]:
        """Pieces of records that fit into what is left of a batch. Those of one frame stay together if they can: a frame that is
        half delivered is sent again after a kill."""
        most, count = self._limits.max_batch, records.count
        batch = self._batch
        room = most - (batch.request.records if batch is not None else 0)
        if batch is not None and room < count <= most:
            self._ready.append(batch)
            self._batch, room = None, most
        if count <= room:
            yield records
            return
        found = wire.each(records.data)
        while found:
            some, found = found[:room], found[room:]
            yield Encoded(b"".join(some), len(some))
            room = most - (self._batch.request.records if self._batch is not None else 0)

    def _current(self) -> Batch:
        if self._batch is None:
            self._batch = Batch(self._signal)
        return self._batch

    def _put(self, batch: Batch, token: Token, count: int, size: int) -> None:
        """Note whose the records are that were added to a batch; a full batch is ready."""
        batch.add(token, count)
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

    @property
    def ready(self) -> bool:
        """Whether a full batch waits."""
        return bool(self._ready)

    def settled(self, batch: Batch, fates: Sequence[Fate]) -> None:
        """The fate of a batch, or of its next records, is known."""
        before = batch.left
        count = batch.settle(fates)
        size = batch.bytes * count // before if before else 0
        batch.bytes -= size
        self.queued -= count
        self.queued_bytes -= size
