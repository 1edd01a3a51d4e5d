"""What the parts of an invocation mean as spans: plain rows (design.md, Contract 4). Pure, no I/O.

encoder.c and wire.py make protobuf of the rows, model.py the SDK's own types; docs/telemetry.md lists every attribute.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from otelbridge.model.part import ColdStart, End, Part, SpanClose, SpanOpen, span_entries
from otelbridge.model.trace import Subrequest
from otelbridge.otel.conventions import event_attributes, failed, known_method, trigger, url_attributes
from otelbridge.otel.shape import TRUNCATED, Shape

__all__ = ["CLIENT", "ERROR", "INTERNAL", "SERVER", "UNSET", "SpanRow", "span_id_of", "span_rows"]

INTERNAL, SERVER, CLIENT = 1, 2, 3
UNSET, ERROR = 0, 2
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
_PLAIN: Final = Shape()


class SpanRow(msgspec.Struct, gc=False, array_like=True):
    """One span. Ids are hex; an empty parent is none. In this order encoder.c reads it."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    left_out: int = 0
    status: int = UNSET
    message: str = ""
    remote_parent: bool = False


def span_id_of(invocation_id: str, name: str) -> str:
    """The id of a span that the host did not give one: the same in every process and at every attempt to send it."""
    digest = hashlib.blake2b(f"{invocation_id}/{name}".encode("utf-8", "replace"), digest_size=8).digest()
    return digest.hex() if any(digest) else "0000000000000001"


def span_rows(parts: Sequence[Part], *, shape: Shape = _PLAIN, opened_any: bool = True) -> list[SpanRow]:
    """The spans of an invocation, from all of its parts in order. Without an end its process died before it could say.

    `opened_any`: whether the guest opened any, if the caller knows: most don't.
    """
    last = parts[-1]
    end = last.end
    trace_id = _id(last.trace_id, 16)
    server = _id(last.span_id, 8)
    ended = end.time_ns if end is not None else last.time_ns
    rows = [_server(last, trace_id, server, ended)]
    ids: dict[int, str] = {0: server}
    if opened_any:
        rows += _opened(parts, trace_id, ids, ended)
    if end is not None:
        if end.cold_start is not None:
            rows += _cold_start(last, end.cold_start, trace_id, server)
        if end.subrequests:
            rows += [_subrequest(last, s, trace_id, ids.get(s.span, server)) for s in end.subrequests]
    if shape.limits_attributes:
        for row in rows:
            fitting, row.left_out, was_cut = shape.fit(row.attributes)
            if was_cut or row.left_out:
                row.attributes = {**fitting, TRUNCATED: True}
    return rows


def _opened(parts: Sequence[Part], trace_id: str, ids: dict[int, str], ended: int) -> list[SpanRow]:
    """The spans that the guest opened. `ids`: of spans by their numbers, with that of the invocation; those found are added."""
    invocation_id, server = parts[-1].invocation_id, ids[0]
    opened: list[tuple[SpanOpen, str]] = []
    closed: dict[str, SpanClose] = {}
    for part in parts:
        for entry in span_entries(part):
            if isinstance(entry, SpanOpen):
                again = f":{entry.sequence}" if entry.number in ids else ""  # only a guest without our prelude repeats a number
                ids[entry.number] = span_id = span_id_of(invocation_id, f"span:{entry.number}{again}")
                opened.append((entry, span_id))
            elif entry.number in ids:
                closed[ids[entry.number]] = entry
    rows = []
    for entry, span_id in opened:
        close = closed.get(span_id)
        attributes: dict[str, Any] = dict(close.attributes) if close is not None else {"otelbridge.unclosed": True}
        attributes["faas.invocation_id"] = invocation_id
        end_ns = max(close.time_ns if close is not None else ended, entry.time_ns)
        parent = ids.get(entry.parent, server)
        parent = server if parent == span_id else parent
        rows.append(SpanRow(trace_id, span_id, parent, entry.name or "span", INTERNAL, entry.time_ns, end_ns, attributes))
    return rows


