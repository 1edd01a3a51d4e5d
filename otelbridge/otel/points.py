"""Metric points and what can be done with them: add values, take the difference of two, keep exemplars.

Values come by the hundred, as they were measured: whole nanoseconds or bytes, `per_unit` of them in the unit of the metric.
So they are counted and added by compiled code, and exactly; a sum in floats grows by one number for all of them.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence

import msgspec

__all__ = ["Example", "Exemplar", "Exponential", "Histogram", "Point", "Sum"]

MAX_BUCKETS = 160
_MAX_SCALE = 20


Example = tuple[int, str, str]  # of a value: its time, its trace and its span


class Exemplar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A measured value and the span it belongs to."""

    value: float
    time_ns: int
    trace_id: str
    span_id: str


class Sum(msgspec.Struct, array_like=True, tag="s"):
    """A count that only grows."""

    value: float = 0.0

    def minus(self, before: Sum | None) -> Sum:
        return Sum(self.value - before.value) if before is not None else self


class Histogram(msgspec.Struct, array_like=True, tag="h"):
    """Explicit buckets; the last one has no upper bound. One exemplar per bucket, the newest."""

    counts: list[int]
    sum: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    exemplars: dict[int, Exemplar] = {}

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, values: Sequence[float], examples: Sequence[Example | None], *, bounds: tuple[float, ...], per_unit: float) -> None:
        """Count values, oldest first and at least one. `bounds` are in what they were measured in; `examples`: who may stand for them."""
        at = values.__getitem__
        order = sorted(range(len(values)), key=at)
        low, high = at(order[0]), at(order[-1])
        first, last = bisect.bisect_left(bounds, low), bisect.bisect_left(bounds, high)
        begin = 0
        for bucket in range(first, last + 1):
            end = bisect.bisect_right(order, bounds[bucket], begin, key=at) if bucket < last else len(order)
            if begin < end:
                self.counts[bucket] += end - begin
                self._keep(bucket, order[begin:end], values, examples, per_unit)
            begin = end
        self.sum += sum(values) / per_unit
        self.low = min(self.low, low / per_unit)
        self.high = max(self.high, high / per_unit)

    def _keep(self, bucket: int, numbers: list[int], values: Sequence[float], examples: Sequence[Example | None], per_unit: float) -> None:
        """The newest of the values of these numbers that may be one is the bucket's exemplar."""
        newest = max(numbers)
        example = examples[newest]
        if example is None:
            newest = max(filter(examples.__getitem__, numbers), default=newest)
            example = examples[newest]
        if example is not None:
            self.exemplars[bucket] = Exemplar(values[newest] / per_unit, *example)

    def minus(self, before: Histogram | None) -> Histogram:
        """What came since; its lowest and highest value are not known then."""
        if before is None:
            return self
        counts = [a - b for a, b in zip(self.counts, before.counts, strict=True)]
        fresh = {k: e for k, e in self.exemplars.items() if before.exemplars.get(k) != e}
        return Histogram(counts, self.sum - before.sum, math.inf, -math.inf, fresh)


class Exponential(msgspec.Struct, array_like=True, tag="e"):
    """Base-2 exponential buckets: bucket i holds values in (base^i, base^(i+1)], base = 2^(2^-scale). Values are not negative.

    The scale falls as the range of values grows, so that there are never more than MAX_BUCKETS buckets.
    """

    scale: int = _MAX_SCALE
    zeros: int = 0
    counts: dict[int, int] = {}
    sum: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    exemplars: dict[int, Exemplar] = {}

    @property
    def count(self) -> int:
        return self.zeros + sum(self.counts.values())

    def add(self, values: Sequence[float], examples: Sequence[Example | None], *, per_unit: float) -> None:
        """As Histogram.add(). Its exemplars are the first few, then one of the last few."""
        self.sum += sum(values) / per_unit
        self.low = min(self.low, min(values) / per_unit)
        self.high = max(self.high, max(values) / per_unit)
        positive = [(value / per_unit, example) for value, example in zip(values, examples, strict=True) if value > 0]
        self.zeros += len(values) - len(positive)
        for index, count in Counter(_index(value, self.scale) for value, _ in positive).items():
            self.counts[index] = self.counts.get(index, 0) + count
        if self.counts and max(self.counts) - min(self.counts) >= MAX_BUCKETS:
            self._shrink()
        newest: dict[int, tuple[float, Example]] = {}
        kept = len(self.exemplars)
        for value, example in positive:
            if example is not None:
                newest[kept if kept < 4 else example[0] % 4] = value, example
                kept += 1
        for place, (value, example) in newest.items():
            self.exemplars[place] = Exemplar(value, *example)

    def _shrink(self) -> None:
        steps, low, high = 0, min(self.counts), max(self.counts)
        while (high >> steps) - (low >> steps) >= MAX_BUCKETS:
            steps += 1
        self.counts = _coarser(self.counts, steps)
        self.scale -= steps

    def minus(self, before: Exponential | None) -> Exponential:
        """What came since, at the coarser scale of the two, which is this one."""
        if before is None:
            return self
        earlier = _coarser(before.counts, before.scale - self.scale)
        counts = {i: left for i, n in self.counts.items() if (left := n - earlier.get(i, 0))}
        fresh = {k: e for k, e in self.exemplars.items() if before.exemplars.get(k) != e}
        return Exponential(self.scale, self.zeros - before.zeros, counts, self.sum - before.sum, math.inf, -math.inf, fresh)


Point = Sum | Histogram | Exponential


def _coarser(counts: dict[int, int], steps: int) -> dict[int, int]:
    out: dict[int, int] = {}
    for index, count in counts.items():
        out[index >> steps] = out.get(index >> steps, 0) + count
    return out


def _index(value: float, scale: int) -> int:
    """The bucket of a value: its logarithm, with powers of two exact, where a bucket's upper bound lies."""
    fraction, exponent = math.frexp(value)
    if fraction == 0.5:
        return (
            ((exponent - 1) << scale) - 1 if scale >= 0 else ((exponent - 1) >> -scale) - (0 if (exponent - 1) & ((1 << -scale) - 1) else 1)
        )
    if scale <= 0:
        return (exponent - 1) >> -scale
    return math.floor(math.log2(fraction) * (1 << scale)) + (exponent << scale)
