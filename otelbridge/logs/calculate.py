"""Calculations: what each segment can add up by itself, and how the parts become one answer.

Percentiles, standard deviation and variance need all values in one place: they are gathered, up to a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.compile import JOINS, compile_tree
from otelbridge.logs.conditions import member_json
from otelbridge.logs.fields import FIELDS
from otelbridge.logs.pages import Span
from otelbridge.logs.reader import Budget, Reader
from otelbridge.logs.request import Calculation, member_or_field
from otelbridge.logs.rollup import rollup_groups, rollup_span
from otelbridge.logs.segment import Segment
from otelbridge.logs.tree import Tree

__all__ = ["Sums", "Task", "calculate", "finish", "group_values"]

_MAX_GROUPS = 100_000
_MAX_VALUES = 5_000_000

# (bucket or None, the values of the keys that are grouped by, as they are stored)
Group = tuple[Any, ...]


class Task(msgspec.Struct, frozen=True):
    """What to calculate over which records."""

    tree: Tree
    span: Span
    calculations: tuple[Calculation, ...]
    group_by: tuple[str, ...]
    bucket_ns: int | None


class Sums(msgspec.Struct):
    """What is known of one calculation of one group so far."""

    count: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None
    values: list[Any] = []

    def add(self, other: Sums) -> None:
        """Take in what another segment knows."""
        self.count += other.count
        self.total += other.total
        self.least = _known(min, self.least, other.least)
        self.most = _known(max, self.most, other.most)
        self.values += other.values


def _known(choose: Any, a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else choose(a, b)


def calculate(segments: Sequence[Segment], task: Task, budget: Budget) -> tuple[dict[Group, list[Sums]], int]:
    """The sums of all groups over all segments, and how many records or roll-up counts went into them."""
    groups: dict[Group, list[Sums]] = {}
    rows = gathered = 0
    for segment in segments:
        if not task.span.overlaps(segment):
            continue
        with segment.reader(budget) as reader:
            if reader is None:
                continue
            for group, count, sums in _of_segment(reader, segment, task):
                rows += count
                gathered += sum(len(one.values) for one in sums)
                mine = groups.setdefault(group, [Sums() for _ in task.calculations])
                for one, other in zip(mine, sums, strict=True):
                    one.add(other)
        if len(groups) > _MAX_GROUPS or gathered > _MAX_VALUES:
            raise QueryError("There are too many groups or values for this calculation. Narrow its time range or its conditions.")
    return groups, rows


def _of_segment(reader: Reader, segment: Segment, task: Task) -> list[tuple[Group, int, list[Sums]]]:
    middle = rollup_span(task.tree, task.calculations, task.group_by, task.bucket_ns, task.span, summed=segment.summed)
    if middle is None:
        return _raw(reader, task, task.span)
    # Whole minutes are in the roll-up; what sticks out at both ends is counted row by row.
    found = [
        (group, count, [Sums(count) for _ in task.calculations])
        for group, count in rollup_groups(reader, task.tree, task.group_by, task.bucket_ns, middle)
    ]
    for edge in (Span(task.span.since_ns, middle.since_ns), Span(middle.until_ns, task.span.until_ns)):
        if edge.since_ns < edge.until_ns and edge.overlaps(segment):
            found += _raw(reader, task, edge)
    return found


def _raw(reader: Reader, task: Task, span: Span) -> list[tuple[Group, int, list[Sums]]]:
    plan = compile_tree(task.tree, reader)
    if plan is None:
        return []
    columns: list[str] = []
    parameters: list[Any] = []
    # The bucket is a whole number of our own: it need not be a parameter.
    columns.append(f"(r.number - r.skew) / {int(task.bucket_ns)}" if task.bucket_ns else "NULL")
    for key in task.group_by:
        sql, bound = _key(key)
        columns.append(sql)
        parameters += bound
    width = len(columns)
    columns.append("count(*)")
    for calculation in task.calculations:
        for sql, bound in _aggregates(calculation):
            columns.append(sql)
            parameters += bound
    bounds, limits = span.bounds(plan.key)
    by = ", ".join([str(i + 1) for i in range(width)])
    rest = f"FROM {plan.source} {JOINS} WHERE {plan.where} AND {bounds} GROUP BY {by} LIMIT {_MAX_GROUPS + 1}"
    rows = reader.rows(columns, rest, (*parameters, *plan.parameters, *limits))
    return [(tuple(row[:width]), row[width], _sums(row[width + 1 :], task.calculations)) for row in rows]


def group_values(group: Group, keys: Sequence[str]) -> dict[str, Any]:
    """The values of a group's keys. Members are told apart by their JSON until here: true is not 1."""
    found = {}
    for key, value in zip(keys, group[1:], strict=True):
        name, structured = member_or_field(key)
        if value is not None and structured:
            decoded = msgspec.json.decode(value)
            value = value if isinstance(decoded, dict | list) else decoded
        elif value is not None and FIELDS[name].choices:
            value = FIELDS[name].choices[value]
        found[key] = value
    return found


