"""Spool frames to rows, as far as that goes without the store: pure, so it runs beside the write of the batch before."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from otelbridge.logs.tokens import fold
from otelbridge.model.part import Notice, Part, SpanClose, SpanOpen, SpoolItem, decode, entries
from otelbridge.model.record import KINDS, Line, clean_text, event_text, invocation_level, lines, split_url
from otelbridge.model.ring import LEVELS
from otelbridge.model.trace import DiagnosticsEvent, Event, FetchEvent, QueueEvent, RpcEvent
from otelbridge.spool import Frame

__all__ = ["Batch", "Cursor", "Entry", "bucket_of", "make_batch", "milliseconds_of"]

_log = logging.getLogger("otelbridge.logs")

_KIND = {name: number for number, name in enumerate(KINDS)}
_LEVEL = {name: number for number, name in enumerate(LEVELS)}
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode

_NAMES_PER_BATCH = 1_000
_TURN_SECONDS = 0.001
_PAUSE_SECONDS = 0.00005
_NAME_DEPTH = 3
_MAX_NAME = 200


class Cursor(msgspec.Struct, frozen=True):
    """How far a spool has been read. A later boot of its writer is further, wherever it stands."""

    boot: int
    segment: int
    offset: int


class Entry(msgspec.Struct):
    """One spool item. `rows`: [time, kind, level, sequence, span, text, layout, extra, search] per record."""

    item: SpoolItem
    rows: list[list[Any]]
    start: tuple[Any, ...] = ()  # of an invocation: trigger, method, origin, path, query, name, detail
    end: tuple[Any, ...] | None = None  # end_ns, outcome, status, failed, cpu_ns, wall_ns, wall_bucket, memory_bytes, cold, detail
    spans: list[SpanOpen | SpanClose] = []
    diagnostics: list[DiagnosticsEvent] = []


class Batch(msgspec.Struct):
    """What one transaction adds. `names`: members of logged objects seen, with their type and when."""

    spool: str
    entries: list[Entry]
    cursor: Cursor | None = None
    names: dict[str, tuple[str, int]] = {}
    records: int = 0
    damaged: int = 0  # frames that hold no spool item


def make_batch(spool: str, frames: Iterable[Frame], after: Cursor | None = None, *, logs: bool = True, spans: bool = True) -> Batch:
    """The rows of all frames that lie behind `after`; without records of workers, or without spans, if these are not wanted."""
    batch = Batch(spool, [], after, {})
    turn = time.perf_counter() + _TURN_SECONDS
    for frame in frames:
        if time.perf_counter() > turn:
            # An event loop that wants the interpreter would have to wait for 5 ms: give it up in between.
            time.sleep(_PAUSE_SECONDS)
            turn = time.perf_counter() + _TURN_SECONDS
        cursor = Cursor(frame.boot, frame.position.segment, frame.position.offset)
        if batch.cursor is not None and not _is_behind(batch.cursor, cursor):
            continue
        batch.cursor = cursor
        try:
            item = decode(frame.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            batch.damaged += 1
            _log.error("spool %s: a frame at %s can't be read and is left out", spool, tuple(frame.position))
            continue
        if not (logs or spans or isinstance(item, Notice)):
            continue
        entry = _entry(item, batch.names, logs, (spool, frame.boot, *frame.position, frame.time_ns))
        if not spans:
            entry.spans = []
        batch.entries.append(entry)
        batch.records += len(entry.rows)
    return batch


def _is_behind(before: Cursor, cursor: Cursor) -> bool:
    """Whether a frame is a new one. A lower place counts when its writer is a later one: the spool was made anew."""
    return (cursor.segment, cursor.offset) > (before.segment, before.offset) or cursor.boot > before.boot


def _entry(item: SpoolItem, names: dict[str, tuple[str, int]], logs: bool, place: tuple[Any, ...]) -> Entry:
    if isinstance(item, Notice):
        return Entry(item, [_row(line, names) for line in lines(item)])
    found = list(entries(item))
    entry = Entry(item, [_row(line, names) for line in lines(item, found)] if logs else [], _start(item, place))
    for one in found:
        if isinstance(one, SpanOpen | SpanClose):
            entry.spans.append(one)
        elif isinstance(one, DiagnosticsEvent):
            entry.diagnostics.append(one)
    end = item.end
    if end is not None:
        failed = invocation_level(end.outcome, end.status) == "error"
        times = (end.cpu_ns, end.wall_ns, bucket_of(end.wall_ns))
        entry.end = (end.time_ns, end.outcome, end.status, failed, *times, end.memory_bytes, end.cold_start is not None, entry.start[-1])
    return entry


def _row(line: Line, names: dict[str, tuple[str, int]]) -> list[Any]:
    text = line.text
    layout = extra = None
    search = None if text.isascii() else fold(text)
    if line.fields is not None:
        _collect(line.fields, line.time_ns, names, "", 1)
    if line.kind == "log":
        if line.pieces is not None:
            layout = _layout(line.pieces)
        if line.error_info is not None:
            extra = _encode(line.error_info).decode()
    elif line.exception is not None:
        extra = _encode(line.exception).decode()
    elif line.fields is not None:
        extra = _encode(line.fields).decode()
    level = _LEVEL.get(line.level, 2)
    return [line.time_ns, _KIND[line.kind], level, line.sequence, line.span, text, layout, extra, search]


def _layout(pieces: list[tuple[str, bool]]) -> str:
    """How a text is cut into its arguments again: "j" for one JSON value, else their lengths, JSON ones negative."""
    if len(pieces) == 1 and pieces[0][1]:
        return "j"
    return ",".join([str(-len(text) if is_json else len(text)) for text, is_json in pieces])


def _start(part: Part, place: tuple[Any, ...]) -> tuple[Any, ...]:
    """`place`: the members of the part's Place, which matters of the end only."""
    event = part.event
    detail: Any = [None, None, part.entrypoint, part.trace_flags, part.end]
    if part.end is not None:
        detail.append(place)
    if isinstance(event, FetchEvent):
        detail[:2] = event.headers, event.client_ip
        return (0, event.method, *split_url(clean_text(event.url)), None, _pack(detail))
    detail[0] = _numbers(event)
    trigger = 1 if isinstance(event, RpcEvent) else 3 if isinstance(event, QueueEvent) else 2
    return (trigger, None, None, None, None, clean_text(event_text(event)), _pack(detail))


def _numbers(event: Event) -> int:
    return event.batch_size if isinstance(event, QueueEvent) else getattr(event, "scheduled_time", 0)


def _collect(fields: dict[str, Any], time_ns: int, names: dict[str, tuple[str, int]], head: str, depth: int) -> None:
    """Remember the names of members, for completion. A guest may invent any number of them: there are bounds."""
    for key, value in fields.items():
        name = head + key
        if isinstance(value, dict) and depth < _NAME_DEPTH:
            _collect(value, time_ns, names, name + ".", depth + 1)
        elif name in names or (len(names) < _NAMES_PER_BATCH and len(name) <= _MAX_NAME):
            names[name] = (_type_of(value), time_ns)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"


def bucket_of(wall_ns: int) -> int:
    """The bucket of a duration: eight to each power of two, so that its middle is off by 4.4 % at most."""
    return int(math.log2(wall_ns) * 8) if wall_ns > 0 else 0


def milliseconds_of(bucket: int) -> float:
    """The middle of a bucket, in ms."""
    return float(2 ** ((bucket + 0.5) / 8) / 1e6)