def _server(part: Part, trace_id: str, span_id: str, ended: int) -> SpanRow:
    end = part.end
    name, of_event = event_attributes(part.event)
    outcome = end.outcome if end is not None else "unknown"
    attributes: dict[str, Any] = {
        "faas.trigger": trigger(part.event),
        "faas.invocation_id": part.invocation_id,
        "otelbridge.outcome": outcome,
        **of_event,
    }
    if part.entrypoint is not None:
        attributes["otelbridge.entrypoint"] = part.entrypoint
    if end is not None:
        _add_end(attributes, end)
    else:
        attributes["otelbridge.incomplete"] = True
    status, message = UNSET, ""
    if failed(end):
        status = ERROR
        attributes["error.type"] = outcome if outcome != "ok" or end is None else str(end.status)
        message = outcome if outcome != "ok" else ""
    parent = _id(part.parent_span_id, 8) if part.parent_span_id else ""
    start_ns = part.start_ns
    end_ns = ended if ended > start_ns else start_ns
    return SpanRow(trace_id, span_id, parent, name, SERVER, start_ns, end_ns, attributes, 0, status, message, bool(parent))


def _add_end(attributes: dict[str, Any], end: End) -> None:
    attributes["faas.coldstart"] = end.cold_start is not None
    attributes["otelbridge.cpu_time_ms"] = end.cpu_ns / 1e6
    attributes["otelbridge.wall_time_ms"] = end.wall_ns / 1e6
    attributes["otelbridge.memory_bytes"] = end.memory_bytes
    if end.queue_ns:
        attributes["otelbridge.queue_time_ms"] = end.queue_ns / 1e6
    if end.status is not None:
        attributes["http.response.status_code"] = end.status
    if end.response_bytes:
        attributes["http.response.body.size"] = end.response_bytes
    if end.truncated:
        attributes[TRUNCATED] = True
        attributes["otelbridge.dropped_logs"] = end.dropped.logs
        attributes["otelbridge.dropped_exceptions"] = end.dropped.exceptions
        attributes["otelbridge.dropped_bytes"] = end.dropped.bytes


def _cold_start(part: Part, cold: ColdStart, trace_id: str, server: str) -> list[SpanRow]:
    load = span_id_of(part.invocation_id, "load")
    attributes: dict[str, Any] = {"faas.invocation_id": part.invocation_id}
    rows = [SpanRow(trace_id, load, server, "load", INTERNAL, cold.start_ns, max(cold.end_ns, cold.start_ns), dict(attributes))]
    if cold.compile_ns:
        compiled = cold.start_ns + max(cold.compile_ns, 0)
        span_id = span_id_of(part.invocation_id, "compile")
        rows.append(SpanRow(trace_id, span_id, load, "compile", INTERNAL, cold.start_ns, compiled, attributes))
    return rows


def _subrequest(part: Part, subrequest: Subrequest, trace_id: str, parent: str) -> SpanRow:
    method = known_method(subrequest.method)
    attributes: dict[str, Any] = {"faas.invocation_id": part.invocation_id, "otelbridge.subrequest.kind": subrequest.kind}
    if subrequest.kind == "fetch":
        attributes["http.request.method"] = method
        if method != subrequest.method:
            attributes["http.request.method_original"] = subrequest.method
        attributes["url.full"] = subrequest.url
        attributes.update((k, v) for k, v in url_attributes(subrequest.url).items() if k.startswith("server."))
        name = method if method != "_OTHER" else "HTTP"
    else:
        attributes["rpc.method"] = subrequest.method
        name = f"{subrequest.kind} {subrequest.method}".strip()
    status, message = UNSET, ""
    if subrequest.status is not None:
        attributes["http.response.status_code"] = subrequest.status
        if subrequest.status >= 400:
            status = ERROR
            attributes["error.type"] = str(subrequest.status)
    if subrequest.error is not None:
        status, message = ERROR, subrequest.error
        attributes["error.type"] = _error_type(subrequest.error)
    start, end = subrequest.start_ns, max(subrequest.end_ns, subrequest.start_ns)
    return SpanRow(trace_id, _id(subrequest.span_id, 8), parent, name, CLIENT, start, end, attributes, 0, status, message)


def _error_type(error: str) -> str:
    """The name in "Name: message"; anything else would have too many values."""
    name = error.partition(":")[0]
    return name if _NAME.fullmatch(name) else "error"


_IDS: Final = {size: re.compile(f"[0-9a-fA-F]{{{2 * size}}}").fullmatch for size in (8, 16)}


def _id(text: str, size: int) -> str:
    """An id of `size` bytes; zeros when it is none, which backends treat as absent."""
    return text if _IDS[size](text) else "00" * size
