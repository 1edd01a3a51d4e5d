"""Statements that take many rows in one step, whatever their number. See reader.py for why steps are few."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

__all__ = ["insert"]

# No more than half of a statement is filled up: a row that is left out costs as much to bind as one that is not.
_SIZES = (1, 8, 16, 32, 64, 128, 256, 512)
_MAX_PARAMETERS = 30_000


def insert(connection: sqlite3.Connection, table: str, columns: str, rows: Sequence[Sequence[Any]], conflict: str = "") -> None:
    """Insert rows, whose first value is never None, by statements of fixed sizes: SQLite prepares each of them once.

    What is left over is filled up with rows of NULL, that the statement leaves out again.
    """
    width = columns.count(",") + 1
    largest = max(size for size in _SIZES if size * width <= _MAX_PARAMETERS)
    for at in range(0, len(rows), largest):
        chunk = rows[at : at + largest]
        size = next(s for s in _SIZES if s >= len(chunk))
        parameters = list(chain.from_iterable(chunk))
        parameters += [None] * ((size - len(chunk)) * width)
        connection.execute(_statement(table, columns, width, size, conflict), parameters)


def _statement(table: str, columns: str, width: int, size: int, conflict: str) -> str:
    row = f"({', '.join('?' * width)})"
    return f"INSERT INTO {table} ({columns}) SELECT * FROM (VALUES {', '.join([row] * size)}) WHERE column1 IS NOT NULL {conflict}"
