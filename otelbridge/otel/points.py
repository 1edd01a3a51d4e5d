"""Metric points and what can be done with them: add a value, take the difference of two, keep an exemplar."""

from __future__ import annotations

import bisect
import math

import msgspec

__all__ = ["Exemplar", "Exponential", "Histogram", "Point", "Sum"]

MAX_BUCKETS = 160
_MAX_SCALE = 20


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

    def record(self, value: float, bounds: tuple[float, ...], exemplar: Exemplar | None) -> None:
        bucket = bisect.bisect_left(bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value
        if exemplar is not None:
            self.exemplars[bucket] = exemplar

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

    def record(self, value: float, exemplar: Exemplar | None) -> None:
        self.sum += value
        self.low, self.high = min(self.low, value), max(self.high, value)
        if value <= 0:
            self.zeros += 1
            return
        index = _index(value, self.scale)
        self.counts[index] = self.counts.get(index, 0) + 1
        if max(self.counts) - min(self.counts) >= MAX_BUCKETS:
            self._shrink()
        if exemplar is not None:
            self.exemplars[len(self.exemplars) if len(self.exemplars) < 4 else exemplar.time_ns % 4] = exemplar

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
