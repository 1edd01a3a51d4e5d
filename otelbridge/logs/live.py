"""Live tail: what the spools gain, sent on to any number of subscribers as server-sent events.

A slow subscriber never slows the others: its queue is bounded, and what didn't fit is announced where it is missing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import msgspec

from otelbridge.lasting import LastingTask
from otelbridge.logs.events import Decoder, EventBatch, Places, batches_of, gap, read_places, select
from otelbridge.logs.subscription import Subscription
from otelbridge.logs.tail_filter import TailFilter, tail_filter
from otelbridge.logs.wake import Wake
from otelbridge.spool import Position, SpoolReader

__all__ = ["LiveTail"]

_log = logging.getLogger("otelbridge.logs")

_READ_BYTES = 256 << 10
# Between two looks: each is a thread's turn, and one for every request costs the event loop a tenth of it.
_LINGER_SECONDS = 0.01
_UNWATCHED_SECONDS = 0.05  # while nobody has subscribed


class _Found(msgspec.Struct):
    """What one look into a spool gave: where it ended, its batches, and per filter what to send and how many events.

    `lost`: the spool had let go of segments before they were read.
    """

    places: dict[str, Position]
    frames: int
    batches: list[EventBatch]
    selected: dict[TailFilter, tuple[bytes, int]]
    lost: bool = False


class LiveTail:
    """Runs while in use: `async with LiveTail(spools={"main": directory}) as live: writer.subscribe(live.wake)`."""

    def __init__(self, *, spools: Mapping[str, Path], poll_seconds: float = 0.05, invocation_logs: bool = True) -> None:
        self._directories = dict(spools)
        self._poll_seconds = poll_seconds
        self._readers: dict[str, SpoolReader] = {}
        self._places: dict[str, Position] = {}
        self._invocation_logs = invocation_logs
        self._decoder = self.decoder()
        self._subscribers: dict[TailFilter, set[Subscription]] = {}
        self._wake: Wake | None = None
        self.task: LastingTask | None = None

    async def __aenter__(self) -> Self:
        self._wake = Wake(asyncio.get_running_loop())
        for name in self._directories:
            await self._open(name, "newest")
        self.task = LastingTask("the live tail", self._run)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all subscriptions. May be called twice."""
        if self.task is not None:
            await self.task.aclose()
        for subscription in [one for some in self._subscribers.values() for one in some]:
            subscription.end()
        for reader in self._readers.values():
            reader.close()

    def wake(self) -> None:
        """Something has been appended. For any thread, and cheap: see SpoolWriter.subscribe()."""
        if self._wake is not None:
            self._wake.ring()

    async def add(self, name: str, directory: Path) -> None:
        """Follow a further spool, from its beginning."""
        if name not in self._readers:
            self._directories[name] = directory
            await self._open(name, "oldest")

    @staticmethod
    def filter(query: Mapping[str, object]) -> TailFilter:
        """The filter that the parameters of `GET /v1/tail` ask for; repeated ones as lists. QueryError if they are wrong."""
        return tail_filter(
            (name, str(one)) for name, value in query.items() for one in (value if isinstance(value, list | tuple) else [value])
        )

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return sum(len(some) for some in self._subscribers.values())

    def subscribe(self, wanted: TailFilter | None = None, after: str | None = None) -> Subscription:
        """Begin to receive: what happens from now on, or what came after the event with the id `after`.

        QueryError when `after` can't be read. Close the subscription, or use it as `async with`.
        """
        subscription = Subscription(self, wanted or TailFilter(), None if after is None else read_places(after))
        if after is None:
            self.attach(subscription)
        return subscription

    # ------------------------------------------------------------------------------------------------------ publishing

    async def _run(self) -> None:
        assert self._wake is not None
        while True:
            got = False
            failed: Exception | None = None
            for name, reader in list(self._readers.items()):
                try:
                    found = await self._look(name, reader)
                except Exception as e:
                    failed = e  # the other spools come first
                    continue
                self._send(found)
                got = got or found.frames > 0
            if failed is not None:
                raise failed
            if got:
                await asyncio.sleep(_LINGER_SECONDS if self._subscribers else _UNWATCHED_SECONDS)
            else:
                await self._wake.wait(self._poll_seconds)

    async def _look(self, name: str, reader: SpoolReader) -> _Found:
        before = reader.position
        try:
            return await asyncio.to_thread(self._gather, name, reader, tuple(self._subscribers))
        except Exception:
            if reader.position > before:  # read, but not understood: gone, and that is told
                self._send(_Found(self._places | {name: reader.position}, 0, [], {}, lost=True))
            raise

    def _gather(self, name: str, reader: SpoolReader, filters: tuple[TailFilter, ...]) -> _Found:
        """Read, decode and select, in a thread: a burst of lines keeps no one else waiting."""
        before = reader.position
        frames = reader.read(_READ_BYTES)
        # The open file is read to its end also when it has been removed: only whole segments can be missed.
        lost = bool(frames) and before.offset > 0 and frames[0].start.segment > before.segment + 1
        for last, following in itertools.pairwise(frames):
            if following.start.segment > last.start.segment + 1:  # read again from there, to tell it where it is
                reader.seek(last.position)
                frames = frames[: frames.index(following)]
                break
        places = dict(self._places)
        if not filters:  # nobody looks: a few copies of bytes is all that it costs
            return _Found(places | {name: reader.position}, len(frames), [], {}, lost)
        batches = batches_of(self._decoder, name, frames, places)
        places[name] = reader.position
        return _Found(places, len(frames), batches, {wanted: select(batches, wanted) for wanted in filters}, lost)

    def _send(self, found: _Found) -> None:
        self._places = found.places
        if found.lost:
            for subscription in [one for some in self._subscribers.values() for one in some]:
                subscription.put(gap(None), 0)
        if not found.batches:
            return
        for wanted, subscribers in self._subscribers.items():
            # A filter that came while the thread was busy may belong to somebody who has just caught up to here.
            data, count = found.selected.get(wanted) or select(found.batches, wanted)
            if count:
                for subscription in subscribers:
                    subscription.put(data, count)

    # ----------------------------------------------------------------------------------------- used by subscriptions

    def attach(self, subscription: Subscription) -> None:
        """From now on it gets what is published."""
        self._subscribers.setdefault(subscription.wanted, set()).add(subscription)

    def detach(self, subscription: Subscription) -> None:
        """It gets nothing more."""
        some = self._subscribers.get(subscription.wanted)
        if some is not None:
            some.discard(subscription)
            if not some:
                del self._subscribers[subscription.wanted]

    def places(self) -> Places:
        """Up to where everything has been published."""
        return self._places

    def decoder(self) -> Decoder:
        """One that makes the events which this tail shows."""
        return Decoder(invocation_logs=self._invocation_logs)

    async def reader(self, name: str, place: Position | None) -> SpoolReader:
        """A reader for a subscriber that has to catch up; what it has no place for is read from the beginning."""
        reader = await asyncio.to_thread(SpoolReader, self._directories[name], None)
        if place is not None:
            reader.seek(place)
        return reader

    async def _open(self, name: str, start: Literal["oldest", "newest"]) -> None:
        reader = await asyncio.to_thread(SpoolReader, self._directories[name], None, start=start)
        self._places[name] = reader.position
        self._readers[name] = reader
