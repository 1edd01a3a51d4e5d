"""A spool whose files are torn or damaged: what that costs, and what it never does."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.spool import Position, SpoolReader, SpoolWriter
from otelbridge.spool.frame import FRAME_BYTES, SEGMENT_BYTES
from tests.spool.conftest import drain, segments


@pytest.mark.parametrize("cut", [1, FRAME_BYTES, FRAME_BYTES + 3, 60])
def test_a_torn_tail_is_cut_off_at_open(tmp_path: Path, cut: int) -> None:
    """A frame that was never finished disappears, its bytes are counted; all before it are read, and new ones follow."""
    writer = SpoolWriter(tmp_path)
    for i in range(5):
        writer.append(b"%d" % i * 50)
    writer.close()
    path = tmp_path / segments(tmp_path)[-1]
    os.truncate(path, path.stat().st_size - cut)
    writer = SpoolWriter(tmp_path)
    assert writer.cut_bytes == FRAME_BYTES + 50 - cut
    writer.append(b"next")
    reader = SpoolReader(tmp_path, "a")
    assert drain(reader) == [b"%d" % i * 50 for i in range(4)] + [b"next"]
    assert reader.damaged_bytes == 0
    writer.close()


def test_a_damaged_frame_costs_only_itself(tmp_path: Path) -> None:
    """A flipped bit in a payload loses that frame, and its bytes are counted."""
    writer = SpoolWriter(tmp_path)
    for i in range(5):
        writer.append(b"%d" % i * 50)
    path = tmp_path / segments(tmp_path)[-1]
    with open(path, "r+b") as file:
        file.seek(SEGMENT_BYTES + 2 * (50 + FRAME_BYTES) + FRAME_BYTES + 7)
        file.write(b"\xff")
    reader = SpoolReader(tmp_path, "a")
    assert drain(reader) == [b"%d" % i * 50 for i in (0, 1, 3, 4)]
    assert reader.damaged_bytes == 50 + FRAME_BYTES
    writer.close()


@pytest.mark.parametrize("whole", [True, False])
def test_damage_is_counted_once_when_reading_fails(tmp_path: Path, whole: bool) -> None:
    """A segment without its first bytes is skipped as a whole, one that ends in other bytes without those; they are counted once,
    also when reading fails behind them and begins anew."""
    with contextlib.closing(SpoolWriter(tmp_path)) as writer:
        writer.append(b"first")
    path = tmp_path / segments(tmp_path)[-1]
    with contextlib.closing(SpoolWriter(tmp_path)) as writer:
        writer.append(b"next")
        with open(path, "r+b") as file:
            file.seek(0, os.SEEK_SET if whole else os.SEEK_END)
            file.write(b"?" * 20)
        size = path.stat().st_size if whole else 20
        reader = SpoolReader(tmp_path, "a")
        following = tmp_path / segments(tmp_path)[-1]
        following.rename(hidden := tmp_path / "hidden")
        following.mkdir()
        for _ in range(2):
            with pytest.raises(OSError, match="directory"):
                reader.read()
        following.rmdir()
        hidden.rename(following)
        assert drain(reader) == ([b"next"] if whole else [b"first", b"next"])
        assert reader.damaged_bytes == size


@settings(max_examples=60, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=4), cut=st.integers(0, 400))
def test_no_damage_makes_up_a_frame_or_stops_a_reader(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    """Whatever bytes change on disk: a reader gives a subset of what was written, in order, and reaches what follows."""
    directory = tmp_path_factory.mktemp("spool")
    payloads = [bytes([i]) * (20 + 10 * i) for i in range(12)]
    writer = SpoolWriter(directory, sync_ms=0)
    for payload in payloads:
        writer.append(payload)
    writer.close()
    path = directory / segments(directory)[-1]
    data = bytearray(path.read_bytes())
    for at, flip in flips:
        data[at % len(data)] ^= flip
    path.write_bytes(data[: len(data) - cut])
    writer = SpoolWriter(directory, sync_ms=0)
    writer.append(b"follows")
    reader = SpoolReader(directory, "a")
    got = drain(reader)
    assert got[-1] == b"follows"
    rest = iter(payloads)
    assert all(payload in rest for payload in got[:-1])
    reader.close()
    writer.close()


def test_bytes_that_look_like_a_frame_are_none(tmp_path: Path) -> None:
    """A payload that holds a copy of a valid frame can't smuggle it in when the frame around it is damaged."""
    writer = SpoolWriter(tmp_path)
    writer.append(b"forged" * 10)
    path = tmp_path / segments(tmp_path)[-1]
    copy = path.read_bytes()[SEGMENT_BYTES:]
    writer.append(copy)
    offset = SEGMENT_BYTES + len(copy)
    with open(path, "r+b") as file:  # the length of the second frame now points right before the copy
        file.seek(offset)
        file.write((0).to_bytes(4, "little"))
    writer.close()
    writer = SpoolWriter(tmp_path)
    writer.append(b"follows")
    assert drain(SpoolReader(tmp_path, "a")) == [b"forged" * 10, b"follows"]
    writer.close()


def test_a_damaged_cursor_repeats_and_loses_nothing(tmp_path: Path) -> None:
    """A consumer whose cursor can't be read begins at the oldest frame."""
    writer = SpoolWriter(tmp_path)
    writer.append(b"a")
    reader = SpoolReader(tmp_path, "c")
    reader.commit(reader.read()[-1].position)
    (tmp_path / "consumers" / "c.cursor").write_bytes(b"\xff" * 56)
    assert drain(SpoolReader(tmp_path, "c")) == [b"a"]
    writer.close()


def test_a_cursor_ahead_of_lost_segments_still_sees_what_is_new(tmp_path: Path) -> None:
    """New segments are numbered above every cursor, so that a wiped directory doesn't hide new frames."""
    writer = SpoolWriter(tmp_path)
    writer.append(b"a" * 100)
    reader = SpoolReader(tmp_path, "c")
    reader.read()
    reader.commit(Position(7, 4000))
    writer.close()
    for name in segments(tmp_path):
        (tmp_path / name).unlink()
    writer = SpoolWriter(tmp_path)
    writer.append(b"b")
    assert drain(SpoolReader(tmp_path, "c")) == [b"b"]
    writer.close()
