"""One invocation in full, out of the rows of all segments that have any of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.logs.fields import hex_of
from otelbridge.logs.pages import message_of
from otelbridge.logs.reader import Budget, Reader
from otelbridge.logs.segment import Segment
from otelbridge.logs.writer import pack_id
from otelbridge.model.part import End
from otelbridge.model.passage import Place
from otelbridge.model.record import ExceptionInfo
from otelbridge.model.ring import LEVELS
from otelbridge.model.trace import (
    DiagnosticsEvent,
    Event,
    FetchEvent,
    QueueEvent,
    RpcEvent,
    ScheduledEvent,
    TraceException,
    TraceItem,
    TraceLog,
)

__all__ = ["trace_item_json"]

_COLUMNS = (
    f"i.number, {hex_of('i.id')}, w.worker_id, v.version, {hex_of('i.trace_id')}, {hex_of('i.span_id')}, {hex_of('i.parent_span_id')}, "
    "i.start_ns, i.trigger, i.method, i.origin, i.path, i.query, i.name, i.detail"
)
_FROM = "FROM invocations i JOIN workers w ON w.number = i.worker JOIN versions v ON v.number = i.version"


class _Found(msgspec.Struct):
    """What all segments know of one invocation."""

    head: list[Any] = []
    detail: list[Any] = []
    end: End | None = None
    place: Place | None = None
    logs: list[TraceLog] = []
    exceptions: list[TraceException] = []
    diagnostics: list[DiagnosticsEvent] = []
    spans: dict[int, dict[str, Any]] = {}


def trace_item_json(segments: Sequence[Segment], invocation_id: str, budget: Budget) -> tuple[dict[str, Any], Place | None] | None:
    """The TraceItem of an invocation in Cloudflare's names, or None. It also has `spans`, and `timing` in full precision:
    also where each of the subrequests began. Beside it: where its end stands in a spool, which older stores don't know.

    One that has not ended has no outcome, cpuTime and wallTime.
    """
    found = _Found()
    for segment in segments:
        with segment.reader(budget) as reader:
            if reader is not None:
                _read(reader, pack_id(invocation_id), found)
    return (_assemble(found), found.place) if found.head else None


def _read(reader: Reader, key: bytes | str, found: _Found) -> None:
    row = reader.row(f"SELECT {_COLUMNS} {_FROM} WHERE i.id = ?", (key,))
    if row is None:
        return
    *head, detail = row
    found.head = head
    found.detail = msgspec.msgpack.decode(detail)
    if found.detail[4] is not None:
        found.end = msgspec.convert(found.detail[4], End)
        found.place = msgspec.convert(found.detail[5], Place) if len(found.detail) > 5 else None
    records = ("r.number - r.skew", "r.kind", "r.level", "r.sequence", "r.span", "r.text", "r.layout", "r.extra")
    for time_ns, kind, level, sequence, span, text, layout, extra in reader.rows(
        records, "FROM records r WHERE r.invocation = ? AND r.kind < 2 ORDER BY r.number", (head[0],)
    ):
        if kind == 0:
            info = None if extra is None else msgspec.json.decode(extra)
            found.logs.append(TraceLog(time_ns, sequence, LEVELS[level], message_of(text, layout), info, span))
        else:
            thrown = msgspec.json.decode(extra, type=ExceptionInfo)
            found.exceptions.append(TraceException(time_ns, sequence, thrown.type, thrown.message, thrown.stack, span))
    for sequence, time_ns, span, channel, message in reader.rows(
        ("sequence", "time_ns", "span", "channel", "message"), "FROM diagnostics WHERE invocation = ?", (head[0],)
    ):
        found.diagnostics.append(DiagnosticsEvent(time_ns, sequence, channel, msgspec.json.decode(message), span))
    for number, parent, name, start_ns, end_ns, attributes in reader.rows(
        ("number", "parent", "name", "start_ns", "end_ns", "attributes"), "FROM spans WHERE invocation = ?", (head[0],)
    ):
        span_json = found.spans.setdefault(number, {"number": number})
        if name is not None:
            span_json |= {"parent": parent, "name": name, "startTimeUnixNano": str(start_ns)}
        if end_ns is not None:
            span_json |= {"endTimeUnixNano": str(end_ns), "attributes": msgspec.json.decode(attributes)}


def _assemble(found: _Found) -> dict[str, Any]:
    _, invocation, worker, version, trace, span, parent, start_ns, trigger, method, origin, path, query, name = found.head
    extra, client_ip, entrypoint = found.detail[:3]
    event: Event
    if trigger == 0:
        event = FetchEvent(method, origin + path + query, extra, client_ip)
    else:
        event = RpcEvent(name) if trigger == 1 else ScheduledEvent(name, extra) if trigger == 2 else QueueEvent(name, extra)
    end = found.end or End(start_ns, "unknown", 0, 0)
    item = TraceItem(
        worker_id=worker,
        worker_version=version,
        invocation_id=invocation,
        trace_id=trace,
        span_id=span,
        parent_span_id=parent,
        event=event,
        raw_event=event,
        start_ns=start_ns,
        end_ns=end.time_ns,
        status=end.status,
        logs=sorted(found.logs, key=lambda log: log.sequence),
        exceptions=sorted(found.exceptions, key=lambda e: e.sequence),
        diagnostics=sorted(found.diagnostics, key=lambda d: d.sequence),
        spans=[],
        outcome=end.outcome,
        truncated=end.truncated,
        cpu_ns=end.cpu_ns,
        wall_ns=end.wall_ns,
        entrypoint=entrypoint,
        cold_start=end.cold_start is not None,
        subrequests=end.subrequests,
        memory_bytes=end.memory_bytes,
        dropped=end.dropped,
    )
    out = item.to_json()
    if found.end is None:
        for member in ("outcome", "cpuTime", "wallTime"):
            del out[member]
    out["spans"] = [one for _, one in sorted(found.spans.items()) if "name" in one]
    out["timing"] = _timing(start_ns, found.end)
    return out


def _timing(start_ns: int, end: End | None) -> dict[str, Any]:
    timing: dict[str, Any] = {"startTimeUnixNano": str(start_ns)}
    if end is not None:
        timing |= {"endTimeUnixNano": str(end.time_ns), "wallMs": end.wall_ns / 1e6}
        timing |= {"cpuMs": end.cpu_ns / 1e6, "queueMs": end.queue_ns / 1e6}
        if end.subrequests:
            timing["subrequestStarts"] = [str(one.start_ns) for one in end.subrequests]
        cold = end.cold_start
        if cold is not None:
            load = {"startTimeUnixNano": str(cold.start_ns), "endTimeUnixNano": str(cold.end_ns), "compileMs": cold.compile_ns / 1e6}
            timing["load"] = load
    return timing
