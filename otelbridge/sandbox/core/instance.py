"""One core-module guest: a live worker of ABI 1, or a command that gets a fresh program for every request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otelbridge.errors import SandboxError
from otelbridge.sandbox.core import cgi, exchange
from otelbridge.sandbox.core.exchange import Answer
from otelbridge.sandbox.core.plan import ALLOC, COMMAND, FETCH, INITIALIZE, MAIN
from otelbridge.sandbox.core.program import Exit, Parts, Program
from otelbridge.sandbox.counters import NOTHING, RingCounters
from otelbridge.sandbox.engine import EngineFull
from otelbridge.sandbox.stop import Meter, Stop

__all__ = ["MAX_RESPONSE_BYTES", "CoreInstance"]

MAX_RESPONSE_BYTES = 64 << 20


class CoreInstance:
    """Serves one request at a time. The same shape as JsInstance, as far as they have the same to offer."""

    __slots__ = ("_budget", "_closed", "_env", "_limit", "_parts", "_program")

    def __init__(self, parts: Parts, *, memory_bytes: int, env: Mapping[str, str], log_budget: int) -> None:
        self._parts = parts
        self._limit = memory_bytes
        self._env = dict(env)
        self._budget = log_budget
        self._closed = False
        self._program: Program | None = None
        if parts.plan.kind != COMMAND:
            self._program = Program(parts, memory_bytes=memory_bytes, env=env, log_budget=log_budget)

    @property
    def dead(self) -> bool:
        """Whether it can't serve another request."""
        if self._parts.plan.kind == COMMAND:
            return self._closed
        return self._program is None or self._program.dead

    @property
    def reusable(self) -> bool:
        """Whether it may serve another request after one that went well."""
        return not self.dead

    @property
    def memory_bytes(self) -> int:
        """Linear memory of the guest."""
        return self._program.guest.size if self._program else 0

    @property
    def heap_bytes(self) -> int:
        """The same: a core module does not say how much of it is in use."""
        return self.memory_bytes

    def begin(self, log_budget: int | None) -> None:
        """Before an invocation: an empty ring with this budget, fresh randomness, the clock at zero."""
        self._budget = log_budget or 0
        if self._parts.plan.kind == COMMAND:
            self._drop()
        else:
            self._live().begin(self._budget)

    async def start(self, meter: Meter) -> None:
        """Run the start function and `_initialize`. Raises Stop. A command starts anew for each request instead."""
        if self._parts.plan.kind == COMMAND:
            return
        program = self._live()
        try:
            await self._start(program, meter)
            if self._parts.plan.initialize:
                await program.call(INITIALIZE, (), 0, meter)
        except Exit as exit_:
            raise _exited(exit_) from None
        finally:
            program.end()

    async def _start(self, program: Program, meter: Meter) -> None:
        if self._parts.plan.start is not None:
            await program.call(self._parts.plan.start, (), 0, meter)

    async def fetch(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes, meter: Meter) -> Answer:
        """Serve a request: status, headers, body. Raises Stop when the guest fails, passes a limit or answers nonsense."""
        if self._parts.plan.kind == COMMAND:
            return await self._run(method, url, list(headers), body, meter)
        program = self._live()
        try:
            request = exchange.encode(method, url, headers, body)
            pointer = await program.call(ALLOC, (len(request),), 1, meter)
            if pointer == 0:
                raise Stop("exception", "RangeError", f"The worker's {ALLOC} gave no room for a request of {len(request)} bytes.")
            program.write(pointer, request)
            packed = await program.call(FETCH, (pointer, len(request)), 1, meter)
            length = packed & 0xFFFFFFFF
            if length > MAX_RESPONSE_BYTES:
                raise Stop("exception", "RangeError", f"The worker's response has {length} bytes; the most is {MAX_RESPONSE_BYTES}.")
            return exchange.decode(program.read(packed >> 32, length))
        except Exit as exit_:
            raise _exited(exit_) from None
        finally:
            program.end()

    async def _run(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes, meter: Meter) -> Answer:
        if self._closed:
            raise SandboxError("the instance is closed")
        self._drop()
        env = {**self._env, **cgi.environment(method, url, headers, body)}
        try:
            program = Program(self._parts, memory_bytes=self._limit, env=env, log_budget=self._budget)
        except EngineFull as full:
            raise Stop("loadShed", "Error", str(full)) from None
        self._program = program
        program.request(body, max_response_bytes=MAX_RESPONSE_BYTES)
        try:
            await self._start(program, meter)
            await program.call(MAIN, (), 0, meter)
        except Exit as exit_:
            if exit_.code:
                raise Stop("exception", "Error", f"The command ended with exit status {exit_.code}.") from None
        finally:
            program.end()
        if program.too_long:
            raise Stop("exception", "RangeError", f"The command's response passed {MAX_RESPONSE_BYTES} bytes or its memory limit.")
        return cgi.decode(program.response())

    def read_ring(self) -> bytes:
        """What was logged since the last read; also while it runs, and after it was stopped."""
        return self._program.read_ring() if self._program else b""

    def reset_ring(self) -> None:
        """Forget what the ring holds."""
        if self._program:
            self._program.reset_ring()

    def counters(self) -> RingCounters:
        """What the ring had no room for."""
        return self._program.counters() if self._program else NOTHING

    def _live(self) -> Program:
        if self._program is None or self._closed:
            raise SandboxError("the instance is closed")
        return self._program

    def _drop(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            program.close()

    def close(self) -> None:
        """Free the instance. Idempotent."""
        self._closed = True
        self._drop()


def _exited(exit_: Exit) -> Stop:
    return Stop("exception", "Error", f"The worker called proc_exit({exit_.code}).")
