"""Adds batches to the segment that is being filled: one transaction each, with the cursor of the spool. One thread."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from otelbridge.logs.batch import Batch, Cursor, Entry
from otelbridge.logs.segment import Segment
from otelbridge.logs.statements import insert
from otelbridge.logs.trees import close_span, diagnostics_row, open_span

__all__ = ["Writer", "pack_id"]

_log = logging.getLogger("otelbridge.logs")

_MINUTE_NS = 60_000_000_000
_MAX_OPEN = 20_000
_MAX_NAMES = 10_000

_INVOCATION = (
    "number, id, home, worker, version, trace_id, span_id, parent_span_id, start_ns, trigger, method, origin, path, query, name, "
    "end_ns, outcome, status, failed, cpu_ns, wall_ns, wall_bucket, memory_bytes, detail"
)
_END = (
    "UPDATE invocations SET end_ns = ?, outcome = ?, status = ?, failed = ?, cpu_ns = ?, wall_ns = ?, wall_bucket = ?, "
    "memory_bytes = ?, detail = ? WHERE "
)
_RECORD = "number, skew, kind, level, worker, invocation, sequence, span, text, layout, extra"
_NO_END = (None,) * 8


class Writer:
    """The state that goes with one segment. `older(id, start_ns, end)`: set the end of an invocation in older segments."""

    def __init__(self, segment: Segment, *, older: Callable[[Any, int, tuple[Any, ...]], None]) -> None:
        self.segment = segment
        self.connection = segment.writer()
        self._older = older
        self._forget()

    def _forget(self) -> None:
        """Read again what is kept of the file; after a transaction that failed."""
        db = self.connection
        self._workers: dict[str, int] = dict(db.execute("SELECT worker_id, number FROM workers").fetchall())
        self._versions: dict[str, int] = dict(db.execute("SELECT version, number FROM versions").fetchall())
        self._names = {name for (name,) in db.execute("SELECT name FROM names").fetchall()}
        self._next = db.execute("SELECT ifnull(max(number), 0) + 1 FROM invocations").fetchone()[0]
        self._open: OrderedDict[Any, int] = OrderedDict()  # invocations that have not ended, by id

    def cursors(self) -> dict[str, Cursor]:
        """How far each spool has been read."""
        rows = self.connection.execute("SELECT spool, boot, segment, offset FROM cursors").fetchall()
        return {spool: Cursor(*place) for spool, *place in rows}

    def set_cursors(self, cursors: dict[str, Cursor]) -> None:
        """Take over the cursors of the segment before."""
        with self.connection:
            for spool, cursor in cursors.items():
                self._save(spool, cursor)

    def add(self, batch: Batch) -> int:
        """Add a batch; returns how many items had to be left out because no row can be made of them.

        sqlite3.OperationalError when the disk is full or the like: nothing of the batch is in the store then.
        """
        try:
            self._transaction(batch, batch.entries)
        except sqlite3.OperationalError:
            self._forget()
            raise
        except (sqlite3.Error, ValueError, OverflowError) as e:
            _log.warning("a batch can't be stored as a whole (%s: %s); trying its items one by one", type(e).__name__, e)
            self._forget()
            return self._one_by_one(batch)
        return 0

    def _one_by_one(self, batch: Batch) -> int:
        rejected = 0
        for entry in batch.entries:
            try:
                self._transaction(msgspec.structs.replace(batch, cursor=None, names={}), [entry])
            except sqlite3.OperationalError:
                self._forget()
                raise
            except (sqlite3.Error, ValueError, OverflowError) as e:
                _log.error("an item can't be stored and is left out: %s: %s", type(e).__name__, e)
                self._forget()
                rejected += 1
        self._transaction(batch, [])
        return rejected

    # ------------------------------------------------------------------------------------------------- one transaction

    def _transaction(self, batch: Batch, entries: Sequence[Entry]) -> None:
        db = self.connection
        db.execute("BEGIN IMMEDIATE")
        try:
            rows = self._invocations(entries)
            numbers = self._records(rows)
            self._save_names(batch.names)
            if batch.cursor is not None:
                self._save(batch.spool, batch.cursor)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if numbers:
            segment = self.segment
            segment.records += len(numbers)
            segment.first = numbers[0] if segment.first is None else min(segment.first, numbers[0])
            segment.last = numbers[-1] if segment.last is None else max(segment.last, numbers[-1])

    def _invocations(self, entries: Sequence[Entry]) -> list[list[Any]]:
        """Write what is known of the invocations; gives the rows of all records, with worker and invocation added."""
        new: list[tuple[Any, ...]] = []
        ended: list[tuple[Any, ...]] = []
        spans: list[tuple[Any, ...]] = []
        closed: list[tuple[Any, ...]] = []
        diagnostics: list[tuple[Any, ...]] = []
        records: list[list[Any]] = []
        for entry in entries:
            item = entry.item
            if not entry.start:
                worker = self._worker(item.worker_id) if item.worker_id is not None else None
                records += [[*row, worker, None] for row in entry.rows]
                continue
            key = pack_id(item.invocation_id)
            number = self._find(key) if item.number else None
            worker = self._worker(item.worker.worker_id)
            if number is None:
                number, self._next = self._next, self._next + 1
                version = self._number(self._versions, "versions (number, version)", item.worker.version)
                ids = (pack_id(item.trace_id), pack_id(item.span_id), item.parent_span_id and pack_id(item.parent_span_id))
                head = (number, key, int(item.number == 0), worker, version, *ids, item.start_ns)
                new.append((*head, *entry.start[:-1], *(entry.end[:-1] if entry.end else _NO_END), entry.start[-1]))
                if entry.end is None:
                    self._remember(key, number)
                elif item.number:
                    self._older(key, item.start_ns, entry.end)
            elif entry.end is not None:
                ended.append((*entry.end, number))
                self._open.pop(key, None)
                if number in self._continued:
                    self._older(key, item.start_ns, entry.end)
            for span in entry.spans:
                (spans if hasattr(span, "name") else closed).append((open_span if hasattr(span, "name") else close_span)(number, span))
            diagnostics += [diagnostics_row(number, one) for one in entry.diagnostics]
            records += [[*row, worker, number] for row in entry.rows]
        db = self.connection
        insert(db, "invocations", _INVOCATION, new)
        return records
