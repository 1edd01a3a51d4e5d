"""`otelbridge query`: the document that it sends, and how answers look."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.cli import query as command
from otelbridge.cli.query import bars
from tests.cli.peer import Peer

ROWS = [
    {"groups": {"worker": "a"}, "values": {"count": 4, "p99:wallMs": 2.5}, "time": "2026-01-01T00:00:00Z"},
    {"groups": {"worker": "b"}, "values": {"count": 1, "p99:wallMs": None}, "time": "2026-01-01T00:01:00Z"},
]


@given(st.lists(st.integers(0, 10**9) | st.floats(0, 1e9) | st.none(), max_size=20), st.integers(1, 60))
def test_bars_are_in_proportion(values: list[Any], width: int) -> None:
    """The largest value fills the width, none is longer, equal values have equal bars, nothing has none."""
    drawn = bars(values, width)
    assert len(drawn) == len(values)
    most = max((v for v in values if v), default=0)
    for value, bar in zip(values, drawn, strict=True):
        assert len(bar) <= width
        if most and value == most:
            assert bar == "█" * width
        if not value:
            assert bar == ""


def test_options_become_a_document(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """Every option has its member in the query that is sent."""
    service = peer({"calculations": ROWS, "nextCursor": None, "statistics": {"rowsRead": 5, "elapsedMs": 1}})
    arguments = [
        "level:error",
        "word",
        "-c",
        "count",
        "-c",
        "p99:wallMs",
        "-b",
        "worker",
        "--every",
        "1m",
        "-w",
        "status gte 500",
        "-w",
        "user exists",
    ]
    result = invoke("query", *arguments, "--having", "count gt 1", "--order", "-count", "--since", "6h", "--compare", "--url", service.url)
    assert result.exit_code == 0, result.output
    assert json.loads(service.requests[0].body) == {
        "view": "calculations",
        "q": "level:error word",
        "since": "6h",
        "limit": 100,
        "calculations": [{"operator": "count", "alias": "count"}, {"operator": "p99", "key": "wallMs", "alias": "p99:wallMs"}],
        "groupBy": ["worker"],
        "bucketMs": 60_000,
        "filters": [{"key": "status", "operation": "gte", "value": 500}, {"key": "user", "operation": "exists"}],
        "having": [{"calculation": "count", "operation": "gt", "value": 1}],
        "orderBy": {"value": "count", "order": "desc"},
        "compare": True,
    }
    assert [json.loads(line) for line in result.stdout.splitlines()] == ROWS


def test_a_table_has_bars_for_time_buckets(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """On a table, time buckets are drawn as a bar chart."""
    service = peer({"calculations": ROWS})
    result = invoke("query", "--format", "table", "--url", service.url)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["TIME", "WORKER", "COUNT", "P99:WALLMS"]
    assert lines[1].endswith("█" * 40)
    assert lines[2].endswith("█" * 10)


def test_empty_buckets_are_shown(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """A chart shows time as it passed: buckets without a record are rows without a value, as long as there are not too many."""
    times = ["2026-01-01T00:00:00.000000000Z", "2026-01-01T00:03:00.000000000Z"]
    rows = [{"groups": {}, "values": {"count": 4}, "time": time} for time in times]
    options = ("query", "--format", "table", "--url", peer({"calculations": rows}).url, "--every")
    shown = [line.split() for line in invoke(*options, "1m").stdout.splitlines()[1:]]
    assert [row[0] for row in shown] == [f"2026-01-01T00:0{minute}:00" for minute in range(4)]
    assert [row[1:2] for row in shown] == [["4"], [], [], ["4"]]
    assert len(invoke(*options, "7m").stdout.splitlines()) == 3  # buckets that don't meet the rows: nothing is made up
    far = peer({"calculations": [rows[0], rows[1] | {"time": "2027-01-01T00:00:00.000000000Z"}]}).url
    assert len(invoke("query", "--format", "table", "--url", far, "--every", "1s").stdout.splitlines()) == 3


def test_views_show_what_fits_a_terminal(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """Invocations and traces are tables of their most telling columns; the JSON has all."""
    row = {"invocationId": "i", "spanId": "s", "time": "2026-01-01T00:00:00.123456789Z", "workerId": "w", "text": "GET /", "logs": 1}
    service = peer({"invocations": [row], "nextCursor": "1.2"})
    result = invoke("query", "--view", "invocations", "--format", "table", "--url", service.url)
    assert result.stdout.splitlines()[1].split() == ["2026-01-01T00:00:00.123", "w", "GET", "/", "1", "i"]
    assert "raise --limit" in result.stderr
    assert json.loads(invoke("query", "--view", "invocations", "--url", service.url).stdout) == row


def test_csv_has_a_header_and_a_row_each(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """CSV has groups and values side by side, quoted where needed."""
    service = peer({"calculations": [{"groups": {"worker": 'a,"b'}, "values": {"count": 4}}]})
    assert invoke("query", "--format", "csv", "--url", service.url).stdout == 'worker,count\n"a,""b",4\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "soon"], "--every 'soon' should be"),
        (["--where", "status"], "FIELD OPERATION VALUE"),
        (["--file", "missing.json"], "can't be read"),
        (["--format", "xml"], "xml"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_wrong_options_are_exit_code_2(invoke: Callable[..., click.testing.Result], arguments: list[str], message: str) -> None:
    """An option that can't be used is named."""
    result = invoke("query", *arguments, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert message in result.output


def test_a_whole_query_comes_from_stdin(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """--file - sends what stdin holds, as it is."""
    service = peer({"events": []})
    result = invoke("query", "--file", "-", "--url", service.url, input='{"view": "events", "needle": {"value": "x"}}')
    assert result.exit_code == 0
    assert json.loads(service.requests[0].body) == {"view": "events", "needle": {"value": "x"}}
    assert command is not None


SQL = {"columns": ["b", "time"], "rows": [["x", 2], [None, 1.5]], "truncated": True, "segments": [9, 12], "elapsedMs": 1.5}


def test_sql_goes_to_the_service_with_its_values(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """--sql sends the statement with the values for its question marks; columns stay in their order; what it didn't see is told."""
    service = peer(SQL)
    result = invoke("query", "--sql", "SELECT ?, ?", "5", "abc", "--format", "csv", "--url", service.url)
    assert json.loads(service.requests[0].body) == {"sql": "SELECT ?, ?", "params": [5, "abc"]}
    assert service.requests[0].path == "/v1/sql"
    assert result.stdout.splitlines() == ["b,time", "x,2", ",1.5"]
    assert "first 2 rows" in result.stderr
    assert "newest 9 of 12 files" in result.stderr
    result = invoke("query", "--sql", "SELECT 1", "--url", service.url)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"b": "x", "time": 2}, {"b": None, "time": 1.5}]
    shown = invoke("query", "--sql", "SELECT 1", "--format", "table", "--url", service.url).stdout.splitlines()
    assert shown[0].split() == ["B", "TIME"]


def test_warnings_are_said(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """What the service warns of goes to stderr, the rows to stdout."""
    answer: dict[str, Any] = {"calculations": ROWS, "nextCursor": None, "statistics": {}, "warnings": ["avg:walMs: no record has it."]}
    result = invoke("query", "-c", "avg:walMs", "--url", peer(answer).url)
    assert result.exit_code == 0
    assert "no record has it" in result.stderr
    assert "no record has it" not in result.stdout
