"""Log records and spans, encoded: by encoder.c as WebAssembly what is usual, by log_rows.py and wire.py what is not.

Ten lines take 4 us this way and 35 us by Python alone, when many parts are encoded by one call: a call by itself costs as much as
one of them. Both make the same bytes (tests/otel/test_encoder.py).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from otelbridge.model.count import Counts, count, count_spans
from otelbridge.model.part import Notice, Part, SpoolItem, timed_entries
from otelbridge.otel import wire
from otelbridge.otel.log_rows import LogRow, log_row, log_rows, notice_row
from otelbridge.otel.shape import TRUNCATED, Shape
from otelbridge.otel.span_rows import SpanRow
from otelbridge.sandbox import Cache, Library

__all__ = ["Encoded", "Encoder", "notice_record"]

_log = logging.getLogger("otelbridge.otel")

MODULE: Final = Path(__file__).parent / "encoder.wasm"
INPUT_BYTES: Final = 1 << 19  # encoder.c's input
MOST_PARTS: Final = 1024  # of one call
_HEAD: Final = struct.Struct("<III")  # what stands before the parts there
_PART: Final = struct.Struct("<qqqIII")  # the struct Part there, without what follows
_SIZE: Final = struct.Struct("<I")
_COUNTED: Final = struct.Struct("<II")
_MADE: Final = struct.Struct("<IHH")
_ALL: Final = 0xFFFF  # is left to Python
_LEFT: Final = struct.Struct("<II")
_UNLIMITED: Final = 0xFFFFFFFF
_GROWTH: Final = 6  # how much longer a value's JSON text may be in Python than it is in the ring: 1E9 becomes 1000000000.0
_PLAIN: Final = Shape()
_json: Final = msgspec.json.Encoder().encode

_T = TypeVar("_T")
_R = TypeVar("_R")


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """Records as wire.records() makes them, how many they are, and how many of them were cut."""

    data: bytes
    count: int
    truncated: int = 0


class Encoder:
    """See the module's text. For one thread. SandboxError when encoder.wasm is missing or unfit."""

    def __init__(self, cache: Cache) -> None:
        library = Library(MODULE, cache)
        self._library: Library | None = library
        self._counts, self._logs, self._spans = (library.item(name) for name in (b"counts", b"logs", b"spans"))
        places = (library.call(library.item(name)) for name in (b"input", b"output", b"results", b"left"))
        self._input, self._output, self._results, self._left = places

    def counts(self, items: Sequence[SpoolItem]) -> list[Counts]:
        """The same as model.count.count() of each."""
        rings = [item.ring if isinstance(item, Part) else b"" for item in items]
        sizes = struct.pack(f"<{1 + len(rings)}I", len(rings), *map(len, rings))
        done = self._run(self._counts, sizes + b"".join(rings), len(rings))
        if done is None:
            return _in_halves(items, self.counts, count)
        return [
            Counts(logs, opened + count_spans(item)) if isinstance(item, Part) else count(item)
            for item, (logs, opened) in zip(items, _COUNTED.iter_unpack(done[1]), strict=True)
        ]

    def log_records(self, parts: Sequence[Part], *, shape: Shape = _PLAIN, structured: bool = False, lowest: int = 0) -> list[Encoded]:
        """The log records of each part; the other arguments as for log_rows()."""
        done = None
        if not structured:
            with contextlib.suppress(struct.error):  # numbers that no loader writes
                done = self._run(self._logs, _packed(parts, shape, lowest), len(parts))
        if done is None:
            many = functools.partial(self.log_records, shape=shape, structured=structured, lowest=lowest)
            return _in_halves(parts, many, lambda part: _by_python(part, shape, structured, lowest))
        data, results = done
        made: list[Encoded] = []
        begin = passed = 0
        for part, (end, records, left) in zip(parts, _MADE.iter_unpack(results), strict=True):
            if not left:
                made.append(Encoded(data[begin:end], records))
            elif left == _ALL:
                made.append(_by_python(part, shape, structured, lowest))
            else:
                made.append(self._complete(part, data, (begin, end), records, slice(passed, passed + left), shape, lowest))
                passed += left
            begin = end
        return made

    def spans(self, invocations: Sequence[Sequence[SpanRow]]) -> list[Encoded]:
        """The spans of each invocation."""
        done = None
        with contextlib.suppress(ValueError, OverflowError):  # lone surrogates, integers of more than 64 bits
            rows = _json(invocations)
            done = self._run(self._spans, _SIZE.pack(len(rows)) + rows, len(invocations))
        if done is None or not done[0]:
            return _in_halves(invocations, self.spans, lambda rows: Encoded(wire.records(wire.spans(rows)), len(rows)))
        data, results = done
        ends = [end for end, _ in _COUNTED.iter_unpack(results)]
        return [Encoded(data[begin:end], len(rows)) for rows, (begin, end) in zip(invocations, itertools.pairwise([0, *ends]), strict=True)]

    def _run(self, function: int, data: bytes, many: int) -> tuple[bytes, bytes] | None:
        """Call a function of encoder.c: what it wrote, and its results for so many elements. None when that can't be done."""
        library = self._library
        if library is None or many > MOST_PARTS or len(data) > INPUT_BYTES:
            return None
        memory = library.memory
        try:
            memory.write(self._input, data)
            size = library.call(function) & _UNLIMITED
            return memory.read(self._output, size), memory.read(self._results, _COUNTED.size * many)
        except Exception as e:  # a trap, mostly
            self._give_up(e)
            return None

    def _give_up(self, error: Exception) -> None:
        """A defect of ours: it is slower from now on, but nothing is lost."""
        _log.error("export: the compiled encoder has failed; Python goes on in its place", exc_info=error)
        self.close()

    def _complete(self, part: Part, data: bytes, own: tuple[int, int], count: int, left: slice, shape: Shape, lowest: int) -> Encoded:
        """Put in what was left to Python. `data`: what was made of all parts, `own`: from where to where of this one; `left`: which entries
        of the list there."""
        library = self._library
        assert library is not None
        begin, end = own
        entries = timed_entries(part)
        out: list[bytes] = []
        truncated = 0
        places = library.memory.read(self._left + _LEFT.size * left.start, _LEFT.size * (left.stop - left.start))
        for index, at in _LEFT.iter_unpack(places):
            row = log_row(*entries[index], shape=shape, lowest=lowest)
            if row is not None:
                out += (data[begin:at], wire.records(wire.log_records(part, [row])))
                begin = at
                count += 1
                truncated += _was_cut(row)
        out.append(data[begin:end])
        return Encoded(b"".join(out), count, truncated)

    def close(self) -> None:
        """Free the module; what is asked for after that is made by Python. Idempotent."""
        library, self._library = self._library, None
        if library is not None:
            library.close()


