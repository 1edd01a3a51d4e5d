"""Log sessions: the logs of one call, for the caller that made it. Keyed by invocation, so that nobody gets another's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from otelbridge.loader.recorder import Recorder
from otelbridge.loader.worker import Entrypoint
from otelbridge.model.http import Request, Response
from otelbridge.model.part import End, Part, entries
from otelbridge.model.trace import TraceException, TraceItem, TraceLog

__all__ = ["LogSession", "SessionLogs"]


class SessionLogs(msgspec.Struct, frozen=True):
    """What a session gives. `state`: complete; partial, when the invocation still runs; none, when it never began."""

    items: list[dict[str, Any]]  # {timestamp (ms), level, message}
    exceptions: list[dict[str, Any]]  # {timestamp (ms), name, message, stack?}
    state: str
    item: TraceItem | None = None
    end: End | None = None
    invocation_id: str | None = None
    trace_id: str | None = None


class LogSession:
    """The logs of calls made through it. One call at a time; the next call begins anew.

    `listener` is told each part of the invocation while it runs, on the event loop; it must not raise.
    """

    def __init__(self, entrypoint: Entrypoint, *, listener: Callable[[Part], None] | None = None) -> None:
        self._entrypoint = entrypoint
        self._listener = listener
        self._recorder: Recorder | None = None
        self._item: TraceItem | None = None
        self._ended = asyncio.Event()

    async def fetch(self, request: Request, **options: Any) -> Response:
        """Entrypoint.fetch(), with its logs kept for get_logs()."""
        self._recorder = self._item = None
        self._ended = asyncio.Event()
        return await self._entrypoint.fetch(request, watch=self._watch, **options)

    async def get_logs(self, timeout: float = 1.0) -> SessionLogs:
        """The logs, waited for until the invocation has ended or `timeout` seconds are over. Never raises."""
        recorder = self._recorder
        if recorder is None:
            return SessionLogs([], [], "none")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        logs: list[dict[str, Any]] = []
        exceptions: list[dict[str, Any]] = []
        for part in recorder.parts:
            for entry in entries(part):
                if isinstance(entry, TraceLog):
                    logs.append({"timestamp": entry.time_ns // 1_000_000, "level": entry.level, "message": entry.message})
                elif isinstance(entry, TraceException):
                    members = {"timestamp": entry.time_ns // 1_000_000, "name": entry.name, "message": entry.message}
                    exceptions.append(members | ({"stack": entry.stack} if entry.stack is not None else {}))
        if self._item is None or recorder is not self._recorder:
            return SessionLogs(logs, exceptions, "partial", None, None, recorder.invocation_id, recorder.trace_id)
        return SessionLogs(logs, exceptions, "complete", self._item, recorder.parts[-1].end, recorder.invocation_id, recorder.trace_id)

    def _watch(self, recorder: Recorder, item: TraceItem | None) -> None:
        if item is None:
            self._recorder = recorder
            recorder.listener = self._listener
        elif recorder is self._recorder:  # and not an earlier call that ends only now
            self._item = item
            self._ended.set()
