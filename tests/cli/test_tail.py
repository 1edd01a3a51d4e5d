"""`otelbridge tail`: events as they come, where it goes on after a break, and what it says about gaps."""

from __future__ import annotations

import json
from collections.abc import Callable

import click.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.cli import tail as command
from otelbridge.cli.tail import Event, events
from tests.cli.peer import Peer

RECORD = {"kind": "log", "level": "info", "text": "hello", "time": "2026-01-01T10:20:30.123456789Z", "workerId": "w"}


def event(number: int, record: object, name: str = "log") -> bytes:
    """A server-sent event."""
    return f"event: {name}\nid: {number}\ndata: {json.dumps(record)}\n\n".encode()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once."""
    monkeypatch.setattr(command, "WAITS_S", (0, 0))


def test_records_come_as_json_lines_in_a_pipe(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """Each record is a line; filters are sent as parameters; when all attempts to reconnect failed the exit code is 1."""
    service = peer(event(1, RECORD) + b": ping\n\n" + event(2, {**RECORD, "text": "again"}), (500, {}))
    result = invoke("tail", "w*", "--level", "info", "--level", "warn", "--header", "x-a:b", "--sampling-rate", "0.5", "--url", service.url)
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["hello", "again"]
    assert result.exit_code == 1
    assert service.requests[0].path == "/v1/tail?worker=w%2A&sampling-rate=0.5&level=info&level=warn&header=x-a%3Ab"
    assert "attempt 1 of 2" in result.stderr
    assert "Is `otelbridge serve` running?" in result.stderr


def test_it_goes_on_where_the_connection_broke(peer: Callable[..., Peer], invoke: Callable[..., click.testing.Result]) -> None:
    """After a break the last id is sent, so that nothing is missed or shown twice; a gap is told."""
    gap = b'event: gap\nid: 5\ndata: {"missed": 3}\n\n'
    service = peer(event(4, RECORD), gap + event(6, RECORD), (404, {"title": "Gone", "detail": "no tail here"}))
    result = invoke("tail", "--format", "pretty", "--url", service.url)
    assert result.stdout.splitlines() == ["10:20:30.123 w   (info) hello"] * 2
    assert [request.headers.get("last-event-id") for request in service.requests] == [None, "4", "6"]
    assert "connected again" in result.stderr
    assert "3 records were missed" in result.stderr
    assert "Gone: no tail here" in result.stderr
    assert result.exit_code == 1


def test_no_service_ends_it_at_once(invoke: Callable[..., click.testing.Result]) -> None:
    """When there is no service at the start, it says how to get one, and does not wait."""
    result = invoke("tail", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "otelbridge serve" in result.stderr


@given(st.lists(st.tuples(st.sampled_from(["log", "gap"]), st.text(alphabet="aä{}: ", max_size=5)), max_size=5))
def test_events_are_read_as_the_standard_says(given_events: list[tuple[str, str]]) -> None:
    """Name, id and data of every event come back, with comments and empty events between them."""
    lines: list[bytes] = [b": ping\n", b"\n"]
    for i, (name, data) in enumerate(given_events):
        lines += [f"event: {name}\n".encode(), f"id: {i}\r\n".encode(), f"data: {data}\n".encode(), b"data: more\n", b"unknown: x\n", b"\n"]
    read = list(events(lines))
    assert read == [Event(name, f"{data}\nmore", str(i)) for i, (name, data) in enumerate(given_events)]
