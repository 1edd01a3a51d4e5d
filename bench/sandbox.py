"""What the sandbox costs: instances, calls, log lines, and what busy guests do to the event loop.

    python bench/sandbox.py

Prints medians of the thread's CPU time, which other programs on the machine disturb least; what is in ms, and the loop
lag, is wall time. Trust the ratios, not the digits.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from otelbridge.loader.messages import frame
from otelbridge.sandbox import CoreRuntime, Engine, JsRuntime, Meter, Stop, wasm

MIB = 1 << 20
SECOND = 1_000_000_000
EMPTY = b"""export default { fetch() { return new Response("hi") } }"""
LOGS = b"""export default { fetch() {
  for (let i = 0; i < 1000; i++) console.log("a line of about a hundred bytes, with a number in it", i, "and a tail");
  return new Response("hi")
} }"""
FIB = b"""function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }
export default { fetch() { return new Response(String(fib(27))) } }"""
REQUEST = frame(["invoke", "fetch", None, None, ["GET", "http://w/", [], None, {}]])
GUEST = """(module (import "otelbridge" "log" (func $log (param i32 i32 i32)))
 (memory (export "memory") 2) (data (i32.const 16) "{\\"status\\":200}") (data (i32.const 64) "%s")
 (func (export "otelbridge_alloc") (param i32) (result i32) (i32.const 4096))
 (func (export "otelbridge_fetch") (param i32 i32) (result i64) (local $i i32)
  (block $done (loop $l (br_if $done (i32.ge_u (local.get $i) (i32.const %d)))
   (call $log (i32.const 1) (i32.const 64) (i32.const 100)) (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))
  (i64.const 0x000000100000000e)))"""


def show(name: str, value: float, unit: str, note: str = "") -> None:
    """One line of the report."""
    print(f"{name:58s} {value:10.2f} {unit:4s} {note}", flush=True)


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


async def core(engine: Engine) -> None:
    """Core modules."""
    runtime = CoreRuntime(engine)
    start = time.perf_counter()
    module = await runtime.compile(wasm.wat(GUEST % ("x" * 100, 0)))
    show("core: compile a module of 400 bytes (or find it)", (time.perf_counter() - start) * 1000, "ms")
    chatty = await runtime.compile(wasm.wat(GUEST % ("x" * 100, 1000)))

    def instance() -> None:
        module.new(memory_bytes=64 * MIB, env={}, log_budget=262_144).close()

    made = median_us(instance)
    show("core: instance (image + shim + guest) and close", made, "us")
    guest = module.new(memory_bytes=64 * MIB, env={}, log_budget=262_144)
    warm = await median_async_us(lambda: guest.fetch("GET", "http://w/", [], b"", Meter(SECOND)))
    show("core: warm request", warm, "us")
    guest.close()

    async def fresh() -> None:
        one = module.new(memory_bytes=64 * MIB, env={}, log_budget=262_144)
        await one.fetch("GET", "http://w/", [], b"", Meter(SECOND))
        one.close()

    show("core: fresh instance per request", await median_async_us(fresh), "us")
    guest = chatty.new(memory_bytes=64 * MIB, env={}, log_budget=262_144)

    async def logging() -> None:
        guest.begin(262_144)
        await guest.fetch("GET", "http://w/", [], b"", Meter(SECOND))
        guest.read_ring()

    lines = await median_async_us(logging)
    show("core: a line of 100 bytes into the ring, and out", (lines - warm), "ns", "(1000 lines, warm request taken off)")
    guest.close()


async def javascript(engine: Engine) -> None:
    """JavaScript."""
    start = time.perf_counter()
    runtime = JsRuntime(engine)
    show("js: start the engine (compiled code from the cache)", (time.perf_counter() - start) * 1000, "ms")

    def instance() -> None:
        runtime.new(memory_bytes=128 * MIB).close()

    show("js: instance from an image and close", median_us(instance), "us")

    async def load(source: bytes) -> object:
        guest = runtime.new(memory_bytes=128 * MIB)
        guest.begin(262_144)
        await guest.run(frame(["module", "index.js", "js"], source) + frame(["load", "index.js", {}]), Meter(SECOND))
        return guest

    async def cold() -> None:
        guest = await load(EMPTY)
        guest.begin(262_144)  # type: ignore[attr-defined]
        await guest.run(REQUEST, Meter(SECOND))  # type: ignore[attr-defined]
        guest.close()  # type: ignore[attr-defined]

    show("js: cold, new source to first response", await median_async_us(cold, 100), "us")
    first = await load(EMPTY)
    start = time.perf_counter()
    image = runtime.make_image(first)  # type: ignore[arg-type]
    show("js: make an image of a loaded worker", (time.perf_counter() - start) * 1000, "ms")

    async def warm() -> None:
        first.begin(262_144)  # type: ignore[attr-defined]
        await first.run(REQUEST, Meter(SECOND))  # type: ignore[attr-defined]

    warm_us = await median_async_us(warm)
    show("js: warm request", warm_us, "us")

    async def fresh() -> None:
        guest = runtime.new(memory_bytes=128 * MIB, image=image)
        guest.begin(262_144)
        await guest.run(REQUEST, Meter(SECOND))
        guest.close()

    show("js: fresh instance per request", await median_async_us(fresh), "us")
    first.close()  # type: ignore[attr-defined]
    chatty = await load(LOGS)

    async def logging() -> None:
        chatty.begin(1 << 20)  # type: ignore[attr-defined]
        await chatty.run(REQUEST, Meter(SECOND))  # type: ignore[attr-defined]
        chatty.read_ring()  # type: ignore[attr-defined]

    show("js: console.log of three arguments", (await median_async_us(logging, 50) - warm_us), "ns", "(1000 lines, warm request taken off)")
    chatty.close()  # type: ignore[attr-defined]
    await lag(load)


async def lag(load: Callable[[bytes], Awaitable[object]]) -> None:
    """Twenty guests that compute, started in the same turn of the loop."""
    guests = [await load(FIB) for _ in range(20)]
    late: list[float] = []

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append((time.perf_counter() - start - 0.001) * 1000)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    late.clear()
    meters = [Meter(10 * SECOND) for _ in guests]

    async def one(guest: object, meter: Meter) -> None:
        guest.begin(262_144)  # type: ignore[attr-defined]
        await guest.run(REQUEST, meter)  # type: ignore[attr-defined]

    start = time.perf_counter()
    await asyncio.gather(*(one(guest, meter) for guest, meter in zip(guests, meters, strict=True)))
    wall = time.perf_counter() - start
    watcher.cancel()
    late.sort()
    cpu = sum(meter.cpu_ns for meter in meters) / 1e9
    slices = sum(meter.slices for meter in meters)
    show("20 busy guests: loop lag p50", late[len(late) // 2], "ms")
    show("20 busy guests: loop lag p99", late[int(len(late) * 0.99)], "ms")
    show("20 busy guests: loop lag max", late[-1], "ms")
    note = f"({wall:.2f} s, {slices} slices of {cpu / slices * 1000:.2f} ms; divide the lag by this on a busy machine)"
    show("20 busy guests: wall time / guest CPU time", wall / cpu, "x", note)
    endless = await load(b"export default { fetch() { for (;;); } }")
    try:
        await one(endless, Meter(50_000_000))
    except Stop as stop:
        show("an endless loop with 50 ms of CPU", 50, "ms", f"ends as {stop.outcome}")
    for guest in [*guests, endless]:
        guest.close()  # type: ignore[attr-defined]


async def main() -> None:
    """Everything, in one engine."""
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        engine = Engine(cache_dir=Path(directory) / "warm-up")
        show("engine: start, pool of 1000 instances of up to 512 MiB", (time.perf_counter() - start) * 1000, "ms")
        JsRuntime(engine)  # fills the cache: what is measured below is what every later start of a process sees
        await core(engine)
        await javascript(engine)
        await engine.aclose()


if __name__ == "__main__":
    asyncio.run(main())
