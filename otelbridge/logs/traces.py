"""Pages of traces: invocations that belong together, as one row each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from otelbridge.logs.invocations import Invocation, invocation_page, summaries
from otelbridge.logs.pages import Place, Span
from otelbridge.logs.reader import Budget
from otelbridge.logs.segment import Segment
from otelbridge.logs.times import MAX_TIME_NS
from otelbridge.logs.tree import And, Condition, Literal, Tree
from otelbridge.logs.writer import pack_id
from otelbridge.model.record import rfc3339

__all__ = ["Trace", "trace_page"]

_MAX_INVOCATIONS = 1_000


class Trace(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A trace in a list: from its first start to its last end, as far as that is known. `text`: of its first invocation."""

    trace_id: str
    time: str
    time_unix_nano: str
    duration_ms: float
    text: str
    workers: list[str]
    invocations: int
    errors: int
    logs: int
    exceptions: int
    running: int = 0


def trace_page(
    segments: Sequence[Segment], tree: Tree, span: Span, budget: Budget, *, limit: int, after: Place | None
) -> tuple[list[Trace], Place | None]:
    """Traces with an invocation that answers the query, newest first; and the place of the last, if more may follow.

    A trace stands where the first of its invocations that answer began: what joins it later doesn't move it.
    """
    traces: list[Trace] = []
    place = after
    while True:
        found, last = invocation_page(segments, tree, span, budget, limit=1, after=place)
        if not found:
            return traces, None
        one = found[0]
        if _is_first(segments, tree, span, one, budget):
            traces.append(_trace(one.trace_id, _invocations(segments, one.trace_id, budget)))
        if last is None or len(traces) >= limit:
            return traces, last
        place = last


def _is_first(segments: Sequence[Segment], tree: Tree, span: Span, one: Invocation, budget: Budget) -> bool:
    """Whether no invocation of the same trace that answers the query began before."""
    same = Condition("trace", False, "eq", (Literal(one.trace_id, None),))
    before = Span(span.since_ns, min(int(one.time_unix_nano), MAX_TIME_NS))
    return not invocation_page(segments, And((same, tree)), before, budget, limit=1, after=None)[0]


def _invocations(segments: Sequence[Segment], trace_id: str, budget: Budget) -> list[Invocation]:
    found: list[Invocation] = []
    for segment in segments:
        with segment.reader(budget) as reader:
            if reader is not None:
                sql = f"SELECT number FROM invocations WHERE trace_id = ? AND home LIMIT {_MAX_INVOCATIONS}"
                numbers = reader.json(f"SELECT json_group_array(number) FROM ({sql})", (pack_id(trace_id),))
                found += summaries(reader, numbers).values()
    return sorted(found, key=lambda invocation: int(invocation.time_unix_nano))


def _trace(trace_id: str, invocations: list[Invocation]) -> Trace:
    start_ns = int(invocations[0].time_unix_nano)
    end_ns = max(int(one.time_unix_nano) + int((one.wall_ms or 0) * 1e6) for one in invocations)
    return Trace(
        trace_id=trace_id,
        time=rfc3339(start_ns),
        time_unix_nano=str(start_ns),
        duration_ms=(end_ns - start_ns) / 1e6,
        text=invocations[0].text,
        workers=sorted({one.worker_id for one in invocations}),
        invocations=len(invocations),
        errors=sum(one.failed is True for one in invocations),
        logs=sum(one.logs for one in invocations),
        exceptions=sum(one.exceptions for one in invocations),
        running=sum(one.outcome is None for one in invocations),
    )
