"""The operations that a guest waits for: timers, subrequests and the like, by the number it gave each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from otelbridge.loader.messages import frame, key_of
from otelbridge.loader.operations import OperationError, Operations

__all__ = ["Pending"]

MAX_PENDING = 10_000  # operations of one invocation at a time; a flood of timers must not fill the host's memory
MAX_IN_FLIGHT_BYTES = 64 << 20  # bodies of its operations at a time: they are copies that its memory limit doesn't count


class Pending:
    """Of one invocation. `post` takes the message that wakes the guest with an operation's result. False when there is none."""

    __slots__ = ("_in_flight", "_loop", "_operations", "_post", "_waiting")

    def __init__(self, operations: Operations, loop: asyncio.AbstractEventLoop, post: Callable[[bytes], None]) -> None:
        self._operations = operations
        self._loop = loop
        self._post: Callable[[bytes], None] | None = post
        self._waiting: dict[Any, asyncio.TimerHandle | asyncio.Task[None]] = {}
        self._in_flight = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def begin(self, number: Any, kind: str, span: Any, args: Any, blob: bytes) -> None:
        """Begin what a guest asks for; all of it is as the guest wrote it. BadMessage when the number is none."""
        key = key_of(number)
        span = span if type(span) is int else 0
        if not isinstance(args, dict):
            args = {}
        if len(self._waiting) >= MAX_PENDING:
            self._reply(key, 0, ["Error", f"Too many operations at once: the limit is {MAX_PENDING}."])
        elif kind == "timer":
            ms = args.get("ms")
            delay = min(max(ms, 0), 2**31) / 1000 if isinstance(ms, int | float) and ms == ms else 0.0
            self._waiting[key] = self._loop.call_later(delay, self._reply, key, 1, None)
        elif self._in_flight and self._in_flight + len(blob) > MAX_IN_FLIGHT_BYTES:
            self._reply(key, 0, ["Error", f"Too much data in operations at once: the limit is {MAX_IN_FLIGHT_BYTES} bytes."])
        else:
            self._in_flight += len(blob)
            self._waiting[key] = self._loop.create_task(self._perform(key, kind, args, span, blob))

    def drop(self, stream: int) -> None:
        """The guest lets go of a body that it does not read to its end."""
        task = self._loop.create_task(self._operations.drop(stream))
        task.add_done_callback(lambda t: self._waiting.pop(t, None))
        self._waiting[task] = task

    def cancel(self, number: Any) -> None:
        """The guest no longer wants the result. BadMessage when the number is none."""
        waiting = self._waiting.pop(key_of(number), None)
        if waiting is not None:
            waiting.cancel()

    def close(self) -> None:
        """End them all: nobody is told of their results any more."""
        self._post = None  # which has hold of the invocation: nothing is left for the garbage collector
        for waiting in [*self._waiting.values()]:
            waiting.cancel()
        self._waiting.clear()

    async def _perform(self, key: Any, kind: str, args: dict[str, Any], span: int, blob: bytes) -> None:
        try:
            value, data = await self._operations.perform(kind, args, span, blob)
            self._reply(key, 1, value, data)
        except OperationError as e:
            self._reply(key, 0, [e.name, e.message])
        except Exception as e:
            self._reply(key, 0, ["Error", f"internal error: {type(e).__name__}"])
            raise
        finally:
            self._in_flight -= len(blob)

    def _reply(self, key: Any, ok: int, value: Any, blob: bytes = b"") -> None:
        self._waiting.pop(key, None)
        if self._post is not None:
            self._post(frame(["op", key, ok, value], blob))
