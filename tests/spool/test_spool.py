"""The spool as its users see it: append, read, commit, several consumers, locks."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.errors import SpoolError
from otelbridge.spool import SpoolReader, SpoolWriter, forget_consumer, registered_consumers, waiting_bytes
from otelbridge.spool import reader as reader_room
from otelbridge.spool.frame import FRAME_BYTES
from tests.spool.conftest import drain, segments


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    """A reader gets every payload once, in the order of the appends."""
    with_writer = SpoolWriter(tmp_path)
    reader = SpoolReader(tmp_path, "a")
    payloads = [b"%d" % i for i in range(1000)]
    for payload in payloads:
        with_writer.append(payload)
    assert drain(reader) == payloads
    assert drain(reader) == []
    with_writer.close()


@settings(max_examples=30, deadline=None)
@given(
    payloads=st.lists(st.binary(min_size=1, max_size=3000), max_size=60),
    segment_bytes=st.integers(64, 8000),
    max_bytes=st.integers(1, 5000),
    max_frames=st.integers(1, 7),
)
def test_any_segmenting_and_any_reading_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], segment_bytes: int, max_bytes: int, max_frames: int
) -> None:
    """Neither the size of segments nor the size of reads changes what is read, and positions only grow."""
    directory = tmp_path_factory.mktemp("spool")
    writer = SpoolWriter(directory, segment_bytes=segment_bytes, sync_ms=0)
    reader = SpoolReader(directory, "a")
    for payload in payloads:
        writer.append(payload)
    writer.close()
    frames = []
    while got := reader.read(max_bytes, max_frames):
        assert len(got) <= max_frames
        frames += got
    assert [f.payload for f in frames] == payloads
    assert all(a.position <= b.start for a, b in itertools.pairwise(frames))
    reader.close()


def test_a_consumer_goes_on_where_it_committed(tmp_path: Path) -> None:
    """A new reader of the same name begins behind the last committed frame, not behind the last read one."""
    writer = SpoolWriter(tmp_path)
    for i in range(10):
        writer.append(b"%d" % i)
    reader = SpoolReader(tmp_path, "a")
    frames = reader.read()
    reader.commit(frames[3].position)
    reader.close()
    assert drain(SpoolReader(tmp_path, "a")) == [b"%d" % i for i in range(4, 10)]
    writer.close()


def test_segments_go_when_all_consumers_are_past_them(tmp_path: Path) -> None:
    """The slowest registered consumer decides what is removed; one that is forgotten decides no longer."""
    writer = SpoolWriter(tmp_path, segment_bytes=100)
    fast, slow = SpoolReader(tmp_path, "fast"), SpoolReader(tmp_path, "slow")
    for i in range(20):
        writer.append(b"x" * 50 + b"%d" % i)
    before = segments(tmp_path)
    assert len(before) > 5
    fast.commit(fast.read()[-1].position)
    assert segments(tmp_path) == before
    frames = slow.read()
    slow.commit(frames[10].position)
    assert 1 < len(segments(tmp_path)) < len(before)
    assert drain(SpoolReader(tmp_path, "slow")) == [f.payload for f in frames[11:]]
    assert registered_consumers(tmp_path) == ["fast", "slow"]
    forget_consumer(tmp_path, "slow")
    assert len(segments(tmp_path)) <= 2
    writer.close()


def test_start_newest_and_nameless_readers(tmp_path: Path) -> None:
    """start="newest" sees only what comes; a reader without a name holds no segment back and leaves no cursor."""
    writer = SpoolWriter(tmp_path)
    writer.append(b"old")
    newest, nameless = SpoolReader(tmp_path, "new", start="newest"), SpoolReader(tmp_path, None)
    writer.append(b"young")
    assert drain(newest) == [b"young"]
    assert drain(nameless) == [b"old", b"young"]
    nameless.commit(nameless.position)
    assert registered_consumers(tmp_path) == ["new"]
    nameless.seek(newest.committed)
    assert drain(nameless) == [b"young"]
    writer.close()


def test_backlog_counts_what_is_not_committed(tmp_path: Path) -> None:
    """Backlog is the bytes behind the cursor and the age of the oldest frame among them."""
    writer = SpoolWriter(tmp_path)
    reader = SpoolReader(tmp_path, "a")
    assert reader.backlog().bytes == 0
    writer.append(b"x" * 100)
    writer.append(b"y" * 100)
    assert reader.backlog().bytes == 2 * (100 + FRAME_BYTES)
    assert reader.backlog().oldest_age_s >= 0
    frames = reader.read()
    reader.commit(frames[0].position)
    assert reader.backlog().bytes == 100 + FRAME_BYTES
    reader.commit(frames[1].position)
    assert reader.backlog().bytes == 0
    assert reader.backlog().oldest_age_s == 0
    writer.close()


def test_waiting_is_what_the_last_consumer_is_not_done_with(tmp_path: Path) -> None:
    """waiting_bytes() counts the frames behind the cursor that stands furthest back, over all segments; none without a consumer."""
    writer = SpoolWriter(tmp_path, segment_bytes=4096)
    assert waiting_bytes(tmp_path) == 0
    slow, fast = SpoolReader(tmp_path, "slow"), SpoolReader(tmp_path, "fast")
    for _ in range(100):
        writer.append(b"x" * 100)
    frames = fast.read()
    fast.commit(frames[-1].position)
    assert len(list(tmp_path.glob("*.seg"))) > 1
    assert waiting_bytes(tmp_path) == 100 * (100 + FRAME_BYTES)
    slow.read()
    slow.commit(frames[59].position)
    assert waiting_bytes(tmp_path) == 40 * (100 + FRAME_BYTES)
    slow.commit(frames[-1].position)
    assert waiting_bytes(tmp_path) == 0
    writer.close()


def test_the_same_directory_is_refused_to_a_second_writer(tmp_path: Path) -> None:
    """A second writer, of this or another process, gets a SpoolError that names the owner, until the first is closed."""
    first = SpoolWriter(tmp_path)
    with pytest.raises(SpoolError, match=str(os.getpid())):
        SpoolWriter(tmp_path)
    code = "import sys; from pathlib import Path; from otelbridge.spool import SpoolWriter; SpoolWriter(Path(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "SpoolError" in other.stderr
    first.close()
    first.close()
    SpoolWriter(tmp_path).close()


def test_a_directory_that_cant_be_made_is_a_spool_error(tmp_path: Path) -> None:
    """A path that is a file is refused with SpoolError, not with a bare OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError):
        SpoolWriter(tmp_path / "file")