def _key(key: str) -> tuple[str, tuple[Any, ...]]:
    name, structured = member_or_field(key)
    if not structured:
        return FIELDS[name].sql, ()
    sql, parameters = member_json(name)
    return f"({sql} || '')", parameters  # plain text: what SQLite marks as JSON would come back as its value


def _number(key: str) -> tuple[str, tuple[Any, ...]]:
    """The number that a key holds, NULL when it holds something else."""
    sql, parameters = _key(key)
    name, structured = member_or_field(key)
    if not structured:
        if FIELDS[name].type != "number":
            raise QueryError(f"{name} is not a number: it can only be counted")
        return sql, parameters
    return f"CASE WHEN json_type({sql}) IN ('integer', 'real') THEN {sql} ->> '$' END", (*parameters, *parameters)


def _aggregates(calculation: Calculation) -> list[tuple[str, tuple[Any, ...]]]:
    """The columns that one segment gives for a calculation; _sums() reads them."""
    operator, key = calculation.operator, calculation.key
    if operator == "count":
        if key is None:
            return [("count(*)", ())]
        sql, bound = _key(key)
        return [(f"count({sql})", bound)]
    assert key is not None
    if operator == "countDistinct":
        sql, bound = _key(key)
        return [(f"json_group_array(DISTINCT {sql}) || ''", bound)]
    sql, bound = _number(key)
    if operator in ("min", "max", "sum", "avg"):
        return [(f"{name}({sql})", bound) for name in ("count", "total", "min", "max")]
    return [(f"json_group_array({sql}) FILTER (WHERE {sql} IS NOT NULL) || ''", (*bound, *bound))]


def _sums(row: list[Any], calculations: Sequence[Calculation]) -> list[Sums]:
    values = iter(row)
    found = []
    for calculation in calculations:
        operator = calculation.operator
        if operator == "count":
            found.append(Sums(next(values)))
        elif operator in ("min", "max", "sum", "avg"):
            found.append(Sums(next(values), next(values), next(values), next(values)))
        else:
            gathered = msgspec.json.decode(next(values))
            found.append(Sums(values=[value for value in gathered if value is not None]))
    return found


def finish(calculation: Calculation, sums: Sums) -> float | int | None:
    """The value of a calculation; None when there is nothing to reckon it from."""
    operator = calculation.operator
    if operator == "count":
        return sums.count
    if operator == "countDistinct":
        return len(set(sums.values))
    if operator in ("min", "max", "sum", "avg"):
        mean = sums.total / sums.count if sums.count else None
        found = {"min": sums.least, "max": sums.most, "sum": sums.total if sums.count else None, "avg": mean}[operator]
        return _short(found)
    if not sums.values:
        return None
    if operator in ("stddev", "variance"):
        mean = math.fsum(sums.values) / len(sums.values)
        variance = math.fsum([(value - mean) ** 2 for value in sums.values]) / len(sums.values)
        return _short(variance if operator == "variance" else math.sqrt(variance))
    share = 0.5 if operator == "median" else int(operator[1:]) / 10 ** len(operator[1:])
    ordered = sorted(sums.values)
    # The nearest rank: always a value that was there, the smallest that this share of all values does not exceed.
    return _short(ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)])


def _short(value: float | None) -> float | int | None:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
