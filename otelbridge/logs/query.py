"""Runs requests of the query builder: the four views, and what they answer."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.logs.calculate import Group, Sums, Task, calculate, finish, group_values
from otelbridge.logs.fields import FIELDS
from otelbridge.logs.invocations import invocation_page
from otelbridge.logs.pages import Span, page, read_cursor
from otelbridge.logs.reader import Budget
from otelbridge.logs.request import Having, QueryRequest, Wanted, member_or_field
from otelbridge.logs.segment import Segment
from otelbridge.logs.traces import trace_page
from otelbridge.model.record import rfc3339

__all__ = ["run_query"]


def run_query(segments: Sequence[Segment], wanted: Wanted, budget: Budget) -> dict[str, Any]:
    """The answer: {<view>: [...], nextCursor, statistics: {rowsRead, elapsedMs}}; also `warnings`, in words, when there are some."""
    started = time.perf_counter()
    request = wanted.request
    cursor: str | None = None
    rows: list[Any]
    if request.view == "calculations":
        rows, read = _calculations(segments, wanted, budget)
    else:
        rows, cursor = _page(segments, wanted, budget)
        read = len(rows)
    statistics = {"rowsRead": read, "elapsedMs": round((time.perf_counter() - started) * 1000, 3)}
    answer = {request.view: rows, "nextCursor": cursor, "statistics": statistics}
    warnings = _warnings(request, rows) if request.view == "calculations" else []
    return answer | {"warnings": warnings} if warnings else answer


def _warnings(request: QueryRequest, rows: list[dict[str, Any]]) -> list[str]:
    """Names that no record has: most often they are written wrongly, and nothing else would say so."""
    found = []
    for calculation in request.calculations:
        name, structured = member_or_field(calculation.key) if calculation.key is not None else ("", False)
        if not structured or any(row["values"][calculation.name] for row in rows):
            continue
        if any(row["values"][calculation.name] == 0 for row in rows) and not calculation.operator.startswith("count"):
            continue  # a number that happens to be 0
        what = "value" if calculation.operator.startswith("count") else "number"
        close = difflib.get_close_matches(name, FIELDS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        found.append(f"{calculation.name}: no record of the answer has a {what} named {name!r:.100}.{hint}")
    return found


def _page(segments: Sequence[Segment], wanted: Wanted, budget: Budget) -> tuple[list[Any], str | None]:
    request = wanted.request
    after = read_cursor(request.cursor)
    if request.view == "events":
        ascending = request.order_by is not None and request.order_by.order == "asc"
        records, cursor = page(segments, wanted.tree, wanted.span, budget, limit=wanted.limit, after=after, ascending=ascending)
        return list(records), cursor
    show = invocation_page if request.view == "invocations" else trace_page
    found, last = show(segments, wanted.tree, wanted.span, budget, limit=wanted.limit, after=after)
    return list(found), None if last is None else f"{last[0]}.{last[1]}"


# ------------------------------------------------------------------------------------------------------- calculations


def _calculations(segments: Sequence[Segment], wanted: Wanted, budget: Budget) -> tuple[list[dict[str, Any]], int]:
    request = wanted.request
    bucket_ns = None if request.bucket_ms is None else request.bucket_ms * 1_000_000
    task = Task(wanted.tree, wanted.span, tuple(request.calculations), tuple(request.group_by), bucket_ns)
    groups, read = calculate(segments, task, budget)
    if not groups and not request.group_by and bucket_ns is None:
        groups = {(None,): [Sums() for _ in request.calculations]}
    rows = {group: _row(group, sums, request, bucket_ns) for group, sums in groups.items()}
    if request.compare:
        read += _compare(segments, task, rows, request, budget)
    kept = [row for row in rows.values() if all(_holds(row, having) for having in request.having)]
    return _ordered(kept, request)[: wanted.limit], read


def _row(group: Group, sums: list[Sums], request: QueryRequest, bucket_ns: int | None) -> dict[str, Any]:
    values = {calculation.name: finish(calculation, one) for calculation, one in zip(request.calculations, sums, strict=True)}
    row: dict[str, Any] = {"groups": group_values(group, request.group_by), "values": values}
    if bucket_ns is not None:
        row["time"] = rfc3339(group[0] * bucket_ns)
    return row


def _compare(segments: Sequence[Segment], task: Task, rows: dict[Group, dict[str, Any]], request: QueryRequest, budget: Budget) -> int:
    """Give each row what the same length of time before had, as `previous`."""
    now_ns = time.time_ns()
    span = task.span
    length = min(span.until_ns, now_ns) - span.since_ns
    if task.bucket_ns is not None:  # whole buckets back, so that each stands beside its own
        length = -(-length // task.bucket_ns) * task.bucket_ns
    before = msgspec.structs.replace(task, span=Span(max(0, span.since_ns - length), max(0, min(span.until_ns, now_ns) - length)))
    groups, read = calculate(segments, before, budget)
    steps = length // task.bucket_ns if task.bucket_ns is not None else 0
    for (bucket, *rest), sums in groups.items():
        group = (None if bucket is None else bucket + steps, *rest)
        values = {calculation.name: finish(calculation, one) for calculation, one in zip(request.calculations, sums, strict=True)}
        if group not in rows:
            rows[group] = _row(group, [Sums() for _ in sums], request, task.bucket_ns)
        rows[group]["previous"] = values
    return read


def _holds(row: dict[str, Any], having: Having) -> bool:
    value = row["values"][having.calculation]
    if value is None:
        return False
    other = having.value
    holds: dict[str, bool] = {
        "eq": value == other,
        "neq": value != other,
        "gt": value > other,
        "gte": value >= other,
        "lt": value < other,
        "lte": value <= other,
    }
    return holds[having.operation]


def _ordered(rows: list[dict[str, Any]], request: QueryRequest) -> list[dict[str, Any]]:
    """By what the request says, else by time, else by the first calculation from the most on; ties by the group's keys."""
    rows.sort(key=lambda row: (str(row.get("time", "")), msgspec.json.encode(row["groups"])))
    order = request.order_by
    if order is None:
        if request.bucket_ms is not None:
            return rows
        name, descending = request.calculations[0].name, True
    else:
        name, descending = order.value, order.order == "desc"

    def rank(row: dict[str, Any]) -> tuple[int, Any]:
        value = row["values"].get(name) if name in row["values"] else row.get("time") if name == "time" else row["groups"].get(name)
        # Values of several types are ordered by type first; what has none comes last, whichever way.
        kind = 2 if isinstance(value, str) else 1
        return (kind, value) if value is not None else (0 if descending else 3, 0)

    return sorted(rows, key=rank, reverse=descending)
