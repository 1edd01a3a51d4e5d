"""Rows of records: the short ways to them say what lines() says, and a try that failed leaves nothing on them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.logs.batch import make_batch
from otelbridge.logs.rows import part_rows
from otelbridge.logs.statements import NULL, insert
from otelbridge.model import ring
from otelbridge.model.part import Notice, SpanClose, SpanOpen, entries
from otelbridge.model.record import KINDS, lines
from otelbridge.model.trace import DiagnosticsEvent
from tests.logs.samples import HOSTILE, NAMES, START_NS, WORDS, frames, fuzzed, line, part, stored

TEXTS = st.lists(st.sampled_from(WORDS + HOSTILE), max_size=4).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | TEXTS, inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(VALUES, max_size=3).map(lambda message: json.dumps(message).encode())
BROKEN = st.sampled_from([b'["\\ud800"]', b"[1", b'{"a":1}', b"[1e999]", b"\xff", b"", b"[" * 200 + b"]" * 200])
ENTRIES = st.builds(
    lambda kind, payload, level, time_ns, extra: ring.pack(kind, payload, level=level, time_ns=time_ns, span=3, extra=extra),
    st.sampled_from([ring.LOG] * 6 + [ring.TEXT, ring.EXCEPTION, ring.DIAGNOSTIC, ring.SPAN_OPEN, ring.SPAN_CLOSE]),
    CALLS | BROKEN,
    st.integers(0, 4),
    st.integers(START_NS - 5, START_NS + 5),
    st.sampled_from([b"", b"", b"", b'[{"name":"E"}]']),
)


@fuzzed(200)
@given(st.lists(ENTRIES, max_size=6), st.booleans())
def test_rows_say_what_lines_say(packed: list[bytes], ended: bool) -> None:
    """Time, kind, level, sequence, span and text of each row are those of the line, its layout gives the arguments again."""
    item = part(*packed, ended=ended)
    names: dict[str, tuple[str, int]] = {}
    rows, spans, diagnostics = part_rows(item, names, logs=True)
    expected = list(lines(item))
    assert NULL not in (row[0] for row in rows)
    rows = [[None if value == NULL else value for value in row] for row in rows]
    assert [(row[0], KINDS[row[2]], ring.LEVELS[row[3]], row[4], row[5], row[6]) for row in rows] == [
        (one.time_ns, one.kind, one.level, one.sequence, one.span, one.text) for one in expected
    ]
    assert [row[7] == "j" for row in rows] == [one.pieces is not None and len(one.pieces) == 1 and one.pieces[0][1] for one in expected]
    assert [row[8] is not None for row in rows] == [one.error_info is not None or one.exception is not None for one in expected]
    read = list(entries(item))
    assert repr(spans) == repr([one for one in read if isinstance(one, SpanOpen | SpanClose)])
    assert repr(diagnostics) == repr([one for one in read if isinstance(one, DiagnosticsEvent)])
    without, spans_too, diagnostics_too = part_rows(item, {}, logs=False)
    assert (without, repr(spans_too), repr(diagnostics_too)) == ([], repr(spans), repr(diagnostics))


def test_names_of_members() -> None:
    """Members of a logged object are remembered by path and type, whether it stands alone or is one of several arguments."""
    logged: dict[str, Any] = {"a": {"b": 1, "c": True}, "d": "x", "e": [1], "f": {}}
    names: dict[str, tuple[str, int]] = {}
    part_rows(part(line(logged, time_ns=START_NS), line("text", {"g": 1}, time_ns=START_NS + 1)), names, logs=True)
    assert names == {"a.b": ("number", START_NS), "a.c": ("boolean", START_NS), "d": ("string", START_NS), "e": ("string", START_NS)}


def test_a_try_that_failed_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records at times that are taken already get numbers of their own, and keep their times, also when the first try fails."""
    first = [Notice(START_NS + i, "info", f"first {i}") for i in range(3)]
    second = [Notice(START_NS + i, "info", f"second {i} \N{SNOWMAN}") for i in range(3)]
    with stored(first) as segments:
        batch = make_batch("main", frames(second, segment=2))
        real = insert

        def failing(connection: sqlite3.Connection, table: str, *rest: Any) -> None:
            real(connection, table, *rest)
            if table == "volume":
                raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr("otelbridge.logs.writer.insert", failing)
            for _ in range(2):
                with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
                    segments.add(batch)
        segments.add(batch)
        connection = segments.all[0].writer()
        found = connection.execute("SELECT number - skew, text FROM records").fetchall()
        assert sorted(found) == sorted((one.time_ns, one.text) for one in first + second)
        (word,) = connection.execute("SELECT count(*) FROM words WHERE words MATCH 'second'").fetchone()
        assert word == 3
