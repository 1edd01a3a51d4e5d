"""Records: their JSON, and what becomes of hostile content."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.model import ring
from otelbridge.model.part import Notice, decode, encode
from otelbridge.model.record import records, rfc3339, split_url
from otelbridge.model.trace import QueueEvent, RpcEvent, ScheduledEvent
from tests.logs.samples import START_NS, end_of, line, part, thrown


def as_json(record: object) -> dict[str, object]:
    """A record as it goes out."""
    return json.loads(msgspec.json.encode(record))  # type: ignore[no-any-return]


def test_log_record_has_the_members_of_the_contract() -> None:
    """A log line of a finished invocation has exactly the members that design.md names, as far as they have a value."""
    record = records(part(line("hello", 1, {"a": [True, None]}, level="warn", time_ns=START_NS + 7)))[0]
    assert as_json(record) == {
        "id": f"{1:032x}-0",
        "time": "2025-11-24T16:00:00.000000007Z",
        "timeUnixNano": str(START_NS + 7),
        "kind": "log",
        "level": "warn",
        "text": 'hello 1 {"a":[true,null]}',
        "workerId": "w",
        "workerVersion": "v1",
        "invocationId": f"{1:032x}",
        "traceId": f"{1:031x}f",
        "spanId": f"{1:015x}e",
        "sequence": 0,
        "message": ["hello", 1, {"a": [True, None]}],
        "outcome": "ok",
        "method": "GET",
        "url": "http://worker/",
        "path": "/",
        "status": 200,
    }


def test_a_single_object_gives_fields() -> None:
    """Only a line with one object as its only argument has fields; its text is the object's JSON."""
    one, two, array = records(part(line({"user_id": 1}), line({"a": 1}, {"b": 2}), line([1]), ended=False))
    assert (one.fields, one.text) == ({"user_id": 1}, '{"user_id":1}')
    assert two.fields is None
    assert array.fields is None


def test_exception_has_its_members_and_a_text_with_its_stack() -> None:
    """What was thrown stands in `exception`, and its text is what a console would print."""
    record = records(part(thrown("TypeError", "no", "    at f (index.js:1:2)"), ended=False))[0]
    assert as_json(record)["exception"] == {"type": "TypeError", "message": "no", "stack": "    at f (index.js:1:2)"}
    assert (record.kind, record.level, record.text) == ("exception", "error", "TypeError: no\n    at f (index.js:1:2)")
    assert as_json(records(part(thrown("E", ""), ended=False))[0])["exception"] == {"type": "E", "message": ""}


@pytest.mark.parametrize(
    ("event", "status", "outcome", "text", "level"),
    [
        (None, 200, "ok", "GET http://worker/ -> 200 (ok)", "info"),
        (None, 500, "ok", "GET http://worker/ -> 500 (ok)", "error"),
        (None, None, "exceededCpu", "GET http://worker/ (exceededCpu)", "error"),
        (None, None, "canceled", "GET http://worker/ (canceled)", "warn"),
        (RpcEvent("sum"), None, "ok", "sum (ok)", "info"),
        (ScheduledEvent("* * * * *", 5), None, "ok", "* * * * * (ok)", "info"),
        (QueueEvent("jobs", 3), None, "exception", "jobs (exception)", "error"),
    ],
)
def test_invocation_record(event: object, status: int | None, outcome: str, text: str, level: str) -> None:
    """The end of an invocation is a record of its own; its level tells failure, also that of a 5xx nobody threw."""
    record = records(part(event=event, end=end_of(time_ns=START_NS + 5, status=status, outcome=outcome)))[-1]  # type: ignore[arg-type]
    assert (record.kind, record.text, record.level, record.id) == ("invocation", text, level, f"{1:032x}-end")
    assert (record.wall_ms, record.cpu_ms, record.cold_start, record.time_ns) == (5.0, 1.0, False, START_NS + 5)


def test_notice_is_a_bridge_record() -> None:
    """A notice of the bridge has kind "bridge", fields, and an id that stays the same."""
    notice = Notice(START_NS, "warn", "the spool is full", {"dropped": 3}, "w")
    (record,) = records(notice)
    assert as_json(record) == {
        "id": "bridge-1764000000000000000-382b67c3",
        "time": "2025-11-24T16:00:00.000000000Z",
        "timeUnixNano": str(START_NS),
        "kind": "bridge",
        "level": "warn",
        "text": "the spool is full",
        "workerId": "w",
        "message": ["the spool is full"],
        "fields": {"dropped": 3},
    }


def test_no_nul_no_depth_no_infinity_leaves() -> None:
    """NUL becomes U+FFFD, nesting is cut at 64, numbers that JSON lacks are null; and the text says the same."""
    deep = "[" * 500 + "]" * 500
    raw = b"".join(
        ring.pack(ring.LOG, payload)
        for payload in (
            rb'["a\u0000b"]',
            rb'[{"k\u0000":"\u0000"}]',
            f"[{deep}]".encode(),
            b'[{"x":1e999,"y":123456789012345678901234567890}]',
        )
    )
    one, two, three, four = records(part(raw, ended=False))
    assert one.text == "a\ufffdb"
    assert two.fields == {"k\ufffd": "\ufffd"}
    assert "\0" not in two.text
    assert three.text.count("[") == 65
    assert four.fields == {"x": None, "y": 123456789012345678901234567890}
    for record in (one, two, three, four):
        assert json.loads(msgspec.json.encode(record))["text"] == record.text


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=60), st.integers(0, 4), st.binary(max_size=20)), max_size=5))
def test_whatever_a_guest_writes_can_be_sent(entries: list[tuple[int, bytes, int, bytes]]) -> None:
    """Any bytes in the ring give records that are valid JSON without lone surrogates and NUL, before and after the spool."""
    item = part(*[ring.pack(kind, payload, level=level, extra=extra) for kind, payload, level, extra in entries])
    for record in records(item):
        encoded = msgspec.json.encode(record)
        assert b"\\u0000" not in encoded.replace(b"\\\\", b"")  # a guest may write those six characters as text
        json.loads(encoded.decode())
    again = decode(encode(item))
    assert records(again) == records(item)


@pytest.mark.parametrize(
    "url",
    ["http://h/p/a?b=c#d", "http://h", "http://h?x=/y", "h/p", "", "?", "http://h/#/x?y", "/only", "http://[::1]:80/a?b"],
)
def test_split_url_joins_again(url: str) -> None:
    """The three pieces of a URL give the URL again; the path has neither origin nor query."""
    origin, path, query = split_url(url)
    assert origin + path + query == url
    assert "?" not in path
    assert not path or path.startswith("/")


def test_times_out_of_the_calendar_are_shown() -> None:
    """A time that no calendar has doesn't break a page."""
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(10**23).startswith("9999-")
    assert rfc3339(-(10**23)).startswith("0001-")
