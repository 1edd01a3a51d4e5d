"""Series of metric points by name and labels: where a point stands, a copy, the difference of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from otelbridge.otel.points import Histogram, Point, Sum

__all__ = ["MAX_SERIES", "OVERFLOW", "Labels", "Series", "copied", "difference", "place"]

Labels = tuple[tuple[str, str | int | bool], ...]
Series = dict[str, dict[Labels, Point]]

OVERFLOW: Final[Labels] = (("otel.metric.overflow", True),)
MAX_SERIES: Final = 2000


def place(series: Series, name: str, labels: Labels, make: Callable[[], Point]) -> tuple[Labels, Any]:
    """The point of these labels, made when there is none, and the labels it stands under."""
    of = series.get(name)
    if of is None:
        of = series[name] = {}
    point = of.get(labels)
    if point is None:
        if len(of) >= MAX_SERIES:  # a client chose methods or statuses without end
            labels = OVERFLOW
        point = of.setdefault(labels, make())
    return labels, point


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
