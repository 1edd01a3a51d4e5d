"""Feeds the store from the spools, each record exactly once: a batch and the place it ends at go in as one transaction."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

from otelbridge.lasting import LastingTask
from otelbridge.logs.batch import Batch, Cursor
from otelbridge.logs.room import lacks_space
from otelbridge.logs.store import Store
from otelbridge.logs.wake import Wake
from otelbridge.model.passage import Place
from otelbridge.spool import Position, SpoolReader

__all__ = ["Indexer"]

_log = logging.getLogger("otelbridge.logs")

_BATCH_FRAMES = 512
_BATCH_BYTES = 192 << 10  # some 512 records of usual size
# Behind a batch that was not full, for the next one to be fuller: with 8 invocations to a batch, each costs 110 us to write, with 64
# of them 40, with 256 of them 21.
_LINGER_SECONDS = 0.2
_MAX_BACKOFF = 10.0
_REMEMBERED = 4_096  # batches of a spool


class Indexer:
    """Runs while in use: `async with Indexer(store, {"main": SpoolReader(…)}) as indexer: writer.subscribe(indexer.wake)`.

    The readers belong to it. One that was added later is read from then on. What the store can't take waits in the spool, but
    not for ever: a batch is left out when the disk is full and the store has nothing to remove, or `hold_bytes` wait already.
    """

    def __init__(
        self,
        store: Store,
        spools: Mapping[str, SpoolReader],
        *,
        poll_seconds: float = 0.1,
        hold_bytes: int = 512 << 20,
        patience_seconds: float = 5.0,
        observe: Callable[..., None] | None = None,
    ) -> None:
        self._observe = observe  # each write: name, begin and end in ns since 1970, attributes, error
        self._store = store
        self._spools = dict(spools)
        self._poll_seconds = poll_seconds
        self._hold_bytes = hold_bytes
        self._patience_seconds = patience_seconds  # with a full disk: others may make room
        self._failing: dict[str, tuple[float, str]] = {}  # since when and why, by spool
        self._skipping: set[str] = set()  # spools whose last batch was left out
        self._wakes: dict[str, Wake] = {}
        self._tasks: dict[str, LastingTask] = {}
        self._caught_up: dict[str, asyncio.Event] = {}
        self._hurry = asyncio.Event()  # somebody waits in drain()
        self._ending = asyncio.Event()
        # Where batches end, and when each was stored (ns). The first is where the memory begins, and its own time counts for nothing.
        self._stored: dict[str, deque[tuple[Cursor, int]]] = {}
        self.stored_records = 0
        self.failures = 0  # writes that were tried again

    async def __aenter__(self) -> Self:
        for name in self._spools:
            self._start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop after the batch that is being written, or can't be written. What is not stored stays in the spool. May be called twice."""
        tasks, self._tasks = self._tasks, {}
        self._ending.set()
        await asyncio.gather(*(task.aclose() for task in tasks.values()))
        if tasks:
            with contextlib.suppress(sqlite3.Error, RuntimeError):
                await self._store.checkpoint()
            await asyncio.to_thread(self._commit_all)
        for reader in self._spools.values():
            reader.close()

    def add(self, name: str, reader: SpoolReader) -> None:
        """Read a further spool."""
        self._spools[name] = reader
        self._start(name)

    def reads(self, name: str) -> bool:
        """Whether it has this spool."""
        return name in self._tasks

    def wake(self) -> None:
        """Something has been appended. For any thread, and cheap: see SpoolWriter.subscribe()."""
        for wake in self._wakes.values():
            wake.ring()

    async def drain(self, seconds: float = 10.0) -> bool:
        """Wait until all that is in the spools now is stored; whether that came to be in time."""
        for event in self._caught_up.values():
            event.clear()
        self.wake()
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds):
                for event in list(self._caught_up.values()):
                    await event.wait()
        except TimeoutError:
            return False
        finally:
            self._hurry.clear()
        return True

    def stored_ns(self, place: Place) -> int | None:
        """When what stands before a place of a spool was stored (ns); None when that is not or no longer known."""
        stored = self._stored.get(place.spool, ())
        wanted = (place.boot, place.segment, place.offset)
        at = bisect.bisect_left(stored, wanted, key=lambda entry: (entry[0].boot, entry[0].segment, entry[0].offset))
        return stored[at][1] if 0 < at < len(stored) else None

    def lag_bytes(self) -> int:
        """What is in the spools and not in the store for good. Reads file sizes: not for the event loop."""
        return sum(reader.backlog().bytes for reader in self._spools.values())

    @property
    def tasks(self) -> list[LastingTask]:
        """One for each spool."""
        return list(self._tasks.values())

    @property
    def troubles(self) -> list[str]:
        """What can't be stored now, and why."""
        return [f"spool {name} can't be stored: {error}" for name, (_, error) in self._failing.items()]

    # ------------------------------------------------------------------------------------------------------- one spool

    def _start(self, name: str) -> None:
        self._wakes[name] = Wake(asyncio.get_running_loop())
        self._caught_up[name] = asyncio.Event()
        self._tasks[name] = LastingTask(f"the index of spool {name}", lambda: self._run(name, self._spools[name]))

    async def _run(self, name: str, reader: SpoolReader) -> None:
        """Prepare a batch while the one before is being written: on two cores that nearly doubles the rate."""
        writing: asyncio.Task[None] | None = None
        after = self._store.cursor(name)
        self._stored[name] = deque([(after or Cursor(0, 0, 0), 0)], maxlen=_REMEMBERED)
        reader.seek(reader.committed)  # what an earlier run had read and not stored comes again
        committed = time.monotonic()
        try:
            while True:
                fresh = not self._caught_up[name].is_set()
                batch, full = await self._next(name, reader, after)
                if writing is not None:
                    await writing
                    writing = None
                if batch is not None:
                    after = batch.cursor
                    writing = asyncio.create_task(self._add(name, batch))
                elif fresh:
                    self._caught_up[name].set()
                if time.monotonic() - committed > (0.1 if self._store.pressed else 1.0) or name in self._skipping:
                    committed = time.monotonic()
                    await asyncio.to_thread(self._commit, name, reader)
                if batch is None:
                    await self._wakes[name].wait(self._poll_seconds)
                elif not full:
                    await self._linger()
        finally:
            if writing is not None:
                await asyncio.wait([writing])

    async def _next(self, name: str, reader: SpoolReader, after: Cursor | None) -> tuple[Batch | None, bool]:
        """The next batch, and whether there was enough for one of half of its usual size."""
        frames = await asyncio.to_thread(reader.read, _BATCH_BYTES, _BATCH_FRAMES)
        if not frames:
            return None, False
        full = 2 * len(frames) >= _BATCH_FRAMES or 2 * sum(len(frame.payload) for frame in frames) >= _BATCH_BYTES
        return await self._store.prepare(name, frames, after), full

    async def _linger(self) -> None:
        """Let more come, unless somebody waits for what there is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._hurry.wait()

    async def _add(self, name: str, batch: Batch) -> None:
        """Until it works, the batch has to be left out, or it fails when all ends."""
        delay = 0.1
        while True:
            start_ns = time.time_ns()
            try:
                await self._store.add(batch)
            except Exception as e:  # of SQLite, of the system, or a defect: the spool must not be held for ever for any of them
                self.failures += 1
                self._written(batch, start_ns, str(e))
                if await self._made_room(e):
                    continue
                if await asyncio.to_thread(self._must_let_go, name, e):
                    await self._store.skip(batch, str(e), first=name not in self._skipping)
                    self._skipping.add(name)
                    return
                defect = None if isinstance(e, sqlite3.Error | OSError) else e
                _log.warning("the log store can't be written, will try again in %.1f s: %s", delay, e, exc_info=defect)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._ending.wait()
                        raise asyncio.CancelledError from None  # the batch is not done with: nothing behind it may be stored
                delay = min(delay * 2, _MAX_BACKOFF)
            else:
                self._written(batch, start_ns, None)
                if batch.cursor is not None:
                    self._stored[name].append((batch.cursor, time.time_ns()))
                self._failing.pop(name, None)
                self._skipping.discard(name)
                self.stored_records += batch.records
                return

    async def _made_room(self, error: Exception) -> bool:
        try:
            return await self._store.make_room(error)
        except Exception as e:
            _log.warning("no room can be made in the log store: %s", e)
            return False

    def _written(self, batch: Batch, start_ns: int, error: str | None) -> None:
        if self._observe is not None:
            attributes = {"otelbridge.spool": batch.spool, "otelbridge.records": batch.records}
            self._observe("index batch", start_ns, time.time_ns(), attributes, error)

    def _must_let_go(self, name: str, error: Exception) -> bool:
        since, _ = self._failing.setdefault(name, (time.monotonic(), f"{type(error).__name__}: {error}"[:300]))
        if lacks_space(error, self._store.directory):
            return time.monotonic() - since >= self._patience_seconds
        return self._spools[name].backlog().bytes > self._hold_bytes

    def _commit_all(self) -> None:
        for name, reader in self._spools.items():
            self._commit(name, reader)

    def _commit(self, name: str, reader: SpoolReader) -> None:
        """Let go of what is in the store for good; the spool then removes its segments."""
        cursor = self._store.durable_cursor(name)
        if cursor is not None:
            position = Position(cursor.segment, cursor.offset)
            if position > reader.committed and position <= reader.position:
                with contextlib.suppress(OSError):
                    reader.commit(position)
