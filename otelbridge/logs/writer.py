"""Adds batches to the segment that is being filled: one transaction each, with the cursor of the spool. One thread."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from otelbridge.logs.batch import Batch, Cursor, Entry
from otelbridge.logs.numbers import unique_numbers
from otelbridge.logs.rows import COLUMNS, INVOCATION, NUMBER, SKEW, WORKER, Row
from otelbridge.logs.schema import END
from otelbridge.logs.segment import Segment
from otelbridge.logs.statements import NULL, bindable, insert
from otelbridge.logs.tokens import fold
from otelbridge.model.part import Notice, Part, SpanOpen
from otelbridge.model.record import KINDS, clean_json, clean_text
from otelbridge.model.ring import LEVELS

__all__ = ["Writer", "pack_id"]

_log = logging.getLogger("otelbridge.logs")

_MINUTE_NS = 60_000_000_000
_MAX_RUNNING = 20_000
_MAX_NAMES = 10_000

_INVOCATION = (
    "number, id, home, worker, version, trace_id, span_id, parent_span_id, start_ns, trigger, method, origin, path, query, name, "
    "end_ns, outcome, status, failed, cpu_ns, wall_ns, wall_bucket, memory_bytes, cold, detail"
)
_NO_END = (None,) * 9


def pack_id(value: str) -> bytes | str:
    """An id as it is stored: lower-case hex as its bytes, anything else as it is."""
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        return value
    return raw if raw.hex() == value else value


class _Rows(msgspec.Struct):
    """What the entries of a batch add to each table."""

    workers: list[tuple[int, str]] = []
    versions: list[tuple[int, str]] = []
    invocations: list[list[Any]] = []
    ends: list[tuple[Any, ...]] = []
    opened: list[tuple[Any, ...]] = []
    closed: list[tuple[Any, ...]] = []
    diagnostics: list[tuple[Any, ...]] = []
    records: list[Row] = []


class Writer:
    """The state that goes with one segment. `end_older(id, start_ns, end)`: tell older segments how an invocation ended."""

    def __init__(self, segment: Segment, *, end_older: Callable[[bytes | str, int, tuple[Any, ...]], None]) -> None:
        self.segment = segment
        self._db = segment.writer()
        self._end_older = end_older
        self._load()

    def _load(self) -> None:
        """Read again what is kept of the file; also after a transaction that failed."""
        db = self._db
        self._workers: dict[str, int] = dict(db.execute("SELECT worker_id, number FROM workers").fetchall())
        self._versions: dict[str, int] = dict(db.execute("SELECT version, number FROM versions").fetchall())
        self._names: set[str] = {name for (name,) in db.execute("SELECT name FROM names").fetchall()}
        self._next: int = db.execute("SELECT ifnull(max(number), 0) + 1 FROM invocations").fetchone()[0]
        self._running: OrderedDict[bytes | str, tuple[int, bool]] = OrderedDict()  # by id: number, and whether home

    def set_cursors(self, cursors: dict[str, Cursor]) -> None:
        """Take over the cursors of the segment before."""
        self._db.execute("BEGIN IMMEDIATE")
        for spool, cursor in cursors.items():
            self._save_cursor(spool, cursor)
        self._db.execute("COMMIT")

    def add(self, batch: Batch) -> int:
        """Add a batch; gives how many items had to be left out because no row can be made of them.

        Other errors of sqlite3, when the disk is full or the like, go through: nothing of the batch is in the store then.
        """
        try:
            self._transaction(batch, batch.entries)
        except _ITEM_FAULTS as e:
            _log.warning("a batch can't be stored as a whole (%s: %s): trying its items one by one", type(e).__name__, e)
            return self._one_by_one(batch)
        return 0

    def _one_by_one(self, batch: Batch) -> int:
        """Exactly once, here too: the cursor moves with the last transaction, so a death on the way repeats the batch."""
        good = []
        for entry in batch.entries:
            try:
                self._transaction(None, [entry], commit=False)
            except _ITEM_FAULTS as e:
                _log.error("an item can't be stored and is left out: %s: %s", type(e).__name__, e)
            else:
                good.append(entry)
        self._transaction(batch, good)
        return len(batch.entries) - len(good)

    # ------------------------------------------------------------------------------------------------- one transaction

    def _transaction(self, batch: Batch | None, entries: Sequence[Entry], *, commit: bool = True) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            rows = _Rows()
            for entry in entries:
                self._collect(entry, rows)
            self._write(rows)
            numbers = self._write_records(rows)
            if batch is not None:
                self._save_names(batch.names)
                if batch.cursor is not None:
                    self._save_cursor(batch.spool, batch.cursor)
            db.execute("COMMIT" if commit else "ROLLBACK")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._load()
            raise
        if not commit:
            self._load()
        elif numbers:
            segment = self.segment
            segment.records += len(numbers)
            segment.first = numbers[0] if segment.first is None else min(segment.first, numbers[0])
            segment.last = numbers[-1] if segment.last is None else max(segment.last, numbers[-1])

    def _collect(self, entry: Entry, rows: _Rows) -> None:
        item = entry.item
        if isinstance(item, Notice):
            if item.worker_id is not None:
                concerned = self._worker(item.worker_id, rows)
                for row in entry.rows:
                    row[WORKER] = concerned
            rows.records += entry.rows
            return
        worker = self._worker(item.worker.worker_id, rows)
        number = self._invocation(item, entry, worker, rows)
        for row in entry.rows:
            row[WORKER] = worker
            row[INVOCATION] = number
        rows.records += entry.rows
        for span in entry.spans:
            if isinstance(span, SpanOpen):
                parent = span.parent if 0 <= span.parent < 1 << 32 else 0
                rows.opened.append((number, span.number, parent, clean_text(span.name), span.time_ns))
            else:
                rows.closed.append((number, span.number, span.time_ns, clean_json(span.attributes)[1]))
        for one in entry.diagnostics:
            message = clean_json(one.message)[1]
            rows.diagnostics.append((number, one.sequence, one.time_ns, one.span, clean_text(one.channel), message))

    def _invocation(self, item: Part, entry: Entry, worker: int, rows: _Rows) -> int:
        """The number of the part's invocation, whose row is added, or brought up to date by the part's end."""
        key = pack_id(item.invocation_id)
        found = self._find(key) if item.number else None
        if found is None:
            number, home = self._next, item.number == 0
            self._next += 1
            version = self._version(item.worker.version, rows)
            parent = None if item.parent_span_id is None else pack_id(item.parent_span_id)
            head = (number, key, home, worker, version, pack_id(item.trace_id), pack_id(item.span_id), parent, item.start_ns)
            end = _NO_END if entry.end is None else entry.end[:-1]
            rows.invocations.append(bindable((*head, *entry.start[:-1], *end, entry.start[-1])))
            if entry.end is None:
                self._running[key] = (number, home)
                if len(self._running) > _MAX_RUNNING:
                    self._running.popitem(last=False)
        else:
            number, home = found
            if entry.end is not None:
                rows.ends.append((*entry.end, key))
                self._running.pop(key, None)
        if entry.end is not None and not home:
            self._end_older(key, item.start_ns, entry.end)
        return number

    def _find(self, key: bytes | str) -> tuple[int, bool] | None:
        found = self._running.get(key)
        if found is None:
            row = self._db.execute("SELECT number, home FROM invocations WHERE id = ?", (key,)).fetchone()
            found = (row[0], bool(row[1])) if row else None
        return found

    def _worker(self, worker_id: str, rows: _Rows) -> int:
        number = self._workers.get(worker_id)
        if number is None:
            number = self._workers[worker_id] = len(self._workers) + 1
            rows.workers.append((number, worker_id))
        return number

    def _version(self, version: str, rows: _Rows) -> int:
        number = self._versions.get(version)
        if number is None:
            number = self._versions[version] = len(self._versions) + 1
            rows.versions.append((number, version))
        return number

    def _write(self, rows: _Rows) -> None:
        db = self._db
        insert(db, "workers", "number, worker_id", rows.workers)
        insert(db, "versions", "number, version", rows.versions)
        insert(db, "invocations", _INVOCATION, rows.invocations)
        if rows.ends:
            db.executemany(END, rows.ends)
        insert(db, "spans", "invocation, number, parent, name, start_ns", rows.opened, "ON CONFLICT DO NOTHING")
        insert(db, "spans", "invocation, number, end_ns, attributes", rows.closed, _CLOSE)
        insert(db, "diagnostics", "invocation, sequence, time_ns, span, channel, message", rows.diagnostics, "ON CONFLICT DO NOTHING")

    def _write_records(self, rows: _Rows) -> list[int]:
        records = rows.records
        if not records:
            return []
        for row in records:
            if row[SKEW]:  # of a try that failed
                row[NUMBER] -= row[SKEW]
                row[SKEW] = 0
        records.sort(key=itemgetter(NUMBER))  # stable: a part's lines stay in order
        times = [row[NUMBER] for row in records]
        numbers = unique_numbers(self._db, times, self.segment.last)
        if numbers != times:
            for row, number in zip(records, numbers, strict=True):
                row[SKEW] = number - row[NUMBER]
                row[NUMBER] = number
        volume: Counter[tuple[int, int, int]] = Counter(
            [(time // _MINUTE_NS, row[2], row[3]) for time, row in zip(times, records, strict=True)]
        )
        words = [
            (number, text if text.isascii() else fold(text), f"w{worker}{_TAGS[kind][level]}" if worker is not NULL else _TAGS[kind][level])
            for number, _, kind, level, _, _, text, _, _, worker, _ in records
        ]
        insert(self._db, "records", COLUMNS, records)
        insert(self._db, "words", "rowid, text, tags", words)
        counts = [(0, *key, count) for key, count in volume.items()]
        insert(self._db, "volume", "worker, minute, kind, level, count", counts, _COUNT)
        return numbers

    def _save_cursor(self, spool: str, cursor: Cursor) -> None:
        place = (spool, cursor.boot, cursor.segment, cursor.offset)
        self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", place)

    def _save_names(self, names: dict[str, tuple[str, int]]) -> None:
        room = _MAX_NAMES - len(self._names)
        rows = []
        for name, (kind, time_ns) in names.items():
            if name not in self._names:
                if room <= 0:  # a guest makes names up as it goes: what is there stays
                    continue
                room -= 1
                self._names.add(name)
            rows.append((clean_text(name), kind, time_ns))
        insert(self._db, "names", "name, type, last_ns", rows, _NAME)


# What one item can be to blame for; all else is wrong with the file or the disk.
_ITEM_FAULTS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, ValueError, OverflowError)

_CLOSE = "ON CONFLICT DO UPDATE SET end_ns = excluded.end_ns, attributes = excluded.attributes"
_COUNT = "ON CONFLICT DO UPDATE SET count = count + excluded.count"
_NAME = "ON CONFLICT DO UPDATE SET type = excluded.type, last_ns = max(last_ns, excluded.last_ns)"
# The tags of a record but for its worker's, by kind and level: see schema.py.
_TAGS = [
    [(f" l{level}" if level >= 3 else "") + (f" k{kind}" if kind else "") for level in range(len(LEVELS))] for kind in range(len(KINDS))
]
