"""Delivers requests to one destination: retries, splits, sets aside, until the fate of every record is known."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

import msgspec

from otelbridge.otel.deadletter import DeadLetters
from otelbridge.otel.ledger import REJECTED
from otelbridge.otel.request import Request
from otelbridge.otel.transport import Accepted, Refused, Retry, Transport, Verdict

__all__ = ["Fate", "Sender", "Settled"]

_log = logging.getLogger("otelbridge.otel")

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0


class Fate(msgspec.Struct, frozen=True):
    """What became of records of one request, by worker: `reason` is None for delivered ones, REJECTED for refused ones;
    anything else is why they were dropped."""

    counts: dict[str, int]
    reason: str | None


Settled = Callable[[list[Fate]], None]
Observe = Callable[[Request, int, int, str | None], None]  # an attempt: begin and end, ns since 1970, and its error


class Sender:
    """See the module's text. `timeout_s`: of one attempt; `retry_bounded_s`: how long to retry what may never work.

    While the destination fails, only one request at a time tries: the others wait for its news.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float,
        retry_bounded_s: float,
        max_bytes: int,
        dead_letters: DeadLetters,
        clock: Callable[[], float] = time.monotonic,
        observe: Observe | None = None,
    ) -> None:
        self._observe = observe
        self._transport = transport
        self._timeout = timeout_s
        self._bounded = retry_bounded_s
        self._max_bytes = max_bytes
        self._dead_letters = dead_letters
        self._clock = clock
        self._probe = asyncio.Lock()
        self._pause = 0.0
        self._not_before = 0.0
        self._round = 0
        self.state = "idle"
        self.last_error: str | None = None
        self.attempts = 0
        self.failures = 0
        self.seconds = 0.0

    async def deliver(self, request: Request, settled: Settled) -> None:
        """Send until it is settled. Of a request that has to be split, the pieces are settled one after the other, in the
        order of its records: `settled` gets the fates of the next ones. Only cancellation leaves some open."""
        if not request.records:
            return None
        if request.divisible and len(request.payload()) > self._max_bytes:
            return await self._halves(request, settled)
        since: float | None = None  # when it was first answered with what may never work
        while True:
            verdict = await self._attempt(request)
            if isinstance(verdict, Accepted):
                return settled(self._accepted(request, verdict))
            if isinstance(verdict, Refused):
                if request.divisible:
                    return await self._halves(request, settled)
                return settled([await self._set_aside(request, verdict.error, REJECTED)])
            since = (self._clock() if since is None else since) if verdict.bounded else None
            if since is not None and self._clock() - since >= self._bounded:
                return settled([await self._set_aside(request, verdict.error, "retries_exhausted")])

    async def _attempt(self, request: Request) -> Verdict:
        if self._pause:
            async with self._probe:  # one at a time, after the pause; who comes after a success goes on at once
                if self._pause:
                    await asyncio.sleep(max(self._not_before - self._clock(), 0))
                    return await self._send(request)
        return await self._send(request)

    async def _send(self, request: Request) -> Verdict:
        started, round_number, start_ns = self._clock(), self._round, time.time_ns()
        try:
            verdict = await self._transport.send(request, self._timeout)
        except Exception as e:  # not to be expected; the records must not hang in the air for it
            _log.exception("export: an attempt failed in an unforeseen way")
            verdict = Retry(f"{type(e).__name__}: {e}"[:500], bounded=True)
        self.attempts += 1
        self.seconds += self._clock() - started
        if self._observe is not None:
            self._observe(request, start_ns, time.time_ns(), None if isinstance(verdict, Accepted) else verdict.error)
        if isinstance(verdict, Accepted):
            self._pause = 0.0
            self.state, self.last_error = ("partial", verdict.message or "some records were rejected") if verdict.rejected else ("ok", None)
        elif isinstance(verdict, Refused):
            self._pause = 0.0
            self.state, self.last_error = "rejecting", verdict.error
        else:
            self.failures += 1
            if round_number == self._round:  # requests that failed side by side are one failure
                self._round += 1
                self._pause = min(max(self._pause * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            # Full jitter over the upper half: many bridges must not come back to a collector at the same moment.
            wait = max(self._pause * random.uniform(0.5, 1.0), verdict.after_s)
            self._not_before = max(self._not_before, self._clock() + wait)
            self.state, self.last_error = "retrying", verdict.error
        return verdict

    @staticmethod
    def _accepted(request: Request, verdict: Accepted) -> list[Fate]:
        """OTLP does not say whose records were rejected: the loss is spread over the workers in proportion."""
        if not verdict.rejected:
            return [Fate(request.counts, None)]
        rejected, left, open_records = {}, verdict.rejected, request.records
        for worker_id, count in request.counts.items():
            share = min(-(-left * count // open_records), left, count) if open_records else 0
            left, open_records = left - share, open_records - count
            rejected[worker_id] = share
        delivered = {worker_id: count - rejected[worker_id] for worker_id, count in request.counts.items()}
        return [Fate(delivered, None), Fate(rejected, REJECTED)]

    async def _halves(self, request: Request, settled: Settled) -> None:
        for half in request.split():
            await self.deliver(half, settled)

    async def _set_aside(self, request: Request, error: str, reason: str) -> Fate:
        await asyncio.to_thread(self._dead_letters.put, request, error, reason)
        return Fate(request.counts, reason)

    async def aclose(self) -> None:
        await self._transport.aclose()
