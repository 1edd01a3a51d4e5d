"""Live tail: everybody gets every record that the filter lets through, in order, or is told how many are missing."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from otelbridge.errors import QueryError
from otelbridge.logs import LiveTail, TailFilter, tail_filter
from otelbridge.logs import events as events_room
from otelbridge.model.part import Notice, SpoolItem, encode
from otelbridge.model.record import Record
from otelbridge.spool import SpoolWriter
from tests.logs.samples import START_NS, line, part, thrown
from tests.logs.sse import read, started, texts


class Tailed:
    """A spool with a live tail over it. Use as `async with`."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.writer = SpoolWriter(directory / "spool", sync_ms=0, **options)
        self.live = LiveTail(spools={"main": directory / "spool"}, poll_seconds=0.01)

    async def __aenter__(self) -> Tailed:
        await self.live.__aenter__()
        self.writer.subscribe(self.live.wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.live.aclose()
        self.writer.close()

    def put(self, *items: SpoolItem) -> None:
        """Append items."""
        for item in items:
            self.writer.append(encode(item))


async def test_records_come_as_they_are_written(data_dir: Path) -> None:
    """Lines of a running invocation come before its end; each event is named after its kind and holds the record."""
    async with Tailed(data_dir) as tailed, tailed.live.subscribe() as subscription:
        chunks = await started(subscription)
        tailed.put(part(line("one"), line("two", level="error"), ended=False))
        first = await read(chunks, 2)
        assert texts(first) == ["one", "two"]
        tailed.put(part(thrown("TypeError", "boom"), number=1, first_sequence=2), Notice(START_NS, "warn", "the bridge says"))
        rest = await read(chunks, 3)
        assert [event["event"] for event in first + rest] == ["log", "log", "exception", "invocation", "log"]
        record = json.loads(first[1]["data"])
        assert (record["workerId"], record["level"], record["message"], record["sequence"]) == ("w", "error", ["two"], 1)
        assert json.loads(rest[2]["data"])["kind"] == "bridge"


async def test_nothing_from_before_it_began(data_dir: Path) -> None:
    """A new subscriber gets what happens from now on."""
    async with Tailed(data_dir) as tailed:
        async with tailed.live.subscribe() as early:
            chunks = await started(early)
            tailed.put(part(line("before")))
            await read(chunks, 1)
        async with tailed.live.subscribe() as late:
            chunks = await started(late)
            tailed.put(part(line("after"), invocation=2))
            assert texts(await read(chunks, 2))[0] == "after"


async def test_who_comes_back_goes_on_where_it_was(data_dir: Path) -> None:
    """A resumed subscriber gets each record once: what it missed out of the spool, then what happens now."""
    async with Tailed(data_dir, segment_bytes=4096) as tailed:
        async with tailed.live.subscribe() as first:
            chunks = await started(first)
            tailed.put(part(line("0"), ended=False))
            last = (await read(chunks, 1))[-1]["id"]
        for i in range(1, 200):
            tailed.put(part(line(str(i)), number=i, ended=False))
        async with tailed.live.subscribe(after=last) as second:
            chunks = await started(second)
            found = await read(chunks, 100)
            for i in range(200, 250):
                tailed.put(part(line(str(i)), number=i, ended=False))
            found += await read(chunks, 249 - len(found))
        assert texts(found) == [str(i) for i in range(1, 250)]


async def test_a_frame_that_was_cut_off_comes_again(data_dir: Path) -> None:
    """Whoever lost the connection in the middle of a frame gets the whole frame again, and so never less than all."""
    async with Tailed(data_dir) as tailed:
        async with tailed.live.subscribe() as first:
            chunks = await started(first)
            tailed.put(part(line("a"), line("b"), line("c"), ended=False))
            seen = await read(chunks, 3)
        async with tailed.live.subscribe(after=seen[1]["id"]) as second:
            assert texts(await read(await started(second), 3)) == ["a", "b", "c"]
        async with tailed.live.subscribe(after=seen[2]["id"]) as third:
            chunks = await started(third)
            tailed.put(part(line("d"), number=1, ended=False))
            assert texts(await read(chunks, 1)) == ["d"]


async def test_what_the_spool_no_longer_has_is_a_gap(data_dir: Path) -> None:
    """Who comes back too late is told that records are missing, although nobody can tell how many."""
    async with Tailed(data_dir, segment_bytes=4096, max_bytes=32_768) as tailed:
        async with tailed.live.subscribe() as first:
            chunks = await started(first)
            tailed.put(part(line("0"), ended=False))
            last = (await read(chunks, 1))[-1]["id"]
        for i in range(1, 60):
            tailed.put(part(line("x" * 1_000), number=i, ended=False))
        segment = int(last.partition(":")[2].partition(".")[0])
        oldest = next(path for path in (data_dir / "spool").iterdir() if path.stem.isdigit() and int(path.stem) == segment)
        oldest.unlink()
        async with tailed.live.subscribe(after=last) as second:
            assert texts(await read(await started(second), 2))[:2] == ["missed None", "x" * 1_000]


async def test_segments_that_went_before_they_were_read_are_a_gap(data_dir: Path) -> None:
    """When the tail itself falls behind so far that the spool lets go of what it has not read, everybody is told."""
    async with Tailed(data_dir, segment_bytes=4096) as tailed, tailed.live.subscribe() as subscription:
        chunks = await started(subscription)
        tailed.put(part(line("0"), ended=False))
        assert texts(await read(chunks, 1)) == ["0"]
        reader = tailed.live._readers["main"]
        tailed.live._readers = {}  # it does not come to read for a while
        for i in range(1, 20):
            tailed.put(part(line("x" * 1_000), number=i, ended=False))
        names = sorted(path for path in (data_dir / "spool").iterdir() if path.suffix == ".seg")
        for path in names[:-1]:
            path.unlink()
        tailed.live._readers = {"main": reader}
        tailed.live.wake()
        found = texts(await read(chunks, 5))
        assert found.index("missed None") < len(found) - 1
        assert found.count("missed None") == 1


async def test_slow_subscribers_are_told_how_many_they_missed(data_dir: Path) -> None:
    """A full queue takes nothing more; what didn't fit is counted, and announced before what comes next."""
    async with Tailed(data_dir) as tailed, tailed.live.subscribe() as slow, tailed.live.subscribe(TailFilter(levels=("error",))) as quick:
        quick_chunks = await started(quick)
        for number in range(30):
            tailed.put(part(*[line(f"{number}.{i}") for i in range(100)], line("mark", level="error"), number=number, ended=False))
            assert texts(await read(quick_chunks, 1)) == ["mark"]  # so the slow one has been handed the same by now
        found = await read(await started(slow), 1)
        assert texts(found)[:2] == ["0.0", "0.1"]
        tailed.put(part(line("late"), number=30, ended=False))
        while texts(found)[-1] != "late":
            found += await read(aiter(slow), 1)
        missed = [int(text.split()[1]) for text in texts(found) if text.startswith("missed")]
        assert len(missed) == 1
        assert len(found) - 1 + missed[0] == 30 * 101 + 1
        assert 0 < missed[0] < 30 * 101


async def test_a_thousand_subscribers_get_every_line_or_a_gap(data_dir: Path) -> None:
    """A thousand subscribers, some reading, some lagging, some with filters: what each got and what it was told that it missed make all."""
    sent, lines = 60, 40
    filters = [TailFilter(), TailFilter(levels=("error",)), TailFilter(workers=("w*",)), tail_filter([("search", "even")])]
    wanted = [sent * (lines + 1), sent, sent * (lines + 1), sent * lines // 2]

    async def follow(tailed: Tailed, number: int, ready: asyncio.Barrier) -> tuple[int, int]:
        """How many records one subscriber got, and how many it was told that it missed."""
        got = missed = 0
        async with tailed.live.subscribe(filters[number % 4]) as subscription:
            chunks = await started(subscription)
            await ready.wait()
            async for chunk in chunks:
                gaps = re.findall(rb'event: gap\ndata: {"missed":(\d+)}', chunk)
                got += chunk.count(b"\ndata: ") - len(gaps)
                missed += sum(int(count) for count in gaps)
                if number % 5 == 0:
                    await asyncio.sleep(0.05)  # a slow one
                if got + missed >= wanted[number % 4]:
                    break
        return got, missed

    async with Tailed(data_dir) as tailed:
        ready = asyncio.Barrier(1_001)
        tasks = [asyncio.create_task(follow(tailed, number, ready)) for number in range(1_000)]
        await ready.wait()
        assert tailed.live.subscribers == 1_000
        for number in range(sent):
            some = [line(f"{'even' if i % 2 else 'odd'} {number}.{i}") for i in range(lines)]
            tailed.put(part(*some, line("mark", level="error"), number=number, ended=False))
            await asyncio.sleep(0)
        for number, (got, missed) in enumerate(await asyncio.gather(*tasks)):
            assert got + missed == wanted[number % 4], number
        assert tailed.live.subscribers == 0


async def test_each_record_is_encoded_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many subscribers there are, and whatever their filters, a record becomes bytes once."""
    encoded: list[str] = []
    real = events_room.event_of

    def counting(record: Record) -> bytes:
        encoded.append(record.text)
        return real(record)

    monkeypatch.setattr(events_room, "event_of", counting)
    async with Tailed(data_dir) as tailed:
        subscriptions = [tailed.live.subscribe(TailFilter(levels=levels)) for levels in ((), ("info",), ("info", "warn")) * 20]
        streams = [await started(subscription) for subscription in subscriptions]
        tailed.put(part(line("one"), line("two"), ended=False))
        for chunks in streams:
            assert texts(await read(chunks, 2)) == ["one", "two"]
        for subscription in subscriptions:
            await subscription.aclose()
    assert encoded == ["one", "two"]


async def test_a_spool_that_is_added_later_is_followed(data_dir: Path) -> None:
    """A further process's spool joins a running live tail: subscribers see it from its beginning, also when they come back."""
    async with Tailed(data_dir) as tailed, tailed.live.subscribe() as subscription:
        chunks = await started(subscription)
        second = SpoolWriter(data_dir / "second", sync_ms=0)
        second.append(encode(part(line("from the second"), invocation=9, ended=False)))
        await tailed.live.add("second", data_dir / "second")
        second.subscribe(tailed.live.wake)
        assert texts(await read(chunks, 1)) == ["from the second"]
        tailed.put(part(line("from the first"), ended=False))
        last = (await read(chunks, 1))[-1]["id"]
        assert {one.partition(":")[0] for one in last.split(",")} == {"main", "second"}
        await subscription.aclose()
        second.append(encode(part(line("while away"), invocation=9, number=1, ended=False)))
        async with tailed.live.subscribe(after=last) as again:
            assert texts(await read(await started(again), 1)) == ["while away"]
        second.close()


async def test_frames_that_are_no_items_are_passed_over(data_dir: Path) -> None:
    """Bytes that can't be read don't end the tail for those who watch."""
    async with Tailed(data_dir) as tailed, tailed.live.subscribe() as subscription:
        chunks = await started(subscription)
        tailed.writer.append(b"\xc1 not msgpack")
        tailed.put(part(line("fine"), ended=False))
        assert texts(await read(chunks, 1)) == ["fine"]


async def test_the_end_of_the_tail_ends_its_streams(data_dir: Path) -> None:
    """When the live tail closes, a subscriber gets what it had been given, and then its stream ends."""
    async with Tailed(data_dir) as tailed:
        subscription = tailed.live.subscribe()
        chunks = await started(subscription)
        tailed.put(part(line("last"), ended=False))
        found = await read(chunks, 1)
        await tailed.live.aclose()
        assert [chunk async for chunk in chunks] == []
        assert texts(found) == ["last"]


@pytest.mark.parametrize("after", ["", "x", "main:1", "main:1.2,", "main:1.2;x:1.1", "main:-1.2", "main:99999999999.1", "\n"])
async def test_foreign_ids_are_refused(data_dir: Path, after: str) -> None:
    """Only what an event had as its id is a place to resume from."""
    async with Tailed(data_dir) as tailed:
        with pytest.raises(QueryError):
            tailed.live.subscribe(after=after)