def notice_record(notice: Notice) -> Encoded:
    """A record of the bridge itself. The same notice has the same id at every attempt."""
    digest = hashlib.blake2b(f"{notice.time_ns}/{notice.text}".encode("utf-8", "replace"), digest_size=16)
    row, attributes = notice_row(notice)
    return Encoded(wire.records([wire.notice_record(row, {"log.record.uid": digest.hexdigest(), **attributes})]), 1)


def _packed(parts: Sequence[Part], shape: Shape, lowest: int) -> bytes:
    """Parts as encoder.c reads them."""
    longest = shape.body_bytes // _GROWTH if shape.body_bytes else _UNLIMITED
    pieces = [_HEAD.pack(len(parts), lowest, longest)]
    for part in parts:
        ring = part.ring
        ids = f"{part.trace_id}/{part.span_id}/{part.invocation_id}".encode("utf-8", "replace")
        head = _PART.pack(part.floor_ns, part.time_ns, part.first_sequence, part.trace_flags & 0xFF, len(ids), len(ring))
        pieces += (head, ids, ring)
    return b"".join(pieces)


def _in_halves(items: Sequence[_T], many: Callable[[Sequence[_T]], list[_R]], alone: Callable[[_T], _R]) -> list[_R]:
    """What can't be done at once is done in halves; one element alone goes another way."""
    if len(items) < 2:
        return [alone(item) for item in items]
    half = len(items) // 2
    return many(items[:half]) + many(items[half:])


def _by_python(part: Part, shape: Shape, structured: bool, lowest: int) -> Encoded:
    rows = list(log_rows(part, shape=shape, structured=structured, lowest=lowest))
    return Encoded(wire.records(wire.log_records(part, rows)), len(rows), sum(map(_was_cut, rows)))


def _was_cut(row: LogRow) -> bool:
    return row.extra is not None and TRUNCATED in row.extra
