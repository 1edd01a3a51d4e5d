"""Statements that take many rows in one step, whatever their number. See reader.py for why steps are few."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

__all__ = ["NULL", "bindable", "insert"]

# Stands for NULL in a row. The sqlite3 module binds int, float and str at once; for anything else, None too, it looks for an adapter,
# which takes as long as five such values. No column holds this one.
NULL: Final = 0.5

# No more than half of a statement is filled up: a row that is left out costs as much to bind as one that is not.
_SIZES = (1, 8, 16, 32, 64, 128, 256, 512)
_MAX_PARAMETERS = 30_000


def insert(connection: sqlite3.Connection, table: str, columns: str, rows: Sequence[Sequence[Any]], conflict: str = "") -> None:
    """Insert rows, which have NULL for None and never as their first value, by statements of fixed sizes: SQLite prepares each of
    them once.

    What is left over is filled up with rows whose first value is None, that the statement leaves out again.
    """
    width = columns.count(",") + 1
    largest = max(size for size in _SIZES if size * width <= _MAX_PARAMETERS)
    for at in range(0, len(rows), largest):
        chunk = rows[at : at + largest]
        size = next(s for s in _SIZES if s >= len(chunk))
        parameters = list(chain.from_iterable(chunk))
        parameters += [None, *[0] * (width - 1)] * (size - len(chunk))
        connection.execute(_statement(table, columns, width, size, conflict), parameters)


def _statement(table: str, columns: str, width: int, size: int, conflict: str) -> str:
    row = f"({', '.join('?' * width)})"
    values = ", ".join(["column1", *[f"nullif(column{number}, {NULL})" for number in range(2, width + 1)]])
    return f"INSERT INTO {table} ({columns}) SELECT {values} FROM (VALUES {', '.join([row] * size)}) WHERE column1 IS NOT NULL {conflict}"


def bindable(row: Sequence[Any]) -> list[Any]:
    """A row with what binds at once in place of None, bytes and bool."""
    out: list[Any] = []
    for value in row:
        kind = type(value)
        if value is None:
            value = NULL
        elif kind is bytes:
            value = bytearray(value)
        elif kind is bool:
            value = int(value)
        out.append(value)
    return out
