"""What twenty busy guests, started in the same turn, do to the event loop."""

from __future__ import annotations

import asyncio
import time

from bench.cpu import REQUEST, SECOND, load_js, sandbox
from bench.table import OURS, Table
from otelbridge.sandbox import JsInstance, Meter

__all__ = ["measure"]

_FIB = b"""function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }
export default { fetch() { return new Response(String(fib(%d))) } }"""


def measure(table: Table) -> None:
    """Lag of a 1 ms timer, and wall time over guest CPU time: divide the lag by that on a busy machine."""
    asyncio.run(_measure(table))


async def _one(guest: JsInstance, meter: Meter) -> None:
    guest.begin(262_144)
    await guest.run(REQUEST, meter)


async def _measure(table: Table) -> None:
    async with sandbox() as (_, runtime):
        guests = [await load_js(runtime, _FIB % (24 if table.quick else 27)) for _ in range(20)]
        for _ in table.rounds():
            late: list[float] = []

            async def watch() -> None:
                while True:
                    start = time.perf_counter()
                    await asyncio.sleep(0.001)
                    late.append((time.perf_counter() - start - 0.001) * 1000)  # noqa: B023

            watcher = asyncio.create_task(watch())
            await asyncio.sleep(0.05)
            late.clear()
            meters = [Meter(100 * SECOND) for _ in guests]
            start = time.perf_counter()
            await asyncio.gather(*(_one(guest, meter) for guest, meter in zip(guests, meters, strict=True)))
            wall = time.perf_counter() - start
            watcher.cancel()
            late.sort()
            cpu = sum(meter.cpu_ns for meter in meters) / 1e9
            for row, value in (("p50", late[len(late) // 2]), ("p99", late[int(len(late) * 0.99)]), ("max", late[-1])):
                table.note(f"loop lag with 20 busy guests: {row}", OURS, value, unit="ms", goal="< 10 ms")
            table.note("wall time / guest CPU time of these", OURS, wall / cpu, unit="x")
        for guest in guests:
            guest.close()
