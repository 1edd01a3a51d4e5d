"""Pages of records: the newest (or oldest) rows of all segments in one order, and where the next page goes on.

The order is (number, segment), which no row ever changes: a page never shows a row twice, however many are added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.compile import JOINS, compile_tree
from otelbridge.logs.fields import hex_of
from otelbridge.logs.numbers import MAX_SKEW_NS
from otelbridge.logs.reader import Budget, Reader
from otelbridge.logs.segment import Segment
from otelbridge.logs.times import MAX_TIME_NS
from otelbridge.logs.tree import Tree
from otelbridge.model.record import KINDS, ExceptionInfo, Record, record_id, rfc3339
from otelbridge.model.ring import LEVELS

__all__ = ["Place", "Span", "fetch", "message_of", "page", "read_cursor"]

_CHUNK = 100
_MAX_PAGE_BYTES = 16 << 20

Place = tuple[int, int]  # number, segment

_CURSOR = re.compile(r"(\d{1,19})\.(\d{1,24})", re.ASCII)


class Span(msgspec.Struct, frozen=True):
    """A stretch of time, ns; the end is not part of it."""

    since_ns: int = 0
    until_ns: int = MAX_TIME_NS

    def overlaps(self, segment: Segment) -> bool:
        """Whether a segment may hold records of it."""
        first, last = segment.first, segment.last
        return first is not None and last is not None and last >= self.since_ns and first < self.until_ns + MAX_SKEW_NS

    def bounds(self, key: str) -> tuple[str, tuple[int, ...]]:
        """The condition on a row of records whose number is `key`. The number is the time, or a little more."""
        sql = f"{key} >= ? AND {key} < ? AND r.number - r.skew >= ? AND r.number - r.skew < ?"
        return sql, (self.since_ns, self.until_ns + MAX_SKEW_NS, self.since_ns, self.until_ns)


def read_cursor(text: str | None) -> Place | None:
    """A cursor as a page gave it. QueryError for any other text."""
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise QueryError("cursor: not one that a page has given")
    return min(int(found[1]), MAX_TIME_NS + MAX_SKEW_NS), int(found[2])


def page(
    segments: Sequence[Segment], tree: Tree, span: Span, budget: Budget, *, limit: int, after: Place | None, ascending: bool
) -> tuple[list[Record], str | None]:
    """The next `limit` records behind `after` that answer the query, and the cursor of the page behind them."""
    places = _places(segments, tree, span, budget, limit + 1, after, ascending)
    chosen = places[:limit]
    records: list[Record] = []
    size = 0
    for at in range(0, len(chosen), _CHUNK):
        part = chosen[at : at + _CHUNK]
        found = _fetch_places(segments, part, budget)
        records += found
        size += sum(len(record.text) for record in found)
        if size > _MAX_PAGE_BYTES and at + _CHUNK < len(chosen):
            chosen = chosen[: at + _CHUNK]
            break
    more = len(places) > len(chosen)
    return records, f"{chosen[-1][0]}.{chosen[-1][1]}" if more and chosen else None


def _places(
    segments: Sequence[Segment], tree: Tree, span: Span, budget: Budget, limit: int, after: Place | None, ascending: bool
) -> list[Place]:
    """Where the next records lie. A segment is not asked when what is found already comes before all that it has."""
    wanted = [segment for segment in segments if span.overlaps(segment)]
    wanted.sort(key=(lambda s: s.first or 0) if ascending else (lambda s: -(s.last or 0)))
    places: list[Place] = []
    for segment in wanted:
        if len(places) >= limit:
            furthest = places[limit - 1][0]
            if furthest < (segment.first or 0) if ascending else furthest > (segment.last or 0):
                break
        with segment.reader(budget) as reader:
            if reader is None:
                continue
            found = _numbers(reader, segment.number, tree, span, limit, after, ascending)
        places = sorted([*places, *((number, segment.number) for number in found)], reverse=not ascending)[:limit]
    return places


def _numbers(reader: Reader, segment: int, tree: Tree, span: Span, limit: int, after: Place | None, ascending: bool) -> list[int]:
    plan = compile_tree(tree, reader)
    if plan is None:
        return []
    bounds, parameters = span.bounds(plan.key)
    if after is not None:
        # Rows of one number lie in the order of their segments.
        sign = ">" if ascending else "<"
        same = (segment > after[1]) if ascending else (segment < after[1])
        bounds += f" AND {plan.key} {sign}{'=' if same else ''} ?"
        parameters += (after[0],)
    order = f"ORDER BY {plan.key} {'ASC' if ascending else 'DESC'} LIMIT {int(limit)}"
    sql = f"SELECT {plan.key} AS number FROM {plan.source} {JOINS} WHERE {plan.where} AND {bounds} {order}"
    found: list[int] = reader.json(f"SELECT json_group_array(number) FROM ({sql})", (*plan.parameters, *parameters))
    return found


# ----------------------------------------------------------------------------------------------------- rows to records


_COLUMNS = (
    *("r.number", "r.skew", "r.kind", "r.level", "r.sequence", "r.text", "r.layout", "r.extra", "w.worker_id", "v.version"),
    *(hex_of("i.id"), hex_of("i.trace_id"), hex_of("i.span_id"), "i.outcome", "i.method", "i.origin", "i.path", "i.query", "i.status"),
    *("i.wall_ns", "i.cpu_ns", "i.memory_bytes", "i.cold"),
)


def _fetch_places(segments: Sequence[Segment], places: list[Place], budget: Budget) -> list[Record]:
    by_number = {segment.number: segment for segment in segments}
    found: dict[Place, Record] = {}
    for number in {segment for _, segment in places}:
        with by_number[number].reader(budget) as reader:
            if reader is not None:
                numbers = [place[0] for place in places if place[1] == number]
                found |= {(at, number): record for at, record in fetch(reader, numbers).items()}
    return [found[place] for place in places if place in found]


def fetch(reader: Reader, numbers: list[int]) -> dict[int, Record]:
    """The records with these numbers."""
    wanted = msgspec.json.encode(numbers).decode()
    rest = f"FROM records r {JOINS} WHERE r.number IN (SELECT value FROM json_each(?))"
    return {row[0]: _record(row) for row in reader.rows(_COLUMNS, rest, (wanted,))}


def _record(row: list[Any]) -> Record:
    number, skew, kind, level, sequence, text, layout, extra, worker, version, invocation, trace, span = row[:13]
    outcome, method, origin, path, query, status, wall_ns, cpu_ns, memory_bytes, cold = row[13:]
    time_ns = number - skew
    name = KINDS[kind]
    message = fields = exception = info = None
    if name == "log":
        message = message_of(text, layout)
        fields = message[0] if layout == "j" and isinstance(message[0], dict) else None
        info = msgspec.json.decode(extra) if extra is not None else None
    elif name == "exception":
        exception = msgspec.json.decode(extra, type=ExceptionInfo)
    elif name == "bridge":
        message = [text]
        fields = msgspec.json.decode(extra) if extra is not None else None
    own = name == "invocation"
    return Record(
        id=record_id(invocation, sequence, time_ns, text),
        time=rfc3339(time_ns),
        time_unix_nano=str(time_ns),
        kind=name,
        level=LEVELS[level],
        text=text,
        worker_id=worker,
        worker_version=version,
        invocation_id=invocation,
        trace_id=trace,
        span_id=span,
        sequence=sequence,
        message=message,
        fields=fields,
        outcome=outcome,
        method=method,
        url=None if origin is None else origin + path + query,
        path=path,
        status=status,
        exception=exception,
        error_info=info,
        wall_ms=wall_ns / 1e6 if own and wall_ns is not None else None,
        cpu_ms=cpu_ns / 1e6 if own and cpu_ns is not None else None,
        memory_bytes=memory_bytes if own else None,
        cold_start=bool(cold) if own and cold is not None else None,
    )


def message_of(text: str, layout: str | None) -> list[Any]:
    """The arguments of a console call, out of its text: see batch.py."""
    if layout is None:
        return [text]
    if layout == "j":
        return [msgspec.json.decode(text)]
    message: list[Any] = []
    at = 0
    for length in [int(length) for length in layout.split(",")] if layout else []:
        piece = text[at : at + abs(length)]
        message.append(msgspec.json.decode(piece) if length < 0 else piece)
        at += abs(length) + 1
    return message
