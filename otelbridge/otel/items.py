"""Frames of spools and what they hold, read and decoded once for all lanes: they follow each other closely, and each needs all of it.

    SpoolReader -> slices of frames -> open(): their items -> every lane

A lane that lags behind reads for itself: what is kept is bounded, the oldest goes first. Bounded is the memory it takes,
which is two to nine times the frames: of small parts, objects and their places are most of it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from otelbridge.model.count import Counts, count
from otelbridge.model.part import Notice, Part, SpoolItem, decode
from otelbridge.model.trace import FetchEvent
from otelbridge.spool import Frame, Position, SpoolReader

__all__ = ["Items", "Opened", "Slice", "slices"]

_MAX_BYTES = 20 << 20  # some two seconds of a busy loader: the metrics' lane comes once a second
_SLICE_FRAMES = 32  # taken without a pause: about half a millisecond with 10 lines each
_SLICE_BYTES = 128 << 10  # of payloads, unless one alone has more

# What the interpreter takes, beside the bytes of a frame: measured, rounded up.
_FRAME_BYTES = 400
_ITEM_BYTES = 2_000  # of a part: its objects with their fixed texts, and its places in the tables
_HEADER_BYTES = 220  # two texts and their place in a dict that has just grown
_SUBREQUEST_BYTES = 600
_WIDEST = 4  # bytes for each byte of a text, when one character is beyond the Basic Multilingual Plane
_NOTICE_FACTOR = 16  # fields of the bridge's own: short names and numbers

_NOBODY = "", ""

Counted = Callable[[Sequence[SpoolItem]], list[Counts]]


class Opened(msgspec.Struct, frozen=True):
    """What the frames of a slice hold, frame by frame, and records by worker id."""

    items: list[SpoolItem | None]  # None: it can't be read
    counts: list[Counts]
    owners: list[tuple[str, str]]  # worker and invocation; empty of what is of neither
    logs: dict[str, int]  # of parts
    spans: dict[str, int]
    notices: list[Notice]
    errors: list[Exception]  # why frames can't be read


class Slice:
    """Frames of one writer that were read after one another, and what they hold once somebody has asked: see Items.open()."""

    __slots__ = ("bytes", "frames", "held", "kept", "opened")

    def __init__(self, frames: list[Frame], size: int) -> None:
        self.frames = frames
        self.bytes = size  # of payloads
        self.opened: Opened | None = None
        self.kept = False
        self.held = 0  # of the bound on what is kept

    @property
    def boot(self) -> int:
        """When the writer was opened."""
        return self.frames[0].boot

    @property
    def end(self) -> Position:
        """The place behind the last frame."""
        return self.frames[-1].position

    def after(self, position: Position) -> Slice:
        """The frames that end behind a position, one at least. A slice of its own unless it is the whole."""
        if self.frames[0].position > position:
            return self
        (rest,) = slices(frame for frame in self.frames if frame.position > position)
        return rest


def slices(frames: Iterable[Frame]) -> list[Slice]:
    """Frames that were read after one another, in pieces that can be taken without a pause."""
    found = []
    some: list[Frame] = []
    size = 0
    for frame in frames:
        more = len(frame.payload)
        if some and (len(some) == _SLICE_FRAMES or size + more > _SLICE_BYTES or frame.start.segment != some[0].start.segment):
            found.append(Slice(some, size))
            some, size = [], 0
        some.append(frame)
        size += more
    if some:
        found.append(Slice(some, size))
    return found


class Items:
    """See the module's text. `counted`: model.count.count() of many, or what does the same. read() is for any thread: who comes
    second waits until the first has read; open() is for the event loop alone."""

    def __init__(self, counted: Counted | None = None, *, max_bytes: int = _MAX_BYTES) -> None:
        self._counted = counted or _counted
        self._max_bytes = max_bytes
        self.kept_bytes = 0
        self._known: dict[tuple[Path, Position], list[Slice]] = {}
        self._books = threading.Lock()
        self._reading: dict[Path, threading.Lock] = {}

    def read(self, reader: SpoolReader, at: Position, max_bytes: int, max_frames: int) -> tuple[list[Slice], bool]:
        """The frames from a position on, and whether others were here before: then there may be more at once, and they may be more
        frames than were asked for. OSError as of SpoolReader.read(); the list is everybody's."""
        directory = reader.directory
        with self._books:
            alone = self._reading.setdefault(directory, threading.Lock())
        with alone:  # of one spool: one that can't be read holds up no other
            if reader.position != at:  # a read for which nobody waited any more went further
                reader.seek(at)
            begin, damaged = reader.position, reader.damaged_bytes
            known = self._known.get((directory, begin))
            if known is not None:
                reader.skip(known[-1].end)
                return known, True
            found = slices(reader.read(max_bytes, max_frames))
            # What leads into another segment or past damage is more than a position: each reader finds that by itself.
            if found and begin.segment == reader.position.segment and damaged == reader.damaged_bytes:
                self._keep((directory, begin), found)
            return found, False

    def open(self, piece: Slice) -> Opened:
        """What a slice holds."""
        opened = piece.opened
        if opened is None:
            opened, held = self._open(piece)
            with self._books:
                if piece.kept and held <= self._max_bytes // 16:
                    piece.opened = opened
                    piece.held += held
                    self._grow(held)
        return opened

    @staticmethod
    def items(piece: Slice) -> tuple[list[SpoolItem | None], list[Exception]]:
        """Opened.items and errors alone; nothing is kept: for who comes behind the others."""
        opened = piece.opened
        return _decoded(piece.frames) if opened is None else (opened.items, opened.errors)

    def _open(self, piece: Slice) -> tuple[Opened, int]:
        """What a slice holds, and the most memory that takes here: from lengths alone, for it is asked for everything."""
        items, errors = _decoded(piece.frames)
        counts = self._counts(items, errors)
        logs: dict[str, int] = {}
        spans: dict[str, int] = {}
        owners: list[tuple[str, str]] = []
        notices: list[Notice] = []
        logged = named = subrequests = 0
        for item, of in zip(items, counts, strict=True):
            if isinstance(item, Part):
                worker, event, end = item.worker, item.event, item.end
                worker_id = worker.worker_id
                owners.append((worker_id, item.invocation_id))
                logs[worker_id] = logs.get(worker_id, 0) + of.logs
                spans[worker_id] = spans.get(worker_id, 0) + of.spans
                logged += len(item.ring)
                named += len(worker.tags) + (len(event.headers) if isinstance(event, FetchEvent) else 0)
                if end is not None:
                    subrequests += len(end.subrequests)
            else:
                owners.append(_NOBODY)
                if item is not None:
                    notices.append(item)
        factor = _NOTICE_FACTOR if notices else _WIDEST
        held = _ITEM_BYTES * len(items) + logged + factor * (piece.bytes - logged) + _HEADER_BYTES * named + _SUBREQUEST_BYTES * subrequests
        return Opened(items, counts, owners, logs, spans, notices, errors), held

    def _counts(self, items: list[SpoolItem | None], errors: list[Exception]) -> list[Counts]:
        """What items stand for; one that can't be counted becomes one that can't be read."""
        if not errors:
            with contextlib.suppress(Exception):  # a defect of ours: the others must not wait for it
                return self._counted(items)  # type: ignore[arg-type]
        counts = []
        for index, item in enumerate(items):
            try:
                counts.append(Counts() if item is None else self._counted([item])[0])
            except Exception as e:
                items[index] = None
                errors.append(e)
                counts.append(Counts())
        return counts

    def _keep(self, key: tuple[Path, Position], found: list[Slice]) -> None:
        for piece in found:
            piece.kept = True
            piece.held = piece.bytes + _FRAME_BYTES * len(piece.frames)
        with self._books:
            self._known[key] = found
            self._grow(sum([piece.held for piece in found]))

    def _grow(self, size: int) -> None:
        """More is kept: let go of the oldest if that is too much. With the books' lock."""
        self.kept_bytes += size
        while self.kept_bytes > self._max_bytes:
            for piece in self._known.pop(next(iter(self._known))):
                piece.kept = False
                self.kept_bytes -= piece.held


def _counted(items: Sequence[SpoolItem]) -> list[Counts]:
    return [count(item) for item in items]


def _decoded(frames: list[Frame]) -> tuple[list[SpoolItem | None], list[Exception]]:
    items: list[SpoolItem | None] = []
    errors: list[Exception] = []
    for frame in frames:
        try:
            items.append(decode(frame.payload))
        except msgspec.DecodeError as e:
            items.append(None)
            errors.append(e.with_traceback(None))  # which would keep all of them in memory
        except Exception as e:  # a defect of ours: the others must not wait for it
            items.append(None)
            errors.append(e)
    return items, errors
