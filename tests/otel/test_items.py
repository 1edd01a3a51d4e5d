"""Items of frames, read once for all lanes."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from otelbridge.model.count import Counts
from otelbridge.model.part import Notice, SpoolItem, encode
from otelbridge.model.trace import FetchEvent, Subrequest
from otelbridge.otel.items import Items
from otelbridge.spool import Frame, Position
from tests.otel.conftest import new_part


def frame(text: str, *, at: int, boot: int = 1, time_ns: int = 5) -> Frame:
    """A frame of a notice."""
    return Frame(Position(1, at), Position(1, at + 100), time_ns, boot, encode(Notice(time_ns, "info", text)))


def test_the_same_frame_is_read_once() -> None:
    """Whoever asks for a frame again gets the same item; another spool, boot, place or time is another frame."""
    items = Items()
    first, counts = items.of("main", frame("a", at=0))
    assert (first.time_ns, counts) == (5, Counts(logs=1))
    assert items.of("main", frame("a", at=0))[0] is first
    for other, spool in (
        (frame("b", at=0), "loader-1"),
        (frame("b", at=0, boot=2), "main"),
        (frame("b", at=0, time_ns=6), "main"),
        (frame("b", at=100), "main"),
    ):
        found, _ = items.of(spool, other)
        assert isinstance(found, Notice)
        assert found.text == "b"


def test_who_comes_last_keeps_nothing() -> None:
    """An item that is asked for alone is that of the others when they have read it, else it is read and not kept."""
    items = Items()
    alone = items.item("main", frame("a", at=0))
    assert isinstance(alone, Notice)
    assert (alone.text, items.kept_bytes) == ("a", 0)
    kept, _ = items.of("main", frame("a", at=0))
    assert items.item("main", frame("a", at=0)) is kept


def test_what_is_kept_is_bounded() -> None:
    """The oldest items go when there are too many bytes of them, and one that is large is not kept at all."""
    frames = [frame("x" * 100, at=at) for at in range(0, 100_000, 100)]
    items = Items(max_bytes=100_000)
    first = items.of("main", frames[0])[0]
    for one in frames:
        items.of("main", one)
    assert items.of("main", frames[0])[0] is not first
    last = items.of("main", frames[-1])[0]
    assert items.of("main", frames[-1])[0] is last
    large = frame("y" * 1_000, at=200_000)
    assert items.of("main", large)[0] is not items.of("main", large)[0]
    assert items.kept_bytes <= 100_000


def requested(number: int, headers: dict[str, str]) -> SpoolItem:
    """A part of a request with these headers."""
    return msgspec.structs.replace(new_part("x"), event=FetchEvent("GET", f"http://worker/{number}", headers))


def subrequests(number: int) -> SpoolItem:
    """A part with many short subrequests."""
    return new_part(subrequests=tuple(Subrequest(f"{number}{i}", "f", f"m{i}", f"u{i}", 1 << 60, 2 << 60, 900, f"e{i}") for i in range(50)))


KINDS: dict[str, Callable[[int], SpoolItem]] = {
    "nothing logged": lambda _: new_part(),
    "no end": lambda _: new_part("x", outcome=None),
    "lines": lambda _: new_part(*[f"line {i}" for i in range(30)]),
    "headers": lambda number: requested(number, {f"x-header-{i}": f"value {i}" for i in range(12)}),
    "many short headers": lambda number: requested(number, {f"{i:x}": f"{i}." for i in range(90)}),
    "wide text": lambda number: requested(number, {"name": "x" * 3_000 + "\N{GRINNING FACE}"}),
    "subrequests": subrequests,
    "notice": lambda number: Notice(number, "warn", f"text {number}", {f"name{i}": i * 1_000 for i in range(20)}),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_the_bound_is_that_of_memory(make: Callable[[int], SpoolItem]) -> None:
    """Whatever the items are, they take no more memory than was promised, and no less than a fifth of it."""
    limit = 1 << 20
    payloads = [encode(make(number)) for number in range(1_500)]
    items = Items(max_bytes=limit)
    places = itertools.count(1 << 20, 100)
    tracemalloc.start()
    try:
        for payload in payloads:
            at = next(places)
            items.of("main", Frame(Position(70_000, at), Position(70_000, at + 100), 1 << 60, 1 << 60, payload))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit // 2 < items.kept_bytes <= limit
    assert limit // 5 < held <= limit


def test_a_frame_that_cannot_be_read() -> None:
    """It says so each time it is asked for."""
    items = Items()
    for _ in range(2):
        with pytest.raises(msgspec.DecodeError):
            items.of("main", Frame(Position(1, 0), Position(1, 9), 5, 1, b"\xc1"))
