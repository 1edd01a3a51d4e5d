"""Filters of the live tail: what wrangler's would choose, over anything that a guest may have written."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.errors import QueryError
from otelbridge.logs import TailFilter, tail_filter
from otelbridge.logs.events import Decoder, batches_of, select
from otelbridge.model.part import Notice, Part, SpoolItem
from otelbridge.model.record import Record, records
from otelbridge.model.trace import FetchEvent, RpcEvent
from otelbridge.spool import Position
from tests.logs.samples import START_NS, end_of, frames, line, part, spool_items
from tests.logs.sse import parse, texts


def chosen(wanted: TailFilter, *items: SpoolItem) -> list[str]:
    """The texts that a filter lets through of these items."""
    places = {"main": Position(1, 0)}
    return texts(parse(select(batches_of(Decoder(), "main", frames(items), places), wanted)[0]))


POST = FetchEvent("POST", "http://worker/api", {"x-tenant": "Acme Inc", "accept": "*/*"}, "192.0.2.7")
ITEMS: list[SpoolItem] = [
    part(line("plain"), invocation=1, worker="web"),
    part(line("bad", level="error"), invocation=2, worker="web-2", event=POST, end=end_of(time_ns=START_NS + 5, status=404)),
    part(line("worse", level="warn"), invocation=3, worker="api", end=end_of(time_ns=START_NS + 6, outcome="exceededCpu", status=None)),
    part(line("left"), invocation=4, worker="api", end=end_of(time_ns=START_NS + 7, outcome="canceled", status=None)),
    part(line("called"), invocation=5, worker="rpc", event=RpcEvent("method"), end=end_of(time_ns=START_NS + 8, status=None)),
    Notice(START_NS, "error", "of the bridge", {}, "web"),
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "plain bad worse left called of the bridge"),
        ("worker=web", "plain of the bridge"),
        ("worker=WEB*", "plain bad of the bridge"),
        ("worker=api&worker=rpc", "worse left called"),
        ("level=error", "bad of the bridge"),
        ("level=error&level=WARN", "bad worse of the bridge"),
        ("search=WORSE", "worse"),
        ("search=a&search=b&level=error", "bad of the bridge"),
        ("method=post", "bad"),
        ("status=ok", "plain bad called"),
        ("status=error", "worse"),
        ("status=canceled", "left"),
        ("status=404", "bad"),
        ("status=2xx&status=canceled", "plain left"),
        ("status=5xx", ""),
        ("header=X-Tenant", "bad"),
        ("header=x-tenant:acme", "bad"),
        ("header=x-tenant: other", ""),
        ("header=x-missing&header=accept", "bad"),
        ("ip=192.0.2.7", "bad"),
        ("ip=192.0.2.1", "plain worse left"),
        (f"invocation={3:032X}", "worse"),
        (f"invocation={3:032x}&invocation={1:032x}&level=info", "plain"),
        ("worker=web*&level=error&status=404", "bad"),
        ("q=level:error -method:post", "of the bridge"),
        ("q=bad OR worse", "bad worse"),
        ("q=method:post&q=left&worker=*", "bad left"),
        ("sampling-rate=1", "plain bad worse left called of the bridge"),
    ],
)
def test_filters(query: str, found: str) -> None:
    """Each filter chooses what wrangler's would: values of one kind are alternatives, kinds must all hold."""
    wanted = tail_filter([tuple(pair.split("=", 1)) for pair in query.split("&") if pair])  # type: ignore[misc]
    shown = [text for text in chosen(wanted, *ITEMS) if not text.endswith(")")]  # without the invocations' own records
    assert " ".join(shown) == found


def test_a_status_waits_for_the_end() -> None:
    """Nobody knows how an invocation ends before it does: its lines come then, all of them and in order."""
    wanted = tail_filter([("status", "error")])
    early, late = part(line("a"), line("b"), ended=False), part(line("c"), number=1, end=end_of(time_ns=START_NS, outcome="exception"))
    assert chosen(wanted, early) == []
    assert chosen(wanted, early, late)[:3] == ["a", "b", "c"]
    assert chosen(wanted, early, part(line("c"), number=1)) == []


def test_what_a_status_waits_for_is_bounded() -> None:
    """Invocations that never end are forgotten, the oldest first, before they fill the memory."""
    decoder = Decoder()
    big = [part(line("x" * 1_000_000), invocation=i, ended=False) for i in range(40)]
    batches_of(decoder, "main", frames(big), {"main": Position(1, 0)})
    assert decoder.remembered_bytes <= 16 << 20
    end = part(number=1, invocation=39, end=end_of(time_ns=START_NS, outcome="exception"))
    (batch,) = batches_of(decoder, "main", frames([end]), {"main": Position(1, 0)})
    assert len(batch.earlier) == 1


def test_sampling_takes_whole_invocations() -> None:
    """A sampled invocation is seen with all its lines; the share is about the rate, and the same for everybody."""
    wanted = tail_filter([("sampling-rate", "0.25")])
    items = [part(line(f"{i}"), line(f"{i}"), invocation=i * 7919, ended=False) for i in range(2_000)]
    found = chosen(wanted, *items)
    assert found == chosen(wanted, *items)
    assert {found.count(text) for text in found} == {2}
    assert 0.2 < len(found) / 4_000 < 0.3


@given(
    spool_items(),
    st.lists(st.sampled_from(["level=error", "worker=w*", "search=user", "method=GET", "worker=API", "level=info"]), max_size=3),
)
def test_filters_agree_with_a_plain_evaluator(items: list[SpoolItem], pairs: list[str]) -> None:
    """Any filter over anything that a guest may have written lets through what a plain reading of it says."""
    given_pairs = [tuple(pair.split("=")) for pair in pairs]
    by_name: dict[str, list[str]] = {}
    for name, value in given_pairs:
        by_name.setdefault(name, []).append(value)

    def wants(item: SpoolItem, record: Record) -> bool:
        worker = (record.worker_id or "").lower()
        event = item.event if isinstance(item, Part) else None
        holds: dict[str, Callable[[str], bool]] = {
            "level": lambda v: record.level == v,
            "worker": lambda v: worker.startswith("w") if v == "w*" else worker == v.lower(),
            "search": lambda v: v in record.text.lower(),
            "method": lambda v: isinstance(event, FetchEvent) and event.method == v,
        }
        return all(any(holds[name](value) for value in values) for name, values in by_name.items())

    wanted = [record.id for item in items for record in records(item) if wants(item, record)]
    data, count = select(batches_of(Decoder(), "main", frames(items), {"main": Position(1, 0)}), tail_filter(given_pairs))  # type: ignore[arg-type]
    found = [json.loads(event["data"])["id"] for event in parse(data)]
    assert found == wanted
    assert count == len(wanted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("level", "loud"),
        ("status", "maybe"),
        ("status", "6xx"),
        ("sampling-rate", "0"),
        ("sampling-rate", "nan"),
        ("sampling-rate", "x"),
        ("q", "since:1h"),
        ("x", ""),
    ],
)
def test_wrong_filters_are_refused(name: str, value: str) -> None:
    """A filter that can't be read is an error that names it."""
    with pytest.raises(QueryError, match=name):
        tail_filter([(name, value)])
