"""OTLP requests: built from rows, counted by worker, split in halves, written as protobuf or JSON.

Records are added to the generated protobuf classes by copying a template of what all records of a part share and setting
the rest: 2.6 us a record, against 4.0 for setting everything and 12.5 for keyword constructors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otelbridge.model.part import Notice, Part, WorkerRef
from otelbridge.otel.environment import Signal
from otelbridge.otel.mapping import LogRow, SpanRow, common_attributes, notice_row, span_id_of
from otelbridge.otel.resource import SCOPE, VERSION, Resources
from otelbridge.otel.values import clean_text, put, put_all

__all__ = ["BRIDGE", "MESSAGES", "METRICS_OWNER", "Request", "restore"]

BRIDGE = ""  # stands for a worker id: the bridge's own records
METRICS_OWNER = "*"  # stands for a worker id: metrics are of all workers
MESSAGES: dict[Signal, Any] = {"logs": ExportLogsServiceRequest, "spans": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}
_GROUPS: dict[Signal, tuple[str, str, str]] = {
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "spans": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
}
_REMOTE_KNOWN, _REMOTE = 0x100, 0x200  # span flags: whether the parent is remote is known; it is


class Request:
    """One OTLP request. `counts`: records by worker id, BRIDGE for the bridge's own; of metrics, data points."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.message: Any = MESSAGES[signal]()
        self.counts: dict[str, int] = {}
        self.records = 0
        self.group = 0  # the resource group that records were added to last
        self._workers: list[str] = []  # whose the resource groups are
        self._payload: bytes | None = None
        self._open: dict[tuple[Any, ...], tuple[int, Any]] = {}

    # ------------------------------------------------------------------------------------------------------- building

    def add_logs(self, part: Part, rows: Iterable[LogRow], resources: Resources) -> int:
        """Append log records of a part; how many."""
        invocation = part.invocation_id
        template = LogRecord(
            observed_time_unix_nano=_time(part.time_ns),
            trace_id=_id(part.trace_id),
            span_id=_id(part.span_id),
            flags=part.trace_flags & 0xFF,
        )
        put_all(template.attributes, common_attributes(part))
        sequence = len(template.attributes)
        template.attributes.add(key="otelbridge.sequence")
        template.attributes.add(key="log.record.uid")
        records = self._records(part.worker, resources)
        before = len(records)
        for row in rows:
            records.append(template)
            record = records[-1]
            record.time_unix_nano = row.time_ns
            record.severity_number = row.severity
            record.severity_text = row.severity_text
            body = row.body
            if type(body) is str and body.isascii():
                record.body.string_value = body
            else:
                put(record.body, body)
            attributes = record.attributes
            attributes[sequence].value.int_value = row.sequence
            attributes[sequence + 1].value.string_value = f"{invocation}-{row.sequence}"
            if row.span:
                record.span_id = span_id_of(invocation, f"span:{row.span}")
            if row.event_name:
                record.event_name = row.event_name
            if row.extra is not None:
                put_all(attributes, row.extra)
                record.dropped_attributes_count = row.left_out
        return self._added(part.worker.worker_id, len(records) - before)

    def add_notice(self, notice: Notice, uid: str, resources: Resources) -> int:
        """Append a record of the bridge itself, under the bridge's own resource."""
        row, attributes = notice_row(notice)
        record = self._records(None, resources).add()
        record.time_unix_nano = record.observed_time_unix_nano = row.time_ns
        record.severity_number, record.severity_text = row.severity, row.severity_text
        put(record.body, row.body)
        record.event_name = clean_text(row.event_name)
        put_all(record.attributes, {"log.record.uid": uid, **attributes})
        return self._added(BRIDGE, 1)

    def add_spans(self, worker: WorkerRef, rows: Iterable[SpanRow], resources: Resources) -> int:
        """Append spans of a worker; how many."""
        spans = self._records(worker, resources)
        before = len(spans)
        for row in rows:
            span = spans.add()
            span.trace_id, span.span_id, span.parent_span_id = row.trace_id, row.span_id, row.parent_id
            span.name = clean_text(row.name)
            span.kind = row.kind
            span.start_time_unix_nano, span.end_time_unix_nano = _time(row.start_ns), _time(row.end_ns)
            span.flags = _REMOTE_KNOWN | (_REMOTE if row.remote_parent else 0)
            put_all(span.attributes, row.attributes)
            span.dropped_attributes_count = row.left_out
            span.status.SetInParent()
            if row.status:
                span.status.code = row.status
                span.status.message = clean_text(row.message)
        return self._added(worker.worker_id, len(spans) - before)

    def add_metrics(self, resource: bytes, worker_id: str) -> Any:
        """A list of metrics below a resource, to be filled; count() must be called when they are."""
        return self._group(resource, worker_id)

    def count(self, worker_id: str, records: int) -> None:
        """Note how many data points were added."""
        self._added(worker_id, records)

    def _records(self, worker: WorkerRef | None, resources: Resources) -> Any:
        key = () if worker is None else (worker.worker_id, worker.version, worker.memory_bytes)
        found = self._open.get(key)
        if found is None:
            resource = resources.bridge if worker is None else resources.worker(worker)
            records = self._group(resource, BRIDGE if worker is None else worker.worker_id)
            found = self._open[key] = len(self._workers) - 1, records
        self.group = found[0]
        return found[1]

    def _group(self, resource: bytes, worker_id: str) -> Any:
        groups, scopes, records = _GROUPS[self.signal]
        group = getattr(self.message, groups).add()
        group.resource.MergeFromString(resource)
        scope = getattr(group, scopes).add()
        scope.scope.name, scope.scope.version = SCOPE, VERSION
        self._workers.append(worker_id)
        return getattr(scope, records)

    def _added(self, worker_id: str, records: int) -> int:
        self.counts[worker_id] = self.counts.get(worker_id, 0) + records
        self.records += records
        return records

    # ---------------------------------------------------------------------------------------------------------- using

    def payload(self) -> bytes:
        """The request as protobuf, made once: nothing may be added after that."""
        if self._payload is None:
            self._payload = bytes(self.message.SerializeToString())
        return self._payload

    @property
    def divisible(self) -> bool:
        """Whether split() makes it smaller. A metric stays whole."""
        return self.records > 1 and (self.signal != "metrics" or self._items() > 1)

    def _items(self) -> int:
        groups, scopes, records = _GROUPS[self.signal]
        return sum(len(getattr(scope, records)) for group in getattr(self.message, groups) for scope in getattr(group, scopes))

    def split(self) -> tuple[Request, Request]:
        """Two requests with half of the records each, in order."""
        halves = Request(self.signal), Request(self.signal)
        groups, scopes, records = _GROUPS[self.signal]
        left = (self._items() + 1) // 2
        for group, worker_id in zip(getattr(self.message, groups), self._workers, strict=True):
            for scope in getattr(group, scopes):
                all_records = getattr(scope, records)
                for half, some in ((halves[0], all_records[:left]), (halves[1], all_records[left:])):
                    if some:
                        target = half._group(group.resource.SerializeToString(), worker_id)
                        target.extend(some)
                        half._added(worker_id, _weight(self.signal, some))
                left = max(left - len(all_records), 0)
        return halves


def restore(signal: Signal, message: Any) -> Request:
    """A request around a message that was read back; the workers are taken from its resources."""
    request = Request(signal)
    request.message = message
    groups, scopes, records = _GROUPS[signal]
    for group in getattr(message, groups):
        owner = METRICS_OWNER if signal == "metrics" else BRIDGE
        worker_id = next((a.value.string_value for a in group.resource.attributes if a.key == "workerId"), owner)
        request._workers.append(worker_id)
        for scope in getattr(group, scopes):
            request._added(worker_id, _weight(signal, getattr(scope, records)))
    return request


def _weight(signal: Signal, records: Any) -> int:
    """How many records these are; of metrics, how many data points."""
    if signal != "metrics":
        return len(records)
    return sum(len(getattr(metric, metric.WhichOneof("data")).data_points) for metric in records)


def _time(time_ns: int) -> int:
    return min(max(time_ns, 0), (1 << 64) - 1)


def _id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
