"""A bell for who reads spools as they grow: rung where the writer is in this process, polled where it is in another."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["Wake"]


class Wake:
    """A bell. Ringing is cheap and allowed from any thread, as often as one likes; waiting clears it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._event = asyncio.Event()
        self._rung = False

    def ring(self) -> None:
        """Wake who waits. The first ring after a wait costs a hand-over to the event loop, all others nothing."""
        if not self._rung:
            self._rung = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Wait for a ring, or until the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
        # Cleared before the reader looks: what comes from now on rings again.
        self._rung = False
