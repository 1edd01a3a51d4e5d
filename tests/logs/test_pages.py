"""Pages: every record once, in order, however many are added meanwhile."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.errors import QueryError
from otelbridge.logs.pages import Span, page, read_cursor
from otelbridge.logs.reader import Budget
from otelbridge.logs.tree import And
from otelbridge.model.part import Notice
from tests.logs.samples import SECOND_NS, START_NS, Filled, line, part, stored


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 7),
    st.integers(0, 7),
)
def test_every_record_once_in_order(
    batches: list[list[int]], segment_records: int, limit: int, ascending: bool, since: int, until: int
) -> None:
    """Records at the same times in overlapping segments: pages of any size give each once, by time, in the span alone."""
    notices = [[Notice(START_NS + at, "info", f"{batch}.{i}") for i, at in enumerate(times)] for batch, times in enumerate(batches)]
    span = Span(START_NS + since, START_NS + until)
    wanted = [notice for batch in notices for notice in batch if span.since_ns <= notice.time_ns < span.until_ns]
    with stored(*notices, segment_records=segment_records) as segments:
        found = []
        after = None
        for _ in range(len(wanted) + 1):
            records, cursor = page(segments.all, And(()), span, Budget(60), limit=limit, after=after, ascending=ascending)
            assert len(records) <= limit
            found += records
            if cursor is None:
                break
            after = read_cursor(cursor)
        assert cursor is None
        assert sorted(record.text for record in found) == sorted(notice.text for notice in wanted)
        # A number is the time, pushed on by a few ns where several records have one time.
        times = [record.time_ns for record in found]
        assert all(b - a > -100 if ascending else a - b > -100 for a, b in pairwise(times))


async def test_pages_are_stable_while_records_come_in(data_dir: Path) -> None:
    """Who pages through gets each record that was there at the start once, while newer and older ones are being added."""
    async with Filled(data_dir, segment_records=100) as filled:
        before = [part(line(f"old {i}"), invocation=i, start_ns=START_NS + i * 1_000) for i in range(150)]
        await filled.put(*before)
        seen: list[str] = []
        cursor = None
        step = 0
        while True:
            found = await filled.store.logs("kind:log", limit=7, cursor=cursor)
            seen += [record.text for record in found.logs]
            cursor = found.next_cursor
            if cursor is None:
                break
            step += 1
            newer = part(line(f"new {step}"), invocation=1_000 + step, start_ns=START_NS + SECOND_NS + step)
            older = part(line(f"late {step}"), invocation=2_000 + step, start_ns=START_NS + step * 3_000)
            await filled.put(newer, older)
        old = [text for text in seen if text.startswith("old")]
        assert old == [f"old {i}" for i in reversed(range(150))]
        assert len(set(seen)) == len(seen)
        assert not any(text.startswith("new") for text in seen)


async def test_pages_with_a_real_writer_beside(data_dir: Path) -> None:
    """The same with a task that adds without pause, over segments that come and go, in both orders."""
    async with Filled(data_dir, segment_records=50) as filled:
        await filled.put(*[part(line(f"old {i}"), invocation=i, start_ns=START_NS + i) for i in range(100)])
        stop = False

        async def add() -> None:
            for number in range(1_000, 2_000):
                if stop:
                    return
                await filled.put(part(line("more"), invocation=number, start_ns=START_NS + number))

        adding = asyncio.create_task(add())
        try:
            for order in ("asc", "desc"):
                seen: list[str] = []
                cursor = None
                while cursor is not None or not seen:
                    found = await filled.store.logs("old", limit=9, cursor=cursor, order=order)
                    seen += [record.text for record in found.logs]
                    cursor = found.next_cursor
                expected = [f"old {i}" for i in range(100)]
                assert seen == (expected if order == "asc" else expected[::-1])
        finally:
            stop = True
            await adding


async def test_large_records_make_shorter_pages(data_dir: Path) -> None:
    """A page stays within its bytes: it ends early, and goes on where it ended."""
    async with Filled(data_dir) as filled:
        big = "x" * 120_000
        await filled.put(*[part(line(f"{i} {big}"), invocation=i, start_ns=START_NS + i, ended=False) for i in range(250)])
        first = await filled.store.logs(limit=250)
        assert 100 <= len(first.logs) < 250
        assert first.next_cursor is not None
        rest = await filled.store.logs(limit=250, cursor=first.next_cursor)
        assert len(first.logs) + len(rest.logs) == 250


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.2.3", "-1.2", "1.2'--", "١.2", "9" * 30 + ".1"])
async def test_foreign_cursors_are_refused(data_dir: Path, cursor: str) -> None:
    """Only what a page has given is a cursor."""
    async with Filled(data_dir) as filled:
        with pytest.raises(QueryError, match="cursor"):
            await filled.store.logs(cursor=cursor)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 1_001}, {"order": "up"}, {"since": "never"}, {"until": "x"}])
async def test_wrong_parameters_are_refused(data_dir: Path, options: dict[str, object]) -> None:
    """Each parameter says what it takes."""
    async with Filled(data_dir) as filled:
        with pytest.raises(QueryError, match=next(iter(options))):
            await filled.store.logs(**options)  # type: ignore[arg-type]
