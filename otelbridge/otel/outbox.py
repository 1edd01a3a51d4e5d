"""Puts records together into requests of a limited number of records and bytes, and remembers whose frames they are."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from otelbridge.model.part import WorkerRef
from otelbridge.otel import wire
from otelbridge.otel.encoder import Encoded
from otelbridge.otel.environment import BatchLimits, Signal
from otelbridge.otel.feed import Feed, Token
from otelbridge.otel.request import Group, Request
from otelbridge.otel.resource import Resources
from otelbridge.otel.sender import Fate

__all__ = ["Batch", "Outbox"]

# The first requests leave at once: who has just started wants to see something arrive.
_EAGER_BATCHES = 10
_EAGER_SECONDS = 0.1


class Batch:
    """One request and the frames its records come from: the shares of its groups say whose they are."""

    __slots__ = ("_open", "request", "settled", "since")

    def __init__(self, signal: Signal) -> None:
        self.request = Request(signal)
        self.since = time.monotonic()
        self.settled = 0  # records
        self._open: deque[_Share] | None = None  # once some are settled

    def settle(self, fates: Sequence[Fate]) -> None:
        """Tell the frames what became of the next records of the request. Which of a worker's frames among them a loss falls on
        does not matter: it counts for the worker."""
        counts, reason = fates[0].counts, fates[0].reason
        settled = sum([sum(fate.counts.values()) for fate in fates])
        shares = self._shares
        if len(fates) > 1 or settled < self.left:
            self._open = shares
            _spread(_taken(shares, settled), fates)
        else:  # the usual end: one answer for all
            self._open = deque()
            if reason is None:
                _deliver(shares, counts)
            else:
                for token, count in shares:
                    token.fate(reason, count)
                    token.release()
        self.settled += settled

    @property
    def left(self) -> int:
        """Records that are not settled."""
        return self.request.records - self.settled

    @property
    def _shares(self) -> deque[_Share]:
        """Those that are not settled, as the records stand in the request: group by group."""
        return self._open if self._open is not None else deque(itertools.chain.from_iterable([g.shares for g in self.request.groups]))

    @property
    def oldest_ns(self) -> int:
        """When the oldest frame was written."""
        return min((token.time_ns for group in self.request.groups for token, _ in group.shares), default=time.time_ns())

    def open_counts(self) -> dict[str, int]:
        """The records that are not settled, by worker."""
        counts: dict[str, int] = {}
        for token, count in self._shares:
            counts[token.worker_id] = counts.get(token.worker_id, 0) + count
        return counts


_Share = tuple[Token, int]  # a frame and how many records of it


def _deliver(shares: deque[_Share], counts: dict[str, int]) -> None:
    """All of these records were delivered: `counts` by worker."""
    whole = [token for token, _ in shares if token.held == 1 and token.fates is None and not token.extra]
    if len(whole) < len(shares):  # some records of a frame met another fate, or are elsewhere
        known = set(map(id, whole))
        counts = dict(counts)
        for token, count in shares:
            if id(token) not in known:
                counts[token.worker_id] -= count
                token.fate(None, count)
                token.release()
    Feed.deliver(whole, counts)


def _taken(shares: deque[_Share], count: int) -> Iterator[_Share]:
    """Take away the first `count` records. A share that has to be divided holds its token twice from then on."""
    while count and shares:
        token, there = shares.popleft()
        here = min(there, count)
        count -= here
        if there > here:
            token.hold()
            shares.appendleft((token, there - here))
        yield token, here


def _spread(shares: Iterable[_Share], fates: Sequence[Fate]) -> None:
    """Spread fates over records."""
    pools: dict[str, list[list[Any]]] = {}
    for fate in fates:
        for worker_id, count in fate.counts.items():
            pools.setdefault(worker_id, []).append([fate.reason, count])
    for token, count in shares:
        pool = pools.get(token.worker_id, [])
        while count and pool:
            reason, there = pool[-1]
            taken = min(count, there)
            token.fate(reason, taken)
            count -= taken
            pool[-1][1] = there - taken
            if there == taken:
                pool.pop()
        token.release()


class Outbox:
    """See the module's text."""

    def __init__(self, signal: Signal, limits: BatchLimits, resources: Resources, *, max_bytes: int) -> None:
        self._signal: Signal = signal
        self._limits = limits
        self._most = limits.max_batch
        self._resources = resources
        self._max_bytes = max_bytes
        self._batch: Batch | None = None
        self._ready: deque[Batch] = deque()
        self._open: set[Batch] = set()  # not settled
        self._made = 0

    def add(self, worker: WorkerRef | None, records: Encoded, token: Token) -> None:
        """Records of one frame, one at least, of a worker or of the bridge itself. The hold on the token goes with them."""
        batch, count = self._batch, records.count
        if batch is None or batch.request.records + count > self._most:
            if count > self._most:
                return self.add_shared(worker, records, [(token, count)])
            batch = self._next()
        self._put(batch, worker, records).shares.append((token, count))
        token.placed += count
        return None

    def add_shared(self, worker: WorkerRef | None, records: Encoded, shares: Sequence[_Share]) -> None:
        """Records of several frames, in this order, or of one that has too many for a batch. The holds on the tokens go with them."""
        left = deque([share for share in shares if share[1]])
        for some in self._pieces(records):
            group = self._put(self._batch or self._next(), worker, some)
            for share in _taken(left, some.count):
                group.shares.append(share)
                share[0].placed += share[1]
        for token, count in shares:
            if not count:
                token.release()

    def _pieces(self, records: Encoded) -> Iterator[Encoded]:
        """Pieces of records that fit into what is left of a batch. Those of one frame stay together if they can: a frame that is
        half delivered is sent again after a kill."""
        most, count = self._most, records.count
        if self._batch is not None and self._batch.request.records + count > most >= count:
            self._next()
        room = most - (self._batch.request.records if self._batch is not None else 0)
        if count <= room:
            yield records
            return
        found = wire.each(records.data)
        while found:
            some, found = found[:room], found[room:]
            yield Encoded(b"".join(some), len(some))
            room = most - (self._batch.request.records if self._batch is not None else 0)

    def _next(self) -> Batch:
        """A new batch; the one before it is ready."""
        if self._batch is not None:
            self._ready.append(self._batch)
        batch = self._batch = Batch(self._signal)
        self._open.add(batch)
        return batch

    def _put(self, batch: Batch, worker: WorkerRef | None, records: Encoded) -> Group:
        """Add records to the batch that is being filled; a full one is ready. The group's shares must be noted next."""
        request = batch.request
        group = request.add(worker, records, self._resources)
        if request.records >= self._most or request.bytes >= self._max_bytes:
            self._ready.append(batch)
            self._batch = None
        return group

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
        batch.settle(fates)
        if not batch.left:
            self._open.discard(batch)

    @property
    def queued(self) -> int:
        """Records that are not settled."""
        return sum([batch.left for batch in self._open])

    @property
    def queued_bytes(self) -> int:
        """What they take on the wire."""
        return sum([batch.request.bytes * batch.left // batch.request.records for batch in self._open if batch.left])
