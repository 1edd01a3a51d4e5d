"""A connection that only reads: time limit, functions that SQLite lacks, and whole results in one step.

Each step of a statement lets go of the interpreter and has to win it back, up to 5 ms a time while the event loop is
busy. So results come as one JSON value, made without the interpreter, however many rows they have.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.pattern import Pattern, PatternTimeout
from otelbridge.logs.tokens import has_phrase

__all__ = ["Budget", "Reader", "connect"]

_OPERATIONS_PER_CHECK = 20_000  # about 1 ms
_PATTERNS = 16


class Budget:
    """How long a query may take, over all its statements. cancel() may be called from any thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.cancelled = True
        self.deadline = 0.0

    def is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def error(self) -> QueryError:
        return QueryError(f"The query took longer than {self.seconds:g} s and was stopped. Narrow its time range or ask for less.")


def connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Open a segment's file. Used by one thread at a time, but not always the same one."""
    mode = "ro" if readonly else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=128,
        timeout=10.0,
    )
    if readonly:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA cache_size = -16384")
    return connection


class Reader:
    """See the module's text."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(path, readonly=True)
        self._budget = Budget(0)
        self._patterns: dict[tuple[str, bool], Pattern] = {}
        self._timed_out = False
        self.connection.set_progress_handler(self._check, _OPERATIONS_PER_CHECK)
        for name, size, function in (
            ("matches_pattern", 3, self._matches_pattern),
            ("has_phrase", 3, _has_phrase),
            ("contains_folded", 2, _contains_folded),
            ("member", 2, _member),
        ):
            self.connection.create_function(name, size, function, deterministic=True)

    def begin(self, budget: Budget) -> None:
        """From here on statements count against this budget."""
        self._budget = budget
        self._timed_out = False

    def value(self, sql: str, parameters: Any = ()) -> Any:
        """The first column of the first row; None when there is none."""
        row = self.row(sql, parameters)
        return row[0] if row else None

    def row(self, sql: str, parameters: Any = ()) -> tuple[Any, ...] | None:
        """The first row, if there is one. QueryError when the budget is used up."""
        try:
            row: tuple[Any, ...] | None = self.connection.execute(sql, parameters).fetchone()
        except sqlite3.OperationalError as e:
            if self._timed_out or e.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise self._budget.error() from e
            raise
        return row

    def json(self, sql: str, parameters: Any = ()) -> Any:
        """The same of a statement that yields one JSON value."""
        return msgspec.json.decode(self.value(sql, parameters))

    def rows(self, columns: Sequence[str], rest: str, parameters: Any = ()) -> list[list[Any]]:
        """Rows of `SELECT {columns} {rest}`, in its order, in one step. Columns hold no blobs."""
        names = ", ".join([f"c{i}" for i in range(len(columns))])
        sql = f"WITH q({names}) AS (SELECT {', '.join(columns)} {rest}) SELECT json_group_array(json_array({names})) FROM q"
        rows: list[list[Any]] = self.json(sql, parameters)
        return rows

    def close(self) -> None:
        self.connection.close()

    def _check(self) -> bool:
        return self._budget.is_over()

    def _matches_pattern(self, source: str, ignore_case: int, text: Any) -> bool:
        if not isinstance(text, str):
            return False
        key = (source, bool(ignore_case))
        pattern = self._patterns.get(key)
        if pattern is None:
            if len(self._patterns) >= _PATTERNS:
                self._patterns.clear()
            pattern = self._patterns[key] = Pattern(source, ignore_case=bool(ignore_case))
        try:
            return pattern.search(text, self._budget.deadline)
        except PatternTimeout:
            self._timed_out = True
            raise


def _has_phrase(text: str, phrase: str, prefix: int) -> bool:
    return has_phrase(text, tuple(phrase.split(" ")), bool(prefix))


def _contains_folded(text: str, piece: str) -> bool:
    return piece.casefold() in text.casefold()


def _member(source: str | None, path: str) -> str | None:
    """The JSON of the member that the names in `path` (a JSON array) lead to; for names that no JSON path can spell."""
    if source is None:
        return None
    value = msgspec.json.decode(source)
    for name in msgspec.json.decode(path):
        value = value.get(name) if isinstance(value, dict) else None
    return msgspec.json.encode(value).decode() if value is not None else None
