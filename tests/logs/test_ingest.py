"""Ingest: each record exactly once, whatever dies, fails or comes twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import textwrap
import time
from pathlib import Path

import pytest

from otelbridge.errors import StoreError
from otelbridge.logs import Indexer, Store
from otelbridge.logs.batch import make_batch
from otelbridge.logs.idle import IdleReaders
from otelbridge.logs.segment import Segment
from otelbridge.logs.segments import Segments
from otelbridge.model import ring
from otelbridge.model.part import Notice, encode
from otelbridge.spool import SpoolReader, SpoolWriter
from tests.logs.samples import START_NS, Filled, end_of, frames, line, part, stored

CHILD = """
    import asyncio, sys
    from pathlib import Path
    from otelbridge.logs import Indexer, Store
    from otelbridge.spool import SpoolReader

    async def main(folder):
        reader = SpoolReader(folder / "spool", "index")
        async with Store(directory=folder / "store", segment_records=700) as store, Indexer(store, {"main": reader}):
            print("ready", flush=True)
            await asyncio.sleep(60)

    asyncio.run(main(Path(sys.argv[1])))
"""


def stored_texts(directory: Path) -> list[str]:
    """All texts in the store's files, read by hand."""
    found: list[str] = []
    for file in sorted(directory.glob("*.db")):
        connection = sqlite3.connect(file)
        found += [text for (text,) in connection.execute("SELECT text FROM records WHERE kind = 0")]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        connection.rollback()
        connection.close()
    return found


async def test_sigkill_loses_and_doubles_nothing(data_dir: Path) -> None:
    """An indexing process is killed again and again while records come in; in the end each record is there once."""
    writer = SpoolWriter(data_dir / "spool", segment_bytes=64 << 10, sync_ms=0)
    code = textwrap.dedent(CHILD)
    written = 0
    for _ in range(6):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(data_dir), stdout=asyncio.subprocess.PIPE)
        try:
            assert child.stdout is not None
            await child.stdout.readline()
            for _ in range(600):
                lines = [line(f"line {written + i}") for i in range(3)]
                writer.append(encode(part(*lines, invocation=written, start_ns=time.time_ns())))
                written += 3
                if written % 300 == 0:
                    await asyncio.sleep(0.005)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
    reader = SpoolReader(data_dir / "spool", "index")
    async with Store(directory=data_dir / "store", segment_records=700) as store, Indexer(store, {"main": reader}) as indexer:
        assert await indexer.drain()
        assert (await store.state()).rejected_items == 0
        counted = await store.query({"view": "calculations", "calculations": [{"operator": "count"}], "q": "kind:log"})
        assert counted["calculations"][0]["values"]["count"] == written
    writer.close()
    texts = stored_texts(data_dir / "store")
    assert sorted(texts) == sorted(f"line {i}" for i in range(written))


async def test_frames_that_come_again_are_skipped(data_dir: Path) -> None:
    """A consumer's cursor that lags behind the store repeats frames; the store has its own and skips them."""
    async with Filled(data_dir) as filled:
        await filled.put(*[part(line(f"{i}"), invocation=i) for i in range(50)])
    cursor = next((data_dir / "spool" / "consumers").glob("*.cursor"))
    cursor.write_text("0 0\n")
    async with Filled(data_dir) as filled:
        await filled.put(part(line("new"), invocation=99))
        assert sorted(await filled.texts("kind:log")) == sorted([*(f"{i}" for i in range(50)), "new"])


def test_a_spool_that_was_made_anew_is_read() -> None:
    """After its directory was removed a spool begins at lower places again, with a later boot: nothing of it is skipped."""
    with stored(segment_records=1_000) as segments:
        segments.add(make_batch("main", frames([part(line("old"), invocation=1)], boot=5, segment=9)))
        again = frames([part(line("old"), invocation=1)], boot=5, segment=9)
        segments.add(make_batch("main", again, segments.cursors["main"]))
        fresh = frames([part(line("new"), invocation=2)], boot=6, segment=1)
        segments.add(make_batch("main", fresh, segments.cursors["main"]))
        assert [segment.records for segment in segments.all] == [4]


def test_cursors_move_on_to_a_new_segment() -> None:
    """A spool that is silent while segments come and go is still known by its place."""
    with stored(segment_records=2) as segments:
        segments.add(make_batch("quiet", frames([part(line("a"), invocation=1)])))
        for i in range(2, 6):
            segments.add(make_batch("busy", frames([part(line("b"), invocation=i)], segment=i)))
        directory = segments.directory
        place = segments.cursors["quiet"]
        for segment in segments.all[:-1]:
            segment.remove()
        segments.close()
        again = Segments(directory=directory, segment_records=2, retention_seconds=1e9, max_bytes=1 << 30)
        again.open()
        assert again.cursors["quiet"] == place
        again.close()


