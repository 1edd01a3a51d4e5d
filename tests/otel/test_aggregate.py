"""Aggregates: what they count is what one value after the other would give, bounded, and differences of it."""

from __future__ import annotations

import bisect
import itertools
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import LogarithmMapping

from otelbridge.model.part import ColdStart, End, Part, WorkerRef
from otelbridge.model.trace import FetchEvent, RpcEvent, ScheduledEvent
from otelbridge.otel import aggregate as aggregate_room
from otelbridge.otel import series as series_room
from otelbridge.otel.aggregate import INSTRUMENTS, Aggregate
from otelbridge.otel.points import MAX_BUCKETS, Exemplar, Exponential, Histogram, Sum, _index
from otelbridge.otel.series import OVERFLOW, Series, copied, difference
from tests.otel.conftest import new_part

_START_NS = 1_700_000_000_000_000_000
_LIMIT = 4  # series of one name, where a test needs to come to the bound

_bounds_ns = sorted({round(bound * 1e9) for one in INSTRUMENTS.values() if one.unit == "s" for bound in one.bounds})
_DURATIONS = st.integers(0, 20 * 10**9) | st.builds(int.__add__, st.sampled_from(_bounds_ns), st.integers(-1, 1))
_MEMORY = st.sampled_from([0, 1, 1 << 16, (1 << 16) + 1, 1 << 29, (1 << 29) + 1]) | st.integers(0, 1 << 31)
_EVENTS = st.builds(
    FetchEvent, st.sampled_from(["GET", "POST", "BREW", "_OTHER", "x"]), st.sampled_from(["http://w/", "https://w/"]), st.just({})
) | st.sampled_from([RpcEvent("m"), ScheduledEvent("* * * * *", 0)])
_ENDS = st.builds(
    End,
    st.integers(_START_NS - 1000, _START_NS + 20 * 10**9),
    st.sampled_from(["ok", "ok", "exception", "exceededCpu", "exceededWallTime"]),
    _DURATIONS,
    _DURATIONS,
    st.sampled_from([None, 200, 200, 404, 500]),
    st.none() | st.builds(ColdStart, st.integers(0, 10), st.integers(0, 10**9)),
    _MEMORY,
)
_LOOKS = ["series", "exponential", "wanted", "snapshot", "restore", None, None]
# Invocations: each several times, for more than are counted at once; whether they may be exemplars; how one looks at it afterwards.
_STEPS = st.lists(
    st.tuples(_EVENTS, _ENDS, st.integers(1, 60), st.sampled_from(["all", "none", "some"]), st.sampled_from(_LOOKS)), max_size=20
)
_ids = itertools.count(1)


