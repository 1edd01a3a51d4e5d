"""The JavaScript engine in the sandbox: messages, images, limits, randomness; and an engine that lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from otelbridge.errors import SandboxError
from otelbridge.loader.messages import frame, frames
from otelbridge.model import ring
from otelbridge.sandbox import Engine, EngineFull, JsInstance, JsRuntime, Meter, Stop, wasm

MIB = 1 << 20
SECOND = 1_000_000_000
REQUEST = frame(["invoke", "fetch", None, None, ["GET", "http://w/", [], None, {}]])

Load = Callable[..., Awaitable[JsInstance]]


@pytest.fixture
async def load(javascript: JsRuntime) -> AsyncIterator[Load]:
    """Load a worker's source; instances are closed at the end."""
    made = []

    async def load(source: str, *, memory_bytes: int = 64 * MIB) -> JsInstance:
        instance = javascript.new(memory_bytes=memory_bytes)
        made.append(instance)
        instance.begin(262_144)
        data = frame(["module", "index.js", "js"], source.encode()) + frame(["load", "index.js", {}])
        answers = list(frames(await instance.run(data, Meter(5 * SECOND))))
        assert answers[0][0][0] == "loaded", answers
        return instance

    yield load
    for instance in made:
        instance.close()


async def invoke(instance: JsInstance, *, cpu_ns: int = 5 * SECOND, meter: Meter | None = None, **options: Any) -> bytes:
    """One request; the body of its response."""
    instance.begin(262_144)
    for message, blob in frames(await instance.run(REQUEST, meter or Meter(cpu_ns), **options)):
        if message[0] == "response":
            return blob
    return b""


def logged(instance: JsInstance) -> list[bytes]:
    """The payloads of what was logged since the last look."""
    return [entry.payload for entry in ring.walk(instance.read_ring())]


async def test_garbage_is_collected(load: Load) -> None:
    """What requests leave behind is collected soon: a warm worker stays small, and keeps what it refers to."""
    source = """const kept = []; export default { fetch() {
      const a = { kept: kept.length }, b = { a }; a.b = b; kept.push(a); if (kept.length > 100) kept.shift();
      return new Response(String(kept.every((one) => one.b.a === one)));
    } }"""
    worker = await load(source)
    for _ in range(200):
        assert await invoke(worker) == b"true"
    after = worker.heap_bytes
    for _ in range(2000):
        assert await invoke(worker) == b"true"
    assert worker.heap_bytes < after + (512 << 10)


async def test_worker(load: Load) -> None:
    """A worker answers, and what it logs lies in the ring."""
    worker = await load('export default { fetch(r) { console.log("got", { url: r.url }); return new Response("hi") } }')
    for _ in range(3):
        assert await invoke(worker) == b"hi"
        assert logged(worker) == [b'["got",{"url":"http://w/"}]']
    assert not worker.dead


async def test_image(javascript: JsRuntime, load: Load) -> None:
    """An image carries a loaded worker's state; instances of it don't see each other, nor each other's random numbers."""
    answer = "new Response(`${++n} ${loaded} ${Math.random()} ${crypto.randomUUID()}`)"
    source = f"let n = 0; const loaded = 41; export default {{ fetch() {{ return {answer} }} }}"
    first = await load(source)
    first.reset_ring()
    image = javascript.make_image(first)
    bodies = []
    for _ in range(3):
        instance = javascript.new(memory_bytes=64 * MIB, image=image)
        bodies.append((await invoke(instance)).split())
        instance.close()
    assert {tuple(body[:2]) for body in bodies} == {(b"1", b"41")}
    assert len({body[2] for body in bodies}) == len({body[3] for body in bodies}) == 3


async def test_endless_loop(load: Load) -> None:
    """An endless loop is stopped at the CPU limit; its log lines can be read between slices and after the end."""
    worker = await load('export default { fetch() { console.log("before"); for (;;); } }')
    seen: list[bytes] = []
    meter = Meter(30_000_000)
    with pytest.raises(Stop) as stop:
        await invoke(worker, meter=meter, on_yield=lambda: seen.extend(logged(worker)))
    assert stop.value.outcome == "exceededCpu"
    assert worker.dead
    assert [*seen, *logged(worker)] == [b'["before"]']


