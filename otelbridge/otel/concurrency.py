"""How many requests of a lane may be under way: what a kill makes it send twice is, on average, the rate of records times the
time they are under way, so one, and more only while answers are slow and batches wait for them."""

from __future__ import annotations

import time

__all__ = ["Concurrency"]

_SLOW_SECONDS = 0.05  # an answer that takes longer is worth a second request beside it,
_PRESSED_SECONDS = 0.5  # when batches have been waiting for so long


class Concurrency:
    """See the module's text. `allowed`: 1 to `most`."""

    def __init__(self, most: int) -> None:
        self.allowed = 1
        self._most = most
        self._pressed: float | None = None  # since when there has always been a batch that waited

    def adapt(self, seconds: float, *, failed: bool, waits: bool) -> None:
        """A request has come back after so long; `waits`: whether a full batch waits."""
        now = time.monotonic()
        if failed or not waits:
            self.allowed = 1 if failed else max(self.allowed - 1, 1)
            self._pressed = None
        elif self._pressed is None:
            self._pressed = now
        elif seconds > _SLOW_SECONDS and now - self._pressed > _PRESSED_SECONDS:
            self.allowed = min(self.allowed + 1, self._most)
            self._pressed = now
