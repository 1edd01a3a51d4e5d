"""The same rows in the OpenTelemetry SDK's own types: for programs that take those, and to check the fast path.

tests/otel/test_equality.py gives both to the stock exporter's encoder and to request.py and compares record by record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from otelbridge.model.part import Part
from otelbridge.otel.log_rows import LogRow, common_attributes
from otelbridge.otel.resource import SCOPE, VERSION
from otelbridge.otel.span_rows import SpanRow, span_id_of
from otelbridge.otel.values import clean, clean_text

__all__ = ["log_records", "spans"]

_SCOPE = InstrumentationScope(SCOPE, VERSION)
_KINDS = {1: SpanKind.INTERNAL, 2: SpanKind.SERVER, 3: SpanKind.CLIENT}


def log_records(part: Part, rows: Sequence[LogRow], resource: Mapping[str, Any]) -> list[ReadableLogRecord]:
    """Log records of a part. `resource`: the worker's attributes."""
    owner = Resource(resource)
    return [ReadableLogRecord(_log_record(part, row), owner, _SCOPE) for row in rows]


def _log_record(part: Part, row: LogRow) -> LogRecord:
    span_id = span_id_of(part.invocation_id, f"span:{row.span}") if row.span else part.span_id
    # An explicit span: without one the SDK would take whatever span is current here.
    span = NonRecordingSpan(_context(part.trace_id, span_id, part.trace_flags & 0xFF))
    attributes = {
        **common_attributes(part),
        "otelbridge.sequence": row.sequence,
        "log.record.uid": f"{part.invocation_id}-{row.sequence}",
        **(row.extra or {}),
    }
    return LogRecord(
        timestamp=row.time_ns,
        observed_timestamp=part.time_ns,
        context=set_span_in_context(span),
        severity_number=SeverityNumber(row.severity),
        severity_text=row.severity_text,
        body=clean(row.body),
        attributes=clean(attributes, -1),
        event_name=row.event_name or None,
    )


def spans(rows: Sequence[SpanRow], resource: Mapping[str, Any]) -> list[ReadableSpan]:
    """Spans of an invocation. `resource`: the worker's attributes."""
    owner = Resource(resource)
    return [
        ReadableSpan(
            name=clean_text(row.name),
            context=_context(row.trace_id, row.span_id, 1),
            parent=_context(row.trace_id, row.parent_id, 1, remote=row.remote_parent) if row.parent_id else None,
            resource=owner,
            attributes=clean(row.attributes, -1),
            kind=_KINDS[row.kind],
            instrumentation_scope=_SCOPE,
            status=Status(StatusCode(row.status), clean_text(row.message) if row.status else None),
            start_time=row.start_ns,
            end_time=row.end_ns,
        )
        for row in rows
    ]


def _context(trace_id: str, span_id: str, flags: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=TraceFlags(flags))
