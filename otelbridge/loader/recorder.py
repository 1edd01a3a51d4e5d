"""What one invocation leaves behind, while it runs: turns drained ring bytes into parts, in order.

The host's side of attribution: ids, times and sequence numbers are given here, never taken from a guest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from otelbridge.errors import WorkerError
from otelbridge.model import ring
from otelbridge.model.ids import TraceParent, new_ids
from otelbridge.model.part import End, Part, WorkerRef
from otelbridge.model.sourcemap import SourceMaps
from otelbridge.model.tolerant import read_json
from otelbridge.model.trace import Event

__all__ = ["Recorder", "error_of", "pack_exception"]


class Recorder:
    """Makes the parts of one invocation and hands each to `write` (the spool) as it comes.

    `keep`: also keep them in memory, for tails and log sessions; `listener` hears of each of these as it comes.
    """

    __slots__ = (
        "_floor_ns", "_sequence", "_write", "entrypoint", "event", "invocation_id", "keep", "listener", "maps", "number",
        "parent_span_id",
        "parts", "raw_event", "span_id", "start_ns", "trace_flags", "trace_id", "worker",
    )  # fmt: skip

    def __init__(
        self,
        *,
        worker: WorkerRef,
        event: Event,
        raw_event: Event,
        entrypoint: str | None,
        parent: TraceParent | None,
        write: Callable[[Part], None] | None,
        keep: bool,
        maps: SourceMaps | None = None,
    ) -> None:
        self.worker = worker
        self.event = event
        self.raw_event = raw_event
        self.entrypoint = entrypoint
        self.invocation_id, self.span_id, trace_id = new_ids()
        self.trace_id = parent.trace_id if parent else trace_id
        self.parent_span_id = parent.span_id if parent else None
        self.trace_flags = parent.flags if parent else 1
        self.start_ns = time.time_ns()
        self.keep = keep
        self.maps = maps
        self.parts: list[Part] = []
        self.listener: Callable[[Part], None] | None = None
        self.number = 0
        self._write = write
        self._sequence = 0
        self._floor_ns = self.start_ns

    @property
    def wanted(self) -> bool:
        """Whether anybody reads what this invocation leaves behind."""
        return self._write is not None or self.keep

    def record(self, entries: bytes, end: End | None = None) -> None:
        """One part: ring bytes as a guest wrote them, and with the last one the end."""
        if not self.wanted:
            return
        if self.maps and b'"stack":' in entries:
            entries = _mapped(entries, self.maps)
        # What is malformed is cut off, and what is not is counted, for the parts that follow; who reads the last one stops at
        # the first malformed entry as well (ring.walk). For 10 lines that saves a twelfth of the host's work for a request.
        size, count = (len(entries), 0) if end is not None else ring.check(entries)
        now = max(time.time_ns(), self._floor_ns)
        part = Part(
            self.worker,
            self.invocation_id,
            self.trace_id,
            self.span_id,
            self.parent_span_id,
            self.trace_flags,
            self.event,
            self.entrypoint,
            self.start_ns,
            self.number,
            self._sequence,
            self._floor_ns,
            now,
            entries if size == len(entries) else entries[:size],
            end,
        )
        self.number += 1
        self._sequence += count
        # entries() gives out at most one nanosecond per entry beyond the part's own time.
        self._floor_ns = now + count + 1
        if self._write is not None:
            self._write(part)
        if self.keep:
            self.parts.append(part)
            if self.listener is not None:
                self.listener(part)


def _mapped(entries: bytes, maps: SourceMaps) -> bytes:
    """Ring bytes with the stacks of exceptions and logged errors in terms of the worker's sources."""
    return b"".join(
        ring.pack(
            entry.kind,
            _with_stack(entry.payload, maps) if entry.kind == ring.EXCEPTION else entry.payload,
            level=entry.level,
            time_ns=entry.time_ns,
            span=entry.span,
            extra=_with_stack(entry.extra, maps),
        )
        for entry in ring.walk(entries)
    )


def _with_stack(data: bytes, maps: SourceMaps) -> bytes:
    """The JSON of an error, or of a list of errors and nulls."""
    if b'"stack":' not in data:
        return data
    try:
        value = read_json(data)
    except ValueError:
        return data
    for error in value if isinstance(value, list) else [value]:
        if isinstance(error, dict) and isinstance(error.get("stack"), str):
            error["stack"] = maps.apply(error["stack"])
    return msgspec.json.encode(value)


def pack_exception(name: str, message: str, stack: str | None) -> bytes:
    """A ring entry for an exception that the host raises on a worker's behalf, as the guest would have written it."""
    members = {"name": name, "message": message} | ({"stack": stack} if stack else {})
    return ring.pack(ring.EXCEPTION, msgspec.json.encode(members), level=4, time_ns=time.time_ns())


def error_of(message: list[Any], recorder: Recorder) -> WorkerError:
    """What a guest says it threw, [kind, name, message, stack, ...], with positions of its sources and the ids of the invocation."""
    stack = message[3] if isinstance(message[3], str) else None
    if stack is not None and recorder.maps:
        stack = recorder.maps.apply(stack)
    return WorkerError(str(message[1]), str(message[2]), stack=stack, invocation_id=recorder.invocation_id, trace_id=recorder.trace_id)
