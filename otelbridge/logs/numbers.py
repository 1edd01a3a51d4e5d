"""The numbers of records: their times, made unique. Rows and index of words then lie in order of time by themselves."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right

import msgspec

__all__ = ["MAX_SKEW_NS", "unique_numbers"]

# More than any run of records at one time can push a number away from its time.
MAX_SKEW_NS = 1_000_000_000

_TAKEN = "SELECT json_group_array(number) FROM records WHERE number IN (SELECT value FROM json_each(?))"


def unique_numbers(db: sqlite3.Connection, times: list[int], highest: int | None) -> list[int]:
    """A number for each time, ascending as the times are, none of which is in the table yet; `highest`: the last that is."""
    numbers = _ascending(times)
    step = 1
    while taken := _taken(db, numbers, highest):
        # Steps double, so that a long run of taken numbers is left behind soon.
        numbers = _ascending([number + step if number in taken else number for number in numbers])
        step *= 2
    return numbers


def _taken(db: sqlite3.Connection, numbers: list[int], highest: int | None) -> set[int]:
    below = numbers[: bisect_right(numbers, highest)] if highest is not None else []
    if not below:
        return set()
    return set(msgspec.json.decode(db.execute(_TAKEN, (msgspec.json.encode(below).decode(),)).fetchone()[0]))


def _ascending(times: list[int]) -> list[int]:
    numbers = []
    last = -1
    for time in times:
        last = time if time > last else last + 1
        numbers.append(last)
    return numbers
