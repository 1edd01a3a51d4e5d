"""The roll-up: counts per minute, worker, kind and level. It answers charts without reading a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otelbridge.logs.compile import compile_condition
from otelbridge.logs.fields import FIELDS
from otelbridge.logs.pages import Span
from otelbridge.logs.reader import Reader
from otelbridge.logs.request import Calculation, member_or_field
from otelbridge.logs.tree import And, Condition, Not, Or, Tree

__all__ = ["rollup_groups", "rollup_span"]

_MINUTE_NS = 60_000_000_000
_KNOWN = ("worker", "kind", "level")


def rollup_span(
    tree: Tree, calculations: Sequence[Calculation], group_by: Sequence[str], bucket_ns: int | None, span: Span, *, summed: bool
) -> Span | None:
    """The whole minutes that the roll-up can answer for; None when it can't answer this question."""
    if any(calculation.operator != "count" or calculation.key is not None for calculation in calculations):
        return None
    if bucket_ns is not None and bucket_ns % _MINUTE_NS:
        return None
    names = _names(tree)
    for key in group_by:
        names.add(member_or_field(key)[0] if not member_or_field(key)[1] else "?")
    if not names <= set(_KNOWN) or ("worker" in names and not summed):
        return None
    since = -(-span.since_ns // _MINUTE_NS) * _MINUTE_NS
    until = span.until_ns // _MINUTE_NS * _MINUTE_NS
    return Span(since, until) if since < until else None


def _names(tree: Tree) -> set[str]:
    """The fields that a query asks about; "?" for what the roll-up does not know."""
    if isinstance(tree, And | Or):
        return {name for part in tree.parts for name in _names(part)}
    if isinstance(tree, Not):
        return _names(tree.part)
    if isinstance(tree, Condition) and not tree.structured and tree.operation != "is_null":  # no worker is -1 here
        return {tree.field}
    return {"?"}


def rollup_groups(
    reader: Reader, tree: Tree, group_by: Sequence[str], bucket_ns: int | None, span: Span
) -> list[tuple[tuple[Any, ...], int]]:
    """Groups, as calculate.py has them, and the number of records in each."""
    names = [member_or_field(key)[0] for key in group_by]
    columns = [f"r.minute / {int(bucket_ns) // _MINUTE_NS}" if bucket_ns else "NULL", *[FIELDS[name].sql for name in names]]
    condition, parameters = compile_condition(tree, reader)
    # Worker 0 is all workers together.
    which = "r.worker <> 0" if "worker" in names or "worker" in _names(tree) else "r.worker = 0"
    where = f"{which} AND {condition} AND r.minute >= ? AND r.minute < ?"
    by = ", ".join([str(i + 1) for i in range(len(columns))])
    rest = f"FROM volume r LEFT JOIN workers w ON w.number = r.worker WHERE {where} GROUP BY {by}"
    rows = reader.rows([*columns, "sum(r.count)"], rest, (*parameters, span.since_ns // _MINUTE_NS, span.until_ns // _MINUTE_NS))
    return [(tuple(row[:-1]), row[-1]) for row in rows]
