"""The live instances of a process: idle ones to be used again, a bound on all of them, and a queue when it is reached."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from otelbridge.errors import WorkerError
from otelbridge.model.part import ColdStart
from otelbridge.sandbox import EngineFull

__all__ = ["Instances", "Lease", "Owner"]

QUEUE_FULL = "The worker is overloaded: no instance became free."
STOP_SECONDS = 1.0
SMALL_BYTES = 8 << 20  # an instance before its first request: its image is shared, so that an idle one costs next to nothing


class Owner(Protocol):
    """A worker, as far as its instances go. `retired`: it was replaced; instances that come back are closed."""

    idle: list[Lease]
    live: int
    waiting: int
    max_live: int
    retired: bool


class Lease:
    """One instance in use, with what its load left behind for the first invocation."""

    __slots__ = ("abort", "cold", "idle_bytes", "instance", "load_cpu_ns", "load_entries", "owner")

    def __init__(
        self, instance: Any, *, owner: Owner, load_entries: bytes = b"", load_cpu_ns: int = 0, cold: ColdStart | None = None
    ) -> None:
        self.instance = instance
        self.owner = owner
        self.load_entries = load_entries
        self.load_cpu_ns = load_cpu_ns
        self.cold = cold
        self.abort: Callable[[], None] | None = None  # ends the invocation that it serves
        self.idle_bytes = 0


class _Waiting:
    """An invocation in the queue. `turn` gets an idle lease, or None for the right to make one."""

    __slots__ = ("owner", "turn")

    def __init__(self, owner: Owner, turn: asyncio.Future[Lease | None]) -> None:
        self.owner = owner
        self.turn = turn


class Instances:
    """Hands out instances, one invocation at a time each. Not more than `limit` live, nor `queue_limit` waiting.

    `idle_bytes`: how much memory idle instances may keep beyond their images; the longest unused ones go first.
    """

    def __init__(self, *, limit: int, queue_limit: int, queue_seconds: float, idle_bytes: int = 1 << 30) -> None:
        self.live = 0
        self.evictions = 0
        self._limit = limit
        self._queue_limit = queue_limit
        self._queue_seconds = queue_seconds
        self._idle_limit = idle_bytes
        self._idle_bytes = 0
        self._idle: OrderedDict[Lease, None] = OrderedDict()  # least recently used first
        self._busy: set[Lease] = set()
        self._queue: list[_Waiting] = []
        self._settled: list[asyncio.Future[None]] = []

    @property
    def in_use(self) -> int:
        """Instances that serve an invocation or are being made."""
        return self.live - len(self._idle)

    @property
    def waiting(self) -> int:
        """Invocations in the queue."""
        return len(self._queue)

    async def settled(self) -> None:
        """Wait until no instance is in use and nobody waits for one."""
        while self.in_use or self._queue:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settled.append(done)
            await done

    def idle(self, owner: Owner) -> Lease | None:
        """An instance of this worker that has nothing to do, or None; then acquire() one. Nobody is overtaken: see acquire()."""
        if not owner.idle:
            return None
        lease = self._unidle(owner.idle[-1])
        self._busy.add(lease)
        return lease

    async def acquire(self, owner: Owner, make: Callable[[], Awaitable[Lease]]) -> tuple[Lease, int]:
        """An instance of this worker, made if need be, and the ns waited in the queue. WorkerError loadShed when none comes free."""
        # Whoever waits can't go on now, see _hand_on(): nobody is overtaken, and a worker at its own bound holds up no other.
        if self._available(owner):
            lease, waited = self._take(owner), 0
        else:
            lease, waited = await self._wait(owner)
        try:
            if lease is None:
                lease = await make()
            self._busy.add(lease)
            return lease, waited
        except EngineFull as e:  # the memory of closed instances is freed by a thread, which may lag behind
            self._give_back(owner, None)
            raise WorkerError("Error", QUEUE_FULL, outcome="loadShed") from e
        except BaseException:
            self._give_back(owner, None)
            raise

    def release(self, lease: Lease, *, reuse: bool) -> None:
        """Give an instance back: kept for the next invocation, or closed."""
        self._busy.discard(lease)
        lease.abort = None
        if reuse and not lease.owner.retired:
            lease.idle_bytes = max(0, lease.instance.memory_bytes - SMALL_BYTES)
            self._idle_bytes += lease.idle_bytes
            lease.owner.idle.append(lease)
            self._idle[lease] = None
            while self._idle_bytes > self._idle_limit:
                self._evict()
        else:
            self._close(lease)
        if self._queue or self._settled:
            self._hand_on()

    def retire(self, owner: Owner) -> None:
        """Close the instances of a worker that is replaced or removed: idle ones now, the others when they come back."""
        owner.retired = True
        while owner.idle:
            self._close(self._unidle(owner.idle[-1]))
        self._hand_on()

    # ----------------------------------------------------------------------------------------------- taking one

    def _available(self, owner: Owner) -> bool:
        return bool(owner.idle) or (owner.live < owner.max_live and (self.live < self._limit or bool(self._idle)))

    def _take(self, owner: Owner) -> Lease | None:
        """An idle instance of an owner that is available, or None: room for a new one is then reserved."""
        if owner.idle:
            return self._unidle(owner.idle[-1])
        if self.live >= self._limit:
            self._evict()
        self.live += 1
        owner.live += 1
        return None

    def _give_back(self, owner: Owner, lease: Lease | None) -> None:
        if lease is not None:
            self.release(lease, reuse=True)
            return
        self.live -= 1
        owner.live -= 1
        self._hand_on()

    def _unidle(self, lease: Lease) -> Lease:
        lease.owner.idle.remove(lease)
        del self._idle[lease]
        self._idle_bytes -= lease.idle_bytes
        return lease

    def _evict(self) -> None:
        self.evictions += 1
        self._close(self._unidle(next(iter(self._idle))))

    def _close(self, lease: Lease) -> None:
        self.live -= 1
        lease.owner.live -= 1
        lease.instance.close()

    # ------------------------------------------------------------------------------------------------ the queue

    async def _wait(self, owner: Owner) -> tuple[Lease | None, int]:
        if len(self._queue) >= self._queue_limit:
            self._make_room(owner)
        started = time.monotonic_ns()
        loop = asyncio.get_running_loop()
        one = _Waiting(owner, loop.create_future())
        self._queue.append(one)
        owner.waiting += 1
        expiry = loop.call_later(self._queue_seconds, self._shed, one)
        try:
            lease = await one.turn
        except asyncio.CancelledError:
            if one.turn.cancelled():
                self._leave(one)
            elif one.turn.exception() is None:  # handed over in the same moment: somebody else shall have it
                self._give_back(owner, one.turn.result())
            raise
        finally:
            expiry.cancel()
        return lease, time.monotonic_ns() - started

    def _make_room(self, owner: Owner) -> None:
        """Shed one call of the worker that has most in the queue: it may be this one. Otherwise a single worker that
        calls itself could fill the queue, and every other worker's calls would be shed."""
        greediest = max((one.owner for one in self._queue), key=lambda o: o.waiting, default=owner)
        if greediest.waiting <= owner.waiting + 1:
            raise WorkerError("Error", QUEUE_FULL, outcome="loadShed")
        for one in reversed(self._queue):
            if one.owner is greediest and not one.turn.done():
                self._shed(one)
                return

    def _shed(self, one: _Waiting) -> None:
        if not one.turn.done():
            self._leave(one)
            one.turn.set_exception(WorkerError("Error", QUEUE_FULL, outcome="loadShed"))

    def _leave(self, one: _Waiting) -> None:
        self._queue.remove(one)
        one.owner.waiting -= 1
        self._hand_on()

    def _hand_on(self) -> None:
        """After anything came free: give it to those who wait for it, first come first served, and wake whoever waits
        for quiet. Afterwards nobody is in the queue who could go on."""
        at = 0
        blocked: Owner | None = None
        while at < len(self._queue):
            one = self._queue[at]
            if one.owner is blocked or one.turn.done():  # cancelled, and about to leave
                at += 1
            elif self._available(one.owner):
                del self._queue[at]
                one.owner.waiting -= 1
                one.turn.set_result(self._take(one.owner))
            else:
                blocked = one.owner
                at += 1
        if self._settled and not self.in_use and not self._queue:
            settled, self._settled = self._settled, []
            for done in settled:
                if not done.done():
                    done.set_result(None)

    async def aclose(self) -> None:
        """End what still runs, and close all instances. Without the engine's clock nobody could stop them later."""
        for lease in [*self._busy]:
            if lease.abort is not None:
                lease.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.settled()
        while self._idle:
            self._close(self._unidle(next(iter(self._idle))))
