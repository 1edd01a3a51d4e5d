"""Frames of spools and what they hold: read and decoded once for all lanes, and each lane gets what it would get alone."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.model.count import Counts, count
from otelbridge.model.part import Notice, SpoolItem, decode, encode
from otelbridge.model.trace import FetchEvent, Subrequest
from otelbridge.otel import items as items_room
from otelbridge.otel.items import Items, Slice, slices
from otelbridge.spool import Frame, Position, SpoolReader, SpoolWriter
from tests.otel.conftest import new_part

STEPS = st.lists(
    st.one_of(st.tuples(st.just("append"), st.integers(1, 5)), st.tuples(st.integers(0, 2), st.integers(1, 4))), min_size=1, max_size=60
)


BEGIN = Position(1, 0)  # of a spool


def read_on(items: Items, reader: SpoolReader, *limits: int) -> tuple[list[Slice], bool]:
    """Read from where a reader stands."""
    return items.read(reader, reader.position, *limits)


def payloads(pieces: list[Slice]) -> list[bytes]:
    """What the frames of slices hold."""
    return [frame.payload for piece in pieces for frame in piece.frames]


@settings(max_examples=60)
@given(steps=STEPS, max_bytes=st.sampled_from([0, 2_000, 1 << 20]), damaged=st.none() | st.integers(0, 40))
def test_each_reader_gets_every_frame_once(steps: list[tuple[Any, int]], max_bytes: int, damaged: int | None) -> None:
    """Whoever reads when, from however many segments, with a damaged frame or none: each gets what a reader alone gets."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "spool"
        writer = SpoolWriter(directory, segment_bytes=200, sync_ms=0)
        items = Items(max_bytes=max_bytes)
        readers = [SpoolReader(directory, f"c{i}") for i in range(3)]
        got: list[list[bytes]] = [[], [], []]
        number = 0
        for who, some in [*steps, ("append", 3)]:
            if who == "append":
                for _ in range(some):
                    writer.append(b"%d" % number + b"-" * (number % 30))
                    number += 1
                    if number == damaged:
                        _damage_last(directory)
            else:
                got[who] += payloads(read_on(items, readers[who], 150, some)[0])
        alone = SpoolReader(directory, None)
        for reader, frames in zip([*readers, alone], [*got, []], strict=True):
            while more := payloads(read_on(items, reader, 150, 10)[0]) if reader is not alone else [f.payload for f in alone.read(150, 10)]:
                frames += more
            assert len(frames) >= number - 1
            assert frames == sorted(set(frames), key=lambda payload: int(payload.rstrip(b"-")))
            reader.close()
        assert got[0] == got[1] == got[2]
        assert {(reader.damaged_bytes, reader.position) for reader in readers} == {(alone.damaged_bytes, alone.position)}
        writer.close()


