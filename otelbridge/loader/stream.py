"""A response body that a guest makes piece by piece: filled by its messages, read by whoever has the response."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from otelbridge.errors import WorkerError

__all__ = ["BodyStream"]


class BodyStream:
    """Chunks in their order, then an end or an error. `on_read` is called for each chunk taken: the guest may make the next."""

    __slots__ = ("_chunks", "_error", "_on_read", "_ready", "awaits_pull", "ended", "read_any")

    def __init__(self, on_read: Callable[[], None]) -> None:
        self.awaits_pull = False  # the guest waits until a chunk is taken
        self.ended = False
        self.read_any = False
        self._chunks: deque[bytes] = deque()
        self._error: WorkerError | None = None
        self._on_read = on_read
        self._ready = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return not self.ended and self._error is None

    def put(self, chunk: bytes) -> None:
        """One more chunk."""
        self.awaits_pull = True
        self._chunks.append(chunk)
        self._ready.set()

    def end(self) -> None:
        """There is no more, unless it broke before."""
        self.ended = self.ended or self._error is None
        self._ready.set()

    def break_off(self, error: WorkerError) -> None:
        """Whoever reads gets what is there, then this error."""
        if not self.ended:
            self._error = error
            self._ready.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What the guest made, as it comes. Raises the error that broke it."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self.read_any = True
                self.awaits_pull = False
                self._on_read()
                yield chunk
            if self._error is not None:
                raise self._error
            if self.ended:
                return
            self._ready.clear()
            await self._ready.wait()
