"""Spool frames as server-sent events: each record is encoded once, however many subscribers get it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.tail_filter import TailFilter
from otelbridge.model.part import Part, SpoolItem, decode
from otelbridge.model.record import Record, records
from otelbridge.spool import Frame, Position

__all__ = ["Decoder", "EventBatch", "Places", "batches_of", "event_of", "gap", "ping", "read_places", "select"]

_MAX_RUNNING_BYTES = 16 << 20

# Where a subscriber stands in each spool: what an event's id says, and a Last-Event-ID.
Places = Mapping[str, Position]

_PLACE = re.compile(r"([A-Za-z0-9._-]{1,128}):(\d{1,10})\.(\d{1,15})", re.ASCII)
_encode = msgspec.json.Encoder().encode


def gap(missed: int | None) -> bytes:
    """The event that says that records are missing; None when nobody can tell how many."""
    return b"event: gap\ndata: %s\n\n" % _encode({"missed": missed})


def read_places(text: str) -> dict[str, Position]:
    """A Last-Event-ID. QueryError when it is none that an event had."""
    places: dict[str, Position] = {}
    for one in text.split(","):
        found = _PLACE.fullmatch(one)
        if found is None:
            raise QueryError("Last-Event-ID: not one that an event had")
        places[found[1]] = Position(int(found[2]), int(found[3]))
    return places


def ping(places: Places) -> bytes:
    """A comment that keeps the connection open, with the id of a subscriber that has seen all up to these places."""
    return b": ping\n" + _id(places)


def _id(places: Places) -> bytes:
    return b"id: " + ",".join([f"{name}:{place.segment}.{place.offset}" for name, place in sorted(places.items())]).encode() + b"\n\n"


class Event(msgspec.Struct, frozen=True):
    """One record with its bytes, which lack their last line: the id."""

    record: Record
    data: bytes


class EventBatch(msgspec.Struct, frozen=True):
    """What one frame gives. `earlier`: what earlier parts of the invocation gave, when this one has its end.

    All its events have the id of the place before but the last one sent, which has the place behind: who comes back
    with that has seen the frame, who comes back without gets it again as a whole.
    """

    item: SpoolItem
    events: list[Event]
    earlier: list[Event]
    before: bytes
    behind: bytes

    def select(self, wanted: TailFilter) -> tuple[bytes, int]:
        """What a filter lets through, ready to be sent, and how many events that is."""
        if not wanted.wants_item(self.item):
            return b"", 0
        events = self.events
        if wanted.statuses:
            # Nobody knows the status before the end: until then such a filter waits, and then gets all at once.
            end = self.item.end if isinstance(self.item, Part) else None
            if end is None or not wanted.wants_end(end.outcome, end.status):
                return b"", 0
            events = [*self.earlier, *events]
        chosen = [event.data for event in events if wanted.wants_record(event.record)]
        if not chosen:
            return b"", 0
        return self.before.join(chosen) + self.behind, len(chosen)


class Decoder:
    """Makes batches of frames, and remembers the parts of invocations that still run, as far as there is room.

    `invocation_logs`: whether the end of an invocation is an event too.
    """

    def __init__(self, *, invocation_logs: bool = True) -> None:
        self._invocation_logs = invocation_logs
        self._running: OrderedDict[str, list[Event]] = OrderedDict()
        self._bytes = 0

    def batch(self, frame: Frame, before: Places, behind: Places) -> EventBatch | None:
        """The events of a frame that stands between two places; None when it can't be read or says nothing."""
        try:
            item = decode(frame.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        events = [Event(record, event_of(record)) for record in records(item) if self._invocation_logs or record.kind != "invocation"]
        earlier: list[Event] = []
        if isinstance(item, Part):
            if item.end is None:
                self._remember(item.invocation_id, events)
            elif item.number:
                earlier = self._forget(item.invocation_id)
        return EventBatch(item, events, earlier, _id(before), _id(behind)) if events or earlier else None

    @property
    def remembered_bytes(self) -> int:
        """What is kept of invocations that still run."""
        return self._bytes

    def _remember(self, invocation_id: str, events: list[Event]) -> None:
        self._running.setdefault(invocation_id, []).extend(events)
        self._bytes += sum(len(event.data) for event in events)
        while self._bytes > _MAX_RUNNING_BYTES and len(self._running) > 1:
            self._forget(next(iter(self._running)))

    def _forget(self, invocation_id: str) -> list[Event]:
        events = self._running.pop(invocation_id, [])
        self._bytes -= sum(len(event.data) for event in events)
        return events


def batches_of(decoder: Decoder, name: str, frames: Sequence[Frame], places: dict[str, Position]) -> list[EventBatch]:
    """The batches of frames of the spool `name`; `places` moves on behind each."""
    batches = []
    for frame in frames:
        before = dict(places)
        places[name] = frame.position
        batch = decoder.batch(frame, before, places)
        if batch is not None:
            batches.append(batch)
    return batches


def select(batches: Sequence[EventBatch], wanted: TailFilter) -> tuple[bytes, int]:
    """What a filter lets through of all batches as one piece of bytes, and how many events that is."""
    found = [one for batch in batches if (one := batch.select(wanted))[1]]
    return b"".join([data for data, _ in found]), sum(count for _, count in found)


def event_of(record: Record) -> bytes:
    """A record as an event that lacks its last line: the id, or an empty one."""
    name = b"log" if record.kind == "bridge" else record.kind.encode()
    return b"event: %s\ndata: %s\n" % (name, _encode(record))
