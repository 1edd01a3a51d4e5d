"""Metrics of the workers' invocations (design.md, Contract 4), from the ends of their parts. No label has a worker's id."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from otelbridge.model.part import ColdStart, Part
from otelbridge.model.trace import FetchEvent
from otelbridge.otel.conventions import ROUTE, failed, known_method, trigger
from otelbridge.otel.points import Example, Exponential, Histogram, Point, Sum
from otelbridge.otel.series import MAX_SERIES, Labels, Series, place

__all__ = ["INSTRUMENTS", "Aggregate", "Instrument"]

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


# What is measured comes in ns and bytes, and so are the bounds it is compared with.
_PER_UNIT: Final = {"s": 1e9, "By": 1.0}
_MEASURED: Final = {
    name: (tuple(round(bound * _PER_UNIT[one.unit]) for bound in one.bounds), _PER_UNIT[one.unit])
    for name, one in INSTRUMENTS.items()
    if one.bounds
}

_MAX_ROWS = 256  # half a kilobyte each, until they are counted


class _Kind(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What all invocations have that are alike: labels, those of its HTTP request if it was one, and counters."""

    labels: Labels
    http: Labels | None
    counts: list[Sum]


_Key = tuple[str, bool | None, int | None, str]  # method or trigger; of requests alone, whether by https; status, outcome
_Row = tuple[_Kind, int, int, int, int, ColdStart | None, Example | None]  # from start to end, wall, CPU: ns; memory


class Aggregate:
    """All series since the start. `exponential`: keep exponential histograms too, for destinations that want them.

    Invocations are noted as they come and counted by the hundred, which costs a fraction; who looks at the series sees all of them.
    """

    def __init__(self, *, exponential: bool = False) -> None:
        self._series: Series = {}
        self._exponentials: Series = {}
        self._exponential = exponential
        self._kinds: dict[_Key, _Kind] = {}
        self._rows: list[_Row] = []

    def record(self, part: Part, *, exemplar: bool) -> None:
        """Take in an invocation that has ended. `exemplar`: its trace may stand as an example."""
        end = part.end
        if end is None:
            return
        event = part.event
        key: _Key
        if type(event) is FetchEvent:
            key = event.method, event.url[:6] == "https:", end.status, end.outcome
        else:
            key = trigger(event), None, end.status, end.outcome
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kind(key, failed(end))
        ended_ns = end.time_ns
        example = (ended_ns, part.trace_id, part.span_id) if exemplar else None
        rows = self._rows
        rows.append((kind, ended_ns - part.start_ns, end.wall_ns, end.cpu_ns, end.memory_bytes, end.cold_start, example))
        if len(rows) >= _MAX_ROWS:
            self._count()

    def _kind(self, key: _Key, error: bool) -> _Kind:
        """The kind of these invocations, remembered: they come again and again. But not the names that clients give to methods."""
        first, https, status, outcome = key
        if https is not None and (method := known_method(first)) != first:
            known = method, https, status, outcome
            return self._kinds.get(known) or self._kind(known, error)
        labels: Labels = (("faas.trigger", first if https is None else "http"),)
        counts = [self._counter("faas.errors" if error else "faas.invocations", labels)]
        if outcome in ("exceededCpu", "exceededWallTime"):
            counts.append(self._counter("faas.timeouts", labels))
        http: Labels | None = None
        if https is not None:
            http = ("http.request.method", first), ("http.route", ROUTE), ("url.scheme", "https" if https else "http")
            if status is not None:
                http = *http, ("http.response.status_code", status)
            if error:
                http = *http, ("error.type", outcome if outcome != "ok" else str(status))
            http, _ = self._histogram("http.server.request.duration", http)
        if len(self._kinds) >= MAX_SERIES:
            self._kinds.clear()
        kind = self._kinds[key] = _Kind(labels, http, counts)
        return kind

    def _count(self) -> None:
        """Count the invocations that were noted."""
        rows, self._rows = self._rows, []
        kinds = Counter(map(operator.itemgetter(0), rows))
        for kind, count in kinds.items():
            for point in kind.counts:
                point.value += count
        for http, some in _grouped(rows, {kind: kind.http for kind in kinds}):
            if http is not None:
                _, elapsed, _, _, _, _, examples = zip(*some, strict=True)
                self._add("http.server.request.duration", http, _not_negative(elapsed), examples)
        for labels, some in _grouped(rows, {kind: kind.labels for kind in kinds}):
            _, _, wall, cpu, memory, cold, examples = zip(*some, strict=True)
            loads = [one.end_ns - one.start_ns for one in cold if one is not None]
            if loads:
                self._counter("faas.coldstarts", labels).value += len(loads)
                self._add("faas.init_duration", labels, _not_negative(loads), tuple(itertools.compress(examples, cold)))
            self._add("faas.invoke_duration", labels, wall, examples)
            self._add("faas.cpu_usage", labels, cpu, examples)
            used = tuple(filter(None, memory))
            if used:
                self._add("faas.mem_usage", labels, used, tuple(itertools.compress(examples, memory)))

    def _counter(self, name: str, labels: Labels) -> Sum:
        _, point = place(self._series, name, labels, Sum)
        assert isinstance(point, Sum)
        return point

    def _histogram(self, name: str, labels: Labels) -> tuple[Labels, Histogram]:
        return place(self._series, name, labels, lambda: Histogram([0] * (len(INSTRUMENTS[name].bounds) + 1)))

    def _add(self, name: str, labels: Labels, values: Sequence[int], examples: Sequence[Example | None]) -> None:
        bounds, per_unit = _MEASURED[name]
        self._histogram(name, labels)[1].add(values, examples, bounds=bounds, per_unit=per_unit)
        if self._exponential:
            _, point = place(self._exponentials, name, labels, Exponential)
            point.add(values, examples, per_unit=per_unit)

    @property
    def series(self) -> Series:
        """All that was recorded, with explicit buckets. It changes with what is recorded later: see copied()."""
        if self._rows:
            self._count()
        return self._series

    @property
    def exponential(self) -> Series:
        """The histograms once more, with exponential buckets."""
        if self._rows:
            self._count()
        return self._exponentials

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
        for known in (self._series, self._exponentials, self._kinds, self._rows):
            known.clear()
        for name, labels, raw in rows:
            point = msgspec.convert(raw, Point)
            instrument = INSTRUMENTS.get(name)
            if instrument is None or isinstance(point, Sum) == bool(instrument.bounds):
                continue
            if isinstance(point, Histogram) and len(point.counts) != len(instrument.bounds) + 1:
                continue
            store = self._exponentials if isinstance(point, Exponential) else self._series
            store.setdefault(name, {})[tuple((k, v) for k, v in labels)] = point


def _grouped(rows: list[_Row], labels: dict[_Kind, Any]) -> Iterable[tuple[Any, list[_Row]]]:
    """Rows by the labels of their kinds, in the order they came."""
    groups: dict[Any, list[_Row]] = {one: [] for one in labels.values()}
    if len(groups) == 1:
        return [(one, rows) for one in groups]
    of = {kind: groups[one] for kind, one in labels.items()}
    for row in rows:
        of[row[0]].append(row)
    return groups.items()


def _not_negative(elapsed: Sequence[int]) -> Sequence[int]:
    """A clock may have been set back in between."""
    return elapsed if min(elapsed) >= 0 else [max(one, 0) for one in elapsed]
