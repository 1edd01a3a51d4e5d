"""Parts as hosts and guests make them, hostile ones included, for property tests."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from otelbridge.model import ring
from otelbridge.model.part import ColdStart, End, Part, WorkerRef
from otelbridge.model.trace import OUTCOMES, Dropped, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent, Subrequest

TEXT = st.sampled_from(["", "a", "hello world", "ü😀", "\ud800", "a\udc00b", "x" * 40, "traceId"]) | st.text(max_size=5)
CLEAN = st.sampled_from(["demo", "ü", "a b/c"]) | st.text(max_size=5)
NANOSECONDS = st.integers(1_700_000_000_000_000_000, 1_700_000_100_000_000_000)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)


def hex_ids(size: int) -> st.SearchStrategy[str]:
    """Ids of `size` bytes, never zero."""
    return st.binary(min_size=size, max_size=size).filter(any).map(bytes.hex)


@st.composite
def ring_entries(draw: st.DrawFn) -> bytes:
    """One entry of a ring, as a guest may write it."""
    kind = draw(st.integers(ring.LOG, ring.SPAN_CLOSE))
    payload = draw(
        st.lists(JSON, max_size=3).map(lambda v: json.dumps(v).encode())
        | st.fixed_dictionaries({}, optional={"name": TEXT, "message": TEXT, "stack": TEXT, "parent": st.integers(0, 4), "channel": TEXT,
                                              "attributes": st.dictionaries(TEXT, JSON, max_size=3)}).map(lambda v: json.dumps(v).encode())
        | st.binary(max_size=30)
    )  # fmt: skip
    extra = b""
    if kind == ring.LOG and draw(st.booleans()):
        extra = json.dumps([None, {"name": draw(TEXT), "message": draw(TEXT), "stack": draw(TEXT)}]).encode()
    return ring.pack(
        kind, payload, level=draw(st.integers(0, 4)), time_ns=draw(st.integers(0, (1 << 64) - 1)), span=draw(st.integers(0, 4)), extra=extra
    )


EVENTS = (
    st.builds(FetchEvent, st.sampled_from(["GET", "POST", "BREW"]),
              st.sampled_from(["http://w/a?b=c", "https://h:81/", "http://[", ""]) | CLEAN,
              st.just({"user-agent": "x"}), st.none() | st.just("10.0.0.1"))
    | st.builds(RpcEvent, CLEAN)
    | st.builds(ScheduledEvent, CLEAN, st.integers(-(1 << 60), 1 << 60))
    | st.builds(QueueEvent, CLEAN, st.integers(0, 100))
)  # fmt: skip

SUBREQUESTS = st.builds(
    Subrequest, hex_ids(8), st.sampled_from(["fetch", "call"]), st.sampled_from(["GET", "BREW", "m"]), CLEAN, NANOSECONDS, NANOSECONDS,
    st.none() | st.integers(100, 599), st.none() | st.sampled_from(["TypeError: x", "no colon here"]), st.integers(0, 4),
)  # fmt: skip

COLD = st.builds(ColdStart, NANOSECONDS, NANOSECONDS, st.sampled_from([0, 5_000_000]))

ENDS = st.builds(
    End, NANOSECONDS, st.sampled_from(OUTCOMES), st.integers(0, 10**10), st.integers(0, 10**10), st.none() | st.integers(200, 599),
    st.none() | COLD, st.integers(0, 1 << 30), st.booleans(), st.builds(Dropped, st.integers(0, 9)), st.tuples(SUBREQUESTS) | st.just(()),
)  # fmt: skip

WORKERS = st.builds(WorkerRef, CLEAN.filter(bool), hex_ids(8), st.sampled_from([0, 1 << 27]), st.dictionaries(CLEAN, CLEAN, max_size=2))


@st.composite
def invocations(draw: st.DrawFn, *, ended: bool = True, max_parts: int = 2) -> list[Part]:
    """The parts of one invocation."""
    worker, event = draw(WORKERS), draw(EVENTS)
    invocation, trace, span, parent = draw(hex_ids(16)), draw(hex_ids(16)), draw(hex_ids(8)), draw(st.none() | hex_ids(8))
    start = draw(NANOSECONDS)
    parts: list[Part] = []
    floor, sequence = start, 0
    count = draw(st.integers(1, max_parts))
    for number in range(count):
        lines = draw(st.lists(ring_entries(), max_size=4))
        time_ns = floor + draw(st.integers(0, 10**9)) + len(lines)
        end = draw(ENDS) if ended and number == count - 1 else None
        parts.append(
            Part(worker, invocation, trace, span, parent, 1, event, None, start, number, sequence, floor, time_ns, b"".join(lines), end)
        )
        sequence += len(lines)
        floor = time_ns + len(lines) + 1
    return parts
