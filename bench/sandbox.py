"""What the sandbox costs by CPU time: instances, calls and page faults, against wasmtime through its own Python wrapper."""

from __future__ import annotations

import asyncio
import resource
import time

import wasmtime

from bench.cpu import MIB, SECOND, load_js, median_async_us, median_us, sandbox, serve
from bench.peers import SOURCES
from bench.table import OURS, Table
from otelbridge.sandbox import CoreRuntime, Engine, JsRuntime, Meter, wasm

__all__ = ["measure"]

QUICK = True
RAW = "(wasmtime's wrapper)"

_GUEST = """(module (memory (export "memory") 2) (data (i32.const 16) "{\\"status\\":200}")
 (func (export "otelbridge_alloc") (param i32) (result i32) (i32.const 4096))
 (func (export "otelbridge_fetch") (param i32 i32) (result i64) (i64.const 0x000000100000000e)))"""


def measure(table: Table) -> None:
    """All of it in one engine, in turns with the wrapper."""
    asyncio.run(_measure(table))


async def _measure(table: Table) -> None:
    repeats = 100 if table.quick else 300
    async with sandbox() as (engine, runtime):
        start = time.perf_counter()
        JsRuntime(engine)
        table.note("js: start the engine, compiled code in the cache", OURS, (time.perf_counter() - start) * 1000, unit="ms")
        for _ in table.rounds():
            await _core(table, engine, repeats)
            await _javascript(table, runtime, repeats)


def _raw() -> tuple[float, float]:
    """A fresh instance with one call, and a warm call, through wasmtime's public classes: us."""
    engine = wasmtime.Engine()
    pre = wasmtime.Linker(engine).instantiate_pre(wasmtime.Module(engine, _GUEST))

    def fresh() -> None:
        with wasmtime.Store(engine) as store:
            store.set_limits(memory_size=64 * MIB)
            call(store, pre.instantiate(store))

    def call(store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        exports = instance.exports(store)
        memory, alloc, fetch = exports["memory"], exports["otelbridge_alloc"], exports["otelbridge_fetch"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(alloc, wasmtime.Func)
        assert isinstance(fetch, wasmtime.Func)
        memory.write(store, bytes(100), alloc(store, 100))
        packed = fetch(store, 4096, 100)
        memory.read(store, packed >> 32, (packed >> 32) + (packed & 0xFFFFFFFF))

    store = wasmtime.Store(engine)
    instance = pre.instantiate(store)
    return median_us(fresh), median_us(lambda: call(store, instance))


async def _core(table: Table, engine: Engine, repeats: int) -> None:
    """Core modules: a whole request (JSON in and out, limits, slices, log ring) against the bare calls of one."""
    module = await CoreRuntime(engine).compile(wasm.wat(_GUEST))
    guest = module.new(memory_bytes=64 * MIB, env={}, log_budget=262_144)

    async def fresh() -> None:
        one = module.new(memory_bytes=64 * MIB, env={}, log_budget=262_144)
        await one.fetch("GET", "http://w/", [], b"", Meter(SECOND))
        one.close()

    raw_fresh, raw_warm = _raw()
    warm = await median_async_us(lambda: guest.fetch("GET", "http://w/", [], b"", Meter(SECOND)), repeats)
    guest.close()
    for row, ours, raw in (
        ("core module: warm request", warm, raw_warm),
        ("core module: fresh instance per request", await median_async_us(fresh, repeats), raw_fresh),
    ):
        table.note(row, OURS, ours, unit="us")
        table.note(row, RAW, raw)


async def _javascript(table: Table, runtime: JsRuntime, repeats: int) -> None:
    """JavaScript guests: cold, warm, and with a fresh memory for each request."""
    table.note(
        "js: instance from an image and close", OURS, median_us(lambda: runtime.new(memory_bytes=128 * MIB).close(), repeats), unit="us"
    )

    async def cold() -> None:
        guest = await load_js(runtime, SOURCES["cold"].encode())
        await serve(guest)
        guest.close()

    table.note("js: cold, new source to first response", OURS, await median_async_us(cold, repeats // 2), unit="us")
    for kind in ("plain", "seed"):
        guest = await load_js(runtime, SOURCES[kind].encode())
        guest.reset_ring()
        start = time.thread_time()
        image = runtime.make_image(guest)
        table.note("js: make an image of a loaded worker", OURS, (time.thread_time() - start) * 1000, unit="ms")
        table.note(f"js: warm request, {kind}", OURS, await median_async_us(lambda g=guest: serve(g), repeats), unit="us")  # type: ignore[misc]
        guest.close()

        async def fresh() -> None:
            one = runtime.new(memory_bytes=128 * MIB, image=image)  # noqa: B023
            await serve(one)
            one.close()

        table.note(f"js: fresh instance per request, {kind}", OURS, await median_async_us(fresh, repeats), unit="us")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(100):
            await fresh()
        faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 100
        table.note(f"js: page faults of that, {kind}", OURS, faults, unit="faults", goal="<= 50")
        used = runtime.new(memory_bytes=128 * MIB, image=image)

        async def restored() -> None:
            await serve(used)  # noqa: B023
            used.restore()  # noqa: B023

        await serve(used)
        if used.restore():
            row = f"js: the same, an instance that gets its image back, {kind}"
            table.note(row, OURS, await median_async_us(restored, repeats), unit="us")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(100):
                await restored()
            table.note(
                f"{row}: page faults",
                OURS,
                (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 100,
                unit="faults",
                goal="<= 50",
            )
        else:
            table.remark("this kernel does not say which pages were written (PAGEMAP_SCAN, since 6.7): no instance is given its image back")
        used.close()
