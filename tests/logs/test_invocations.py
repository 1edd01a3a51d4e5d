"""Invocations out of the store: the list, and one in full as its tails have seen it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from otelbridge.logs.invocations import invocation_page
from otelbridge.logs.item import trace_item_json
from otelbridge.logs.lookups import worker_counters
from otelbridge.logs.pages import Span
from otelbridge.logs.reader import Budget
from otelbridge.logs.tree import And
from otelbridge.model import ring
from otelbridge.model.part import ColdStart, End, Part, SpoolItem, decode, encode, trace_item
from otelbridge.model.trace import Dropped, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent, Subrequest
from tests.logs.samples import SECOND_NS, START_NS, Filled, end_of, line, part, spool_items, stored, thrown


def full(entries: list[bytes], **options: Any) -> Part:
    """A part whose end has everything."""
    end = End(
        START_NS + 7_000_000,
        "exception",
        2_000_000,
        7_000_000,
        500,
        ColdStart(START_NS, START_NS + 1_000_000, 400_000),
        1 << 20,
        True,
        Dropped(1, 2, 3),
        (Subrequest("ab" * 8, "fetch", "GET", "http://up/", START_NS + 10, START_NS + 20, 502, None, 1),),
        99,
        5_000,
    )
    event = FetchEvent("POST", "http://worker/a?b=c", {"accept": "*/*", "x": "é"}, "192.0.2.7")
    return part(*entries, event=event, end=end, **options)


def test_trace_item_is_what_the_tails_saw() -> None:
    """An invocation read back from the store has every member of the TraceItem that its parts make."""
    opened = ring.pack(ring.SPAN_OPEN, b'{"name":"db","parent":0}', time_ns=START_NS + 1, span=1)
    closed = ring.pack(ring.SPAN_CLOSE, b'{"attributes":{"rows":3}}', time_ns=START_NS + 4, span=1)
    told = ring.pack(ring.DIAGNOSTIC, b'{"channel":"c","message":{"a":[1]}}', time_ns=START_NS + 2)
    failure = {"name": "Error", "message": "no", "stack": "at f"}
    entries = [opened, told, line("one", {"a": 1}, time_ns=START_NS + 3, span=1, info=[None, failure]), thrown("E", "m", "s"), closed]
    item = full(entries)
    with stored([item]) as segments:
        stored_item = trace_item_json(segments.all, item.invocation_id, Budget(60))
    assert stored_item is not None
    found, place = stored_item
    assert place is not None
    assert (place.spool, place.boot > 0, place.time_ns > 0) == ("main", True, True)
    spans = found.pop("spans")
    timing = found.pop("timing")
    assert found == trace_item([decode(encode(item))]).to_json()  # type: ignore[list-item]
    start, end = str(START_NS + 1), str(START_NS + 5)
    wanted = {"number": 1, "parent": 0, "name": "db", "startTimeUnixNano": start, "endTimeUnixNano": end, "attributes": {"rows": 3}}
    assert spans == [wanted]
    assert timing["load"] == {"startTimeUnixNano": str(START_NS), "endTimeUnixNano": str(START_NS + 1_000_000), "compileMs": 0.4}
    assert (timing["wallMs"], timing["queueMs"]) == (7.0, 0.005)


@pytest.mark.parametrize("event", [RpcEvent("sum"), ScheduledEvent("* * * * *", 1_764_000_000_000), QueueEvent("jobs", 3)])
def test_events_that_are_no_requests(event: Any) -> None:
    """Each kind of event comes back as it was."""
    item = part(line("a"), event=event)
    with stored([item]) as segments:
        found = trace_item_json(segments.all, item.invocation_id, Budget(60))
        assert found is not None
        assert found[0]["event"] == trace_item([item]).to_json()["event"]


@settings(max_examples=20)
@given(spool_items())
def test_any_parts_in_any_segments_make_the_same_item(items: list[SpoolItem]) -> None:
    """Whatever guests wrote, and however the parts lie in segments, an ended invocation reads back as its tails saw it."""
    parts: dict[str, list[Part]] = {}
    for item in items:
        if isinstance(item, Part):
            again = decode(encode(item))
            assert isinstance(again, Part)
            parts.setdefault(item.invocation_id, []).append(again)
    with stored(*[[item] for item in items], segment_records=5) as segments:
        for invocation_id, own in parts.items():
            stored_item = trace_item_json(segments.all, invocation_id, Budget(60))
            assert stored_item is not None
            found, place = stored_item
            assert (place is None) == (own[-1].end is None)
            if own[-1].end is None:
                assert "outcome" not in found
                continue
            expected = msgspec.json.decode(msgspec.json.encode(trace_item(own).to_json()).replace(b"\\u0000", "\ufffd".encode()))
            found = msgspec.json.decode(msgspec.json.encode({name: value for name, value in found.items() if name in expected}))
            assert found == expected


async def test_running_invocations_are_listed(data_dir: Path) -> None:
    """An invocation is there from its first part on, without an outcome; its end is added later."""
    async with Filled(data_dir, segment_records=2) as filled:
        await filled.put(part(line("a"), invocation=1, ended=False))
        (one,) = (await filled.store.invocations()).invocations
        assert (one.outcome, one.wall_ms, one.logs) == (None, None, 1)
        item = await filled.store.invocation(one.invocation_id)
        assert item is not None
        assert "outcome" not in item
        assert "wallTime" not in item
        await filled.put(*[part(line("x"), invocation=i) for i in range(2, 6)])
        await filled.put(part(line("b"), invocation=1, number=1, first_sequence=1))
        found = {one.invocation_id: one for one in (await filled.store.invocations()).invocations}
        assert len(found) == 5
        assert found[f"{1:032x}"].outcome == "ok"
        item = await filled.store.invocation(f"{1:032x}")
        assert item is not None
        assert [log["message"] for log in item["logs"]] == [["a"], ["b"]]


async def test_what_is_not_there_is_none(data_dir: Path) -> None:
    """An unknown id, or a text that is no id, finds nothing."""
    async with Filled(data_dir) as filled:
        for text in ("0" * 32, "", "' OR 1 --", "x" * 10_000):
            assert await filled.store.invocation(text) is None


def test_invocations_of_one_time_are_paged_once_in_both_orders() -> None:
    """Many invocations that began at the same time, over several segments: each on one page."""
    items = [part(line("x"), invocation=i, start_ns=START_NS + i % 2) for i in range(1, 13)]
    with stored(*[[item] for item in items], segment_records=5) as segments:
        for ascending in (False, True):
            seen: list[str] = []
            after = None
            for _ in range(10):
                found, after = invocation_page(segments.all, And(()), Span(), Budget(60), limit=2, after=after, ascending=ascending)
                seen += [one.invocation_id for one in found]
                if after is None:
                    break
            assert sorted(seen) == sorted(item.invocation_id for item in items)


def test_counters_of_workers() -> None:
    """Invocations, errors, p95 and last seen of each worker, from closed segments and the open one alike."""
    items = [
        part(
            invocation=i,
            worker=f"w{i % 2}",
            end=end_of(time_ns=START_NS + i, wall_ns=(i + 1) * 1_000_000, status=500 if i % 10 == 0 else 200),
        )
        for i in range(100)
    ]
    running = part(line("a"), invocation=1_000, worker="w1", start_ns=START_NS + SECOND_NS, ended=False)
    with stored(*[[item] for item in [*items, running]], segment_records=40) as segments:
        even, odd = worker_counters(segments.all, Budget(60))
        assert (even.worker_id, even.invocations, even.errors, even.last_seen_ns) == ("w0", 50, 10, START_NS + 98)
        assert (odd.worker_id, odd.invocations, odd.errors, odd.last_seen_ns) == ("w1", 51, 0, START_NS + SECOND_NS)
        assert even.p95_ms == pytest.approx(95, rel=0.1)
        assert odd.p95_ms == pytest.approx(96, rel=0.1)
        assert worker_counters(segments.all, Budget(60), "w1") == [odd]
        assert worker_counters(segments.all, Budget(60), "w") == []
