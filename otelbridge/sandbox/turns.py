"""Turns: guests run in slices on the event loop, and none of them holds up the others.

A guest call is a fiber that yields at an epoch tick. Its first slice runs at once, inside the caller's own step of the
loop, so that a short guest costs no extra turn. Who has used up a slice goes to the end of a queue, and every third
turn of the loop runs one slice of that queue. First slices count, too: once a turn has spent INLINE_NS on guests,
newcomers wait for the next one, so that twenty guests that start at the same moment don't add up.

Signals reach the event loop between slices (rule "SIGINT while wasm runs is ignored until wasm returns: guests have
deadlines"), so that a guest delays them by one slice at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from otelbridge.sandbox.stop import CPU_STOP, Meter, Stop
from otelbridge.sandbox.ticker import Ticker
from otelbridge.sandbox.wasm import future_poll

__all__ = ["Guest", "Turns"]

INLINE_NS = 1_000_000  # of guest time in one turn before newcomers have to wait
NOTICE_NS = 200_000  # of guest time before the end of the turn is worth a callback (0.6 us) to notice
# Turns of the loop between two slices of long guests. A timer or socket that became ready during a slice has its callback
# in the first and the task that waited for it in the second: with a slice in each, that task waits for three slices
# instead of one. Costs two turns without work, some 30 us, per slice of 2 ms.
FREE_TURNS = 2
# A first slice that ended earlier was cut by a tick that happened to come: its guest gets another one at once. One of twelve
# short guests meets a tick, and in the queue would wait for three turns of a busy loop: p99 was eight times p50 by that.
SHORT_NS = 500_000

_cpu_ns = time.thread_time_ns


class Guest(Protocol):
    """What a turn needs to know of an instance."""

    def before_slice(self) -> None:
        """Write the guest's clock."""

    def pause_s(self) -> float:
        """After a slice that did not end the call: how many seconds the guest wants to sleep, or 0."""


class _Waiting:
    """A call that is not done. `future` is 0 when its owner has left: then it must not be polled again."""

    __slots__ = ("done", "future", "guest", "meter", "on_yield", "timer")

    def __init__(self, future: int, guest: Guest, meter: Meter, on_yield: Callable[[], None] | None, done: asyncio.Future[None]) -> None:
        self.future = future
        self.guest = guest
        self.meter = meter
        self.on_yield = on_yield
        self.done = done
        self.timer: asyncio.TimerHandle | None = None


class Turns:
    """Hands out slices on one event loop. Not for use from several threads."""

    __slots__ = ("_free_turns", "_fresh", "_noticed", "_queue", "_ticker", "_used_ns")

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._fresh: deque[_Waiting] = deque()
        self._queue: deque[_Waiting] = deque()
        self._used_ns = 0
        self._free_turns = 0  # since the last slice of a long guest
        self._noticed: asyncio.AbstractEventLoop | None = None  # the loop that will call _turn()

    def begin(self, future: int, guest: Guest, meter: Meter) -> bool:
        """Run the first slice of a call's future, when there is time for it in this turn of the loop; whether the call ended.
        If not, await rest()."""
        if self._used_ns >= INLINE_NS or not self._first(future, guest, meter):
            return False
        if self._used_ns > NOTICE_NS and self._noticed is None:
            self._notice(asyncio.get_running_loop())
        return True

    async def rest(
        self, future: int, guest: Guest, meter: Meter, on_yield: Callable[[], None] | None = None, *, begun: bool = False
    ) -> None:
        """Run a call's future to its end. `begun`: it had a first slice. The caller deletes the future, however this ends.

        Raises Stop("exceededCpu") when the meter's limit is passed, and what `on_yield` raises. `on_yield` is called
        after each slice that did not end the call.
        """
        if begun:
            if meter.exhausted:
                raise Stop(*CPU_STOP)
            if on_yield is not None:
                on_yield()
            queue = self._queue
        else:
            queue = self._fresh
        loop = asyncio.get_running_loop()
        waiting = _Waiting(future, guest, meter, on_yield, loop.create_future())
        try:
            self._queue_up(waiting, queue, loop)
            await waiting.done
        finally:
            # Also when the task is cancelled: the caller now deletes the future, and polling it then would be the end
            # of the process.
            waiting.future = 0
            if waiting.timer is not None:
                waiting.timer.cancel()

    def run_now(self, future: int, guest: Guest, meter: Meter) -> None:
        """Run a call's future to its end without a loop: for start-up, where nobody waits. Bounded by the meter."""
        while not self._slice(future, guest, meter):
            if meter.exhausted:
                raise Stop(*CPU_STOP)
        self._used_ns = 0

    def _first(self, future: int, guest: Guest, meter: Meter) -> bool:
        """The first slice of a call, whether it ended it; one that a tick cut short does not count."""
        before = meter.cpu_ns
        return self._slice(future, guest, meter) or (
            meter.cpu_ns - before < SHORT_NS and not meter.exhausted and self._slice(future, guest, meter)
        )

    def _slice(self, future: int, guest: Guest, meter: Meter) -> bool:
        ticker = self._ticker
        guest.before_slice()
        ticker.busy = True
        if ticker.asleep:
            ticker.wake()
        start = _cpu_ns()
        done: bool = future_poll(future)
        spent = _cpu_ns() - start
        ticker.busy = False
        meter.cpu_ns += spent
        meter.slices += 1
        self._used_ns += spent
        return done

    def _queue_up(self, waiting: _Waiting, queue: deque[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        pause = waiting.guest.pause_s() if queue is self._queue else 0
        if pause > 0:
            # A sleeping guest holds no place in the queue: it comes back when its time is up.
            waiting.timer = loop.call_later(pause, self._wake_up, waiting, loop)
            return
        queue.append(waiting)
        if self._noticed is not loop:
            self._notice(loop)

    def _wake_up(self, waiting: _Waiting, loop: asyncio.AbstractEventLoop) -> None:
        self._queue.append(waiting)
        if self._noticed is not loop:
            self._notice(loop)

    def _notice(self, loop: asyncio.AbstractEventLoop) -> None:
        self._noticed = loop
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once per turn of the loop: newcomers while there is time, and now and then one slice of one long guest."""
        self._noticed = None
        self._used_ns = 0
        while self._fresh and self._used_ns < INLINE_NS:
            self._step(self._fresh.popleft(), loop, self._first)
        if self._free_turns < FREE_TURNS:
            self._free_turns += 1
        else:
            self._free_turns = 0
            while self._queue:
                if self._step(self._queue.popleft(), loop, self._slice):
                    break
        if self._noticed is None and (self._fresh or self._queue or self._used_ns > NOTICE_NS):
            self._notice(loop)

    def _step(self, waiting: _Waiting, loop: asyncio.AbstractEventLoop, run: Callable[[int, Guest, Meter], bool]) -> bool:
        """One slice for a waiting call, by _slice or _first; False when there was nothing to run."""
        if not waiting.future or waiting.done.done():
            return False
        try:
            if run(waiting.future, waiting.guest, waiting.meter):
                waiting.done.set_result(None)
            elif waiting.meter.exhausted:
                waiting.done.set_exception(Stop(*CPU_STOP))
            else:
                if waiting.on_yield is not None:
                    waiting.on_yield()
                self._queue_up(waiting, self._queue, loop)
        except Exception as error:  # of on_yield, or of a guest whose clock can't be written
            if not waiting.done.done():
                waiting.done.set_exception(error)
        return True
