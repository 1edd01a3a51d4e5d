"""Equality with the stock exporter: what we put on the wire is what its encoder makes of the same records."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otelbridge.model.count import count, count_spans
from otelbridge.model.part import Part, entries
from otelbridge.model.trace import TraceLog
from otelbridge.otel.encoder import Encoder
from otelbridge.otel.log_rows import log_rows
from otelbridge.otel.model import log_records, spans
from otelbridge.otel.request import Request
from otelbridge.otel.resource import Resources, worker_attributes
from otelbridge.otel.shape import Shape
from otelbridge.otel.span_rows import span_rows
from tests.otel.strategies import invocations

SHARED = {"service.name": "dynamic-workers", "service.version": "1", "telemetry.sdk.name": "opentelemetry"}
RESOURCES = Resources(SHARED, {"service.name": "otelbridge"})


def flat(message: Any, groups: str, scopes: str, records: str) -> list[tuple[bytes, bytes, Any]]:
    """Resource, scope and record of every record, in order."""
    return [
        (group.resource.SerializeToString(deterministic=True), scope.scope.SerializeToString(deterministic=True), record)
        for group in getattr(message, groups)
        for scope in getattr(group, scopes)
        for record in getattr(scope, records)
    ]


@given(parts=invocations(), structured=st.booleans())
def test_log_records_equal_the_stock_encoder(encoder: Encoder, parts: list[Part], structured: bool) -> None:
    """Every log record equals, field by field, what the SDK's types and encoder make of the same part."""
    for part in parts:
        rows = list(log_rows(part, structured=structured))
        assert len(rows) == count(part).logs
        ours = Request("logs")
        ours.add(part.worker, encoder.log_records([part], structured=structured)[0], RESOURCES)
        assert ours.records == len(rows)
        stock = encode_logs(log_records(part, rows, worker_attributes(SHARED, part.worker)))
        assert flat(ours.message, "resource_logs", "scope_logs", "log_records") == flat(stock, "resource_logs", "scope_logs", "log_records")


@given(parts=invocations())
def test_rows_say_what_entries_say(parts: list[Part]) -> None:
    """The short way from a line of one text to its row says what entries() says; without opened spans none is looked for."""
    for part in parts:
        lines = [entry for entry in entries(part) if isinstance(entry, TraceLog)]
        rows = [row for row in log_rows(part) if not row.event_name]
        said = [
            (one.time_ns, one.level, one.sequence, one.span, one.message[0] if len(one.message) == 1 else one.message or "")
            for one in lines
        ]
        assert repr([(row.time_ns, row.severity_text, row.sequence, row.span, row.body) for row in rows]) == repr(said)
    if all(count(part).spans == count_spans(part) for part in parts):
        assert span_rows(parts) == span_rows(parts, opened_any=False)


@given(parts=invocations())
def test_spans_equal_the_stock_encoder(encoder: Encoder, parts: list[Part]) -> None:
    """Every span equals, field by field, what the SDK's types and encoder make of the same invocation."""
    rows = span_rows(parts)
    ours = Request("spans")
    ours.add(parts[0].worker, encoder.spans([rows])[0], RESOURCES)
    stock = encode_spans(spans(rows, worker_attributes(SHARED, parts[0].worker)))
    assert flat(ours.message, "resource_spans", "scope_spans", "spans") == flat(stock, "resource_spans", "scope_spans", "spans")


@given(parts=invocations(), ended=st.booleans())
def test_the_count_of_a_part_is_the_count_of_its_spans(parts: list[Part], ended: bool) -> None:
    """What the ledger counts as emitted is exactly what the mapping makes; a lost end adds its one server span."""
    if not ended:
        parts = [msgspec.structs.replace(p, end=None) for p in parts]
    assert len(span_rows(parts)) == sum(count(p).spans for p in parts) + (0 if ended else 1)


@given(parts=invocations())
def test_times_increase_and_ids_are_valid(parts: list[Part]) -> None:
    """Within an invocation log times strictly increase and uids differ; spans have ids, and none ends before it starts."""
    rows = [row for part in parts for row in log_rows(part)]
    assert all(a.time_ns < b.time_ns for a, b in itertools.pairwise(rows))
    assert len({row.sequence for row in rows}) == len(rows)
    made = span_rows(parts)
    assert all(row.end_ns >= row.start_ns and row.span_id.strip("0") and row.trace_id.strip("0") and row.name for row in made)
    own = [row for row in made if row.kind != 3]
    assert len({row.span_id for row in own}) == len(own)


@given(parts=invocations(), shape=st.builds(Shape, st.integers(0, 60), st.integers(0, 8), st.integers(0, 40), st.integers(0, 10)))
def test_shaped_records_keep_the_limits_and_say_so(encoder: Encoder, parts: list[Part], shape: Shape) -> None:
    """Under any limits a record stays valid, within them, and is marked when something was cut."""
    request = Request("logs")
    for part in parts:
        request.add(part.worker, encoder.log_records([part], shape=shape)[0], RESOURCES)
    for _, _, record in flat(request.message, "resource_logs", "scope_logs", "log_records"):
        marked = any(a.key == "otelbridge.truncated" for a in record.attributes)
        if shape.body_bytes and record.body.WhichOneof("value") == "string_value":
            assert len(record.body.string_value.encode()) <= shape.body_bytes
        if record.dropped_attributes_count:
            assert marked
        if shape.attribute_bytes:
            extra = [a.value.string_value for a in record.attributes if a.key.startswith("exception.")]
            assert all(len(v.encode()) <= shape.attribute_bytes for v in extra)
    request.message.SerializeToString()
