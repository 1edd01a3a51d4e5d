"""Metrics of the workers' invocations (design.md, Contract 4), from the ends of their parts. No label has a worker's id."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otelbridge.model.part import Part
from otelbridge.model.trace import FetchEvent
from otelbridge.otel.conventions import ROUTE, failed, known_method, trigger
from otelbridge.otel.points import Exemplar, Exponential, Histogram, Point, Sum

__all__ = ["INSTRUMENTS", "OVERFLOW", "Aggregate", "Instrument", "Labels", "Series", "copied", "difference"]

Labels = tuple[tuple[str, str | int | bool], ...]
Series = dict[str, dict[Labels, Point]]

OVERFLOW: Final[Labels] = (("otel.metric.overflow", True),)
_MAX_SERIES = 2000

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BYTES = tuple(float(1 << n) for n in range(16, 30))


class Instrument(msgspec.Struct, frozen=True):
    """One metric. Without bounds it is a counter."""

    unit: str
    text: str
    bounds: tuple[float, ...] = ()


INSTRUMENTS: Final[dict[str, Instrument]] = {
    "http.server.request.duration": Instrument("s", "Duration of HTTP requests to workers.", _SECONDS),
    "faas.invocations": Instrument("{invocation}", "Invocations that succeeded."),
    "faas.errors": Instrument("{error}", "Invocations that failed."),
    "faas.timeouts": Instrument("{timeout}", "Invocations that exceeded their CPU or wall time."),
    "faas.coldstarts": Instrument("{coldstart}", "Invocations that waited for their worker to be loaded."),
    "faas.init_duration": Instrument("s", "How long loading a worker took.", _SECONDS),
    "faas.invoke_duration": Instrument("s", "How long invocations took.", _SECONDS),
    "faas.cpu_usage": Instrument("s", "CPU time of invocations.", _SHORT),
    "faas.mem_usage": Instrument("By", "Memory of invocations.", _BYTES),
}


class Aggregate:
    """All series since the start. `exponential`: keep exponential histograms too, for destinations that want them."""

    def __init__(self, *, exponential: bool = False) -> None:
        self.series: Series = {}
        self.exponential: Series = {}
        self._exponential = exponential

    def record(self, part: Part, *, exemplar: bool) -> None:
        """Take in an invocation that has ended. `exemplar`: its trace may stand as an example."""
        end = part.end
        if end is None:
            return
        took = max(end.time_ns - part.start_ns, 0) / 1e9
        example = (part, end.time_ns) if exemplar else None
        labels: Labels = (("faas.trigger", trigger(part.event)),)
        error = failed(end)
        if isinstance(part.event, FetchEvent):
            http: list[tuple[str, Any]] = [("http.request.method", known_method(part.event.method)), ("http.route", ROUTE)]
            http.append(("url.scheme", "https" if part.event.url.startswith("https:") else "http"))
            if end.status is not None:
                http.append(("http.response.status_code", end.status))
            if error:
                http.append(("error.type", end.outcome if end.outcome != "ok" else str(end.status)))
            self._histogram("http.server.request.duration", tuple(http), took, example)
        self._count("faas.errors" if error else "faas.invocations", labels)
        if end.outcome in ("exceededCpu", "exceededWallTime"):
            self._count("faas.timeouts", labels)
        if end.cold_start is not None:
            self._count("faas.coldstarts", labels)
            self._histogram("faas.init_duration", labels, max(end.cold_start.end_ns - end.cold_start.start_ns, 0) / 1e9, example)
        self._histogram("faas.invoke_duration", labels, end.wall_ns / 1e9, example)
        self._histogram("faas.cpu_usage", labels, end.cpu_ns / 1e9, example)
        if end.memory_bytes:
            self._histogram("faas.mem_usage", labels, float(end.memory_bytes), example)

    def _count(self, name: str, labels: Labels) -> None:
        point = _point(self.series, name, labels, Sum)
        assert isinstance(point, Sum)
        point.value += 1

    def _histogram(self, name: str, labels: Labels, value: float, example: tuple[Part, int] | None) -> None:
        bounds = INSTRUMENTS[name].bounds
        exemplar = Exemplar(value, example[1], example[0].trace_id, example[0].span_id) if example is not None else None
        point = _point(self.series, name, labels, lambda: Histogram([0] * (len(bounds) + 1)))
        assert isinstance(point, Histogram)
        point.record(value, bounds, exemplar)
        if self._exponential:
            point = _point(self.exponential, name, labels, Exponential)
            assert isinstance(point, Exponential)
            point.record(value, exemplar)

    def wanted(self) -> Series:
        """The series as destinations want them."""
        return {**self.series, **self.exponential}

    def snapshot(self) -> list[Any]:
        """For the journal."""
        return [
            [name, list(labels), point]
            for store in (self.series, self.exponential)
            for name, of in store.items()
            for labels, point in of.items()
        ]

    def restore(self, rows: list[Any]) -> None:
        """Read a snapshot back; what no longer fits an instrument is left out."""
        for series in (self.series, self.exponential):
            series.clear()
        for name, labels, raw in rows:
            point = msgspec.convert(raw, Point)
            instrument = INSTRUMENTS.get(name)
            if instrument is None or (isinstance(point, Histogram) and len(point.counts) != len(instrument.bounds) + 1):
                continue
            store = self.exponential if isinstance(point, Exponential) else self.series
            store.setdefault(name, {})[tuple((k, v) for k, v in labels)] = point


def _point(series: Series, name: str, labels: Labels, make: Any) -> Point:
    of = series.get(name)
    if of is None:
        of = series[name] = {}
    point = of.get(labels)
    if point is None:
        if len(of) >= _MAX_SERIES:  # a client chose methods or statuses without end
            labels = OVERFLOW
        point = of.setdefault(labels, make())
    return point


def difference(now: Series, before: Series) -> Series:
    """What came between two snapshots, without the series in which nothing did."""
    out: Series = {}
    for name, of in now.items():
        earlier = before.get(name, {})
        for labels, point in of.items():
            left = point.minus(earlier.get(labels))  # type: ignore[arg-type]
            if left.value if isinstance(left, Sum) else left.count:
                out.setdefault(name, {})[labels] = left
    return out


def copied(series: Series) -> Series:
    """A copy that later records don't change."""
    return {name: {labels: _copy(point) for labels, point in of.items()} for name, of in series.items()}


def _copy(point: Point) -> Point:
    if isinstance(point, Sum):
        return Sum(point.value)
    if isinstance(point, Histogram):
        return msgspec.structs.replace(point, counts=list(point.counts), exemplars=dict(point.exemplars))
    return msgspec.structs.replace(point, counts=dict(point.counts), exemplars=dict(point.exemplars))