def test_cursors_survive_a_death_between_two_segments() -> None:
    """A file that was made and not yet told the cursors, or one that is damaged, does not have the spool read from its beginning."""
    with stored([part(line("a"), invocation=1)], [part(line("b"), invocation=2)]) as segments:
        directory, place = segments.directory, segments.cursors["main"]
        segments.close()
        Segment(directory, segments.all[-1].number + 1, IdleReaders()).close()
        again = Segments(directory=directory, segment_records=2, retention_seconds=1e9, max_bytes=1 << 30)
        again.open()
        assert again.cursors == {"main": place}
        again.close()
        again.all[-1].path.write_bytes(b"damaged" * 1_000)
        again = Segments(directory=directory, segment_records=2, retention_seconds=1e9, max_bytes=1 << 30)
        again.open()
        assert again.cursors == {"main": place}
        again.close()


def test_items_that_make_no_row_do_not_stop_the_others() -> None:
    """A part that SQLite can't take is left out and counted; what stands beside it is stored, once."""
    good, bad = part(line("good"), invocation=1), part(line("bad"), invocation=2, start_ns=1 << 63)
    with stored([good, bad, part(line("fine"), invocation=3)]) as segments:
        assert segments.rejected == 1
        assert segments.all[-1].records == 4


def test_the_same_invocation_twice_is_stored_once() -> None:
    """A first part whose invocation is in the store already is a repetition, and left out."""
    with stored([part(line("a"), invocation=1)], [part(line("a"), invocation=1), part(line("b"), invocation=2)]) as segments:
        assert segments.rejected == 1
        assert segments.all[-1].records == 4


def test_frames_that_are_no_items_are_counted() -> None:
    """Bytes that are no spool item are left out, and the cursor moves past them."""
    good = frames([part(line("a"))])
    import msgspec

    broken = [msgspec.structs.replace(good[0], payload=b"\xc1broken")]
    with stored() as segments:
        segments.add(make_batch("main", broken))
        assert segments.rejected == 1
        assert "main" in segments.cursors


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({}, ["a", "GET http://worker/ -> 200 (ok)"]),
        ({"logs": False}, []),
        ({"spans": False}, ["a", "GET http://worker/ -> 200 (ok)"]),
    ],
)
async def test_what_is_not_wanted_is_not_kept(data_dir: Path, options: dict[str, bool], texts: list[str]) -> None:
    """Records, or spans, can be left out; the invocation is there in any case."""
    opened = ring.pack(ring.SPAN_OPEN, b'{"name": "db", "parent": 0}', span=1)
    item = part(line("a"), opened, invocation=1)
    async with Filled(data_dir, **options) as filled:
        await filled.put(item)
        assert await filled.texts() == texts
        assert [one.invocation_id for one in (await filled.store.invocations()).invocations] == [item.invocation_id]
        found = await filled.store.invocation(item.invocation_id)
        assert found is not None
        assert [span["name"] for span in found["spans"]] == (["db"] if options.get("spans", True) else [])
        assert found["outcome"] == "ok"


