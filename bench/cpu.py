"""Medians of the thread's CPU time, which other programs on the machine disturb least; and the guests that are measured."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from otelbridge.loader.messages import frame
from otelbridge.sandbox import Engine, JsInstance, JsRuntime, Meter

__all__ = ["LOG_BYTES", "MIB", "REQUEST", "SECOND", "load_js", "median_async_us", "median_us", "sandbox", "serve"]

MIB = 1 << 20
SECOND = 1_000_000_000
LOG_BYTES = 262_144
REQUEST = frame(
    [
        "invoke",
        "fetch",
        None,
        {},
        ["GET", "http://127.0.0.1:8787/x", [["host", "127.0.0.1:8787"], ["user-agent", "bench"], ["accept", "*/*"]], 0, None],
    ]
)


def median_us(run: Callable[[], object], repeats: int = 300) -> float:
    """The median CPU time of a call, in us."""
    times = []
    for i in range(repeats + 20):
        start = time.thread_time_ns()
        run()
        if i >= 20:
            times.append(time.thread_time_ns() - start)
    return statistics.median(times) / 1000


async def median_async_us(run: Callable[[], Awaitable[object]], repeats: int = 300) -> float:
    """The median CPU time of an awaited call, in us."""
    times = []
    for i in range(repeats + 20):
        start = time.thread_time_ns()
        await run()
        if i >= 20:
            times.append(time.thread_time_ns() - start)
        if i % 20 == 0:
            await asyncio.sleep(0)
    return statistics.median(times) / 1000


@asynccontextmanager
async def sandbox() -> AsyncIterator[tuple[Engine, JsRuntime]]:
    """An engine with a warm cache: what every start of a process but the first sees."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(cache_dir=Path(folder))
        JsRuntime(engine)
        yield engine, JsRuntime(engine)
        await engine.aclose()


async def load_js(runtime: JsRuntime, source: bytes) -> JsInstance:
    """A JavaScript guest with this worker loaded."""
    guest = runtime.new(memory_bytes=128 * MIB)
    guest.begin(LOG_BYTES)
    await guest.run(frame(["module", "index.js", "js"], source) + frame(["load", "index.js", {}]), Meter(SECOND))
    return guest


async def serve(guest: JsInstance, log_bytes: int = LOG_BYTES) -> int:
    """One request, as the loader makes it; the bytes it logged."""
    guest.begin(log_bytes)
    await guest.run(REQUEST, Meter(10 * SECOND))
    return len(guest.read_ring())
