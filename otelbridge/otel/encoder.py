"""Log records and spans, encoded: by encoder.c as WebAssembly what is usual, by log_rows.py and wire.py what is not.

Ten lines with nested values take 7 us this way and 55 us by Python alone. Both make the same bytes (tests/otel/test_encoder.py).
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from otelbridge.model.count import Counts, count, count_spans
from otelbridge.model.part import Notice, Part, SpoolItem, timed_entries
from otelbridge.otel import wire
from otelbridge.otel.log_rows import LogRow, log_row, log_rows, notice_row
from otelbridge.otel.shape import TRUNCATED, Shape
from otelbridge.otel.span_rows import SpanRow
from otelbridge.sandbox import Cache, Library, Trap

__all__ = ["Encoded", "Encoder", "notice_record"]

_log = logging.getLogger("otelbridge.otel")

MODULE: Final = Path(__file__).parent / "encoder.wasm"
MOST_BYTES: Final = (1 << 19) - 1024  # of a ring or of rows, so that they fit into encoder.c's input with what is said about them
_HEAD: Final = struct.Struct("<qqQqIIIII")  # the struct Input there, without what follows
_ID_LENGTHS: Final = 32, 16  # of trace and span id in hex
_ID_BYTES: Final = sum(_ID_LENGTHS)
_NOTHING: Final = (1 << 64) - 1
_LEFT: Final = struct.Struct("<II")
_SIZE: Final = struct.Struct("<I")
_UNLIMITED: Final = 0xFFFFFFFF
_GROWTH: Final = 6  # how much longer a value's JSON text may be in Python than it is in the ring: 1E9 becomes 1000000000.0
_PLAIN: Final = Shape()
_json: Final = msgspec.json.Encoder().encode


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
        self._count, self._logs, self._spans = (library.item(name) for name in (b"count", b"logs", b"spans"))
        self._input, self._output, self._left = (library.call(library.item(name)) for name in (b"input", b"output", b"left"))

    def count(self, item: SpoolItem) -> Counts:
        """The same as model.count.count(), for half of its time with ten lines."""
        library = self._library
        if library is None or not isinstance(item, Part) or len(item.ring) > MOST_BYTES:
            return count(item)
        ring = item.ring
        try:
            library.memory.write(self._input, _SIZE.pack(len(ring)) + ring)
            found = library.call(self._count)
        except Trap as e:
            self._give_up(e)
            return count(item)
        return Counts(found & _UNLIMITED, (found >> 32) + count_spans(item))

    def log_records(self, part: Part, *, shape: Shape = _PLAIN, structured: bool = False, lowest: int = 0) -> Encoded:
        """The log records of a part; the arguments as for log_rows()."""
        library, ring = self._library, part.ring
        if library is None or structured or len(ring) > MOST_BYTES or (len(part.trace_id), len(part.span_id)) != _ID_LENGTHS:
            return _by_python(part, shape, structured, lowest)
        ids = f"{part.trace_id}{part.span_id}{part.invocation_id}".encode("utf-8", "replace")
        floor, time_ns = part.floor_ns, part.time_ns
        longest = shape.body_bytes // _GROWTH if shape.body_bytes else _UNLIMITED
        try:
            head = _HEAD.pack(
                floor,
                time_ns if time_ns > floor else floor,
                time_ns,
                part.first_sequence,
                lowest,
                longest,
                part.trace_flags & 0xFF,
                len(ids) - _ID_BYTES,
                len(ring),
            )
            library.memory.write(self._input, b"".join((head, ids, ring)))
            found = library.call(self._logs)
        except struct.error:  # numbers that no loader writes
            return _by_python(part, shape, structured, lowest)
        except Trap as e:
            self._give_up(e)
            return _by_python(part, shape, structured, lowest)
        if found == _NOTHING:
            return _by_python(part, shape, structured, lowest)
        data, count, left = library.memory.read(self._output, found & _UNLIMITED), found >> 32 & 0xFFFF, found >> 48
        return self._complete(library, part, data, count, left, shape, lowest) if left else Encoded(data, count)

    def spans(self, rows: Sequence[SpanRow]) -> Encoded:
        """Spans of an invocation."""
        size = 0
        library = self._library
        if library is not None:
            try:
                data = _json(rows)
            except (ValueError, OverflowError):  # lone surrogates, integers of more than 64 bits
                data = b""
            try:
                if 0 < len(data) <= MOST_BYTES:
                    library.memory.write(self._input, _SIZE.pack(len(data)) + data)
                    size = library.call(self._spans) & _UNLIMITED
                if size:
                    return Encoded(library.memory.read(self._output, size), len(rows))
            except Trap as e:
                self._give_up(e)
        return Encoded(wire.records(wire.spans(rows)), len(rows))

    def _give_up(self, error: Trap) -> None:
        """A defect of ours: it is slower from now on, but nothing is lost."""
        _log.error("export: the compiled encoder has failed; Python goes on in its place", exc_info=error)
        self.close()

    def _complete(self, library: Library, part: Part, data: bytes, count: int, left: int, shape: Shape, lowest: int) -> Encoded:
        """Put in what was left to Python."""
        entries = timed_entries(part)
        out: list[bytes] = []
        before = truncated = 0
        for index, at in _LEFT.iter_unpack(library.memory.read(self._left, left * _LEFT.size)):
            row = log_row(*entries[index], shape=shape, lowest=lowest)
            if row is not None:
                out += (data[before:at], wire.records(wire.log_records(part, [row])))
                before = at
                count += 1
                truncated += _was_cut(row)
        out.append(data[before:])
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


def _by_python(part: Part, shape: Shape, structured: bool, lowest: int) -> Encoded:
    rows = list(log_rows(part, shape=shape, structured=structured, lowest=lowest))
    return Encoded(wire.records(wire.log_records(part, rows)), len(rows), sum(map(_was_cut, rows)))


def _was_cut(row: LogRow) -> bool:
    return row.extra is not None and TRUNCATED in row.extra
