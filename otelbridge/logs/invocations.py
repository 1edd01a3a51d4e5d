"""Pages of invocations, newest start first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.logs.compile import compile_tree
from otelbridge.logs.fields import hex_of
from otelbridge.logs.pages import Place, Span
from otelbridge.logs.reader import Budget, Reader
from otelbridge.logs.segment import Segment
from otelbridge.logs.tree import And, Tree
from otelbridge.model.record import rfc3339

__all__ = ["Invocation", "invocation_page", "summaries"]

_TRIGGERS = ("fetch", "rpc", "scheduled", "queue")


class Invocation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One invocation in a list. Without an outcome it still runs, or its end has been lost."""

    invocation_id: str
    worker_id: str
    worker_version: str
    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    time: str  # when it began
    time_unix_nano: str
    trigger: str  # fetch, rpc, scheduled, queue
    text: str
    method: str | None = None
    url: str | None = None
    path: str | None = None
    status: int | None = None
    outcome: str | None = None
    failed: bool | None = None
    wall_ms: float | None = None
    cpu_ms: float | None = None
    memory_bytes: int | None = None
    cold_start: bool | None = None
    logs: int
    exceptions: int


_COLUMNS = (
    *("i.number", hex_of("i.id"), "w.worker_id", "v.version", hex_of("i.trace_id"), hex_of("i.span_id"), hex_of("i.parent_span_id")),
    *("i.start_ns", "i.trigger", "i.method", "i.origin", "i.path", "i.query", "i.name", "i.status", "i.outcome", "i.failed"),
    *("i.wall_ns", "i.cpu_ns", "i.memory_bytes", "i.cold"),
    "(SELECT count(*) FROM records r WHERE r.invocation = i.number AND r.kind = 0)",
    "(SELECT count(*) FROM records r WHERE r.invocation = i.number AND r.kind = 1)",
)
_JOINS = "JOIN workers w ON w.number = i.worker JOIN versions v ON v.number = i.version"


def invocation_page(
    segments: Sequence[Segment], tree: Tree, span: Span, budget: Budget, *, limit: int, after: Place | None, ascending: bool = False
) -> tuple[list[Invocation], Place | None]:
    """Invocations of which any record answers the query, newest start first; and the place of the last, if more follow."""
    places: list[tuple[int, int, int]] = []  # start, segment, number
    for segment in segments if ascending else reversed(segments):
        with segment.reader(budget) as reader:
            if reader is None or not _may_have(reader, span, places[limit][0] if len(places) > limit else None, ascending):
                continue
            found = _starts(reader, segment.number, tree, span, limit + 1, after, ascending)
            places = sorted([*places, *((start, segment.number, number) for start, number in found)], reverse=not ascending)[: limit + 1]
    chosen = places[:limit]
    by_number = {segment.number: segment for segment in segments}
    rows: dict[tuple[int, int], Invocation] = {}
    for at in {place[1] for place in chosen}:
        with by_number[at].reader(budget) as reader:
            if reader is not None:
                rows |= {(at, n): row for n, row in summaries(reader, [p[2] for p in chosen if p[1] == at]).items()}
    last = _pack(chosen[-1]) if len(places) > limit else None
    return [rows[place[1:]] for place in chosen if place[1:] in rows], last


# A place is (start, segment and number in one): the cursor of a page of records has the same two numbers.
_ROWS = 1 << 40


def _pack(place: tuple[int, int, int]) -> Place:
    return place[0], place[1] * _ROWS + place[2]


def _may_have(reader: Reader, span: Span, furthest: int | None, ascending: bool) -> bool:
    """Whether a segment can add to a page that goes as far as `furthest`, None for one that is not full yet."""
    first, last = reader.row("SELECT (SELECT min(start_ns) FROM invocations), (SELECT max(start_ns) FROM invocations)") or (None, None)
    if first is None or last < span.since_ns or first >= span.until_ns:
        return False
    return furthest is None or (first <= furthest if ascending else last >= furthest)


def _starts(reader: Reader, segment: int, tree: Tree, span: Span, limit: int, after: Place | None, ascending: bool) -> list[list[int]]:
    where = "i.home AND i.start_ns >= ? AND i.start_ns < ?"
    parameters: tuple[Any, ...] = (span.since_ns, span.until_ns)
    if after is not None:
        start, (at, number) = after[0], divmod(after[1], _ROWS)
        sign = ">" if ascending else "<"
        where += f" AND (i.start_ns {sign} ? OR (i.start_ns = ? AND i.number {sign} ?))"
        # Of one start, those of a later segment come first, or last when ascending: all of them or none.
        whole = segment > at if ascending else segment < at
        parameters += (start, start, number if at == segment else (1 << 62 if whole != ascending else 0))
    if tree != And(()):
        plan = compile_tree(tree, reader)
        if plan is None:
            return []
        joins = "LEFT JOIN workers w ON w.number = r.worker LEFT JOIN versions v ON v.number = i.version"
        if plan.key == "words.rowid":
            # The index of words gives its rows at once; asked per invocation it would begin anew each time.
            inner = f"SELECT r.invocation FROM {plan.source} LEFT JOIN invocations i ON i.number = r.invocation {joins}"
            where += f" AND i.number IN ({inner} WHERE {plan.where})"
        else:
            inner = f"SELECT 1 FROM records r INDEXED BY records_invocation {joins} WHERE r.invocation = i.number AND {plan.where}"
            where += f" AND EXISTS ({inner})"
        parameters += plan.parameters
    way = "ASC" if ascending else "DESC"
    rest = f"FROM invocations i WHERE {where} ORDER BY i.start_ns {way}, i.number {way} LIMIT {int(limit)}"
    return reader.rows(("i.start_ns", "i.number"), rest, parameters)


def summaries(reader: Reader, numbers: list[int]) -> dict[int, Invocation]:
    """The invocations with these numbers."""
    wanted = msgspec.json.encode(numbers).decode()
    rest = f"FROM invocations i {_JOINS} WHERE i.number IN (SELECT value FROM json_each(?))"
    return {row[0]: _invocation(row) for row in reader.rows(_COLUMNS, rest, (wanted,))}


def _invocation(row: list[Any]) -> Invocation:
    _, invocation, worker, version, trace, span, parent, start_ns, trigger, method, origin, path, query, name = row[:14]
    status, outcome, failed, wall_ns, cpu_ns, memory_bytes, cold, logs, exceptions = row[14:]
    url = None if origin is None else origin + path + query
    return Invocation(
        invocation_id=invocation,
        worker_id=worker,
        worker_version=version,
        trace_id=trace,
        span_id=span,
        parent_span_id=parent,
        time=rfc3339(start_ns),
        time_unix_nano=str(start_ns),
        trigger=_TRIGGERS[trigger],
        text=name if url is None else f"{method} {url}",
        method=method,
        url=url,
        path=path,
        status=status,
        outcome=outcome,
        failed=None if failed is None else bool(failed),
        wall_ms=None if wall_ns is None else wall_ns / 1e6,
        cpu_ms=None if cpu_ns is None else cpu_ns / 1e6,
        memory_bytes=memory_bytes,
        cold_start=None if cold is None else bool(cold),
        logs=logs,
        exceptions=exceptions,
    )
