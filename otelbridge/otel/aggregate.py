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


_BOUNDS: Final = {name: instrument.bounds for name, instrument in INSTRUMENTS.items()}
_Kind = tuple[str, bool | None, int | None, str]  # method or trigger; of requests alone, whether by https; status, outcome


class Aggregate:
    """All series since the start. `exponential`: keep exponential histograms too, for destinations that want them."""

    def __init__(self, *, exponential: bool = False) -> None:
        self.series: Series = {}
        self.exponential: Series = {}
        self._exponential = exponential
        self._kinds: dict[_Kind, tuple[Labels, Labels | None, list[Sum]]] = {}

    def record(self, part: Part, *, exemplar: bool) -> None:
        """Take in an invocation that has ended. `exemplar`: its trace may stand as an example."""
        end = part.end
        if end is None:
            return
        event = part.event
        key: _Kind
        if type(event) is FetchEvent:
            key = known_method(event.method), event.url[:6] == "https:", end.status, end.outcome
        else:
            key = trigger(event), None, end.status, end.outcome
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._open(key, failed(end))
        labels, http, counts = kind
        for point in counts:
            point.value += 1
        example = (end.time_ns, part.trace_id, part.span_id) if exemplar else None
        if http is not None:
            self._histogram("http.server.request.duration", http, max(end.time_ns - part.start_ns, 0) / 1e9, example)
        if end.cold_start is not None:
            self._counter("faas.coldstarts", labels).value += 1
            self._histogram("faas.init_duration", labels, max(end.cold_start.end_ns - end.cold_start.start_ns, 0) / 1e9, example)
        self._histogram("faas.invoke_duration", labels, end.wall_ns / 1e9, example)
        self._histogram("faas.cpu_usage", labels, end.cpu_ns / 1e9, example)
        if end.memory_bytes:
            self._histogram("faas.mem_usage", labels, float(end.memory_bytes), example)

    def _open(self, key: _Kind, error: bool) -> tuple[Labels, Labels | None, list[Sum]]:
        """The labels and counters of invocations of one kind, remembered: they come again and again."""
        first, https, status, outcome = key
        labels: Labels = (("faas.trigger", first if https is None else "http"),)
        http: list[tuple[str, Any]] | None = None
        if https is not None:
            http = [("http.request.method", first), ("http.route", ROUTE), ("url.scheme", "https" if https else "http")]
            if status is not None:
                http.append(("http.response.status_code", status))
            if error:
                http.append(("error.type", outcome if outcome != "ok" else str(status)))
        counters = [self._counter("faas.errors" if error else "faas.invocations", labels)]
        if outcome in ("exceededCpu", "exceededWallTime"):
            counters.append(self._counter("faas.timeouts", labels))
        if len(self._kinds) >= _MAX_SERIES:
            self._kinds.clear()
        kind = self._kinds[key] = labels, tuple(http) if http is not None else None, counters
        return kind

    def _counter(self, name: str, labels: Labels) -> Sum:
        point = _point(self.series, name, labels, Sum)
        assert isinstance(point, Sum)
        return point

    def _histogram(self, name: str, labels: Labels, value: float, example: tuple[int, str, str] | None) -> None:
        exemplar = Exemplar(value, *example) if example is not None else None
        bounds = _BOUNDS[name]
        of = self.series.get(name)
        point = of.get(labels) if of is not None else None
        if point is None:
            point = _point(self.series, name, labels, lambda: Histogram([0] * (len(bounds) + 1)))
        assert type(point) is Histogram
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
        for series in (self.series, self.exponential, self._kinds):
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
