"""A part of an invocation: what goes into the spool, in one write, and what every consumer reads back.

An invocation has one part or several: what it logged before its response went out, more while it runs, and a last
one with its end. Parts carry the ring as the guest wrote it; entries() is the one place that reads guest bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from otelbridge.model import ring
from otelbridge.model.tolerant import read_json
from otelbridge.model.trace import (
    DiagnosticsEvent,
    Dropped,
    Event,
    Subrequest,
    TraceException,
    TraceItem,
    TraceLog,
    UserSpan,
)

__all__ = [
    "ColdStart",
    "End",
    "Notice",
    "Part",
    "SpanClose",
    "SpanOpen",
    "SpoolItem",
    "WorkerRef",
    "decode",
    "encode",
    "entries",
    "read_entry",
    "span_entries",
    "timed_entries",
    "trace_item",
]


class WorkerRef(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Whose telemetry it is. Set by the host; a guest has no way to write it."""

    worker_id: str
    version: str
    memory_bytes: int = 0  # the limit: faas.max_memory
    tags: dict[str, str] = {}


class ColdStart(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How long the load took that this invocation waited for; times in ns."""

    start_ns: int
    end_ns: int
    compile_ns: int = 0  # of which: reading and compiling the source


class End(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How an invocation ended."""

    time_ns: int
    outcome: str
    cpu_ns: int
    wall_ns: int
    status: int | None = None  # of the response; None when there was none
    cold_start: ColdStart | None = None
    memory_bytes: int = 0
    truncated: bool = False
    dropped: Dropped = Dropped()
    subrequests: tuple[Subrequest, ...] = ()
    response_bytes: int = 0
    queue_ns: int = 0  # waited for a free instance


class Part(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="part"):
    """See the module's text. `floor_ns` is not before any time of an earlier part; `first_sequence` counts entries."""

    worker: WorkerRef
    invocation_id: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    trace_flags: int
    event: Event  # redacted
    entrypoint: str | None
    start_ns: int
    number: int
    first_sequence: int
    floor_ns: int
    time_ns: int
    ring: bytes
    end: End | None = None


class Notice(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="notice"):
    """A record of the bridge itself, for example of a drop. `worker_id`: whom it concerns, if anybody."""

    time_ns: int
    level: str
    text: str
    fields: dict[str, Any] = {}
    worker_id: str | None = None


SpoolItem = Part | Notice

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SpoolItem)


def encode(item: SpoolItem) -> bytes:
    """The payload of a spool frame."""
    return _encoder.encode(item)


def decode(payload: bytes | memoryview) -> SpoolItem:
    """A spool frame's payload; msgspec.DecodeError or ValidationError when it is not one."""
    item: SpoolItem = _decoder.decode(payload)
    return item


# --------------------------------------------------------------------------------------------- reading guest bytes


class SpanOpen(msgspec.Struct, frozen=True, gc=False):
    """A user span begins; `parent` is the number of the span around it, 0 for none."""

    time_ns: int
    sequence: int
    number: int
    name: str
    parent: int


class SpanClose(msgspec.Struct, frozen=True, gc=False):
    """A user span ends."""

    time_ns: int
    sequence: int
    number: int
    attributes: dict[str, Any]


def entries(part: Part) -> Iterator[TraceLog | TraceException | DiagnosticsEvent | SpanOpen | SpanClose]:
    """What a part's ring says, in order. Times strictly increase and stay within the part, whatever a guest wrote.

    Any bytes give some entry: text that is not UTF-8 is read with replacement characters, JSON that can't be read
    stands as text. Sequence numbers count all entries of an invocation from 0, without gaps.
    """
    for time_ns, sequence, entry in timed_entries(part):
        yield read_entry(entry, time_ns, sequence)


def timed_entries(part: Part) -> list[tuple[int, int, ring.Entry]]:
    """The ring's entries as they are, each with its time and sequence number: for who need not read all of them."""
    time_ns = part.floor_ns - 1
    ceiling = max(part.time_ns, part.floor_ns)
    sequence = part.first_sequence
    found = []
    for entry in ring.walk(part.ring):
        claimed = entry.time_ns
        if claimed > ceiling:
            claimed = ceiling
        time_ns = claimed if claimed > time_ns else time_ns + 1
        found.append((time_ns, sequence, entry))
        sequence += 1
    return found