async def test_a_full_disk_is_waited_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is tried again until it works; nothing is lost or doubled by that."""
    async with Filled(data_dir) as filled:
        await filled.put(part(line("before"), invocation=1))
        segment = filled.store._segments.all[-1]
        await filled.store._write(lambda: segment.writer().execute("PRAGMA max_page_count = 1").fetchall())
        for i in range(2, 60):
            filled.writer.append(encode(part(line("x" * 5_000), invocation=i)))
        while not filled.indexer.failures:
            await asyncio.sleep(0.01)
        await filled.store._write(lambda: segment.writer().execute("PRAGMA max_page_count = 1073741823").fetchall())
        assert await filled.indexer.drain()
        assert (await filled.store.state()).records == 2 * 59


async def test_a_second_store_is_refused(data_dir: Path) -> None:
    """One process has a store: two writers would tell the spool different things."""
    async with Store(directory=data_dir):
        with pytest.raises(StoreError, match="in use"):
            await Store(directory=data_dir).__aenter__()
    async with Store(directory=data_dir):
        pass


async def test_closing_twice_is_fine(data_dir: Path) -> None:
    """aclose() can be called again, also when nothing was opened."""
    store = Store(directory=data_dir)
    await store.aclose()
    async with Filled(data_dir) as filled:
        await filled.put(part(line("a")))
        await filled.indexer.aclose()
        await filled.store.aclose()


async def test_the_spool_lets_go_after_a_checkpoint_only(data_dir: Path) -> None:
    """The spool's cursor moves when the store's files have been synced: a power cut takes nothing that the spool let go."""
    async with Filled(data_dir) as filled:
        await filled.put(part(line("a")))
        assert filled.store.cursor("main") is not None
        assert filled.store.durable_cursor("main") is None
        await filled.store.checkpoint()
        assert filled.store.durable_cursor("main") == filled.store.cursor("main")
    assert SpoolReader(data_dir / "spool", "index").backlog().bytes == 0


async def test_several_spools(data_dir: Path) -> None:
    """Spools of several processes have cursors of their own; one can be added later."""
    writers = {name: SpoolWriter(data_dir / name, sync_ms=0) for name in ("p0", "p1")}
    async with Store(directory=data_dir / "store") as store:
        async with Indexer(store, {"p0": SpoolReader(data_dir / "p0", "index")}) as indexer:
            writers["p0"].append(encode(Notice(START_NS, "info", "from p0")))
            writers["p1"].append(encode(Notice(START_NS, "info", "from p1")))
            indexer.add("p1", SpoolReader(data_dir / "p1", "index"))
            assert await indexer.drain()
            assert indexer.stored_records == 2
        assert {record.text for record in (await store.logs()).logs} == {"from p0", "from p1"}
    for writer in writers.values():
        writer.close()


def test_parts_of_one_invocation_over_several_segments() -> None:
    """Lines of a running invocation learn its outcome in whichever segment they lie."""
    one = part(line("one"), invocation=1, ended=False)
    two = part(line("two"), invocation=1, number=1, first_sequence=1, ended=False)
    three = part(line("three"), invocation=1, number=2, first_sequence=2, end=end_of(time_ns=START_NS + 9, outcome="exceededCpu"))
    with stored([one], [two], [three], segment_records=1) as segments:
        assert len(segments.all) == 4
        for segment in segments.all[:3]:
            assert segment.writer().execute("SELECT outcome FROM invocations").fetchall() == [("exceededCpu",)]
        home = segments.all[0].writer()
        assert home.execute("SELECT invocations, errors FROM totals WHERE wall_bucket >= 0").fetchall() == [(1, 1)]
        assert home.execute("SELECT invocations FROM totals WHERE wall_bucket < 0").fetchall() == [(0,)]


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """A segment that SQLite can't read is renamed; the store goes on with the others."""
    options = {"directory": tmp_path, "segment_records": 1, "retention_seconds": 1e9, "max_bytes": 1 << 30}
    segments = Segments(**options)  # type: ignore[arg-type]
    segments.open()
    for i in range(3):
        segments.add(make_batch("main", frames([part(line(f"{i}"), invocation=i)], segment=i + 1)))
    segments.close()
    (tmp_path / "00000002.db").write_bytes(b"no database at all" * 500)
    again = Segments(**options)  # type: ignore[arg-type]
    again.open()
    assert again.damaged == 1
    assert [segment.number for segment in again.all] == [1, 3, 4]
    assert (tmp_path / "00000002.db.damaged").exists()
    again.close()


@pytest.mark.parametrize(("logs", "spans"), [(True, True), (True, False), (False, True), (False, False)])
async def test_what_is_not_to_be_kept_is_left_out(data_dir: Path, logs: bool, spans: bool) -> None:
    """Records of workers, and spans, are stored only if that is wanted; the bridge's own records always are."""
    opened = ring.pack(ring.SPAN_OPEN, b'{"name": "db", "parent": 0}', span=1)
    async with Filled(data_dir, logs=logs, spans=spans) as filled:
        await filled.put(part(line({"user": 1}), opened, ring.pack(ring.SPAN_CLOSE, b"{}", span=1)), Notice(START_NS, "warn", "notice"))
        assert await filled.texts("kind:log") == (['{"user":1}'] if logs else [])
        assert await filled.texts("kind:bridge") == ["notice"]
        assert (await filled.store.sql("SELECT count(*) FROM spans")).rows == [[int(spans)]]
        assert len((await filled.store.invocations()).invocations) == int(logs or spans)
        assert [key.key for key in await filled.store.keys("user")] == (["user"] if logs else [])


def test_checkpoints_come_by_themselves(data_dir: Path) -> None:
    """After some batches what is stored is durable, without anybody asking, and the write-ahead log begins anew."""
    segments = Segments(directory=data_dir, segment_records=100_000, retention_seconds=1e9, max_bytes=1 << 30)
    segments.open()
    for number in range(1, 301):
        segments.add(make_batch("main", frames([part(line(f"{number}"), invocation=number)], segment=number)))
    assert segments.durable["main"].segment >= 128
    connection = segments.all[0].writer()
    pages = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    assert pages < 300 * 10
    segments.close()
    segments.close()
    assert stored_texts(data_dir) == [str(number) for number in range(1, 301)]
