"""Numbers of records: each the first free one from its time on."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from otelbridge.logs.numbers import unique_numbers
from tests.logs.samples import START_NS, fuzzed


@fuzzed(100)
@given(st.lists(st.lists(st.integers(0, 40) | st.integers(0, 2000), min_size=1, max_size=12), max_size=60))
def test_numbers_are_the_first_free_ones(batches: list[list[int]]) -> None:
    """Whatever the times of batches are, each record gets the first number from its time on that none before it has."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE records (number INTEGER PRIMARY KEY)")
    taken: set[int] = set()
    for batch in batches:
        times = sorted(START_NS + at for at in batch)
        highest = max(taken, default=None)
        expected = []
        last = 0
        for time in times:
            last = max(time, last + 1)
            while last in taken:
                last += 1
            expected.append(last)
        assert unique_numbers(db, times, highest) == expected
        taken.update(expected)
        db.executemany("INSERT INTO records VALUES (?)", [(number,) for number in expected])
    db.close()


def test_many_batches_at_one_time() -> None:
    """A thousand batches at one time take a thousand numbers, also behind a run that is longer than what is looked up at once."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE records (number INTEGER PRIMARY KEY)")
    for i in range(1_000):
        (number,) = unique_numbers(db, [START_NS], START_NS + i - 1 if i else None)
        assert number == START_NS + i
        db.execute("INSERT INTO records VALUES (?)", (number,))
    db.close()
