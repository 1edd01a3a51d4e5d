"""Retention: whole segments go by age and size, and nobody who reads is disturbed."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from otelbridge.logs.idle import IdleReaders
from otelbridge.logs.language import parse
from otelbridge.logs.pages import Span, page
from otelbridge.logs.reader import Budget
from otelbridge.logs.segment import Segment
from otelbridge.logs.segments import Segments
from tests.logs.samples import START_NS, Filled, line, part, stored


async def test_old_segments_go(data_dir: Path) -> None:
    """A segment whose newest record is older than the limit is unlinked; what is younger stays."""
    now = time.time_ns()
    async with Filled(data_dir, segment_records=4, retention_seconds=3_600) as filled:
        await filled.put(*[part(line("old"), invocation=i, start_ns=now - 7_200 * 10**9) for i in range(2)])
        await filled.put(*[part(line("new"), invocation=i, start_ns=now) for i in range(2, 4)])
        await filled.store.retire()
        assert await filled.texts("kind:log") == ["new", "new"]
        assert len(list((data_dir / "store").glob("*.db"))) == 2
        assert (await filled.store.state()).removed_records == 4


async def test_the_oldest_go_when_all_are_too_large(data_dir: Path) -> None:
    """Beyond the limit in bytes the oldest segments go first, never the one that is being filled."""
    async with Filled(data_dir, segment_records=20, max_bytes=1 << 20) as filled:
        for batch in range(12):
            await filled.put(
                *[part(line(f"{batch} {'x' * 10_000}"), invocation=batch * 100 + i, start_ns=START_NS + batch) for i in range(10)]
            )
        await filled.store.retire()
        state = await filled.store.state()
        assert state.bytes < 2 << 20
        kept = await filled.texts("kind:log")
        assert kept
        assert {text.split()[0] for text in kept} <= {"9", "10", "11", "8", "7"}
        assert state.removed_records + state.records == 240


async def test_a_quiet_store_begins_a_new_segment_by_age(data_dir: Path) -> None:
    """A segment that stays open for long would keep old records; it is closed by age too."""
    async with Filled(data_dir, retention_seconds=1_000) as filled:
        await filled.put(part(line("a"), start_ns=time.time_ns()))
        filled.store._segments.all[-1].created -= 500
        await filled.store.retire()
        assert (await filled.store.state()).segments == 2
        assert await filled.texts("kind:log") == ["a"]


def test_who_reads_a_removed_segment_reads_on() -> None:
    """An open reader goes on to the end of a segment that has been unlinked; a new one gets none."""
    with stored([part(line("a"), invocation=i) for i in range(3)], [part(line("b"), invocation=9)], segment_records=4) as segments:
        segment = segments.all[0]
        budget = Budget(60)
        with segment.reader(budget) as reader:
            assert reader is not None
            segment.remove()
            assert reader.value("SELECT count(*) FROM records") == 6
        with segment.reader(budget) as reader:
            assert reader is None
        assert not list(segment.path.parent.glob("00000001*"))


def connections(directory: Path) -> Counter[str]:
    """How often this process has each segment's file open."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:  # the one of this list
            continue
        if path.parent == directory and path.suffix == ".db":
            names.append(path.name)
    return Counter(names)


def test_many_segments_are_not_all_held_open() -> None:
    """However many segments a search goes through, only the few readers that were used last stay open, with their memory and files."""
    with stored(*[[part(line("x"), invocation=i)] for i in range(30)], segment_records=2) as segments:
        assert len(segments.all) == 31
        directory = segments.directory
        for _ in range(2):
            found, _ = page(segments.all, parse("x", START_NS).tree, Span(), Budget(60), limit=100, after=None, ascending=False)
            assert len(found) == 30
            assert connections(directory).total() == 8 + 1  # that of the writer
        for segment in segments.all:
            segment.remove()
        assert connections(directory) == {}


def test_a_start_opens_no_file_for_long() -> None:
    """A store with many full segments holds only the one open that is written to."""
    with stored(*[[part(line("x"), invocation=i)] for i in range(30)], segment_records=2) as segments:
        segments.close()
        again = Segments(directory=segments.directory, segment_records=2, retention_seconds=1e9, max_bytes=1 << 30)
        again.open()
        assert len(again.all) == 31
        assert connections(segments.directory) == {"00000031.db": 1}
        again.close()


def test_the_reader_that_was_used_longest_ago_is_closed(tmp_path: Path) -> None:
    """Of more readers than are kept, those go that were used longest ago; one that is kept is given to whoever needs it next."""
    idle = IdleReaders(2)
    segments = [Segment(tmp_path, number, idle) for number in (1, 2, 3)]
    used = []
    for segment in (*segments[:2], segments[0], segments[2], segments[0], segments[1]):
        with segment.reader(Budget(60)) as reader:
            used.append(reader)
    first, second, again, _, last, anew = used
    assert first is again is last
    assert second is not anew
    assert len(idle) == 2
    for segment in segments:
        segment.close()
    assert len(idle) == 0


async def test_readers_during_rotation_and_removal(data_dir: Path) -> None:
    """Searches run without pause while segments begin, close and go: no error, and each record at most once."""
    async with Filled(data_dir, segment_records=20, max_bytes=2 << 20) as filled:
        stop = False

        async def read() -> int:
            turns = 0
            while not stop:
                found = await filled.store.logs("kind:log", limit=1_000)
                ids = [record.id for record in found.logs]
                assert len(set(ids)) == len(ids)
                await filled.store.invocations("x*", limit=10)
                await filled.store.query({"view": "calculations", "calculations": [{"operator": "count"}], "groupBy": ["level"]})
                await filled.store.sql("SELECT count(*) FROM logs")
                turns += 1
            return turns

        readers = [asyncio.create_task(read()) for _ in range(3)]
        for batch in range(30):
            big = "x" * 8_000
            await filled.put(*[part(line(big), invocation=batch * 100 + i, start_ns=START_NS + batch) for i in range(10)])
            await filled.store.retire()
        stop = True
        assert all(await asyncio.gather(*readers))


def test_a_segment_of_another_format_is_refused(tmp_path: Path) -> None:
    """A file that a later version wrote is not touched."""
    segment = Segment(tmp_path, 1, IdleReaders())
    segment.writer().execute("PRAGMA user_version = 99")
    segment.close()
    import sqlite3

    with pytest.raises(sqlite3.DatabaseError, match="format 99"):
        Segment(tmp_path, 1, IdleReaders())
