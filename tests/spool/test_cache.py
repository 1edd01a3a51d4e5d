"""Frames that several consumers of a process read: once for all of them, and each gets what it would get alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.spool import ReadCache, SpoolReader, SpoolWriter

STEPS = st.lists(
    st.one_of(st.tuples(st.just("append"), st.integers(1, 5)), st.tuples(st.integers(0, 2), st.integers(1, 4))), min_size=1, max_size=60
)


@settings(max_examples=60)
@given(steps=STEPS, max_bytes=st.sampled_from([0, 100, 1 << 20]), damaged=st.none() | st.integers(0, 40))
def test_each_reader_gets_every_frame_once(steps: list[tuple[Any, int]], max_bytes: int, damaged: int | None) -> None:
    """Whoever reads when, from however many segments, with a damaged frame or none: each gets what a reader alone gets."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "spool"
        writer = SpoolWriter(directory, segment_bytes=200, sync_ms=0)
        cache = ReadCache(max_bytes=max_bytes)
        readers = [SpoolReader(directory, f"c{i}") for i in range(3)]
        got: list[list[bytes]] = [[], [], []]
        number = 0
        for who, count in [*steps, ("append", 3)]:
            if who == "append":
                for _ in range(count):
                    writer.append(b"%d" % number + b"-" * (number % 30))
                    number += 1
                    if number == damaged:
                        _damage_last(directory)
            else:
                got[who] += [frame.payload for frame in cache.read(readers[who], 150, count)[0]]
        alone = SpoolReader(directory, None)
        for reader, frames in zip([*readers, alone], [*got, []], strict=True):
            while more := cache.read(reader, 150, 10)[0] if reader is not alone else alone.read(150, 10):
                frames += [frame.payload for frame in more]
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
    """The second reader gets the same frames without the file, and is told that others were before it; a third, from elsewhere, reads."""
    writer = SpoolWriter(tmp_path, sync_ms=0)
    for number in range(10):
        writer.append(b"%d" % number)
    cache, (first, second, third) = ReadCache(), (SpoolReader(tmp_path, name) for name in "abc")
    frames, follows = cache.read(first, 1 << 20, 4)
    assert ([frame.payload for frame in frames], follows) == ([b"0", b"1", b"2", b"3"], False)

    def refuse(*_: object) -> Any:
        raise OSError("not from the file")

    with monkeypatch.context() as broken:
        broken.setattr(second, "_read_segment", refuse)
        assert cache.read(second, 1 << 20, 2) == (frames, True)
        with pytest.raises(OSError, match="not from the file"):
            cache.read(second, 1 << 20, 2)
    assert second.position == first.position == frames[-1].position
    third.seek(frames[0].position)
    assert [frame.payload for frame in cache.read(third, 1 << 20, 2)[0]] == [b"1", b"2"]
    for reader in (first, second, third):
        reader.close()
    writer.close()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """Of 1,000 frames, read in small pieces, only the newest that fit into the bound are known."""
    writer = SpoolWriter(tmp_path, sync_ms=0)
    for _ in range(1000):
        writer.append(b"x" * 100)
    cache, (first, second) = ReadCache(max_bytes=10_000), (SpoolReader(tmp_path, name) for name in "ab")
    while cache.read(first, 1 << 20, 10)[0]:
        pass
    told = [cache.read(second, 1 << 20, 10)[1] for _ in range(100)]
    assert not any(told)  # each that it reads takes the place of one that it would come to
    assert cache._bytes <= 10_000
    first.close()
    second.close()
    writer.close()
