"""The numbers of records: their times, made unique. Rows and index of words then lie in order of time by themselves."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right

import msgspec

__all__ = ["MAX_SKEW_NS", "unique_numbers"]

# More than any run of records at one time can push a number away from its time.
MAX_SKEW_NS = 1_000_000_000

_TAKEN = "SELECT json_group_array(number) FROM records WHERE number IN (SELECT value FROM json_each(?))"
_TAKEN_BEHIND = "SELECT json_group_array(r.number) FROM json_each(?1) j JOIN records r ON r.number BETWEEN j.value AND j.value + ?2"
_WINDOW = 256


def unique_numbers(db: sqlite3.Connection, times: list[int], highest: int | None) -> list[int]:
    """The first number from each time on that is in the table neither yet, nor given to one before. Times ascend, and so do the numbers.

    `highest`: the highest number in the table.
    """
    taken: set[int] = set()
    window = _WINDOW
    while True:
        numbers = _ascending(times, taken)
        below = numbers[: bisect_right(numbers, highest)] if highest is not None else []
        met = sorted(msgspec.json.decode(_json(db, _TAKEN, below))) if below else []
        if not met:
            return numbers
        # What lies behind is looked up at once; twice as far each time, so that a long run is left behind soon.
        starts = met[:1]
        for number in met:
            if number > starts[-1] + window:
                starts.append(number)
        taken.update(msgspec.json.decode(_json(db, _TAKEN_BEHIND, starts, window)))
        window *= 2


def _json(db: sqlite3.Connection, sql: str, numbers: list[int], *rest: int) -> str:
    found: str = db.execute(sql, (msgspec.json.encode(numbers).decode(), *rest)).fetchone()[0]
    return found


def _ascending(times: list[int], taken: set[int]) -> list[int]:
    numbers = []
    last = -1
    for time in times:
        last = time if time > last else last + 1
        while last in taken:
            last += 1
        numbers.append(last)
    return numbers