async def test_stop_between_slices(load: Load) -> None:
    """What on_yield raises ends the run."""
    worker = await load("export default { fetch() { for (;;); } }")

    def late() -> None:
        raise Stop("exceededWallTime", "Error", "too late")

    with pytest.raises(Stop, match="too late"):
        await invoke(worker, on_yield=late)
    assert worker.dead


async def test_memory_limit(load: Load) -> None:
    """A worker that fills its memory is stopped as exceededMemory, with the lines before."""
    worker = await load(
        'export default { fetch() { console.log("x"); const a = []; for (;;) a.push(new Array(1000).fill(1.5)); } }', memory_bytes=24 * MIB
    )
    with pytest.raises(Stop) as stop:
        await invoke(worker, cpu_ns=60 * SECOND)
    assert (stop.value.outcome, stop.value.message) == ("exceededMemory", "Worker exceeded memory limit.")
    assert logged(worker) == [b'["x"]']
    assert worker.counters().out_of_memory


async def test_large_messages(load: Load) -> None:
    """Input beyond the engine's buffer is taken in full."""
    worker = await load("export default { async fetch(r) { return new Response(await r.text()) } }")
    worker.begin(262_144)
    body = b"x" * 3_000_000
    out = await worker.run(frame(["invoke", "fetch", None, None, ["POST", "http://w/", [], 1, {}]], body), Meter(60 * SECOND))
    assert [blob for message, blob in frames(out) if message[0] == "response"] == [body]


async def test_close_twice(javascript: JsRuntime) -> None:
    """close() may be called twice, and a closed instance refuses to run without harm."""
    instance = javascript.new(memory_bytes=64 * MIB)
    instance.close()
    instance.close()
    assert instance.read_ring() == b""
    with pytest.raises((SandboxError, Stop)):
        await instance.run(b"", Meter(SECOND))


async def test_pool(javascript: JsRuntime, engine: Engine) -> None:
    """One instance more than the pool holds is EngineFull, and room comes back when one is closed."""
    instances = [javascript.new(memory_bytes=64 * MIB) for _ in range(engine.max_instances)]
    with pytest.raises(EngineFull, match="All 100 sandbox instances are in use"):
        javascript.new(memory_bytes=64 * MIB)
    instances.pop().close()
    instances.append(javascript.new(memory_bytes=64 * MIB))
    for instance in instances:
        instance.close()


# ------------------------------------------------------------------------------------- an engine that can't be trusted

_WORDS = {
    "in_ptr": 8,
    "in_cap": 12,
    "out_ptr": 16,
    "out_len": 20,
    "ring_ptr": 24,
    "ring_cap": 28,
    "ring_used": 32,
    "flags": 44,
    "heap": 116,
}


def liar(run: str, *, reserve: str = "(i32.const 8192)") -> bytes:
    """A module with the engine's ABI whose ob_run does what it likes. Its state is at 4096, its input at 8192."""
    return wasm.wat(f"""(module (memory (export "memory") 2) (global (export "__stack_pointer") (mut i32) (i32.const 1024))
      (func (export "_initialize")) (func (export "ob_state") (result i32) (i32.const 4096))
      (func (export "ob_init") (result i32)
        (i32.store (i32.const 4096) (i32.const 1)) {put("in_ptr", 8192)} {put("in_cap", 64)} (i32.const 0))
      (func (export "ob_reserve") (param i32) (result i32) {reserve})
      (func (export "ob_run") (param i32) (result i32) {run}))""")


def put(word: str, value: int) -> str:
    """Write a word of the state."""
    return f"(i32.store (i32.const {4096 + _WORDS[word]}) (i32.const {value}))"


LIES = {
    "endless": ("(loop $l (br $l)) (i32.const 0)", "exceededCpu"),
    "trap": ("(unreachable)", "exception"),
    "trap at the memory limit": (put("flags", 2) + "(unreachable)", "exceededMemory"),
    "recursion": ("(call 4 (i32.const 0))", "exception"),
    "output outside": (put("out_ptr", 131_000) + put("out_len", 100) + "(i32.const 0)", "exception"),
    "output without end": (put("out_len", -1) + "(i32.const 0)", "exception"),
    "negative output": (put("out_ptr", -8) + put("out_len", 16) + "(i32.const 0)", "exception"),
    "status -1": ("(i32.const -1)", "internalError"),
}