def _damage_last(directory: Path) -> None:
    """Flip the last byte of the newest segment that has a frame: it belongs to a payload."""
    path = max(path for path in directory.glob("*.seg") if path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reader gets the same slices without the file, and is told that others were before it; a third, from elsewhere, reads."""
    writer = SpoolWriter(tmp_path, sync_ms=0)
    for number in range(10):
        writer.append(b"%d" % number)
    items, (first, second, third) = Items(), (SpoolReader(tmp_path, name) for name in "abc")
    found, follows = read_on(items, first, 1 << 20, 4)
    assert (payloads(found), follows) == ([b"0", b"1", b"2", b"3"], False)

    def refuse(*_: object) -> Any:
        raise OSError("not from the file")

    with monkeypatch.context() as broken:
        broken.setattr(second, "_read_segment", refuse)
        assert read_on(items, second, 1 << 20, 2) == (found, True)
        with pytest.raises(OSError, match="not from the file"):
            read_on(items, second, 1 << 20, 2)
    assert second.position == first.position == found[-1].end
    third.seek(found[0].frames[0].position)
    assert payloads(read_on(items, third, 1 << 20, 2)[0]) == [b"1", b"2"]
    for reader in (first, second, third):
        reader.close()
    writer.close()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """Of 1,000 frames, read in small pieces, only the newest that fit into the bound are known."""
    with contextlib.closing(SpoolWriter(tmp_path, sync_ms=0)) as writer:
        for _ in range(1000):
            writer.append(b"x" * 100)
    items, (first, second) = Items(max_bytes=50_000), (SpoolReader(tmp_path, name) for name in "ab")
    while read_on(items, first, 1 << 20, 10)[0]:
        pass
    told = [read_on(items, second, 1 << 20, 10)[1] for _ in range(100)]
    assert not any(told)  # each that it reads takes the place of one that it would come to
    assert 0 < items.kept_bytes <= 50_000
    first.close()
    second.close()


@given(sizes=st.lists(st.integers(1, 200_000), max_size=100), segments=st.lists(st.integers(0, 100), max_size=3))
def test_slices_are_short(sizes: list[int], segments: list[int]) -> None:
    """All frames in order, none of two segments in one slice, each slice as long as it may be."""
    frames, at, segment = [], 16, 1
    for number, size in enumerate(sizes):
        if number in segments:
            segment, at = segment + 1, 16
        frames.append(Frame(Position(segment, at), Position(segment, at + size), number, segment, bytes(size)))
        at += size
    found = slices(frames)
    assert [frame for piece in found for frame in piece.frames] == frames
    for piece in found:
        assert piece.bytes == sum(len(frame.payload) for frame in piece.frames)
        assert {(frame.boot, frame.start.segment) for frame in piece.frames} == {(piece.boot, piece.end.segment)}
        assert len(piece.frames) == 1 or (len(piece.frames) <= 32 and piece.bytes <= 128 << 10)
    for piece, following in itertools.pairwise(found):
        more = following.frames[0]
        full = len(piece.frames) == 32 or piece.bytes + len(more.payload) > 128 << 10
        assert full or more.start.segment != piece.end.segment


@given(count=st.integers(1, 32), after=st.integers(0, 31))
def test_the_rest_of_a_slice(count: int, after: int) -> None:
    """What ends behind a position is the slice itself, or one with its last frames."""
    (piece,) = slices([Frame(Position(1, 16 + i), Position(1, 17 + i), i, 1, b"x") for i in range(count)])
    after = min(after, count - 1)
    rest = piece.after(Position(1, 16 + after))
    assert (rest.frames, rest.bytes) == (piece.frames[after:], count - after)
    assert (rest is piece) == (after == 0)


def spooled(tmp_path: Path, *found: SpoolItem | bytes) -> SpoolReader:
    """A reader of a spool that holds these."""
    with contextlib.closing(SpoolWriter(tmp_path / "main", sync_ms=0)) as writer:
        for item in found:
            writer.append(item if isinstance(item, bytes) else encode(item))
    return SpoolReader(tmp_path / "main", None)


def test_a_slice_is_opened_once(tmp_path: Path) -> None:
    """Whoever opens a slice that others opened gets the same; what stands in it is told frame by frame and by worker."""
    first, second = new_part("a", "b", worker="one"), new_part("c", worker="two")
    lost = Notice(5, "warn", "lost")
    items = Items()
    ((piece,), _) = items.read(spooled(tmp_path, first, lost, b"\xc1", second, first), BEGIN, 1 << 20, 10)
    opened = items.open(piece)
    assert items.open(piece) is opened
    assert items.items(piece) == (opened.items, opened.errors)
    assert opened.items == [first, lost, None, second, first]
    assert opened.counts == [count(first), Counts(logs=1), Counts(), count(second), count(first)]
    nobody = ("", "")
    assert opened.owners == [("one", first.invocation_id), nobody, nobody, ("two", second.invocation_id), ("one", first.invocation_id)]
    assert (opened.logs, opened.spans) == ({"one": 4, "two": 1}, {"one": 2, "two": 1})
    assert opened.notices == [lost]
    assert [type(error) for error in opened.errors] == [msgspec.DecodeError]


def test_what_cannot_be_counted_costs_only_itself(tmp_path: Path) -> None:
    """An item over which counting stumbles is one that can't be read, and those at its side are counted."""
    parts = [new_part("a"), new_part("b", worker="odd"), new_part("c")]

    def stumbles(items: Sequence[SpoolItem]) -> list[Counts]:
        if parts[1] in items:
            raise AssertionError("a defect")
        return [count(item) for item in items]

    items = Items(stumbles)
    ((piece,), _) = items.read(spooled(tmp_path, *parts), BEGIN, 1 << 20, 10)
    opened = items.open(piece)
    assert opened.items == [parts[0], None, parts[2]]
    assert opened.counts == [count(parts[0]), Counts(), count(parts[2])]
    assert (opened.logs, [str(error) for error in opened.errors]) == ({"demo": 2}, ["a defect"])


def test_a_read_for_which_nobody_waited_is_done_again(tmp_path: Path) -> None:
    """Who asks from a position gets the frames behind it, however far a read of the same reader has gone meanwhile."""
    reader = spooled(tmp_path, *[b"%d" % number for number in range(10)])
    items, at = Items(max_bytes=0), reader.position
    abandoned = [items.read(reader, at, 1 << 20, 4)[0] for _ in range(3)]
    assert [payloads(found) for found in abandoned] == [[b"0", b"1", b"2", b"3"]] * 3
    assert payloads(items.read(reader, abandoned[0][-1].end, 1 << 20, 2)[0]) == [b"4", b"5"]


def test_who_comes_last_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that are asked for alone are those of the others when they have opened the slice, else they are read and not kept."""
    items = Items()
    ((piece,), _) = items.read(spooled(tmp_path, part := new_part("a"), b"\xc1"), BEGIN, 1 << 20, 10)
    kept = items.kept_bytes
    decoded: list[bytes] = []

    def counted(payload: bytes) -> SpoolItem:
        decoded.append(payload)
        return decode(payload)

    monkeypatch.setattr(items_room, "decode", counted)
    found = [items.items(piece) for _ in range(2)]
    assert [(one[0], [type(error) for error in one[1]]) for one in found] == [([part, None], [msgspec.DecodeError])] * 2
    assert (len(decoded), items.kept_bytes) == (4, kept)
    items.open(piece)
    items.items(piece)
    assert len(decoded) == 6
    assert items.kept_bytes > kept


def test_a_large_slice_is_not_kept_open(tmp_path: Path) -> None:
    """What takes more than a sixteenth of the bound is opened for each who asks, and so is what has been let go of meanwhile."""
    items = Items(max_bytes=200_000)
    reader = spooled(tmp_path, *[new_part("x" * 20) for _ in range(200)])
    ((small,), _) = read_on(items, reader, 1 << 20, 3)
    assert items.open(small) is items.open(small)
    ((large,), _) = read_on(items, reader, 1 << 20, 20)
    assert items.open(large) is not items.open(large)
    ((waiting,), _) = read_on(items, reader, 1 << 20, 3)
    while found := read_on(items, reader, 1 << 20, 3)[0]:
        items.open(found[0])
    assert items.open(waiting) is not items.open(waiting)
    assert 0 < items.kept_bytes <= 200_000


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
def test_the_bound_is_that_of_memory(make: Callable[[int], SpoolItem], tmp_path: Path) -> None:
    """Whatever the items are, they take no more memory than was promised, and no less than a fifth of it."""
    limit = 1 << 20
    reader = spooled(tmp_path, *[make(number) for number in range(1_500)])
    items = Items(max_bytes=limit)
    tracemalloc.start()
    try:
        while found := read_on(items, reader, 64 << 10, 8)[0]:
            for piece in found:
                items.open(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit // 2 < items.kept_bytes <= limit
    assert limit // 5 < held <= limit
