"""Spool items for the tests of the log store, made the way a guest and its host make them."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from otelbridge.logs import Indexer, Store
from otelbridge.logs.batch import make_batch
from otelbridge.logs.segments import Segments
from otelbridge.model import ring
from otelbridge.model.part import End, Notice, Part, SpoolItem, WorkerRef, encode
from otelbridge.model.trace import Event, FetchEvent
from otelbridge.spool import Frame, Position, SpoolReader, SpoolWriter
from otelbridge.spool.frame import FRAME_BYTES

START_NS = 1_764_000_000_000_000_000
SECOND_NS = 1_000_000_000

_USUAL: Final = 100  # examples of a property in the default profile
F = TypeVar("F", bound=Callable[..., Any])


def line(*arguments: Any, level: str = "info", time_ns: int = 0, span: int = 0, info: Any = None) -> bytes:
    """A console call in the ring."""
    extra = b"" if info is None else json.dumps(info).encode()
    payload = json.dumps(list(arguments)).encode()
    return ring.pack(ring.LOG, payload, level=ring.LEVELS.index(level), time_ns=time_ns, span=span, extra=extra)


def thrown(name: str, message: str, stack: str | None = None, time_ns: int = 0) -> bytes:
    """An exception in the ring."""
    members = {"name": name, "message": message} | ({"stack": stack} if stack is not None else {})
    return ring.pack(ring.EXCEPTION, json.dumps(members).encode(), time_ns=time_ns)


def end_of(*, time_ns: int, outcome: str = "ok", status: int | None = 200, wall_ns: int = 5_000_000, cpu_ns: int = 1_000_000) -> End:
    """The end of an invocation."""
    return End(time_ns, outcome, cpu_ns, wall_ns, status, memory_bytes=1 << 20)


def part(
    *entries: bytes,
    invocation: int = 1,
    worker: str = "w",
    start_ns: int = START_NS,
    event: Event | None = None,
    number: int = 0,
    first_sequence: int = 0,
    end: End | None = None,
    ended: bool = True,
    trace: int | None = None,
    version: str = "v1",
) -> Part:
    """A part of the invocation with this number, which stands in its ids."""
    return Part(
        worker=WorkerRef(worker, version),
        invocation_id=f"{invocation:032x}",
        trace_id=f"{invocation if trace is None else trace:031x}f",
        span_id=f"{invocation:015x}e",
        parent_span_id=None,
        trace_flags=1,
        event=event or FetchEvent("GET", "http://worker/", {"user-agent": "test"}, "192.0.2.1"),
        entrypoint=None,
        start_ns=start_ns,
        number=number,
        first_sequence=first_sequence,
        floor_ns=start_ns,
        time_ns=start_ns + SECOND_NS,
        ring=b"".join(entries),
        end=end or (end_of(time_ns=start_ns + SECOND_NS) if ended else None),
    )


def frames(items: Sequence[SpoolItem], *, boot: int = 1, segment: int = 1, offset: int = 16) -> list[Frame]:
    """The frames that a spool would have with these items."""
    found = []
    for item in items:
        payload = encode(item)
        start, offset = Position(segment, offset), offset + FRAME_BYTES + len(payload)
        found.append(Frame(start, Position(segment, offset), START_NS, boot, payload))
    return found


@contextlib.contextmanager
def stored(*batches: Sequence[SpoolItem], segment_records: int = 1_000) -> Iterator[Segments]:
    """The segments of a store that got these batches, without the threads and tasks around it."""
    with tempfile.TemporaryDirectory() as folder:
        segments = Segments(directory=Path(folder), segment_records=segment_records, retention_seconds=1e9, max_bytes=1 << 30)
        segments.open()
        try:
            for number, items in enumerate(batches, 1):
                segments.add(make_batch("main", frames(items, segment=number)))
            yield segments
        finally:
            segments.close()


class Filled:
    """A store fed by a spool. Use as `async with Filled(directory) as filled`, then await filled.put(*items)."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.writer = SpoolWriter(directory / "spool", sync_ms=0)
        # The times of the samples are long past: by default nothing is removed by age.
        self.store = Store(directory=directory / "store", **({"retention_seconds": 1e9} | options))
        self.indexer = Indexer(self.store, {"main": SpoolReader(directory / "spool", "index")}, poll_seconds=0.01)

    async def __aenter__(self) -> Filled:
        await self.store.__aenter__()
        await self.indexer.__aenter__()
        self.writer.subscribe(self.indexer.wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.indexer.aclose()
        await self.store.aclose()
        self.writer.close()

    async def put(self, *items: SpoolItem) -> None:
        """Write items to the spool and wait until they are stored."""
        for item in items:
            self.writer.append(encode(item))
        assert await self.indexer.drain()

    async def texts(self, q: str = "", **options: Any) -> list[str]:
        """The texts of the records that a query finds, oldest first."""
        page = await self.store.logs(q, order="asc", limit=1_000, **options)
        return [record.text for record in page.logs]


def fuzzed(examples: int) -> Callable[[F], F]:
    """A property that `make test` tries so often, and `make fuzz` as often as its profile says."""
    searched = settings.default.max_examples if settings.default is not None else 0
    most = searched if searched > _USUAL else examples

    def decorate(test: F) -> F:
        return cast(F, pytest.mark.fuzz(settings(max_examples=most)(test)))

    return decorate


# ------------------------------------------------------------------------------------------------------------ strategies

# Few and short, so that random queries find something; and what trips up SQL, FTS5, JSON paths and LIKE.
WORDS = [
    "timeout",
    "Timeout",
    "user",
    "user_id",
    "zoé",
    "ZOÉ",
    "naïve",
    "日本",
    "🔥",
    "a",
    "b",
    "NEAR",
    "AND",
    "1",
    "12",
    "x-y",
    "--",
    "%",
    "_",
    "*",
]
HOSTILE = [
    '"',
    "'",
    "\\",
    "\n",
    "\t",
    "\u0000",
    "\ufffd",
    "\u2028",
    "é\u0301",
    "{",
    "}",
    "[",
    ";",
    "--",
    "/*",
    "null",
    "true",
    "1e5",
    "text:a",
    "^a",
]
NAMES = [
    "id",
    "user_id",
    "a",
    "b",
    "a.b",
    "naïve",
    'q"uote',
    "back\\slash",
    "",
    " ",
    "\n",
    "é",
    "🔥",
    "$",
    "a[0]",
    "text",
    "status",
    "NEAR",
]

texts = st.lists(st.sampled_from(WORDS + HOSTILE), min_size=0, max_size=5).map(" ".join) | st.text(max_size=8)
numbers = st.integers(-5, 5) | st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1, 2**64, 10**30, 0.5, -2.25, 1000.0, 1e300])
scalars = texts | numbers | st.booleans() | st.none()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3), max_leaves=4
)
objects = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
plain_objects = st.dictionaries(st.sampled_from(NAMES), texts | st.integers(-5, 5), max_size=3)
levels = st.sampled_from(ring.LEVELS)
outcomes = st.sampled_from(["ok", "exception", "exceededCpu", "canceled"])
workers = st.sampled_from(["w", "W", "web", "api", "a%b", "x_y", "w'1", "naïve"])
urls = st.sampled_from(
    ["http://worker/", "http://worker/api/users?x=1", "http://worker/API/é", "http://h", "http://h?q", "http://worker/a*b"]
)


