"""OTLP requests: built from rows, counted by worker, split in halves, sent as protobuf or, read back into a message, as JSON.

A request is a list of groups, one for each resource, and a group a list of records that are encoded already, many to a piece:
putting it together is joining bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otelbridge.model.part import WorkerRef
from otelbridge.otel import wire
from otelbridge.otel.encoder import Encoded
from otelbridge.otel.environment import Signal
from otelbridge.otel.resource import SCOPE, VERSION, Resources

__all__ = ["BRIDGE", "MESSAGES", "METRICS_OWNER", "Group", "Request", "restore"]

BRIDGE = ""  # stands for a worker id: the bridge's own records
METRICS_OWNER = "*"  # stands for a worker id: metrics are of all workers
MESSAGES: dict[Signal, Any] = {"logs": ExportLogsServiceRequest, "spans": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}
_GROUPS: dict[Signal, tuple[str, str, str]] = {
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "spans": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
}
_SCOPE_FIELD = wire.field(b"\x0a", InstrumentationScope(name=SCOPE, version=VERSION).SerializeToString())


class Group:
    """Records below one resource, as pieces that wire.records() made, and how many they are; of a metric, its data points.

    `weights`: what each stands for, of metrics only; `shares`: what a batch notes about the pieces.
    """

    __slots__ = ("pieces", "records", "resource", "shares", "weights", "worker_id")

    def __init__(self, resource: bytes, worker_id: str) -> None:
        self.resource = resource
        self.worker_id = worker_id
        self.pieces: list[bytes] = []
        self.records = 0
        self.weights: list[int] = []
        self.shares: list[Any] = []

    def encoded(self) -> list[bytes]:
        """In parts: a request's bytes are put together once, whatever is around them."""
        size = len(_SCOPE_FIELD) + sum(map(len, self.pieces))
        head = wire.field(b"\x0a", self.resource) + wire.head(b"\x12", size) + _SCOPE_FIELD
        return [wire.head(b"\x0a", len(head) - len(_SCOPE_FIELD) + size), head, *self.pieces]


class Request:
    """One OTLP request."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.records = 0
        self.bytes = 0  # of the records on the wire
        self.groups: list[Group] = []
        self._open: dict[tuple[Any, ...], Group] = {}
        self._payload: bytes | None = None

    # ------------------------------------------------------------------------------------------------------- building

    def add(self, worker: WorkerRef | None, records: Encoded, resources: Resources) -> Group:
        """Append log records or spans of a worker, or of the bridge itself; to which group."""
        key = () if worker is None else (worker.worker_id, worker.version, worker.memory_bytes)
        group = self._open.get(key)
        if group is None:
            group = self._open[key] = self._begin(*_owner(worker, resources))
        self._add(group, records.data, records.count)
        return group

    def add_metrics(self, resource: bytes, metrics: Iterable[Metric]) -> None:
        """Append metrics, each with its data points, below a resource."""
        found = list(metrics)
        if found:
            group = self._begin(resource, METRICS_OWNER)
            group.weights = [_points(metric) for metric in found]
            self._add(group, wire.records([metric.SerializeToString() for metric in found]), sum(group.weights))

    def _begin(self, resource: bytes, worker_id: str) -> Group:
        self.groups.append(Group(resource, worker_id))
        return self.groups[-1]

    def _add(self, group: Group, piece: bytes, weight: int) -> None:
        group.pieces.append(piece)
        group.records += weight
        self.records += weight
        self.bytes += len(piece)

    # ---------------------------------------------------------------------------------------------------------- using

    @property
    def counts(self) -> dict[str, int]:
        """Records by worker id, BRIDGE for the bridge's own; of metrics, data points."""
        counts: dict[str, int] = {}
        for group in self.groups:
            counts[group.worker_id] = counts.get(group.worker_id, 0) + group.records
        return counts

    def payload(self) -> bytes:
        """The request as protobuf, made once: nothing may be added after that."""
        if self._payload is None:
            self._payload = b"".join(itertools.chain.from_iterable([group.encoded() for group in self.groups]))
        return self._payload

    @property
    def message(self) -> Any:
        """The request as a message: for JSON, people and dead letters."""
        return MESSAGES[self.signal].FromString(self.payload())

    @property
    def divisible(self) -> bool:
        """Whether split() makes it smaller. A metric stays whole."""
        return self.records > 1 and (self.signal != "metrics" or sum(len(group.weights) for group in self.groups) > 1)

    def split(self) -> tuple[Request, Request]:
        """Two requests with half of the records each, in order."""
        halves = Request(self.signal), Request(self.signal)
        groups = [(group, wire.each(b"".join(group.pieces))) for group in self.groups]
        left = (sum(len(records) for _, records in groups) + 1) // 2
        for group, records in groups:
            for half, part in ((halves[0], slice(left)), (halves[1], slice(left, None))):
                if some := records[part]:
                    target = half._begin(group.resource, group.worker_id)
                    target.weights = group.weights[part]
                    half._add(target, b"".join(some), sum(target.weights) if group.weights else len(some))
            left = max(left - len(records), 0)
        return halves


def _owner(worker: WorkerRef | None, resources: Resources) -> tuple[bytes, str]:
    return (resources.bridge, BRIDGE) if worker is None else (resources.worker(worker), worker.worker_id)


def restore(signal: Signal, message: Any) -> Request:
    """A request around a message that was read back; the workers are taken from its resources."""
    request = Request(signal)
    groups, scopes, records = _GROUPS[signal]
    for of in getattr(message, groups):
        owner = METRICS_OWNER if signal == "metrics" else BRIDGE
        worker_id = next((a.value.string_value for a in of.resource.attributes if a.key == "workerId"), owner)
        group = request._begin(of.resource.SerializeToString(), worker_id)
        found = [record for scope in getattr(of, scopes) for record in getattr(scope, records)]
        group.weights = [_points(metric) for metric in found] if signal == "metrics" else []
        weight = sum(group.weights) if signal == "metrics" else len(found)
        request._add(group, wire.records([record.SerializeToString() for record in found]), weight)
    return request


def _points(metric: Any) -> int:
    """How many data points a metric has."""
    return len(getattr(metric, metric.WhichOneof("data")).data_points)
