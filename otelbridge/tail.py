"""The tail stage: parts of invocations go to the spool at once, finished trace items to the worker's tails.

Called by the loader on the request path: record() is the one write before a response; deliver() only schedules.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from otelbridge.model.part import Notice, Part, encode
from otelbridge.model.passage import TailCall
from otelbridge.model.recent import Recent
from otelbridge.model.trace import TailWorker, TraceItem

__all__ = ["BridgeTail", "Spool", "TailStage"]

_log = logging.getLogger("otelbridge.tail")

_LAST = 2  # what a full spool gives up last
_REMEMBERED = 10_000  # invocations, about 600 bytes each, that had calls of tails


class Spool(Protocol):
    """What the tail stage needs of the spool's writer."""

    def append(self, payload: bytes, *, rank: int = 1, worker_id: str = "") -> None: ...


class BridgeTail(TailWorker):
    """The bridge's own tail: workers that have it among their tails are exported, stored and shown live."""

    async def tail(self, events: Sequence[TraceItem]) -> None:
        """Never called: what such a worker leaves behind goes into the spool part by part."""


class TailStage:
    """See the module's text. `max_running`: tail calls at a time, after which items are dropped and counted."""

    def __init__(self, *, spool: Spool | None, max_running: int = 10_000) -> None:
        self.dropped_calls = 0
        self._spool = spool
        self._max_running = max_running
        self._running: set[asyncio.Task[None]] = set()
        self._calls: Recent[dict[int, TailCall]] = Recent(_REMEMBERED)

    def record(self, part: Part) -> None:
        """Write one part into the spool: one write(), no fsync. Never raises; the spool counts what it can't take."""
        if self._spool is not None:
            self._spool.append(encode(part), worker_id=part.worker.worker_id)

    def notice(self, level: str, text: str, *, worker_id: str | None = None, **fields: object) -> None:
        """Write a record of the bridge itself."""
        if self._spool is not None:
            self._spool.append(encode(Notice(time.time_ns(), level, text, dict(fields), worker_id)), rank=_LAST)

    def cut(self, size: int) -> None:
        """Tell of the bytes of an unfinished frame that were cut off the spool when it was opened, if there were any."""
        if size:
            text = (
                f"{size} bytes of an unfinished frame were cut off the spool: its process was killed, or the power failed, while it wrote"
            )
            self.notice("warn", text, event="otelbridge.spool.cut", bytes=size)

    def deliver(self, tails: Sequence[object], item: TraceItem) -> None:
        """Call each tail with the item after the caller went on: started in order, each on its own, so that a slow
        or throwing one holds up no other."""
        for number, tail in enumerate(tails):
            if isinstance(tail, BridgeTail):
                continue
            if len(self._running) >= self._max_running:
                self.dropped_calls += 1
                self.notice("error", "tails are too slow: a call was dropped", worker_id=item.worker_id)
                continue
            task = asyncio.get_running_loop().create_task(self._call(number, tail, item))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def calls(self, invocation_id: str) -> list[TailCall]:
        """The calls of an invocation's tails, in their order; none when it had none, or they are known no longer."""
        return [call for _, call in sorted((self._calls.get(invocation_id) or {}).items())]

    async def _call(self, number: int, tail: object, item: TraceItem) -> None:
        handler = getattr(tail, "tail", None)
        if handler is None:
            _log.warning("worker %s: a tail has no tail() method: %r", item.worker_id, tail, extra={"worker_id": item.worker_id})
            return
        calls = self._calls.get(item.invocation_id)
        if calls is None:
            calls = {}
            self._calls.put(item.invocation_id, calls)
        calls[number] = TailCall(name=type(tail).__name__, start_time_unix_nano=str(time.time_ns()))
        error: str | None = "it was ended"
        try:
            await handler([item])
            error = None
        except Exception as e:
            error = f"{type(e).__name__}: {e}"[:500]
            _log.warning("worker %s: a tail raised %s: %s", item.worker_id, type(e).__name__, e, extra={"worker_id": item.worker_id})
            self.notice("error", f"a tail raised {type(e).__name__}: {e}", worker_id=item.worker_id)
        finally:
            calls[number] = msgspec.structs.replace(calls[number], end_time_unix_nano=str(time.time_ns()), error=error)

    async def aclose(self) -> None:
        """End the tail calls that still run. One that will not end is left alone after a second."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1)

    async def drain(self) -> None:
        """Wait until every tail that was started has ended."""
        while self._running:
            await asyncio.wait(self._running)