@st.composite
def ring_entries(draw: st.DrawFn) -> bytes:
    """One entry as a guest may write it."""
    kind = draw(st.integers(0, 9))
    at = draw(st.integers(0, SECOND_NS))
    if kind == 0:
        return thrown(draw(st.sampled_from(["TypeError", "Error", "zoé"])), draw(texts), draw(st.none() | texts), START_NS + at)
    if kind <= 4:
        return line(draw(objects), level=draw(levels), time_ns=START_NS + at)
    return line(*draw(st.lists(texts | values, max_size=3)), level=draw(levels), time_ns=START_NS + at)


@st.composite
def spool_items(draw: st.DrawFn) -> list[SpoolItem]:
    """Some invocations, most with one part, some with two or without an end, and notices."""
    items: list[SpoolItem] = []
    for invocation in range(1, draw(st.integers(1, 8)) + 1):
        start = START_NS + draw(st.integers(0, 3)) * SECOND_NS
        event = FetchEvent(draw(st.sampled_from(["GET", "POST"])), draw(urls), {})
        entries = draw(st.lists(ring_entries(), max_size=4))
        status = draw(st.sampled_from([None, 200, 404, 500, 503]))
        end = end_of(time_ns=start + SECOND_NS, outcome=draw(outcomes), status=status, wall_ns=draw(st.integers(0, 10**10)))
        shared: dict[str, Any] = {"invocation": invocation, "worker": draw(workers), "start_ns": start, "event": event}
        split = draw(st.integers(0, 4)) if draw(st.integers(0, 2)) == 0 else None
        if split is None:
            items.append(part(*entries, **shared, end=end if draw(st.integers(0, 9)) else None, ended=False))
        else:
            items.append(part(*entries[:split], **shared, ended=False))
            items.append(part(*entries[split:], **shared, number=1, first_sequence=len(entries[:split]), end=end))
    for number in range(draw(st.integers(0, 1))):
        items.append(Notice(START_NS + number, draw(levels), draw(texts), draw(plain_objects), draw(st.none() | workers)))
    return items