def test_a_reader_that_is_closed_during_a_read_closes_its_file_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that a cancelled task left in its thread has its file to itself to the end; then that is closed, and not opened again."""
    writer = SpoolWriter(tmp_path)
    payloads = [b"%d" % i * 100 for i in range(20)]
    for payload in payloads:
        writer.append(payload)
    reader = SpoolReader(tmp_path, "a")
    inside, on = threading.Event(), threading.Event()
    files: set[int] = set()
    real = os.pread

    def slow(fd: int, size: int, offset: int) -> bytes:
        if os.path.sameopenfile(fd, segment.fileno()):
            files.add(fd)
            inside.set()
            assert on.wait(30)
        return real(fd, size, offset)

    got: list[bytes] = []
    with open(tmp_path / segments(tmp_path)[-1], "rb") as segment, monkeypatch.context() as patch:
        patch.setattr(os, "pread", slow)
        thread = threading.Thread(target=lambda: got.extend(f.payload for f in reader.read()))
        thread.start()
        assert inside.wait(30)
        reader.close()
        reader.close()
        on.set()
        thread.join()
    assert got == payloads
    for fd in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    assert reader.read() == []
    writer.close()


def test_names_of_consumers_are_checked(tmp_path: Path) -> None:
    """A name that could leave the directory is refused."""
    with pytest.raises(SpoolError):
        SpoolReader(tmp_path, "../a")


def test_several_threads_append_while_one_reads(tmp_path: Path) -> None:
    """Appends from several threads never mix, and a reader at work meets no damage."""
    writer = SpoolWriter(tmp_path, segment_bytes=20_000, sync_ms=1)
    reader = SpoolReader(tmp_path, "a")

    def append(who: int) -> None:
        for i in range(300):
            writer.append(b"%d:%d:" % (who, i) + b"x" * (i % 100))

    threads = [threading.Thread(target=append, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    got: list[bytes] = []
    while any(t.is_alive() for t in threads):
        got += drain(reader)
    for thread in threads:
        thread.join()
    writer.close()
    got += drain(reader)
    assert reader.damaged_bytes == 0
    for who in range(4):
        mine = [int(p.split(b":")[1]) for p in got if p.startswith(b"%d:" % who)]
        assert mine == list(range(300))


def test_subscribers_are_woken(tmp_path: Path) -> None:
    """subscribe() calls back after each append."""
    writer = SpoolWriter(tmp_path)
    calls: list[int] = []
    writer.subscribe(lambda: calls.append(1))
    writer.append(b"a")
    assert calls == [1]
    writer.close()


def test_a_writer_without_a_file_left_writes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no file can be opened, frames are written all the same and none raises; afterwards they are synced as before."""
    synced = threading.Event()
    real = os.fdatasync

    def sync(fd: int) -> None:
        real(fd)
        synced.set()

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "fdatasync", sync)
    writer = SpoolWriter(tmp_path, sync_ms=1, max_bytes=100_000)
    with monkeypatch.context() as broken:
        broken.setattr(os, "dup", refuse)
        broken.setattr(os, "scandir", refuse)
        for number in range(100):
            writer.append(b"x%d" % number * 300, rank=2)
        while not writer.sync_errors:
            time.sleep(0.001)
    synced.clear()
    writer.append(b"last", rank=2)
    assert synced.wait(60)
    writer.close()
    found = [frame.payload for frame in SpoolReader(tmp_path, None).read(1 << 30)]
    assert (found[0][:2], found[-1], len(found)) == (b"x0", b"last", 101)


def test_an_error_while_reading_or_committing_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fails at the second segment is done again from its beginning, a commit that fails by the next one."""
    writer = SpoolWriter(tmp_path, segment_bytes=4096, sync_ms=0)
    for number in range(20):
        writer.append(b"%03d" % number * 300, rank=2)
    writer.close()
    reader = SpoolReader(tmp_path, "a")
    opened = itertools.count()
    real = os.open

    def refuse(path: Any, *args: Any) -> int:
        if str(path).endswith(".seg") and next(opened) == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return real(path, *args)

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", refuse)
        with pytest.raises(OSError, match="too many open files"):
            reader.read()
    frames = reader.read()
    assert [frame.payload[:3] for frame in frames] == [b"%03d" % number for number in range(20)]
    with monkeypatch.context() as broken:
        broken.setattr(reader_room, "write_cursor", refuse_cursor)
        with pytest.raises(OSError, match="too many open files"):
            reader.commit(frames[-1].position)
    assert len(segments(tmp_path)) > 2
    reader.commit(frames[-1].position)
    assert len(segments(tmp_path)) == 1


def refuse_cursor(*_: object, **__: object) -> None:
    """Fail as when no file can be opened."""
    raise OSError(errno.EMFILE, "too many open files")
