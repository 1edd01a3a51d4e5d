"""Spool frames to rows, as far as that goes without the store: pure, so it runs beside the write of the batch before."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from otelbridge.logs.rows import Names, Row, notice_rows, part_rows
from otelbridge.model.part import Notice, Part, SpanClose, SpanOpen, SpoolItem, decode
from otelbridge.model.record import clean_text, event_text, invocation_level, split_url
from otelbridge.model.trace import DiagnosticsEvent, Event, FetchEvent, QueueEvent, RpcEvent
from otelbridge.spool import Frame

__all__ = ["Batch", "Cursor", "Entry", "bucket_of", "make_batch", "milliseconds_of"]

_log = logging.getLogger("otelbridge.logs")

_pack = msgspec.msgpack.Encoder().encode

_TURN_SECONDS = 0.001
_PAUSE_SECONDS = 0.00005


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """How far a spool has been read. A later boot of its writer is further, wherever it stands."""

    boot: int
    segment: int
    offset: int


class Entry(msgspec.Struct, gc=False):
    """One spool item. `rows`: of its records, see rows.py."""

    item: SpoolItem
    rows: list[Row]
    start: tuple[Any, ...] = ()  # of an invocation: trigger, method, origin, path, query, name, detail
    end: tuple[Any, ...] | None = None  # end_ns, outcome, status, failed, cpu_ns, wall_ns, wall_bucket, memory_bytes, cold, detail
    spans: list[SpanOpen | SpanClose] = []
    diagnostics: list[DiagnosticsEvent] = []


class Batch(msgspec.Struct):
    """What one transaction adds. `names`: members of logged objects seen, with their type and when."""

    spool: str
    entries: list[Entry]
    cursor: Cursor | None = None
    names: Names = {}
    records: int = 0
    damaged: int = 0  # frames that hold no spool item


def make_batch(spool: str, frames: Iterable[Frame], after: Cursor | None = None, *, logs: bool = True, spans: bool = True) -> Batch:
    """The rows of all frames that lie behind `after`; without records of workers, or without spans, if these are not wanted."""
    batch = Batch(spool, [], after, {})
    boot, place = (after.boot, (after.segment, after.offset)) if after is not None else (0, (-1, 0))
    turn = time.perf_counter() + _TURN_SECONDS
    for frame in frames:
        if time.perf_counter() > turn:
            # An event loop that wants the interpreter would have to wait for 5 ms: give it up in between.
            time.sleep(_PAUSE_SECONDS)
            turn = time.perf_counter() + _TURN_SECONDS
        # A lower place counts when its writer is a later one: the spool was made anew.
        if frame.position <= place and frame.boot <= boot:
            continue
        boot, place = frame.boot, frame.position
        try:
            item = decode(frame.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            batch.damaged += 1
            _log.error("spool %s: a frame at %s can't be read and is left out", spool, tuple(frame.position))
            continue
        if not (logs or spans or isinstance(item, Notice)):
            continue
        stands = (spool, frame.boot, *frame.position, frame.time_ns)
        entry = _entry(item, batch.names, stands, logs=logs, spans=spans)
        batch.entries.append(entry)
        batch.records += len(entry.rows)
    if place[0] >= 0:
        batch.cursor = Cursor(boot, *place)
    return batch


def _entry(item: SpoolItem, names: Names, place: tuple[Any, ...], *, logs: bool, spans: bool) -> Entry:
    if isinstance(item, Notice):
        return Entry(item, notice_rows(item, names))
    rows, opened, diagnostics = part_rows(item, names, logs=logs)
    entry = Entry(item, rows, _start(item, place), None, opened if spans else [], diagnostics)
    end = item.end
    if end is not None:
        failed = invocation_level(end.outcome, end.status) == "error"
        times = (end.cpu_ns, end.wall_ns, bucket_of(end.wall_ns))
        entry.end = (end.time_ns, end.outcome, end.status, failed, *times, end.memory_bytes, end.cold_start is not None, entry.start[-1])
    return entry


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


def bucket_of(wall_ns: int) -> int:
    """The bucket of a duration: eight to each power of two, so that its middle is off by 4.4 % at most."""
    return int(math.log2(wall_ns) * 8) if wall_ns > 0 else 0


def milliseconds_of(bucket: int) -> float:
    """The middle of a bucket, in ms."""
    return float(2 ** ((bucket + 0.5) / 8) / 1e6)
