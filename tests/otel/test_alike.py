"""Spans of invocations that are alike: the bytes that the usual way makes, whoever comes after whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.model.part import Part
from otelbridge.model.trace import FetchEvent, ScheduledEvent
from otelbridge.otel import wire
from otelbridge.otel.alike import Alike
from otelbridge.otel.shape import Shape
from otelbridge.otel.span_rows import span_rows
from tests.otel.conftest import new_part
from tests.otel.strategies import invocations

_PLAIN = Shape()


def usual(part: Part, shape: Shape = _PLAIN) -> bytes:
    """Return the span of an invocation, made from its attributes."""
    return wire.records(wire.spans(span_rows([part], shape=shape)))


def changed(part: Part, end: dict[str, Any] | None = None, **of_part: Any) -> Part:
    """Return a part with other members, and others of its end."""
    return msgspec.structs.replace(part, end=part.end and msgspec.structs.replace(part.end, **(end or {})), **of_part)


def agrees(alike: Alike, parts: Iterable[Part], shape: Shape = _PLAIN) -> int:
    """Return how many of the spans were learned; each is what the usual way makes."""
    learned = 0
    for part in parts:
        data = alike.span(part)
        assert data in (None, usual(part, shape))
        learned += data is not None
    return learned


NUMBERS = st.sampled_from([0, 1, 127, 128, 999_999, 1 << 40]) | st.integers(-(1 << 65), 1 << 65)
OF_END = ["time_ns", "cpu_ns", "wall_ns", "queue_ns", "response_bytes", "memory_bytes"]
TEXTS = st.sampled_from(
    ["", "a", "f" * 16, "e" * 32, "0123456789abcdef" * 2, "g" * 32, " " * 31 + "a", "aa " * 16, "é" * 20, "\ud800" * 20]
)
URLS = st.sampled_from(
    ["http://w/", "http://w/?otelbridge.truncated", "http://w/\x0a\x17http.response.body.size\x12\x02\x18\x05", "x" * 600]
)


@st.composite
def crowds(draw: st.DrawFn) -> list[Part]:
    """Invocations of which many are alike, and some are as no loader writes them."""
    first = draw(invocations())[-1]
    kinds = [
        changed(
            msgspec.structs.replace(first, number=0, ring=b""),
            {"cold_start": None, "subrequests": (), "response_bytes": draw(NUMBERS), "queue_ns": draw(NUMBERS)},
            event=draw(st.builds(FetchEvent, st.sampled_from(["GET", "get"]), URLS, st.just({"user-agent": "x"}) | st.just({}))),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    crowd = []
    for _ in range(draw(st.integers(1, 12))):
        of_end = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(OF_END, NUMBERS)))
        of_part = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    **dict.fromkeys(["trace_id", "span_id", "invocation_id"], TEXTS),
                    "parent_span_id": st.none() | TEXTS,
                    "start_ns": NUMBERS,
                },
            )
        )
        crowd.append(changed(draw(st.sampled_from(kinds)), of_end, **of_part))
    return crowd


@pytest.mark.fuzz
@given(crowd=crowds(), shape=st.just(_PLAIN) | st.builds(Shape, attributes=st.integers(1, 20), attribute_chars=st.integers(0, 40)))
def test_any_crowd_gets_the_usual_bytes(crowd: list[Part], shape: Shape) -> None:
    """Whatever ids and numbers they have, and under any limits: a span is none, or what is made from its attributes."""
    alike = Alike(lambda part: usual(part, shape))
    agrees(alike, [one for part in crowd for one in (part, part, part)], shape)


def invocation(**of_end: Any) -> Part:
    """Return an invocation as a loader writes it, whose event, outcome and sizes are those of all others here."""
    return changed(new_part("x"), {"response_bytes": 300, "memory_bytes": 1 << 20, **of_end})


def test_the_third_of_a_kind_is_learned() -> None:
    """What comes twice is learned; from then on ids, times and numbers may be any."""
    alike = Alike(usual)
    assert agrees(alike, [invocation(), invocation()]) == 0
    assert (
        agrees(
            alike,
            [invocation(cpu_ns=i * 12345, wall_ns=i * 777, response_bytes=256 + i, memory_bytes=(1 << 20) + i * 8) for i in range(50)],
        )
        == 50
    )


CHANGES: dict[str, Part] = {
    "status": invocation(status=404),
    "outcome": invocation(outcome="exception"),
    "more memory": invocation(memory_bytes=1 << 28),
    "a larger response": invocation(response_bytes=1 << 30),
    "no response": invocation(response_bytes=0),
    "it waited": invocation(queue_ns=5),
    "a parent": changed(invocation(), parent_span_id="e" * 16),
    "an entrypoint": changed(invocation(), entrypoint="Other"),
    "a URL": changed(invocation(), event=FetchEvent("GET", "http://other/", {})),
    "a client": changed(invocation(), event=FetchEvent("GET", "http://worker/hello", {}, "10.0.0.1")),
    "an agent": changed(invocation(), event=FetchEvent("GET", "http://worker/hello", {"user-agent": "a"})),
}


@pytest.mark.parametrize("other", CHANGES.values(), ids=CHANGES)
def test_another_kind_is_learned_anew(other: Part) -> None:
    """What differs in anything that is no gap is another kind, and both are known then."""
    alike = Alike(usual)
    assert agrees(alike, [invocation(), other, invocation(), other]) == 0
    assert agrees(alike, [invocation(), other, invocation(), other]) == 4


NEVER: dict[str, Part] = {
    "no request": changed(invocation(), event=ScheduledEvent("* * * * *", 5)),
    "no end": msgspec.structs.replace(invocation(), end=None),
    "lines were dropped": invocation(truncated=True),
    "a long method": changed(invocation(), event=FetchEvent("X" * 600, "http://w/", {})),
    "a long URL": changed(invocation(), event=FetchEvent("GET", "http://w/" + "x" * 600, {})),
    "a text like a size's": changed(
        invocation(response_bytes=5),
        event=FetchEvent("GET", "http://w/", {"user-agent": wire.attributes({"http.response.body.size": 5}, b"\x4a").decode()}),
    ),
    "a short id": changed(invocation(), invocation_id="a"),
    "no trace": changed(invocation(), trace_id=""),
    "a span that is none": changed(invocation(), span_id="z" * 16),
    "spaces": changed(invocation(), trace_id="aa " * 10 + "aa"),
    "an odd parent": changed(invocation(), parent_span_id="abc"),
    "negative times": changed(invocation(), start_ns=-5),
}


@pytest.mark.parametrize("odd", NEVER.values(), ids=NEVER)
def test_what_is_odd_goes_the_usual_way(odd: Part) -> None:
    """What has no place in the gaps, or can't be told from them, is left to who asked."""
    assert agrees(Alike(usual), [odd] * 5) == 0


def test_what_is_cut_is_not_learned() -> None:
    """A limit that cuts an attribute marks and counts the span each time."""
    shape = Shape(attribute_chars=5)
    assert agrees(Alike(lambda part: usual(part, shape)), [invocation() for _ in range(5)], shape) == 0


def test_kinds_without_end_take_bounded_memory() -> None:
    """However many URLs clients ask for, no more than a thousand kinds are remembered, and what goes on is learned again."""
    alike = Alike(usual)
    for number in range(3000):
        alike.span(changed(invocation(), event=FetchEvent("GET", f"http://w/{number}", {})))
        alike.span(invocation())
        assert len(alike._kinds) <= 1024
    assert agrees(alike, [invocation() for _ in range(3)]) >= 1
