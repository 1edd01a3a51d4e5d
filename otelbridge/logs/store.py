"""The embedded log store: fed from the spool, asked by API, CLI and pages. docs/search.md is about it.

One thread writes, a few read on connections of their own; nothing here ever blocks the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from otelbridge.errors import QueryError
from otelbridge.lasting import LastingTask
from otelbridge.logs import lookups
from otelbridge.logs.batch import Batch, Cursor, make_batch
from otelbridge.logs.expert import SqlResult, run_sql
from otelbridge.logs.invocations import Invocation, invocation_page
from otelbridge.logs.item import trace_item_json
from otelbridge.logs.language import Parsed, parse
from otelbridge.logs.pages import Span, page, read_cursor
from otelbridge.logs.query import run_query
from otelbridge.logs.reader import Budget
from otelbridge.logs.request import QueryRequest, read_request, span_of
from otelbridge.logs.segment import Segment
from otelbridge.logs.segments import Segments
from otelbridge.logs.tree import And, Condition, Literal, Not, Tree
from otelbridge.model.passage import Place
from otelbridge.model.record import Record
from otelbridge.spool import Frame

__all__ = ["InvocationPage", "LogPage", "Store", "StoreState"]

_log = logging.getLogger("otelbridge.logs")

_Result = TypeVar("_Result")
_MAX_LIMIT = 1_000
_READERS = 3
_UPKEEP_SECONDS = 5.0


class LogPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of records; `next_cursor` is None on the last one."""

    logs: list[Record]
    next_cursor: str | None


class InvocationPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of invocations; `next_cursor` is None on the last one."""

    invocations: list[Invocation]
    next_cursor: str | None


class StoreState(msgspec.Struct, frozen=True, rename="camel"):
    """What the store holds, and what went wrong with it so far."""

    records: int
    bytes: int
    segments: int
    oldest_ns: int | None
    removed_records: int  # gone by age or size, as they should
    removed_segments_full: int  # files of them that went because the disk was full
    skipped_records: int  # not stored, because the store could not be written for too long
    rejected_items: int  # could not be stored
    damaged_files: int  # set aside


class Store:
    """See the module's text. Use as `async with Store(directory=…)`. All times ns; all sizes bytes.

    `tell` takes records of the bridge itself, on any thread. `logs`, `spans`: whether to keep records of workers, and spans; without both it holds what the bridge itself says.
    `invocation_logs`: whether logs() and the view `events` show the invocations' own records; all else goes on from them.
    """

    def __init__(
        self,
        *,
        directory: Path,
        segment_records: int = 500_000,
        retention_seconds: float = 7 * 86_400,
        max_bytes: int = 5 << 30,
        query_seconds: float = 10.0,
        logs: bool = True,
        spans: bool = True,
        invocation_logs: bool = True,
        tell: Callable[..., None] | None = None,
    ) -> None:
        self.directory = directory
        self._shown = (lambda tree: tree) if invocation_logs else _without_invocations
        self._tell = tell
        self._segments = Segments(
            directory=directory,
            segment_records=segment_records,
            retention_seconds=retention_seconds,
            max_bytes=max_bytes,
            removed_for_space=self._tell_removed,
        )
        self._query_seconds = query_seconds
        self._kept = {"logs": logs, "spans": spans}
        self._writing = ThreadPoolExecutor(1, "otelbridge-store-writer")
        self._reading = ThreadPoolExecutor(_READERS, "otelbridge-store-reader")
        self.upkeep: LastingTask | None = None

    # ----------------------------------------------------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        try:
            await self._write(self._segments.open)
        except BaseException:
            await self.aclose()
            raise
        self.upkeep = LastingTask("the upkeep of the log store", self._keep_up)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is being written, then let go of all files. May be called twice."""
        if self.upkeep is not None:
            await self.upkeep.aclose()
        await asyncio.to_thread(self._reading.shutdown, cancel_futures=True)
        with contextlib.suppress(RuntimeError):  # it is closed already
            await self._write(self._segments.close)
        await asyncio.to_thread(self._writing.shutdown)

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            try:
                await self._write(self._segments.checkpoint)
                await self._write(self._segments.retire)
            except (sqlite3.Error, OSError) as e:
                _log.warning("upkeep of the log store failed, will try again: %s", e)
                await self.make_room(e)

    # -------------------------------------------------------------------------------------------------------- writing

    async def prepare(self, spool: str, frames: Sequence[Frame], after: Cursor | None) -> Batch:
        """The rows of what a spool gave, behind `after`. Can run while the batch before is being written."""
        return await asyncio.to_thread(make_batch, spool, frames, after, **self._kept)

    async def add(self, batch: Batch) -> None:
        """Store a batch in one transaction with its cursor. sqlite3.Error when that fails: try again later."""
        await self._write(lambda: self._segments.add(batch))

    async def make_room(self, error: Exception) -> bool:
        """After a failed add(): whether the disk was full and the oldest records were removed, so that it can be tried again."""
        return await self._write(lambda: self._segments.make_room(error))

    async def skip(self, batch: Batch, reason: str, *, first: bool) -> None:
        """Leave a batch out for good: it is counted, and told with the first one of a row."""
        _log.warning("%d records are left out of the log store: %s", batch.records, reason)
        await self._write(lambda: self._segments.skip(batch))
        if first and self._tell is not None:
            text = f"the log store can't be written and leaves records out, {batch.records} for a start: {reason}"
            self._tell("error", text, event="otelbridge.store.skipped", reason=reason, skipped=self._segments.skipped)

    def _tell_removed(self, size: int, records: int | None) -> None:
        if self._tell is not None:
            text = f"the disk is full: the log store removed its oldest file, {size} bytes"
            self._tell("warn", text, event="otelbridge.store.removed", reason="disk_full", bytes=size, records=records)

    def losses(self) -> tuple[int, int]:
        """Records that were skipped, and files that were removed because the disk was full."""
        return self._segments.skipped, self._segments.yielded

    def cursor(self, spool: str) -> Cursor | None:
        """How far a spool has been stored."""
        return self._segments.cursors.get(spool)

    def durable_cursor(self, spool: str) -> Cursor | None:
        """How far a spool has been stored for good: no power cut takes that away."""
        return self._segments.durable.get(spool)

    @property
    def pressed(self) -> bool:
        """Whether the disk was nearly full when something was stored: the spool should let go of what it can."""
        return self._segments.pressed

    async def checkpoint(self) -> None:
        """Make all that is stored durable now."""
        await self._write(self._segments.checkpoint)

    async def retire(self) -> None:
        """Remove what is too old or too much now; happens by itself every few seconds."""
        await self._write(self._segments.retire)

    # -------------------------------------------------------------------------------------------------------- reading

    async def logs(
        self,
        q: str = "",
        since: str | int | float | None = None,
        until: str | int | float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        order: str = "desc",
    ) -> LogPage:
        """Search. QueryError when a parameter can't be read, or when the answer takes too long."""
        ascending = _is_ascending(order)
        parsed, span = _read(q, since, until)
        after, limit = read_cursor(cursor), _limit(limit)
        tree = self._shown(parsed.tree)

        def work(segments: Sequence[Segment], budget: Budget) -> LogPage:
            return LogPage(*page(segments, tree, span, budget, limit=limit, after=after, ascending=ascending))

        return await self._read(work)

    async def invocations(
        self,
        q: str = "",
        since: str | int | float | None = None,
        until: str | int | float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        order: str = "desc",
    ) -> InvocationPage:
        """Invocations of which any record answers the query, that began in that time; newest first unless `order` is asc."""
        ascending = _is_ascending(order)
        parsed, span = _read(q, since, until)
        after, limit = read_cursor(cursor), _limit(limit)

        def work(segments: Sequence[Segment], budget: Budget) -> InvocationPage:
            found, last = invocation_page(segments, parsed.tree, span, budget, limit=limit, after=after, ascending=ascending)
            return InvocationPage(found, None if last is None else f"{last[0]}.{last[1]}")

        return await self._read(work)

    async def invocation(self, invocation_id: str) -> dict[str, Any] | None:
        """One invocation as a TraceItem in Cloudflare's names, or None."""
        found = await self.placed_invocation(invocation_id)
        return None if found is None else found[0]

    async def placed_invocation(self, invocation_id: str) -> tuple[dict[str, Any], Place | None] | None:
        """invocation(), and where its end stands in a spool, if that is known."""
        return await self._read(lambda segments, budget: trace_item_json(segments, invocation_id, budget))

    async def query(self, request: dict[str, Any] | QueryRequest) -> dict[str, Any]:
        """The query builder, see request.py. QueryError says what is wrong with a request."""
        wanted = read_request(request, time.time_ns())
        if wanted.request.view == "events":
            wanted = msgspec.structs.replace(wanted, tree=self._shown(wanted.tree))
        return await self._read(lambda segments, budget: run_query(segments, wanted, budget))

    async def keys(self, prefix: str = "", limit: int = 100) -> list[lookups.Key]:
        """Names that queries can use, for completion: known fields and members of logged objects."""
        return await self._read(lambda segments, budget: lookups.keys(segments, prefix, _limit(limit), budget))

    async def values(self, key: str, prefix: str = "", limit: int = 50) -> list[lookups.KeyValue]:
        """Values that a field has lately had, the most frequent first, for completion."""
        return await self._read(lambda segments, budget: lookups.values(segments, key, prefix, _limit(limit), budget))

    async def sql(self, text: str, params: Sequence[Any] = ()) -> SqlResult:
        """One SELECT over views of the newest segments, see docs/search.md. QueryError when it is refused or too long."""
        return await self._read(lambda segments, budget: run_sql(segments, text, params, budget))

    async def worker_counters(self, worker_id: str | None = None) -> list[lookups.WorkerCounters]:
        """Invocations, errors, p95 and last seen of all workers that the store knows, or of one."""
        return await self._read(lambda segments, budget: lookups.worker_counters(segments, budget, worker_id))

    async def state(self) -> StoreState:
        """Sizes and counters."""
        return await self._read(self._state)

    def _state(self, segments: Sequence[Segment], _: Budget) -> StoreState:
        own = self._segments
        return StoreState(
            records=sum(segment.records for segment in segments),
            bytes=sum(segment.bytes() for segment in segments),
            segments=len(segments),
            oldest_ns=min((segment.first for segment in segments if segment.first is not None), default=None),
            removed_records=own.removed,
            removed_segments_full=own.yielded,
            skipped_records=own.skipped,
            rejected_items=own.rejected,
            damaged_files=own.damaged,
        )

    # -------------------------------------------------------------------------------------------------------- threads

    async def _read(self, work: Callable[[Sequence[Segment], Budget], _Result]) -> _Result:
        budget = Budget(self._query_seconds)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, lambda: work(self._segments.all, budget))
        except asyncio.CancelledError:
            budget.cancel()  # nobody waits for it: the thread is free again within a millisecond
            raise

    async def _write(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._writing, work)


def _read(q: str, since: str | int | float | None, until: str | int | float | None) -> tuple[Parsed, Span]:
    now_ns = time.time_ns()
    parsed = parse(q, now_ns)
    return parsed, span_of(parsed, since, until, now_ns)


def _without_invocations(tree: Tree) -> Tree:
    return And((tree, Not(Condition("kind", False, "eq", (Literal("invocation"),)))))


def _is_ascending(order: str) -> bool:
    if order not in ("asc", "desc"):
        raise QueryError(f"order: asc or desc, not {order!r:.50}")
    return order == "asc"


def _limit(limit: int) -> int:
    if not 1 <= limit <= _MAX_LIMIT:
        raise QueryError(f"limit: 1 to {_MAX_LIMIT}, not {limit}")
    return limit
