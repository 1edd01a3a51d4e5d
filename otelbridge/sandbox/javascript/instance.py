"""One live JavaScript engine: a memory image with the engine's code, and the state struct they share with the host.

The struct's layout is engine/worker.c's; every word of it that the guest can write is checked when it is used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from otelbridge.sandbox.counters import NOTHING, RingCounters
from otelbridge.sandbox.pages import Pages
from otelbridge.sandbox.stop import MEMORY_STOP, Meter, Stop, from_trap
from otelbridge.sandbox.store import Memory, OutOfBounds, Store
from otelbridge.sandbox.wasm import Failure, Trap

__all__ = ["JsInstance"]

STATE_BYTES = 128
# u32 words of the state
_IN_PTR, _IN_CAP, _OUT_PTR, _OUT_LEN, _RING_PTR, _RING_CAP, _RING_USED = 2, 3, 4, 5, 6, 7, 8
_DROPPED_LOGS, _DROPPED_EXCEPTIONS, _FLAGS = 9, 10, 11
_SEED = slice(72 // 8, 104 // 8)  # in u64 words
_RESEED, _LOG_BUDGET, _MEMORY_LIMIT, _HEAP_USED, _RING_RESET = 26, 27, 28, 29, 30
# u64 words
_DROPPED_BYTES, _NOW, _MONOTONIC = 6, 7, 8
_TRUNCATED, _OUT_OF_MEMORY = 1, 2


class JsInstance:
    """A guest that runs one message exchange at a time. `dead`: it can't run again, but its ring can still be read."""

    __slots__ = ("_image", "_memory", "_read", "_reserve", "_run", "_started", "_store", "_u32", "_u64")

    def __init__(self, store: Store, memory: Memory, state: int, run: int, reserve: int) -> None:
        self._store = store
        self._memory = memory
        self._run = run
        self._reserve = reserve
        self._u32, self._u64 = memory.words(state, STATE_BYTES)
        self._read = 0  # how far the ring has been read
        self._started = 0
        self._image: tuple[int, Pages, Pages, int, int] | None = None

    @property
    def dead(self) -> bool:
        return self._store.dead

    @property
    def memory_bytes(self) -> int:
        """Linear memory in use."""
        return self._memory.size

    @property
    def heap_bytes(self) -> int:
        """Live allocations of the JavaScript heap, as the guest counts them."""
        return self._u32[_HEAP_USED] if not self._store.closed else 0

    def limit(self, memory_bytes: int) -> None:
        """Bound the JavaScript heap."""
        self._u32[_MEMORY_LIMIT] = min(memory_bytes, 0xFFFFFFFF)

    def begin(self, log_budget: int | None) -> None:
        """Before an invocation: an empty ring with this budget of bytes, fresh randomness, the clock at zero."""
        words = self._u32
        words[_RING_RESET] = 1
        words[_LOG_BUDGET] = min(max(log_budget or 0, 0), 1 << 30)
        # Rule "every fresh instance repeats the same Math.random() sequence: reseed before each invocation".
        self._u64[_SEED] = memoryview(os.urandom(32)).cast("Q")
        words[_RESEED] = 1
        self._read = 0
        self._started = time.monotonic_ns()
        words[_RING_USED] = 0

    def reset_ring(self) -> None:
        """Forget what the ring holds; the next run begins with an empty one."""
        self._u32[_RING_RESET] = 1
        self._u32[_RING_USED] = 0
        self._read = 0

    async def run(self, messages: bytes, meter: Meter, on_yield: Callable[[], None] | None = None) -> bytes:
        """Hand messages to the guest and run it until it has nothing left to do; its messages.

        Raises Stop when it traps, passes a limit, or `on_yield` (called between slices) raises one. Afterwards dead.
        """
        words = self._u32
        size = len(messages)
        try:
            if size > words[_IN_CAP]:
                await self._store.call(self._reserve, (size,), 1, self, meter)
                if words[_IN_CAP] < size:
                    raise Stop(*MEMORY_STOP)
            self._memory.write(words[_IN_PTR], messages)
            status = await self._store.call(self._run, (size,), 1, self, meter, on_yield)
            if status > 1:
                raise Stop("internalError", "Error", f"the engine failed with status {status - (1 << 32)}")
            return self._memory.read(words[_OUT_PTR], words[_OUT_LEN])
        except Stop:
            self._store.dead = True
            raise
        except Trap as trap:
            raise from_trap(trap, out_of_memory=bool(words[_FLAGS] & _OUT_OF_MEMORY)) from None
        except Failure as failure:
            self._store.dead = True
            raise Stop("internalError", "Error", str(failure)) from None
        except OutOfBounds as error:
            self._store.dead = True
            raise Stop("exception", "RangeError", f"the guest gave a bad pointer: {error}") from None

    def read_ring(self) -> bytes:
        """What was written into the ring since the last read; also between slices, and after the guest was stopped."""
        if self._store.closed:
            return b""
        words = self._u32
        start, used = self._read, words[_RING_USED]
        if used <= start:
            return b""
        self._read = used
        try:
            return self._memory.read((words[_RING_PTR] + start) & 0xFFFFFFFF, used - start)
        except OutOfBounds:
            return b""  # a forged struct: there is nothing true to be read

    def counters(self) -> RingCounters:
        """What was dropped."""
        words = self._u32
        flags = words[_FLAGS]
        if not (flags or words[_DROPPED_LOGS] or words[_DROPPED_EXCEPTIONS] or self._u64[_DROPPED_BYTES]):
            return NOTHING
        return RingCounters(
            words[_DROPPED_LOGS],
            words[_DROPPED_EXCEPTIONS],
            min(self._u64[_DROPPED_BYTES], (1 << 63) - 1),
            bool(flags & _TRUNCATED),
            bool(flags & _OUT_OF_MEMORY),
        )

    def before_slice(self) -> None:
        """The clock the guest sees stands still within a slice."""
        self._u64[_NOW] = time.time_ns()
        self._u64[_MONOTONIC] = time.monotonic_ns() - self._started

    def pause_s(self) -> float:
        """A JavaScript guest never sleeps inside a call: its timers are host operations."""
        return 0.0

    def peek(self, pointer: int, length: int) -> bytes:
        """A copy of a range of the memory, for an image."""
        return self._memory.read(pointer, length)

    def written(self) -> list[tuple[int, int]] | None:
        """Of an instance of the base: which parts of its memory may be other than there, as (offset, end); None when that can't be told."""
        return self._memory.written(self._store.engine.written) if self._image is None else None

    def restorable(self, size: int, delta: Pages, base: Pages, stack: int) -> None:
        """Say what restore() restores: the pages of the image; `stack`: the extern of the engine's stack pointer."""
        self._image = size, delta, base, stack, self._store.global_i32(stack)

    def restore(self) -> bool:
        """Make a used instance what it was before its first run; False when it must be closed instead.

        Its memory is all that a run changes: the engine has no mutable global but the stack pointer, which is back at its
        start (checked), and no instruction that writes to a table. A new instance of the same image costs a page fault
        for each of the 75 pages that a request writes: 350 us, against 70 us for finding and copying them.
        """
        if self._image is None or self._store.dead or self._store.busy:
            return False
        size, delta, base, stack, start = self._image
        if self._memory.size != size or self._store.global_i32(stack) != start:
            return False
        return self._memory.restore(delta, base, self._store.engine.written)

    def close(self) -> None:
        """Free the instance. Idempotent."""
        # The views must go before the memory they look at.
        self._u32 = self._u64 = memoryview(bytes(STATE_BYTES)).cast("I")
        self._store.close()
