"""Metrics on their way out: aggregates to OTLP requests, cumulative or delta, and to Prometheus' text form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from otelbridge.otel.aggregate import INSTRUMENTS
from otelbridge.otel.measures import Measure
from otelbridge.otel.points import Exemplar, Exponential, Histogram, Sum
from otelbridge.otel.request import Request
from otelbridge.otel.series import Labels, Series
from otelbridge.otel.values import put_all

__all__ = ["add_measures", "add_series", "prometheus"]

_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


def add_series(request: Request, resource: bytes, series: Series, *, start_ns: int, now_ns: int, delta: bool) -> None:
    """Put the workers' metrics into a request."""
    metrics: list[Metric] = []
    temporality = _DELTA if delta else _CUMULATIVE
    for name, of in series.items():
        instrument = INSTRUMENTS[name]
        metric = Metric(name=name, unit=instrument.unit, description=instrument.text)
        metrics.append(metric)
        for labels, point in of.items():
            if isinstance(point, Sum):
                metric.sum.aggregation_temporality, metric.sum.is_monotonic = temporality, True
                target: Any = metric.sum.data_points.add(as_int=int(point.value))
            elif isinstance(point, Histogram):
                metric.histogram.aggregation_temporality = temporality
                target = metric.histogram.data_points.add(bucket_counts=point.counts, explicit_bounds=instrument.bounds)
                _describe(target, point)
            else:
                metric.exponential_histogram.aggregation_temporality = temporality
                target = metric.exponential_histogram.data_points.add(scale=point.scale, zero_count=point.zeros)
                if point.counts:
                    low = min(point.counts)
                    target.positive.offset = low
                    target.positive.bucket_counts.extend(point.counts.get(i, 0) for i in range(low, max(point.counts) + 1))
                _describe(target, point)
            target.start_time_unix_nano, target.time_unix_nano = start_ns, now_ns
            put_all(target.attributes, dict(labels))
    request.add_metrics(resource, metrics)


def _describe(target: Any, point: Histogram | Exponential) -> None:
    target.count, target.sum = point.count, point.sum
    if math.isfinite(point.low):
        target.min, target.max = point.low, point.high
    for exemplar in point.exemplars.values():
        _exemplar(target.exemplars.add(), exemplar)


def _exemplar(target: Any, exemplar: Exemplar) -> None:
    target.time_unix_nano, target.as_double = exemplar.time_ns, exemplar.value
    target.trace_id, target.span_id = bytes.fromhex(exemplar.trace_id), bytes.fromhex(exemplar.span_id)


def add_measures(request: Request, resource: bytes, found: Iterable[Measure], *, start_ns: int, now_ns: int) -> None:
    """Put the bridge's own metrics into a request: counters are cumulative since their ledgers began."""
    metrics: list[Metric] = []
    for measure in found:
        metric = Metric(name=measure.name, unit=measure.unit, description=measure.text)
        metrics.append(metric)
        if measure.grows:
            metric.sum.aggregation_temporality, metric.sum.is_monotonic = _CUMULATIVE, True
        points = metric.sum.data_points if measure.grows else metric.gauge.data_points
        for labels, value in measure.values:
            point = points.add(time_unix_nano=now_ns, as_double=value)
            if measure.grows:
                point.start_time_unix_nano = start_ns
            put_all(point.attributes, dict(labels))
    request.add_metrics(resource, metrics)


# --------------------------------------------------------------------------------------------------------- Prometheus


def prometheus(series: Series, found: Iterable[Measure]) -> str:
    """All metrics in Prometheus' text form."""
    lines: list[str] = []
    for name, of in series.items():
        instrument = INSTRUMENTS[name]
        shown = _name(name, instrument.unit, counter=not instrument.bounds)
        lines += [f"# HELP {shown} {instrument.text}", f"# TYPE {shown} {'histogram' if instrument.bounds else 'counter'}"]
        for labels, point in of.items():
            if isinstance(point, Sum):
                lines.append(f"{shown}{_labels(labels)} {_number(point.value)}")
            elif isinstance(point, Histogram):
                below = 0
                for bound, count in zip((*instrument.bounds, math.inf), point.counts, strict=True):
                    below += count
                    lines.append(f"{shown}_bucket{_labels((*labels, ('le', _number(bound))))} {below}")
                lines.append(f"{shown}_sum{_labels(labels)} {_number(point.sum)}")
                lines.append(f"{shown}_count{_labels(labels)} {below}")
    for measure in found:
        shown = _name(measure.name, measure.unit, counter=measure.grows)
        lines += [f"# HELP {shown} {measure.text}", f"# TYPE {shown} {'counter' if measure.grows else 'gauge'}"]
        lines += [f"{shown}{_labels(labels)} {_number(value)}" for labels, value in measure.values]
    return "".join(f"{line}\n" for line in lines)


def _name(name: str, unit: str, *, counter: bool) -> str:
    out = name.replace(".", "_") + {"s": "_seconds", "By": "_bytes"}.get(unit, "")
    return out + "_total" if counter else out


def _labels(labels: Labels) -> str:
    def escaped(value: object) -> str:
        return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{k.replace(".", "_")}="{escaped(v)}"' for k, v in labels) + "}" if labels else ""


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
