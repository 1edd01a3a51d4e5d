"""One file of the store: the records of a stretch of time, with their indexes. Old stretches are removed as a whole."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otelbridge.logs.batch import Cursor
from otelbridge.logs.idle import IdleReaders
from otelbridge.logs.reader import Budget, Reader, connect
from otelbridge.logs.schema import END, FORMAT, MOVE_TOTAL, SCHEMA, SUMMARIES

__all__ = ["Segment", "list_segments", "segment_files"]


def list_segments(directory: Path) -> list[int]:
    """The numbers of the segments that exist, oldest first."""
    return sorted(int(path.stem) for path in directory.glob("????????.db") if path.stem.isdigit())


def segment_files(directory: Path, number: int) -> list[Path]:
    """The files that a segment may have: the database, its write-ahead log and the index of that."""
    return [directory / f"{number:08d}.db{suffix}" for suffix in ("", "-wal", "-shm")]


class Segment:
    """One file, opened or made. `first` and `last`: the lowest and highest number of a record, None when it has none;
    `cursors`: how far each spool had been read when it was opened.

    The writer's connection belongs to the writer's thread; readers may be used in any thread, and wait in `idle`, the
    store's, until they are needed again.
    """

    def __init__(self, directory: Path, number: int, idle: IdleReaders) -> None:
        self.number = number
        self.path = directory / f"{number:08d}.db"
        self.created = time.time()
        self.first: int | None = None
        self.last: int | None = None
        self.records = 0
        self.summed = False
        self._lock = threading.Lock()
        self._idle = idle
        self._gone = False
        self._writer: sqlite3.Connection | None = None
        try:
            self._open()
        except BaseException:
            self.rest()
            raise

    def _open(self) -> None:
        connection = self.writer()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO facts VALUES ('created', ?)", (self.created,))
            connection.execute("COMMIT")
        elif version != FORMAT:
            raise sqlite3.DatabaseError(f"{self.path.name} has format {version}, not {FORMAT}")
        facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
        self.created = facts["created"]
        self.summed = "summed" in facts
        self.first, self.last = connection.execute("SELECT (SELECT min(number) FROM records), (SELECT max(number) FROM records)").fetchone()
        self.records = connection.execute("SELECT ifnull(sum(count), 0) FROM volume WHERE worker = 0").fetchone()[0]
        places = connection.execute("SELECT spool, boot, segment, offset FROM cursors").fetchall()
        self.cursors = {spool: Cursor(*place) for spool, *place in places}
        log = segment_files(self.path.parent, self.number)[1]
        if self.summed and not (log.exists() and log.stat().st_size):  # full, and a store may have hundreds of such files
            self.rest()

    # ------------------------------------------------------------------------------------------------------- the writer

    def writer(self) -> sqlite3.Connection:
        """The connection that writes; for the writer's thread."""
        if self._writer is None:
            connection = connect(self.path, readonly=False)
            try:
                connection.execute("PRAGMA page_size = 8192")
                connection.execute("PRAGMA journal_mode = WAL")
                # A killed process loses nothing with this. After a power cut the last transactions may be gone, as a whole;
                # the spool still has them, because its cursor moves on after a checkpoint only.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                # It fills while the file grows, and is held until that is full. From 2 to 64 MiB the CPU time per record is the same.
                connection.execute("PRAGMA cache_size = -4096")
            except BaseException:  # a full disk has no space for the files beside it
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def checkpoint(self, *, rest: bool = False) -> bool:
        """Move what the write-ahead log holds into the file, and sync both; whether that went through to the end.

        A reader of an older state can stand in its way. `rest`: close the writer's connection then.
        """
        if self._writer is None:
            return True
        busy, logged, moved = self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if rest:
            self.rest()
        return not busy and bool(logged == moved)

    def sync(self) -> bool:
        """Make the write-ahead log durable where it is."""
        with contextlib.suppress(FileNotFoundError):
            # Closing another descriptor of a file drops the process's locks on it; SQLite has none on this one.
            fd = os.open(segment_files(self.path.parent, self.number)[1], os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)
        return True

    def end_invocation(self, key: bytes | str, end: tuple[Any, ...]) -> bool:
        """Write how an invocation ended that has lines here; whether it began here. A second time changes nothing."""
        connection = self.writer()
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            row = connection.execute("SELECT home, worker, end_ns FROM invocations WHERE id = ?", (key,)).fetchone()
            if row is None:
                return False
            home, worker, end_ns = row
            if end_ns is None:
                connection.execute(END, (*end, key))
                if home and self.summed:
                    connection.execute(MOVE_TOTAL, (worker, -1, -1, 0, 0))
                    connection.execute(MOVE_TOTAL, (worker, end[6], 1, end[3], end[0]))
        return bool(home)

    def finish(self) -> None:
        """Nothing more will be added: count what is only counted now, and let go of the writer."""
        connection = self.writer()
        if not self.summed:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                for statement in SUMMARIES:
                    connection.execute(statement)
            self.summed = True
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.rest()

    def rest(self) -> None:
        """Close the writer's connection until it is needed again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # ------------------------------------------------------------------------------------------------------ the readers

    @contextlib.contextmanager
    def reader(self, budget: Budget) -> Iterator[Reader | None]:
        """A reader for the time of the block; None when the segment has been removed."""
        with self._lock:
            found = None if self._gone else self._idle.take(self.number) or Reader(self.path)
        if found is None:
            yield None
            return
        found.begin(budget)
        try:
            yield found
        finally:
            with self._lock:
                if self._gone:
                    found.close()
                else:
                    self._idle.keep(self.number, found)

    def bytes(self) -> int:
        """The size of its files."""
        return sum(path.stat().st_size for path in self._files() if path.exists())

    def remove(self) -> None:
        """Unlink its files. Who reads it now reads on to the end; nobody can begin to."""
        with self._lock:
            self._gone = True
        self.close()
        for path in self._files():
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all connections that are not in use. May be called twice."""
        self.rest()
        self._idle.close(self.number)

    def _files(self) -> list[Path]:
        return segment_files(self.path.parent, self.number)
