"""A task that goes on for as long as its owner: what fails in it is told, counted and tried again, never its silent end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["LastingTask"]

_log = logging.getLogger("otelbridge")

_FIRST_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # who has run that long since its last failure is well again


class LastingTask:
    """Runs `work()` on the running loop until aclose(), again after each failure, with longer and longer pauses.

    `name` is for people: in logs, in /readyz, as a metric's label. Work that returns has ended for good.
    """

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self.failures = 0
        self._work = work
        self._error = ""
        self._pause = 0.0
        self._begun = time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, in words; None while it runs and has done so for a while."""
        if not self._error or time.monotonic() - self._begun > _STEADY_SECONDS:
            return None
        return f"{self.name} failed and is tried again ({self.failures} failures): {self._error}"

    def cancel(self) -> None:
        """Ask it to end, without waiting."""
        self._task.cancel()

    async def aclose(self) -> None:
        """End it. May be called twice."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._begun = time.monotonic()
            try:
                return await self._work()
            except asyncio.CancelledError as e:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise
                self._failed(e)  # something that it waited for was cancelled, not it
            except Exception as e:
                self._failed(e)
            await asyncio.sleep(self._pause)

    def _failed(self, error: BaseException) -> None:
        if time.monotonic() - self._begun > _STEADY_SECONDS:
            self._pause = 0.0
        self._pause = min(max(self._pause * 2, _FIRST_SECONDS), _MOST_SECONDS)
        self.failures += 1
        self._error = f"{type(error).__name__}: {error}"[:300]
        self._begun = time.monotonic()
        _log.error("%s failed and is tried again in %.1f s", self.name, self._pause, exc_info=error)