class _Plain:
    """One value after the other: histograms by name and labels, as [counts, sum, low, high, exemplars]."""

    def __init__(self) -> None:
        self.sums: dict[Any, int] = {}
        self.explicit: dict[Any, list[Any]] = {}
        self.exponential: dict[Any, Exponential] = {}

    def record(self, part: Part, *, exemplar: bool) -> None:
        end, event = part.end, part.event
        assert end is not None
        error = end.outcome != "ok" or (end.status is not None and end.status >= 500)
        labels: Any = (("faas.trigger", {FetchEvent: "http", ScheduledEvent: "timer", RpcEvent: "other"}[type(event)]),)
        example = (end.time_ns, part.trace_id, part.span_id) if exemplar else None
        names = ["faas.errors" if error else "faas.invocations"]
        names += ["faas.timeouts"] * end.outcome.startswith("exceeded") + ["faas.coldstarts"] * (end.cold_start is not None)
        for name in names:
            self.sums[name, labels] = self.sums.get((name, labels), 0) + 1
        if isinstance(event, FetchEvent):
            method = event.method if event.method in ("GET", "POST") else "_OTHER"
            http: Any = [("http.request.method", method), ("http.route", "/w/{workerId}/{path}"), ("url.scheme", event.url.split(":")[0])]
            http += [("http.response.status_code", end.status)] if end.status is not None else []
            http += [("error.type", end.outcome if end.outcome != "ok" else str(end.status))] if error else []
            self._histogram("http.server.request.duration", tuple(http), max(end.time_ns - part.start_ns, 0) / 1e9, example)
        if end.cold_start is not None:
            self._histogram("faas.init_duration", labels, max(end.cold_start.end_ns - end.cold_start.start_ns, 0) / 1e9, example)
        self._histogram("faas.invoke_duration", labels, end.wall_ns / 1e9, example)
        self._histogram("faas.cpu_usage", labels, end.cpu_ns / 1e9, example)
        if end.memory_bytes:
            self._histogram("faas.mem_usage", labels, float(end.memory_bytes), example)

    def _histogram(self, name: str, labels: Any, value: float, example: Any) -> None:
        if (name, labels) not in self.explicit and sum(known == name for known, _ in self.explicit) >= _LIMIT:
            labels = OVERFLOW
        bounds = INSTRUMENTS[name].bounds
        point = self.explicit.setdefault((name, labels), [[0] * (len(bounds) + 1), 0.0, math.inf, -math.inf, {}])
        bucket = bisect.bisect_left(bounds, value)
        point[0][bucket] += 1
        point[1] += value
        point[2], point[3] = min(point[2], value), max(point[3], value)
        if example is not None:
            point[4][bucket] = Exemplar(value, *example)
        self._exponential(self.exponential.setdefault((name, labels), Exponential()), value, example)

    def _exponential(self, point: Exponential, value: float, example: Any) -> None:
        point.sum += value
        point.low, point.high = min(point.low, value), max(point.high, value)
        if value == 0:
            point.zeros += 1
            return
        index = _index(value, point.scale)
        point.counts[index] = point.counts.get(index, 0) + 1
        while max(point.counts) - min(point.counts) >= MAX_BUCKETS:
            coarser: dict[int, int] = {}
            for index, count in point.counts.items():
                coarser[index >> 1] = coarser.get(index >> 1, 0) + count
            point.counts, point.scale = coarser, point.scale - 1
        if example is not None:
            point.exemplars[len(point.exemplars) if len(point.exemplars) < 4 else example[0] % 4] = Exemplar(value, *example)


def _look(made: Aggregate, how: str | None) -> None:
    if how == "restore":  # as after a kill, through the journal
        noted = msgspec.msgpack.encode(made.snapshot())
        made.record(new_part(), exemplar=True)  # read again after the kill
        made.restore(msgspec.msgpack.decode(noted))
    elif how in ("wanted", "snapshot"):
        getattr(made, how)()
    elif how is not None:
        assert isinstance(getattr(made, how), dict)


def _flat(series: Series) -> dict[Any, Any]:
    return {(name, labels): point for name, of in series.items() for labels, point in of.items()}


@given(steps=_STEPS)
def test_counting_by_the_hundred_gives_what_one_by_one_gives(steps: list[Any]) -> None:
    """Any invocations, looked at in any moments: counts, bounds and exemplars are the same, sums are to the last digits and never fall."""
    made, plain = Aggregate(exponential=True), _Plain()
    before: Series = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series_room, "MAX_SERIES", _LIMIT)
        patch.setattr(aggregate_room, "MAX_SERIES", _LIMIT)
        for event, end, times, sampled, how in steps:
            for number in range(times):
                unique = next(_ids)
                ended = msgspec.structs.replace(end, time_ns=end.time_ns + number, wall_ns=end.wall_ns * (1 + number % 3))
                part = Part(WorkerRef("w", "v"), "1" * 32, f"{unique:032x}", f"{unique:016x}", None, 1, event, None, _START_NS, 0, 0, 0, 0, b"", ended)  # fmt: skip
                exemplar = sampled == "all" or (sampled == "some" and number % 3 == 0)
                made.record(part, exemplar=exemplar)
                plain.record(part, exemplar=exemplar)
            _look(made, how)
            if how is not None:
                now = copied(made.wanted())
                for point in _flat(difference(now, before)).values():
                    assert point.value > 0 if isinstance(point, Sum) else point.sum >= 0 and point.count > 0
                before = now
    exponential, explicit = _flat(made.exponential), _flat(made.series)
    assert {key: point.value for key, point in explicit.items() if isinstance(point, Sum)} == plain.sums
    histograms = {key: point for key, point in explicit.items() if isinstance(point, Histogram)}
    assert {k: [p.counts, p.low, p.high, p.exemplars] for k, p in histograms.items()} == {
        k: [counts, low, high, exemplars] for k, (counts, _, low, high, exemplars) in plain.explicit.items()
    }
    assert {k: p.sum for k, p in histograms.items()} == pytest.approx({k: p[1] for k, p in plain.explicit.items()}, rel=1e-12)
    assert {k: p.sum for k, p in exponential.items()} == pytest.approx({k: p.sum for k, p in plain.exponential.items()}, rel=1e-12)
    without_sums = [{k: msgspec.structs.replace(p, sum=0.0) for k, p in of.items()} for of in (exponential, plain.exponential)]
    assert without_sums[0] == without_sums[1]