def span_entries(part: Part) -> Iterator[SpanOpen | SpanClose]:
    """The spans among entries(). What the others say, which is most of a part, is not read."""
    for time_ns, sequence, entry in timed_entries(part):
        if entry.kind == ring.SPAN_OPEN or entry.kind == ring.SPAN_CLOSE:
            yield read_entry(entry, time_ns, sequence)


def read_entry(entry: ring.Entry, time_ns: int, sequence: int) -> Any:
    """What an entry of the ring says: see entries()."""
    kind = entry.kind
    if kind == ring.LOG or kind == ring.TEXT:
        value = _json(entry.payload)
        if not isinstance(value, list):
            value = [value] if isinstance(value, dict) else [_text(entry.payload)]
        info = _json(entry.extra) if entry.extra else None
        return TraceLog(time_ns, sequence, ring.LEVELS[entry.level], value, info if isinstance(info, list) else None, entry.span)
    value = _json(entry.payload)
    members = value if isinstance(value, dict) else {}
    if kind == ring.EXCEPTION:
        stack = members.get("stack")
        message = members.get("message") if members else _text(entry.payload)
        return TraceException(
            time_ns, sequence, _str(members.get("name"), "Error"), _str(message, ""), stack if isinstance(stack, str) else None, entry.span
        )
    if kind == ring.DIAGNOSTIC:
        return DiagnosticsEvent(time_ns, sequence, _str(members.get("channel"), ""), members.get("message"), entry.span)
    if kind == ring.SPAN_OPEN:
        parent = members.get("parent")
        return SpanOpen(time_ns, sequence, entry.span, _str(members.get("name"), "span"), parent if isinstance(parent, int) else 0)
    attributes = members.get("attributes")
    return SpanClose(time_ns, sequence, entry.span, attributes if isinstance(attributes, dict) else {})


def _json(payload: bytes) -> Any:
    """JSON as a guest wrote it, or None."""
    try:
        return read_json(payload)
    except ValueError:
        return None


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "replace")


def _str(value: Any, default: str) -> str:
    return value if isinstance(value, str) else default


# ------------------------------------------------------------------------------------------------------- joining


def trace_item(parts: Sequence[Part], raw_event: Event | None = None) -> TraceItem:
    """Join the parts of one invocation, in order; the last one has its end. `raw_event`: the event unredacted."""
    last = parts[-1]
    end = last.end
    if end is None:
        raise ValueError(f"invocation {last.invocation_id} has not ended")
    logs: list[TraceLog] = []
    exceptions: list[TraceException] = []
    diagnostics: list[DiagnosticsEvent] = []
    opened: list[SpanOpen] = []
    closed: dict[int, SpanClose] = {}
    for entry in _all_entries(parts):
        if isinstance(entry, TraceLog):
            logs.append(entry)
        elif isinstance(entry, TraceException):
            exceptions.append(entry)
        elif isinstance(entry, DiagnosticsEvent):
            diagnostics.append(entry)
        elif isinstance(entry, SpanOpen):
            opened.append(entry)
        else:
            closed[entry.number] = entry
    return TraceItem(
        worker_id=last.worker.worker_id,
        worker_version=last.worker.version,
        invocation_id=last.invocation_id,
        trace_id=last.trace_id,
        span_id=last.span_id,
        parent_span_id=last.parent_span_id,
        event=last.event,
        raw_event=raw_event or last.event,
        start_ns=last.start_ns,
        end_ns=end.time_ns,
        status=end.status,
        logs=logs,
        exceptions=exceptions,
        diagnostics=diagnostics,
        spans=[_user_span(o, closed.get(o.number)) for o in opened],
        outcome=end.outcome,
        truncated=end.truncated,
        cpu_ns=end.cpu_ns,
        wall_ns=end.wall_ns,
        entrypoint=last.entrypoint,
        cold_start=end.cold_start is not None,
        subrequests=end.subrequests,
        memory_bytes=end.memory_bytes,
        dropped=end.dropped,
    )


def _all_entries(parts: Iterable[Part]) -> Iterator[Any]:
    for part in parts:
        yield from entries(part)


def _user_span(opened: SpanOpen, closed: SpanClose | None) -> UserSpan:
    return UserSpan(
        opened.number,
        opened.parent,
        opened.name,
        opened.time_ns,
        closed.time_ns if closed else None,
        closed.attributes if closed else {},
    )
