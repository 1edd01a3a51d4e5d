"""A store on a disk without space: it gives its oldest records up, and never holds the spool for ever."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from otelbridge.model.part import encode
from tests.logs.samples import Filled, line, part

CHILD = """
import asyncio, os, sys
from pathlib import Path
from otelbridge.logs import Indexer, Store
from otelbridge.model.part import encode
from otelbridge.spool import SpoolReader, SpoolWriter
from tests.logs.samples import START_NS, line, part

small, spool = Path(sys.argv[1]), Path(sys.argv[2])
told = []

async def main():
    number = 0
    writer = SpoolWriter(spool, sync_ms=0, segment_bytes=65536)
    reader = SpoolReader(spool, "store")
    store = Store(directory=small / "store", retention_seconds=1e9, segment_records=100, tell=lambda level, text, **f: told.append(f))
    indexer = Indexer(store, {"main": reader}, poll_seconds=0.01, patience_seconds=0.3)

    async def put(count):
        nonlocal number
        for number in range(number + 1, number + count + 1):
            writer.append(encode(part(line("word " + str(number), "x" * 8000), invocation=number, start_ns=START_NS + number * 10**9)))
        assert await indexer.drain(60)

    async def newest():
        return [r.text.split()[1] for r in (await store.logs("kind:log", limit=1)).logs]

    async with store, indexer:
        for _ in range(20):
            await put(60)
        state = await store.state()
        assert await newest() == ["1200"], "what comes last is stored"
        assert state.removed_segments_full > 0 and state.skipped_records == 0, state
        assert state.records + state.removed_records == 2400, ("each record is stored once", state)
        removed = [f for f in told if f["event"] == "otelbridge.store.removed"]
        assert len(removed) == state.removed_segments_full and sum(f["records"] for f in removed) == state.removed_records

        while not (state := await store.state()).skipped_records:
            fill(small)
            await put(20)
        assert state.records + state.removed_records + state.skipped_records == 2 * number, state
        assert any(f["event"] == "otelbridge.store.skipped" for f in told)
        while reader.backlog().bytes > 200_000:
            fill(small)
            await put(5)
    before = number
    fill(small)
    again = Store(directory=small / "store", retention_seconds=1e9, tell=lambda level, text, **f: told.append(f))
    async with again:
        await again.state()
    (small / "ballast").unlink()
    again = Store(directory=small / "store", retention_seconds=1e9)
    store, indexer = again, Indexer(again, {"main": SpoolReader(spool, "store")}, poll_seconds=0.01)
    async with store, indexer:
        await put(10)
        assert await newest() == [str(before + 10)], "with space it stores again"
        assert len((await store.logs("kind:log", limit=1000)).logs) >= 10
    writer.close()

def fill(small):
    with open(small / "ballast", "ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as e:
            assert e.errno == 28

asyncio.run(main())
print("ok")
"""


def test_a_full_disk_costs_the_oldest_records_and_is_told(tmp_path: Path) -> None:
    """On a real file system of 8 MiB the oldest records go and each is stored once; when others fill it, what can't be stored is
    counted, told and let go of by the spool, a start works all the same, and with space it stores again."""
    small = tmp_path / "small"
    small.mkdir()
    own = ("unshare", "--user", "--map-root-user", "--mount")
    if subprocess.run([*own, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    inside = f'mount -t tmpfs -o size=8m none {small} && exec "$@"'
    command = [*own, "sh", "-c", inside, "sh", sys.executable, "-W", "error", "-c", CHILD, str(small), str(tmp_path / "spool")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ok", done.stderr


async def test_a_store_that_fails_holds_no_more_of_the_spool_than_its_share(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the error: while little waits it is tried again, beyond the limit records are left out, and told once in a row."""
    async with Filled(data_dir, tell=lambda level, text, **fields: told.append(fields)) as filled:
        told: list[dict[str, object]] = []
        filled.indexer._hold_bytes = 400_000
        assert filled.store._segments._writer is not None
        with monkeypatch.context() as broken:

            def fail(_: object) -> int:
                raise sqlite3.OperationalError("disk I/O error")

            broken.setattr(filled.store._segments._writer, "add", fail)
            for number in range(100):
                filled.writer.append(encode(part(line("x" * 8_000), invocation=number)))
            while filled.indexer.lag_bytes() > 500_000 or not filled.store._segments.skipped:
                await asyncio.sleep(0.01)
        assert await filled.indexer.drain()
        state = await filled.store.state()
        assert state.skipped_records > 0
        assert state.records > 0, "what waited within the limit is stored"
        assert state.records + state.skipped_records == 200
        assert [fields["event"] for fields in told] == ["otelbridge.store.skipped"]


async def test_a_store_that_fails_does_not_hold_up_the_end(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop while nothing can be written ends without waiting for the store to get well; what was not stored is stored after the next start."""
    async with Filled(data_dir) as filled:

        def fail(_: object) -> None:
            raise sqlite3.OperationalError("database is locked")

        monkeypatch.setattr(filled.store._segments, "add", fail)
        filled.writer.append(encode(part(line("later"))))
        while not filled.indexer.failures:
            await asyncio.sleep(0.01)
    async with Filled(data_dir) as again:
        assert await again.indexer.drain(60)
        assert await again.texts("kind:log") == ["later"]


async def test_whatever_fails_the_index_goes_on(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the store, no room that can be made and a spool that can't be read cost no record; the failures are counted and shown."""
    async with Filled(data_dir) as filled:
        await filled.put(part(line("before")))
        (task,) = filled.indexer.tasks
        assert (task.trouble, filled.indexer.troubles) == (None, [])

        def refuse(*_: object) -> bool:
            raise OSError(errno.EMFILE, "too many open files")

        def defect(_: object) -> int:
            raise AssertionError("a defect")

        assert filled.store._segments._writer is not None
        with monkeypatch.context() as broken:
            broken.setattr(filled.store._segments, "make_room", refuse)
            broken.setattr(filled.store._segments._writer, "add", defect)
            filled.writer.append(encode(part(line("during"), invocation=2)))
            while filled.indexer.failures < 2:
                await asyncio.sleep(0.01)
            assert filled.indexer.troubles == ["spool main can't be stored: AssertionError: a defect"]
        assert await filled.indexer.drain()
        assert filled.indexer.troubles == []

        with monkeypatch.context() as broken:
            broken.setattr(filled.indexer._spools["main"], "read", refuse)
            while not task.failures:
                await asyncio.sleep(0.01)
        filled.writer.append(encode(part(line("after"), invocation=3)))
        assert await filled.indexer.drain()
        assert await filled.texts("kind:log") == ["before", "during", "after"]
        assert task.trouble is not None
        assert "too many open files" in task.trouble


async def test_a_nearly_full_disk_has_the_spool_let_go_of_what_is_stored(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch then makes the ones before it durable, and the spool frees them at once, not at the next upkeep."""
    monkeypatch.setattr("otelbridge.logs.segments.short_of_space", lambda _: True)
    monkeypatch.setattr("otelbridge.logs.store._UPKEEP_SECONDS", 1e9)
    async with Filled(data_dir) as filled:
        for number in range(10):
            await filled.put(part(line("x" * 1000), invocation=number))
            before = filled.store.cursor("main")
            assert filled.store.pressed
            await filled.put(part(line("next"), invocation=100 + number))
            assert filled.store.durable_cursor("main") == before
        reader = filled.indexer._spools["main"]
        async with asyncio.timeout(30):
            while reader.backlog().bytes > 500:  # the last batch is never durable by itself
                await asyncio.sleep(0.01)