@pytest.fixture
def boot(engine: Engine, tmp_path: Path) -> Callable[[bytes], JsRuntime]:
    """Start an engine from bytes."""

    def boot(code: bytes) -> JsRuntime:
        (tmp_path / "engine.wasm").write_bytes(code)
        return JsRuntime(engine, tmp_path / "engine.wasm")

    return boot


@pytest.mark.parametrize("lie", LIES)
async def test_hostile_state(boot: Callable[[bytes], JsRuntime], lie: str) -> None:
    """Whatever the state struct says, a run ends in a Stop with a fitting outcome."""
    run, outcome = LIES[lie]
    instance = boot(liar(run)).new(memory_bytes=MIB)
    instance.begin(1000)
    with pytest.raises(Stop) as stop:
        await instance.run(b"12345678", Meter(10_000_000 if lie == "endless" else 60 * SECOND))
    assert stop.value.outcome == outcome
    assert instance.dead
    instance.close()


@pytest.mark.parametrize("pointer", [-1, 131_072, 0x7FFFFFFF])
async def test_hostile_ring(boot: Callable[[bytes], JsRuntime], pointer: int) -> None:
    """A ring that lies outside the memory reads as empty; counters never raise."""
    instance = boot(liar(put("ring_ptr", pointer) + put("ring_used", -1) + put("heap", -1) + "(i32.const 0)")).new(memory_bytes=MIB)
    instance.begin(1000)
    await instance.run(b"", Meter(SECOND))
    assert instance.read_ring() == b""
    assert instance.counters().dropped_logs == 0
    instance.close()


@pytest.mark.parametrize(
    ("pointer", "capacity"), [(-4, 64), (131_070, 64), (0, -1)], ids=["wraps around", "past the end", "endless capacity"]
)
async def test_hostile_input_buffer(boot: Callable[[bytes], JsRuntime], pointer: int, capacity: int) -> None:
    """Input is never written outside the memory, whatever the buffer claims to be."""
    instance = boot(liar(put("in_ptr", pointer) + put("in_cap", capacity) + "(i32.const 0)")).new(memory_bytes=MIB)
    instance.begin(1000)
    await instance.run(b"", Meter(SECOND))
    data = b"x" * (200_000 if capacity < 0 else 32)
    with pytest.raises(Stop):
        await instance.run(data, Meter(SECOND))
    instance.close()


@pytest.mark.parametrize("reserve", ["(i32.const 8192)", "(loop $l (br $l)) (i32.const 0)", "(unreachable)"])
async def test_hostile_reserve(boot: Callable[[bytes], JsRuntime], reserve: str) -> None:
    """A reserve that gives no room, never returns or traps ends the run."""
    instance = boot(liar("(i32.const 0)", reserve=reserve)).new(memory_bytes=MIB)
    instance.begin(1000)
    with pytest.raises(Stop):
        await instance.run(b"x" * 1000, Meter(10_000_000))
    instance.close()


async def test_cancel_in_a_slice(boot: Callable[[bytes], JsRuntime]) -> None:
    """A run that is cancelled leaves a dead instance whose ring can be read until it is closed."""
    instance = boot(liar(put("ring_ptr", 0) + put("ring_used", 32) + "(loop $l (br $l)) (i32.const 0)")).new(memory_bytes=MIB)
    instance.begin(1000)
    task = asyncio.create_task(instance.run(b"", Meter()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert instance.dead
    assert len(instance.read_ring()) == 32
    instance.close()


@pytest.mark.parametrize("code", [b"", b"\0asm\1\0\0\0", b"\0asm\1\0\0\0\5\3\1\0\1", liar("(unreachable)")[:-20]])
def test_damaged_engine(boot: Callable[[bytes], JsRuntime], code: bytes) -> None:
    """An engine file that is empty, cut or something else is a SandboxError."""
    with pytest.raises(SandboxError):
        boot(code)


def test_missing_engine(engine: Engine, tmp_path: Path) -> None:
    """A missing engine names the file and what builds it."""
    with pytest.raises(SandboxError, match="missing"):
        JsRuntime(engine, tmp_path / "none.wasm")
