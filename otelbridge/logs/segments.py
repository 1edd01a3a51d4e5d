"""All segments of a store and what happens to them over time: a new one begins, old ones go. The writer's thread only."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otelbridge.errors import StoreError
from otelbridge.logs.batch import Batch, Cursor
from otelbridge.logs.idle import IdleReaders
from otelbridge.logs.room import disk_bytes, lacks_space, short_of_space
from otelbridge.logs.segment import Segment, list_segments, segment_files
from otelbridge.logs.writer import Writer

__all__ = ["Segments"]

_log = logging.getLogger("otelbridge.logs")

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CHECKPOINT_BATCHES = 64
# The segment that is being filled is given up for space only when that gives back more than a new one takes at once.
_WORTH_BYTES = 1 << 20


class Segments:
    """See the module's text. `all` may be read by any thread; it is replaced, never changed.

    `removed_for_space`: is told of files that went because the disk was full: their bytes and records, None when unknown.
    """

    def __init__(
        self,
        *,
        directory: Path,
        segment_records: int,
        retention_seconds: float,
        max_bytes: int,
        removed_for_space: Callable[[int, int | None], None] = lambda _bytes, _records: None,
    ) -> None:
        self.directory = directory
        self.all: tuple[Segment, ...] = ()
        self.cursors: dict[str, Cursor] = {}  # of what is stored
        self.durable: dict[str, Cursor] = {}  # of what a power cut can't take any more
        self.rejected = 0  # items that could not be stored
        self.damaged = 0  # files set aside
        self.removed = 0  # records gone by age or size
        self.pressed = False  # the disk was nearly full when something was added
        self.yielded = 0  # files of them that went because the disk was full
        self.skipped = 0  # records that were given up because they could not be written
        self._removed_for_space = removed_for_space
        self._segment_records = segment_records
        self._retention_seconds = retention_seconds
        self._max_bytes = max_bytes
        self._since_checkpoint = 0
        self._last = 0  # number of the newest segment there has been
        self._lock_fd = -1
        self._writer: Writer | None = None
        self._idle = IdleReaders()
        self._syncing: threading.Thread | None = None

    def open(self) -> None:
        """Take the directory and open what is in it. StoreError when another process has it."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise StoreError(f"The log store in {self.directory} is in use by another process.") from e
        except OSError as e:
            raise StoreError(f"The log store in {self.directory} can't be opened: {e}.") from e
        while True:
            try:
                self._open_all()
            except (sqlite3.Error, OSError) as e:
                # A full disk must not keep the service from starting: without a segment to write to, add() tries again.
                if not lacks_space(e, self.directory):
                    raise StoreError(f"The log store in {self.directory} can't be opened: {e}.") from e
                if not self.make_room(e):
                    _log.warning("there is no space for the log store in %s: %s", self.directory, e)
                    return
            else:
                return

    def _open_all(self) -> None:
        known = {segment.number: segment for segment in self.all}
        for number in list_segments(self.directory):
            if number not in known and (found := self._segment(number)) is not None:
                known[number] = found
                self.all = tuple(known[one] for one in sorted(known))
        stored: dict[str, Cursor] = {}
        for segment in self.all:  # not of the last one alone: a process can die between making a file and telling it the cursors
            stored |= segment.cursors
        self.cursors = stored | self.cursors
        for segment in self.all[:-1]:
            if not segment.summed:
                segment.finish()  # the process died before it came to that
        if not self.all or self.all[-1].summed:
            self._begin()
        else:
            self._write_to(self.all[-1])

    def close(self) -> None:
        """Make all that is stored durable and let go. May be called twice."""
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self.checkpoint()
        self._await_sync()
        self._writer = None
        for segment in self.all:
            segment.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    # --------------------------------------------------------------------------------------------------------- adding

    def add(self, batch: Batch) -> None:
        """Store a batch. Errors of sqlite3 go through, nothing of the batch is stored then: try again later."""
        if self._writer is None:
            self._open_all()
        self.pressed = short_of_space(self.directory)
        if self.pressed:
            self._leave_space()
        assert self._writer is not None
        try:
            rejected = self._writer.add(batch)
        except sqlite3.DatabaseError as e:
            if getattr(e, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
                raise
            self._set_aside(self._writer.segment, e)
            rejected = self._writer.add(batch)
        self.rejected += rejected + batch.damaged
        if batch.cursor is not None:
            self.cursors[batch.spool] = batch.cursor
        self._since_checkpoint += 1
        try:
            self._tidy()
        except (sqlite3.Error, OSError) as e:  # the batch is stored: whoever calls must not add it again
            _log.warning("upkeep of the log store failed, will try again: %s", e)
            self.make_room(e)

    def _leave_space(self) -> None:
        """What is durable the spool need not keep any more, and what is older than what it brings goes first."""
        try:
            self.checkpoint()
        except sqlite3.Error as e:
            _log.warning("upkeep of the log store failed, will try again: %s", e)
        if self._give_up_oldest() and self._writer is None:
            self._open_all()

    def _tidy(self) -> None:
        assert self._writer is not None
        if self._since_checkpoint >= _CHECKPOINT_BATCHES and self._is_synced(self._writer.segment):
            self.checkpoint()
        if self._is_full(self._writer.segment):
            self._begin()
            self.retire()

    def _is_synced(self, segment: Segment) -> bool:
        """Whether the write-ahead log is on the disk, but for what came in meanwhile. A checkpoint would wait for that, and
        all batches with it: a tenth of their time."""
        if self._syncing is None:
            self._syncing = threading.Thread(target=_sync, args=(segment,), name="otelbridge-store-sync")
            self._syncing.start()
        elif not self._syncing.is_alive() or self._since_checkpoint >= 2 * _CHECKPOINT_BATCHES:
            self._await_sync()
            return True
        return False

    def _await_sync(self) -> None:
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def skip(self, batch: Batch) -> None:
        """Give a batch up that can't be written, so that the spool need not keep it: all behind it counts as done with."""
        self.skipped += batch.records
        if batch.cursor is not None:
            self.cursors[batch.spool] = batch.cursor
        for segment in self.all:
            with contextlib.suppress(OSError):
                segment.sync()
        self.durable = dict(self.cursors)

    def checkpoint(self) -> None:
        """Move what was added into the files for good."""
        cursors = dict(self.cursors)
        done = []
        for segment in self.all:
            try:
                done.append(segment.checkpoint(rest=self._writer is None or segment is not self._writer.segment))
            except sqlite3.Error as e:
                if not lacks_space(e, self.directory):
                    raise
                done.append(segment.sync())  # the file can't grow, but what its log holds is as good once that is synced
        self._since_checkpoint = 0
        if all(done):
            self.durable = cursors

    def make_room(self, error: Exception) -> bool:
        """After an error: if it comes from a full disk, remove the oldest segment. Whether one was removed: then try again."""
        return lacks_space(error, self.directory) and self._give_up_oldest()

    def _give_up_oldest(self) -> bool:
        unopened = sorted(set(list_segments(self.directory)) - {segment.number for segment in self.all})
        if unopened and (not self.all or unopened[0] < self.all[0].number):
            return self._remove_file(unopened[0])
        if not self.all or (len(self.all) == 1 and self.all[0].bytes() < _WORTH_BYTES):
            return False
        segment, size = self.all[0], self.all[0].bytes()
        self.removed += segment.records
        self.all = self.all[1:]
        if self._writer is not None and self._writer.segment is segment:
            self._writer = None  # add() begins a new one
        segment.remove()
        self._yielded(size, segment.records)
        return True

    def _remove_file(self, number: int) -> bool:
        size = 0
        for path in segment_files(self.directory, number):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
                path.unlink()
        if size:
            self._yielded(size, None)
        return size > 0

    def _yielded(self, size: int, records: int | None) -> None:
        self.yielded += 1
        _log.warning("the disk is full: the oldest file of the log store is removed (%d bytes)", size)
        self._removed_for_space(size, records)

    def retire(self) -> None:
        """Remove the segments that are too old, and the oldest while all are too large together."""
        oldest_ns = int((time.time() - self._retention_seconds) * 1e9)
        if self._writer is None:
            self._open_all()
        sizes = {segment: segment.bytes() for segment in self.all}
        for segment in self.all[:-1]:
            if (segment.last or 0) < oldest_ns or sum(sizes.values()) > self._max_bytes:
                del sizes[segment]
                self.removed += segment.records
                self.all = tuple(sizes)
                segment.remove()
        active = self.all[-1]
        if active.records and time.time() - active.created > self._retention_seconds / 8:
            self._begin()  # so that retention by age comes to it too

    def _is_full(self, segment: Segment) -> bool:
        """An eighth of what there is room for at most: what is given up at a time takes the newest records only when it has to."""
        room = min(self._max_bytes, disk_bytes(self.directory))
        return segment.records >= self._segment_records or segment.bytes() > max(room // 8, _WORTH_BYTES)

    def _begin(self) -> None:
        """Begin a new segment, and close the one that was filled."""
        before = self.all[-1] if self.all else None
        number = before.number + 1 if before is not None else max(list_segments(self.directory), default=self._last) + 1
        segment = Segment(self.directory, number, self._idle)
        try:
            self._write_to(segment)
        except BaseException:  # nothing is written to it then; the next attempt finds the file as it is
            segment.close()
            raise
        self._last = number
        self.all = (*self.all, segment)
        if before is not None and not before.summed:
            before.finish()

    def _write_to(self, segment: Segment) -> None:
        writer = Writer(segment, end_older=self._end_older)
        writer.set_cursors(self.cursors)
        self._writer = writer

    def _end_older(self, key: bytes | str, start_ns: int, end: tuple[Any, ...]) -> None:
        """Tell the segment in which an invocation began, and those between, how it ended."""
        assert self._writer is not None
        for segment in reversed(self.all):
            if segment is self._writer.segment:
                continue
            if segment.last is not None and segment.last < start_ns:
                break
            if segment.end_invocation(key, end):
                break

    # --------------------------------------------------------------------------------------------------------- damage

    def _segment(self, number: int) -> Segment | None:
        try:
            return Segment(self.directory, number, self._idle)
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError):
                raise
            self._rename(self.directory / f"{number:08d}.db", e)
            return None

    def _set_aside(self, segment: Segment, error: Exception) -> None:
        """Go on without a file that is damaged. What is in it is not deleted, but not found any more either."""
        self.all = tuple(one for one in self.all if one is not segment)
        segment.close()
        self._rename(segment.path, error)
        new = Segment(self.directory, segment.number + 1, self._idle)
        self.all = (*self.all, new)
        self._write_to(new)

    def _rename(self, path: Path, error: Exception) -> None:
        _log.error("%s is damaged (%s) and set aside as %s.damaged", path, error, path.name)
        self.damaged += 1
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{path}.damaged{suffix}")


def _sync(segment: Segment) -> None:
    with contextlib.suppress(OSError):  # the checkpoint that follows says what is wrong
        segment.sync()
