"""One instantiation of a core module: memory image, shim and guest in one store, and the words they share with the host."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from otelbridge.model import ring
from otelbridge.sandbox import binary, wasm
from otelbridge.sandbox.core import words as at
from otelbridge.sandbox.core.plan import Plan
from otelbridge.sandbox.counters import RingCounters
from otelbridge.sandbox.engine import Code, Engine, Template
from otelbridge.sandbox.image import MEMORY
from otelbridge.sandbox.stop import Meter, Stop, from_trap
from otelbridge.sandbox.store import OutOfBounds, Store
from otelbridge.sandbox.wasm import Failure, Trap

__all__ = ["Exit", "Parts", "Program"]

MAX_LOG_BUDGET = 64 << 20
_RING_SLACK = 1024  # for the line that says that lines are dropped
_CHACHA = b"expand 32-byte k"


class Exit(Exception):
    """The guest called proc_exit."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit status {code}")
        self.code = code


class Parts:
    """What programs are made of."""

    __slots__ = ("code", "engine", "image", "plan", "shim")

    def __init__(self, engine: Engine, shim: Code, code: Code, image: Template, plan: Plan) -> None:
        self.engine = engine
        self.shim = shim
        self.code = code
        self.image = image
        self.plan = plan


class Program:
    """See the module's text. Its log lines can be read until close(), also after a trap."""

    __slots__ = (
        "_env_end",
        "_functions",
        "_instance",
        "_limit",
        "_plan",
        "_read",
        "_started",
        "_store",
        "_tail",
        "_u32",
        "_u64",
        "guest",
        "shim",
    )

    def __init__(self, parts: Parts, *, memory_bytes: int, env: Mapping[str, str], log_budget: int) -> None:
        """EngineFull when the pool is full; Stop when the memory limit is below what the module starts with."""
        self._plan = parts.plan
        self._limit = memory_bytes
        self._read = 0
        self._tail = b""
        self._functions: dict[str, int] = {}
        self._started = time.monotonic_ns()
        # The limit holds for each memory; the shim's must hold its own state whatever the guest's limit is.
        limit = max(memory_bytes, at.FREE + 2 * binary.PAGE)
        externs = len(parts.plan.imports) + 8  # the memory twice, the shim's, and the five exports that are ever called
        self._store = store = Store(parts.engine, memory_bytes=limit, instances=3, tables=2, memories=2, externs=externs)
        try:
            owner = store.instantiate_pre(parts.image.address)
            memory = store.export(owner, MEMORY.encode(), wasm.MEMORY)
            shim = store.instantiate(parts.shim.address, memory, 1)
            self.shim = store.memory(store.export(shim, b"memory", wasm.MEMORY))
            imports = [store.export(shim, name.encode(), wasm.FUNC) for name in parts.plan.imports]
            memory = store.export(owner, MEMORY.encode(), wasm.MEMORY)  # once more, behind the functions: split() imports it last
            self._instance = store.instantiate(parts.code.address, imports[0] if imports else memory, len(imports) + 1)
            self.guest = store.memory(memory)
            self._u32, self._u64 = self.shim.words(0, at.STATE_BYTES)
            self._env_end = at.FREE
            self._set_env(env)
            self.begin(log_budget)
        except Failure as failure:
            store.close()
            raise Stop("exception", "CompileError", str(failure)) from None
        except Trap as trap:
            store.close()
            raise from_trap(trap, shift=parts.plan.shift) from None
        except BaseException:
            store.close()
            raise

    # ------------------------------------------------------------------------------------------------ invocation

    def begin(self, log_budget: int) -> None:
        """Before an invocation: an empty ring with this budget of bytes, fresh randomness, the clock at zero."""
        budget = min(max(log_budget, 0), MAX_LOG_BUDGET)
        words = self._u32
        start = (self._env_end + 7) & -8
        try:
            self._fit(start + budget + _RING_SLACK)
        except Stop:  # a memory limit below the log limit: fewer lines fit, and the rest is counted
            budget = max(self.shim.size - start - _RING_SLACK, 0)
        words[at.RING_PTR], words[at.RING_CAP], words[at.BUDGET] = start, budget + _RING_SLACK, budget
        words[at.DROPPED_LOGS] = words[at.FLAGS] = words[at.FULL] = 0
        self._u64[at.DROPPED_BYTES] = 0
        self.reset_ring()
        # Rule "random numbers in instances made from one snapshot": reseed from the host before each invocation.
        self.shim.write(at.CHACHA, _CHACHA + os.urandom(32) + bytes(16))
        words[at.RANDOM_LEFT] = 0
        self._started = time.monotonic_ns()

    def request(self, body: bytes, *, max_response_bytes: int) -> None:
        """Give a command its stdin, and collect its stdout. Once, after begin()."""
        words = self._u32
        start = (words[at.RING_PTR] + words[at.RING_CAP] + 7) & -8
        self._fit(start + len(body))
        self.shim.write(start, body)
        words[at.IN_PTR], words[at.IN_LEN], words[at.IN_POS] = start, len(body), 0
        out = (start + len(body) + 7) & -8
        words[at.OUT_PTR], words[at.OUT_USED], words[at.OUT_CAP] = out, 0, max_response_bytes

    def response(self) -> bytes:
        """What a command has written to stdout."""
        return self.shim.read(self._u32[at.OUT_PTR], self._u32[at.OUT_USED])

    @property
    def too_long(self) -> bool:
        """Whether stdout passed its limit."""
        return bool(self._u32[at.FLAGS] & at.TOO_LONG)

    async def call(self, name: str, arguments: tuple[int, ...], results: int, meter: Meter) -> int:
        """Call an export of the guest in slices. Raises Stop, or Exit when it called proc_exit; dead afterwards."""
        store = self._store
        try:
            function = self._functions.get(name) or self._functions.setdefault(name, store.function(self._instance, name.encode()))
            return await store.call(function, arguments, results, self, meter)
        except Trap as trap:
            if self._u32[at.EXITED]:
                raise Exit(self._u32[at.EXIT_CODE]) from None
            raise from_trap(trap, out_of_memory=self._starved(trap), shift=self._plan.shift) from None
        except Failure as failure:
            raise Stop("internalError", "Error", str(failure)) from None

    def _starved(self, trap: Trap) -> bool:
        # A refused memory.grow is only a -1 to the guest. Allocators then abort, so a deliberate trap with the memory
        # nearly at its limit is taken for that; other traps, and smaller memories, say what they are.
        return trap.code == "UNREACHABLE" and self.guest.size + self._limit // 8 >= self._limit

    def before_slice(self) -> None:
        """The clock the guest sees is moved between slices; within one the shim counts on."""
        wide = self._u64
        wide[at.NOW] = max(time.time_ns(), wide[at.NOW])
        wide[at.MONOTONIC] = time.monotonic_ns() - self._started

    def pause_s(self) -> float:
        """How long the guest sleeps in poll_oneoff, from now."""
        wake: int = self._u64[at.WAKE]
        if not wake:
            return 0.0
        return min(max(wake - (time.monotonic_ns() - self._started), 0) / 1e9, 86_400.0)

    # ------------------------------------------------------------------------------------------------------- ring

    def end(self) -> None:
        """After an invocation, however it ended: what stands on stdout and stderr without a line break is a line."""
        words = self._u32
        for fd in (1, 2):
            length, words[at.LINE + fd] = words[at.LINE + fd], 0
            if length:
                if words[at.FULL]:
                    words[at.DROPPED_LOGS] += 1
                    self._u64[at.DROPPED_BYTES] += length + 80
                else:
                    now = self._u64[at.NOW] + self._u64[at.TICKS] + fd
                    self._tail += ring.pack(ring.TEXT, self.shim.read(fd << 16, length), level=2 * fd, time_ns=now)

    def read_ring(self) -> bytes:
        """What was logged since the last read."""
        tail, self._tail = self._tail, b""
        if self._store.closed:
            return tail
        start, used = self._read, self._u32[at.RING_USED]
        if used <= start:
            return tail
        self._read = used
        return self.shim.read(self._u32[at.RING_PTR] + start, used - start) + tail

    def reset_ring(self) -> None:
        """Forget what the ring holds."""
        self._u32[at.RING_USED] = self._read = 0
        self._tail = b""

    def counters(self) -> RingCounters:
        """What was dropped."""
        words = self._u32
        flags = words[at.FLAGS]
        return RingCounters(words[at.DROPPED_LOGS], 0, self._u64[at.DROPPED_BYTES], bool(flags & at.TRUNCATED), False)

    # ------------------------------------------------------------------------------------------------------ memory

    def _set_env(self, env: Mapping[str, str]) -> None:
        blob = b"".join(f"{name}={value}\0".encode("utf-8", "surrogateescape") for name, value in env.items())
        self._fit(at.FREE + len(blob))
        self.shim.write(at.FREE, blob)
        words = self._u32
        words[at.ENV_PTR], words[at.ENV_COUNT], words[at.ENV_SIZE] = at.FREE, len(env), len(blob)
        self._env_end = at.FREE + len(blob)

    def _fit(self, end: int) -> None:
        missing = end - self.shim.size
        if missing > 0:
            self._store.grow(self.shim, (missing + binary.PAGE - 1) // binary.PAGE)

    @property
    def dead(self) -> bool:
        return self._store.dead

    @property
    def closed(self) -> bool:
        return self._store.closed

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of the guest's memory. Stop when the guest gave a range that is not inside."""
        try:
            return self.guest.read(pointer, length)
        except OutOfBounds as error:
            raise Stop("exception", "RangeError", f"The worker returned a bad pointer: {error}") from None

    def write(self, pointer: int, data: bytes) -> None:
        """Write into the guest's memory; Stop as for read()."""
        try:
            self.guest.write(pointer, data)
        except OutOfBounds as error:
            raise Stop("exception", "RangeError", f"The worker allocated at a bad pointer: {error}") from None

    def close(self) -> None:
        """Free everything. Idempotent."""
        # The views must go before the memory they look at.
        self._u32 = memoryview(bytes(at.STATE_BYTES)).cast("I")
        self._u64 = memoryview(bytes(at.STATE_BYTES)).cast("Q")
        self._store.close()
