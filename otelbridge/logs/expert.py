"""SQL for experts: one SELECT over views of the newest segments. What may happen in it is decided by SQLite's authorizer.

The views are the contract: logs, invocations, spans (docs/search.md). Nothing can be written, attached or set.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.fields import TEXT, hex_of
from otelbridge.logs.reader import Budget
from otelbridge.logs.segment import Segment
from otelbridge.model.record import KINDS
from otelbridge.model.ring import LEVELS

__all__ = ["SqlResult", "run_sql"]

_MAX_SEGMENTS = 9  # SQLite attaches 10 files at most
_MAX_ROWS = 10_000
_MAX_BYTES = 32 << 20
_MAX_SECONDS = 5.0
_MAX_TEXT = 100_000
_MAX_VALUE_BYTES = 8 << 20

_READS = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_FUNCTIONS = frozenset(("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "fts5"))


class SqlResult(msgspec.Struct, frozen=True, rename="camel"):
    """Rows of a statement. `truncated`: there were more; `segments`: how many files it saw, of how many."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    segments: list[int]
    elapsed_ms: float


def _choice(column: str, names: Sequence[str]) -> str:
    return f"CASE {column} {' '.join([f'WHEN {number} THEN {name!r}' for number, name in enumerate(names)])} END"


_LOGS = f"""SELECT r.number - r.skew AS time_ns, {_choice("r.kind", KINDS)} AS kind, {_choice("r.level", LEVELS)} AS level, w.worker_id,
    {hex_of("i.id")} AS invocation_id, {hex_of("i.trace_id")} AS trace_id, r.sequence, {TEXT} AS text,
    CASE WHEN r.layout = 'j' THEN r.text WHEN r.kind = 3 THEN r.extra END AS fields,
    CASE WHEN r.kind = 1 THEN r.extra END AS exception, i.outcome, i.method, i.path, i.status
    FROM {{0}}.records r LEFT JOIN {{0}}.invocations i ON i.number = r.invocation LEFT JOIN {{0}}.workers w ON w.number = r.worker"""
_INVOCATIONS = f"""SELECT i.start_ns, i.end_ns, {hex_of("i.id")} AS invocation_id, {hex_of("i.trace_id")} AS trace_id,
    {hex_of("i.span_id")} AS span_id, {hex_of("i.parent_span_id")} AS parent_span_id, w.worker_id, v.version, i.method,
    i.origin || i.path || i.query AS url, i.path, i.status, i.outcome, i.failed, i.wall_ns, i.cpu_ns, i.memory_bytes, i.cold
    FROM {{0}}.invocations i JOIN {{0}}.workers w ON w.number = i.worker JOIN {{0}}.versions v ON v.number = i.version WHERE i.home"""
_SPANS = f"""SELECT {hex_of("i.id")} AS invocation_id, s.number, s.parent, s.name, s.start_ns, s.end_ns, s.attributes
    FROM {{0}}.spans s JOIN {{0}}.invocations i ON i.number = s.invocation"""
_VIEWS = {"logs": _LOGS, "invocations": _INVOCATIONS, "spans": _SPANS}


def run_sql(segments: Sequence[Segment], text: str, params: Sequence[Any], budget: Budget) -> SqlResult:
    """Run one statement. QueryError when it is refused, wrong, or takes more than 5 seconds."""
    if len(text) > _MAX_TEXT or len(params) > 1_000:
        raise QueryError(f"sql: at most {_MAX_TEXT} characters and 1000 parameters")
    started = time.monotonic()
    deadline = min(budget.deadline, started + _MAX_SECONDS)
    connection = sqlite3.connect("file::memory:", uri=True, isolation_level=None, cached_statements=0)
    try:
        seen = _prepare(connection, segments)
        connection.set_progress_handler(lambda: budget.cancelled or time.monotonic() > deadline, 10_000)
        columns, rows, truncated = _run(connection, text, params)
    except sqlite3.Error as e:
        if getattr(e, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise QueryError(f"sql: stopped after {_MAX_SECONDS:g} s") from e
        raise QueryError(f"sql: {e}") from e
    except (OverflowError, UnicodeEncodeError) as e:
        raise QueryError(f"sql: a parameter can't be used: {e}") from e
    finally:
        connection.close()
    return SqlResult(columns, rows, truncated, [seen, len(segments)], round((time.monotonic() - started) * 1000, 3))


def _prepare(connection: sqlite3.Connection, segments: Sequence[Segment]) -> int:
    """Attach the newest segments, make the views, and lock the door behind."""
    names = []
    for number, segment in enumerate(segments[-_MAX_SEGMENTS:]):
        name = f"s{number}"
        try:
            connection.execute(f"ATTACH ? AS {name}", (f"{segment.path.absolute().as_uri()}?mode=ro",))
        except sqlite3.OperationalError:
            continue  # removed just now
        connection.execute(f"SELECT rowid FROM {name}.words LIMIT 0")  # FTS5 sets itself up, which the authorizer would refuse
        names.append(name)
    for view, sql in _VIEWS.items():
        connection.execute(f"CREATE TEMP VIEW {view} AS {' UNION ALL '.join([sql.format(name) for name in names])}")
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, len(names))
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA trusted_schema = 0")
    connection.set_authorizer(_authorize)
    return len(names)


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action in _READS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _FUNCTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first == "data_version" and second is None:
        return sqlite3.SQLITE_OK  # what FTS5 asks itself before each search
    return sqlite3.SQLITE_DENY


def _run(connection: sqlite3.Connection, text: str, params: Sequence[Any]) -> tuple[list[str], list[list[Any]], bool]:
    cursor = connection.execute(text, tuple(params))
    if cursor.description is None:
        raise QueryError("sql: the statement gives no rows; write a SELECT")
    rows: list[list[Any]] = []
    size = 0
    for row in cursor:
        if len(rows) >= _MAX_ROWS or size > _MAX_BYTES:
            return [column[0] for column in cursor.description], rows, True
        rows.append([_plain(value) for value in row])
        size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
    return [column[0] for column in cursor.description], rows, False


def _plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and not math.isfinite(value) else value