def test_series_are_bounded() -> None:
    """Labels without end fall into one overflow series, and the total stays right."""
    made = Aggregate()
    for status in range(3000):
        made.record(new_part(status=status), exemplar=False)
    series = made.series["http.server.request.duration"]
    assert len(series) == 2001
    assert series[OVERFLOW].count == 1000  # type: ignore[union-attr]


def test_what_is_not_counted_yet_is_bounded() -> None:
    """However many invocations come without that anybody looks, few of them are kept, and none is missing for who looks."""
    made, kept = Aggregate(), set()
    for _ in range(1000):
        made.record(new_part(), exemplar=True)
        kept.add(len(made._rows))
    assert max(kept) < 256
    (point,) = made.series["faas.invocations"].values()
    assert (point, len(made._rows)) == (Sum(1000), 0)


@given(value=st.floats(1e-9, 1e12), scale=st.integers(-4, 20))
def test_exponential_buckets_are_the_sdks(value: float, scale: int) -> None:
    """A value falls into the bucket that the SDK's mapping gives it; next to a bound, rounding may say the neighbour."""
    mapping = LogarithmMapping(scale) if scale > 0 else ExponentMapping(scale)
    assert abs(_index(value, scale) - mapping.map_to_index(value)) <= (1 if scale > 10 else 0)


@given(values=st.lists(st.floats(0, 1e9), min_size=1, max_size=50))
def test_exponential_histograms_keep_every_value_within_their_buckets(values: list[float]) -> None:
    """Any values: the count is right, there are never too many buckets, and each value lies in a bucket that counts it."""
    point = Exponential()
    for value in values:
        point.add([value], [None], per_unit=1.0)
    assert point.count == len(values)
    assert sum(point.counts.values()) == sum(v > 0 for v in values)
    if point.counts:
        assert max(point.counts) - min(point.counts) < MAX_BUCKETS
    for value in values:
        if value > 0:
            assert {_index(value, point.scale) + d for d in (-1, 0, 1)} & set(point.counts)


@given(first=st.lists(st.floats(1e-6, 1e6), max_size=30), second=st.lists(st.floats(1e-6, 1e6), max_size=30))
def test_a_difference_is_what_came_between(first: list[float], second: list[float]) -> None:
    """Recording, taking a copy, recording on: the difference counts the second half alone."""
    bounds = (0.1, 1.0, 10.0)
    explicit, exponential, count = Histogram([0] * 4), Exponential(), Sum()
    series: Any = {"a": {(): explicit}, "b": {(): exponential}, "c": {(): count}}
    for half in (first, second):
        before = copied(series)
        if half:
            explicit.add(half, [None] * len(half), bounds=bounds, per_unit=1.0)
            exponential.add(half, [None] * len(half), per_unit=1.0)
            count.value += len(half)
    left: Any = difference(series, before)
    if not second:
        assert left == {}
        return
    assert left["a"][()].count == left["b"][()].count == left["c"][()].value == len(second)
    assert left["a"][()].sum == pytest.approx(sum(second), rel=1e-6, abs=1e-6)
    assert all(n > 0 for n in left["b"][()].counts.values())
