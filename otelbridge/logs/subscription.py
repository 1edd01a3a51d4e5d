"""One subscriber of the live tail: a bounded queue, and catching up with what it missed while it was away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Protocol, Self

from otelbridge.logs.events import Decoder, Places, batches_of, gap, ping, select
from otelbridge.logs.tail_filter import TailFilter
from otelbridge.spool import Frame, Position, SpoolReader
from otelbridge.spool.frame import segment_path

__all__ = ["Subscription"]

_QUEUE_EVENTS = 1_000
_QUEUE_BYTES = 1 << 20
_READ_BYTES = 256 << 10
_PING_SECONDS = 15.0


class _Live(Protocol):
    """What a subscription needs of the live tail."""

    def attach(self, subscription: Subscription) -> None: ...
    def detach(self, subscription: Subscription) -> None: ...
    def places(self) -> Places: ...
    def decoder(self) -> Decoder: ...
    async def reader(self, name: str, place: Position | None) -> SpoolReader: ...


class Subscription:
    """`async for chunk in subscription` gives bytes of an event stream, with pings while nothing happens.

    Made by LiveTail.subscribe(). Close it, or use it as `async with`.
    """

    def __init__(self, live: _Live, wanted: TailFilter, after: Mapping[str, Position] | None) -> None:
        self.wanted = wanted
        self._live = live
        self._after = after
        self._queue: deque[bytes] = deque()
        self._events = 0
        self._bytes = 0
        self._missed = 0
        self._ready = asyncio.Event()
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Receive nothing more. May be called twice."""
        self._live.detach(self)
        self.end()

    def end(self) -> None:
        """The live tail stops: the iteration ends when the queue is empty."""
        self._ended = True
        self._ready.set()

    def put(self, data: bytes, count: int) -> None:
        """Queue events, or count them as missed when there is no room."""
        if self._queue and (self._events + count > _QUEUE_EVENTS or self._bytes + len(data) > _QUEUE_BYTES):
            self._missed += count
            return
        self._queue_gap()
        self._queue.append(data)
        self._events += count
        self._bytes += len(data)
        self._ready.set()

    def _queue_gap(self) -> None:
        """What is missing is announced where it is missing: behind what came before, in front of what comes now."""
        if self._missed:
            self._queue.append(gap(self._missed))
            self._missed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # At once, so that the client knows that it is connected, and from where on if it loses the connection again.
        yield b"retry: 1000\n" + ping(self._live.places() if self._after is None else self._after)
        if self._after is not None:
            async for chunk in self._catch_up(self._after):
                yield chunk
        while True:
            if self._queue or self._missed:
                if not self._queue:
                    self._queue_gap()
                chunk = b"".join(self._queue)
                self._queue.clear()
                self._events = self._bytes = 0
                self._ready.clear()
                yield chunk
            elif self._ended:
                return
            elif not await self._wait():
                yield ping(self._live.places())

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            return False
        self._ready.clear()
        return True

    # ----------------------------------------------------------------------------------------------------- catching up

    async def _catch_up(self, after: Mapping[str, Position]) -> AsyncIterator[bytes]:
        """Read the spools from where the subscriber was up to where the live tail is, then go over to that."""
        decoder = self._live.decoder()
        places = dict(after)
        readers: dict[str, SpoolReader] = {}
        try:
            while not self._ended:
                got = False
                for name in self._live.places():
                    if name not in readers:
                        readers[name] = await self._live.reader(name, after.get(name))
                        places.setdefault(name, readers[name].position)
                    frames = await asyncio.to_thread(readers[name].read, _READ_BYTES)
                    if not frames:
                        continue
                    got = True
                    lost = _has_hole(readers[name], places[name], frames[0])
                    data, count = await asyncio.to_thread(_select, decoder, name, frames, places, self.wanted)
                    if lost or count:
                        yield (gap(None) if lost else b"") + data
                if not got and self._is_level(readers):
                    # No await since the places were compared: nothing is published twice or left out.
                    self._live.attach(self)
                    return
                if not got:
                    await asyncio.sleep(0.01)
        finally:
            for reader in readers.values():
                reader.close()

    def _is_level(self, readers: Mapping[str, SpoolReader]) -> bool:
        places = self._live.places()
        return all(name in readers and readers[name].position >= place for name, place in places.items())


def _select(decoder: Decoder, name: str, frames: list[Frame], places: dict[str, Position], wanted: TailFilter) -> tuple[bytes, int]:
    return select(batches_of(decoder, name, frames, places), wanted)


def _has_hole(reader: SpoolReader, place: Position, first: Frame) -> bool:
    """Whether the segment in which the reader stood had gone before it was read: it may have held more."""
    return first.start.segment > place.segment and place.offset > 0 and not segment_path(reader.directory, place.segment).exists()
