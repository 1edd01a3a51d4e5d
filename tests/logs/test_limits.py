"""The limits of a search: its time, and that nobody waits for it any more. Budgets are used up before they begin: no clock is raced."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otelbridge.errors import QueryError
from otelbridge.logs import Store
from otelbridge.logs.batch import make_batch
from otelbridge.logs.invocations import invocation_page
from otelbridge.logs.language import parse
from otelbridge.logs.pages import Span, page
from otelbridge.logs.query import run_query
from otelbridge.logs.reader import Budget
from otelbridge.logs.request import read_request
from otelbridge.logs.segments import Segments
from otelbridge.model.part import SpoolItem
from tests.logs.samples import SECOND_NS, START_NS, Filled, frames, line, part, stored

# SQLite asks for the time every 20,000 operations; a row that is looked at takes some ten.
ITEMS: list[SpoolItem] = [
    part(*[line(f"user {i} {j}", level="error", time_ns=START_NS + i) for j in range(50)], invocation=i, start_ns=START_NS + i * SECOND_NS)
    for i in range(200)
]


@pytest.fixture(scope="module")
def segments() -> Any:
    """A store with 10,200 records."""
    with stored(ITEMS, segment_records=100_000) as filled:
        yield filled


def logs(q: str) -> Callable[[Segments, Budget], object]:
    """A search."""
    tree = parse(q, START_NS).tree
    return lambda segments, budget: page(segments.all, tree, Span(), budget, limit=10, after=None, ascending=False)


def invocations(q: str) -> Callable[[Segments, Budget], object]:
    """A list of invocations."""
    tree = parse(q, START_NS).tree
    return lambda segments, budget: invocation_page(segments.all, tree, Span(), budget, limit=10, after=None)


def query(**request: Any) -> Callable[[Segments, Budget], object]:
    """The query builder."""
    wanted = read_request(request, START_NS + 3600 * SECOND_NS)
    return lambda segments, budget: run_query(segments.all, wanted, budget)


QUESTIONS = {
    "scan": logs("/nothing like it/"),
    "scan with automaton": logs("/(u|v)s.*(x|y)z/"),
    "member": logs("user_id=7 OR other=8"),
    "not": logs("-user"),
    "invocations": invocations("/nothing like it/"),
    "group": query(view="calculations", calculations=[{"operator": "count"}], groupBy=["text"]),
    "percentile": query(view="calculations", calculations=[{"operator": "p99", "key": "wallMs"}], groupBy=["invocation"]),
    "events": query(view="events", needle={"value": "nothing like it"}),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_a_query_that_takes_too_long_is_stopped(segments: Segments, ask: Callable[[Segments, Budget], object]) -> None:
    """Whatever a question looks at row by row ends with an error that says what to do, once its time is over."""
    with pytest.raises(QueryError, match="took longer than 0 s and was stopped"):
        ask(segments, Budget(0))
    ask(segments, Budget(600))  # and with time it is answered, by the same readers


def test_time_counts_over_all_statements(segments: Segments) -> None:
    """A budget that is used up in the middle of a question stops it there: it is one budget, not one for each statement."""
    budget = Budget(600)
    found = []

    def ask() -> None:
        found.append(page(segments.all, parse("level:error", START_NS).tree, Span(), budget, limit=10, after=None, ascending=False))
        budget.cancel()
        logs("/nothing like it/")(segments, budget)

    with pytest.raises(QueryError):
        ask()
    assert len(found[0][0]) == 10


async def test_the_store_keeps_its_limit(data_dir: Path) -> None:
    """Store.logs() and Store.query() end with it too, and the store answers what is quick as before."""
    async with Filled(data_dir, query_seconds=0) as filled:
        await filled.put(*ITEMS)
        with pytest.raises(QueryError, match="took longer"):
            await filled.store.logs("/nothing like it/")
        with pytest.raises(QueryError, match="took longer"):
            await filled.store.query({"view": "calculations", "calculations": [{"operator": "count"}], "groupBy": ["text"]})
        assert len((await filled.store.logs(limit=1)).logs) == 1


async def test_nobody_waits_for_it_any_more(data_dir: Path) -> None:
    """A search whose caller leaves is stopped: all reading threads are free again for the next one."""
    async with Filled(data_dir, query_seconds=600) as filled:
        await filled.put(*ITEMS)
        store: Store = filled.store
        begun = threading.Barrier(4)
        ended: list[str] = []

        def work(_: object, budget: Budget) -> None:
            begun.wait(30)
            try:
                while True:  # more than any time limit of these tests
                    logs("/(u|v)s.*(x|y)z/")(store._segments, budget)
            except QueryError as e:
                ended.append(str(e))

        tasks = [asyncio.create_task(store._read(work)) for _ in range(3)]
        await asyncio.to_thread(begun.wait, 30)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len((await store.logs(limit=5)).logs) == 5
        while len(ended) < 3:
            await asyncio.sleep(0.01)


def test_writing_goes_on_while_a_reader_is_slow(tmp_path: Path) -> None:
    """A reader in the middle of its answer holds up no batch, and sees what was there when it began."""
    segments = Segments(directory=tmp_path, segment_records=100_000, retention_seconds=1e9, max_bytes=1 << 30)
    segments.open()
    segments.add(make_batch("main", frames(ITEMS[:10])))
    with segments.all[0].reader(Budget(60)) as reader:
        assert reader is not None
        rows = reader.connection.execute("SELECT number FROM records")
        first = rows.fetchone()
        segments.add(make_batch("main", frames(ITEMS[10:20], segment=2)))
        assert 1 + len(rows.fetchall()) == 510
        assert first is not None
        assert reader.value("SELECT count(*) FROM records") == 1_020
    segments.close()


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_memory_does_not_grow_with_the_file() -> None:
    """While a segment's file grows to 96 MiB, the process grows by the page cache's limit and a margin, not by more."""
    with stored([part(line("first"))], segment_records=1_000_000) as segments:
        before = resident()
        for batch in range(1, 97):
            lines = [line(f"{batch} {i} {'x' * 10_000}", time_ns=START_NS + batch) for i in range(105)]
            segments.add(make_batch("main", frames([part(*lines, invocation=batch)], segment=batch + 1)))
        assert sum(segment.bytes() for segment in segments.all) > 96 << 20
        assert resident() - before < 40 << 20
