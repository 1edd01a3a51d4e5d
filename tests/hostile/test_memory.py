"""Attacks on memory: bombs of every kind of value, and recursion in every way that code can call itself."""

from __future__ import annotations

from typing import Any

import pytest

from otelbridge import Limits, Request
from tests.hostile.arena import Arena, Attack

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A bomb should reach the memory limit before the CPU limit, also on a slow machine.
ROOM = Limits(cpu_ms=5_000, memory_mb=20)
MEMORY = "Error: Worker exceeded memory limit."
KILLED: dict[str, Any] = {"outcome": "exceededMemory", "error": MEMORY, "exceptions": (MEMORY,), "logs": ("before",), "limits": ROOM}
BEFORE = "console.log('before');"

BOMBS = [
    Attack(name="array that grows", source=BEFORE + "const a = []; for (;;) a.push({})", **KILLED),
    Attack(name="array of arrays that doubles", source=BEFORE + "let a = [0]; for (;;) a = [...a, ...a]", **KILLED),
    Attack(name="objects with many members", source=BEFORE + "const o = {}; for (let i = 0; ; i++) o['k' + i] = i", **KILLED),
    Attack(name="strings kept", source=BEFORE + "const a = []; for (let i = 0; ; i++) a.push('x'.repeat(1000) + i)", **KILLED),
    Attack(name="one string of 500 MB", source=BEFORE + "'x'.repeat(5e8)", **KILLED),
    Attack(name="string that doubles", source=BEFORE + "let s = 'x'.repeat(1000); for (;;) { s += s; s.charCodeAt(9) }", **KILLED),
    Attack(name="strings of a megabyte", source=BEFORE + "const a = []; for (let i = 0; ; i++) a.push(i + 'x'.repeat(1e6))", **KILLED),
    Attack(name="padding", source=BEFORE + "'x'.padStart(2 ** 30 - 2, 'yz')", **KILLED),
    Attack(name="joined array", source=BEFORE + "Array(1e5).fill('x'.repeat(1e4)).join('')", **KILLED),
    Attack(name="JSON of a shared string", source=BEFORE + "JSON.stringify(Array(1e4).fill('x'.repeat(1e4)))", **KILLED),
    Attack(name="replaced text", source=BEFORE + "'a'.repeat(1e4).replaceAll('a', 'b'.repeat(1e5))", **KILLED),
    Attack(name="buffers of a megabyte", source=BEFORE + "const a = []; for (;;) a.push(new ArrayBuffer(1 << 20))", **KILLED),
    Attack(name="typed arrays", source=BEFORE + "const a = []; for (;;) a.push(new Float64Array(1000).fill(1))", **KILLED),
    Attack(name="Map", source=BEFORE + "const m = new Map(); for (let i = 0; ; i++) m.set(i, m)", **KILLED),
    Attack(name="Set of symbols", source=BEFORE + "const s = new Set(); for (;;) s.add(Symbol())", **KILLED),
    Attack(name="closures", source=BEFORE + "let f = () => 0; for (;;) { const g = f; f = () => g; }", **KILLED),
    Attack(
        name="promises that nobody settles", source=BEFORE + "const a = []; for (;;) a.push(new Promise(() => {}).then(() => {}))", **KILLED
    ),
    Attack(name="microtasks", source=BEFORE + "for (;;) queueMicrotask(() => {})", **KILLED),
    Attack(
        name="generators",
        source=BEFORE + "const a = []; for (;;) { const g = (function* () { yield 1 })(); g.next(); a.push(g); }",
        **KILLED,
    ),
    Attack(
        name="BigInt that squares itself",
        source=BEFORE + "let x = 2n ** 64n; for (;;) x *= x",
        outcome="exception",
        error="RangeError: ",
        logs=("before",),
        limits=ROOM,
    ),
    Attack(
        name="catches the error of every allocation",
        source=BEFORE + "const a = []; for (;;) { try { a.push(new Array(10000).fill(a)) } catch {} }",
        **KILLED,
    ),
    Attack(
        name="at the limit, in a finally",
        source=BEFORE + "const a = []; try { for (;;) a.push({}) } finally { console.log('after') }",
        **KILLED,
    ),
    Attack(
        name="kept by a stream",
        source=BEFORE + "new ReadableStream({ start(c) { for (;;) c.enqueue(new Uint8Array(1 << 16)) } })",
        **KILLED,
    ),
    Attack(name="a Blob of itself", source=BEFORE + "let b = new Blob(['x'.repeat(1000)]); for (;;) b = new Blob([b, b])", **KILLED),
    Attack(name="small Blobs", source=BEFORE + "const a = []; for (;;) a.push(new Blob(['x'.repeat(1000)]))", **KILLED),
    Attack(name="headers", source=BEFORE + "const h = new Headers(); for (;;) h.append('a', 'x'.repeat(1000))", **KILLED),
    Attack(name="names of bound functions", source=BEFORE + "let f = () => 0; for (;;) { f = f.bind(null); f.name.at(-1); }", **KILLED),
    Attack(
        name="abort signals",
        source=BEFORE + "const a = []; for (;;) a.push(AbortSignal.any([...a.slice(-1), new AbortController().signal]))",
        **KILLED,
    ),
    Attack(
        name="at module scope",
        source="console.log('before'); const a = []; for (;;) a.push({}); export default {}",
        **KILLED | {"error": "Failed to start Worker:\nUncaught " + MEMORY},
    ),
]
# What could never fit is refused where it is asked for; the worker lives on.
REFUSED = [
    Attack(
        name="one buffer of a gigabyte",
        source="new ArrayBuffer(1 << 30)",
        outcome="exception",
        error="RangeError: Array buffer allocation failed",
    ),
    Attack(
        name="one typed array of a gigabyte",
        source="new Float64Array(1 << 27)",
        outcome="exception",
        error="RangeError: Array buffer allocation failed",
    ),
    Attack(name="a string beyond all strings", source="'x'.repeat(2 ** 32)", outcome="exception", error="RangeError: "),
    Attack(name="array of a size below zero", source="new Array(-1)", outcome="exception", error="RangeError: "),
    Attack(name="typed array beyond all memory", source="new Float64Array(2 ** 53)", outcome="exception", error="RangeError: "),
    Attack(
        name="buffer that may grow beyond all memory",
        source="new ArrayBuffer(1, { maxByteLength: 2 ** 31 }).resize(2 ** 31)",
        outcome="exception",
        error=": ",
    ),
    Attack(
        name="random bytes by the gigabyte",
        source="crypto.getRandomValues(new Uint8Array(1 << 20))",
        outcome="exception",
        error="QuotaExceededError: ",
    ),
]
STACK: dict[str, Any] = {
    "outcome": "exception",
    "error": "RangeError: Maximum call stack size exceeded",
    "limits": Limits(cpu_ms=5_000, memory_mb=64),
}
RECURSIONS = [
    Attack(name="a function", source="const f = () => f() + 1; f()", **STACK),
    Attack(name="two functions", source="const f = () => g() + 1, g = () => f() + 1; f()", **STACK),
    Attack(name="a getter", source="const o = { get x() { return this.x + 1 } }; o.x", **STACK),
    Attack(
        name="a Proxy of itself",
        source="const p = new Proxy({}, {}); Object.setPrototypeOf(p, p); p.x",
        outcome="exception",
        error="Error: ",
    ),
    Attack(name="toString of a nested array", source="let a = []; for (let i = 0; i < 1e5; i++) a = [a]; String(a)", **STACK),
    Attack(name="JSON of a nested array", source="let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a)", **STACK),
    Attack(
        name="JSON text of nested arrays", source="JSON.parse('['.repeat(1e5))", outcome="exception", error=": ", limits=STACK["limits"]
    ),
    Attack(name="a replacer", source="const f = () => JSON.stringify([1], f); f()", **STACK),
    Attack(name="a comparator", source="const f = () => [1, 2].sort(f); f()", **STACK),
    Attack(name="a regular expression's replace", source="const f = () => 'a'.replace(/a/, f); f()", **STACK),
    Attack(
        name="nested groups of a regular expression",
        source="new RegExp('('.repeat(1e5) + ')'.repeat(1e5))",
        outcome="exception",
        error=": ",
        limits=STACK["limits"],
    ),
    Attack(name="Reflect.construct", source="function F() { Reflect.construct(F, []) } new F()", **STACK),
    Attack(
        name="bound functions",
        source="let f = () => 0; const name = { value: '' }; for (let i = 0; i < 1e5; i++) Object.defineProperty((f = f.bind(null)), 'name', name); f()",
        **STACK,
    ),
    Attack(name="a Proxy chain", source="let p = () => 0; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p()", **STACK),
    Attack(
        name="prototype chain of Proxies",
        source="let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy({}, { get: () => p }) ; String(p)",
        outcome="exception",
        error=": ",
        limits=STACK["limits"],
    ),
    Attack(
        name="structuredClone of a nested object",
        source="let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; structuredClone(o)",
        outcome="exception",
        error=": ",
        limits=STACK["limits"],
    ),
    Attack(
        name="dispatchEvent within its listener",
        source="const t = new EventTarget(); t.addEventListener('x', () => t.dispatchEvent(new Event('x'))); t.dispatchEvent(new Event('x'))",
        **STACK,
    ),
    Attack(name="a template's toString", source="const o = { toString() { return `${o}` } }; String(o)", **STACK),
]
# The engine reads code by recursion too.
SOURCES = [
    Attack(
        name="nested parentheses",
        source="export default " + "(" * 20_000 + "1" + ")" * 20_000,
        outcome="exception",
        error="Failed to start Worker",
        limits=STACK["limits"],
    ),
    Attack(
        name="nested functions",
        source="export default {}; " + "() => (" * 10_000 + "1" + ")" * 10_000,
        outcome="exception",
        error="Failed to start Worker",
        limits=STACK["limits"],
    ),
    Attack(
        name="nested arrays",
        source="export default {}; " + "[" * 20_000 + "]" * 20_000,
        outcome="exception",
        error="Failed to start Worker",
        limits=STACK["limits"],
    ),
]


@pytest.mark.parametrize("attack", BOMBS, ids=str)
async def test_a_bomb_ends_its_own_invocation(arena: Arena, attack: Attack) -> None:
    """At the memory limit the invocation ends, the client is told, and what was logged before is kept."""
    await arena.run(attack)


@pytest.mark.parametrize("attack", REFUSED, ids=str)
async def test_what_could_never_fit_is_an_error(arena: Arena, attack: Attack) -> None:
    """A single allocation beyond the limit is an error where it is asked for."""
    result = await arena.run(attack)
    assert len(result.item.exceptions) == 1


@pytest.mark.parametrize("attack", [*RECURSIONS, *SOURCES], ids=str)
async def test_deep_recursion_is_an_error(arena: Arena, attack: Attack) -> None:
    """Recursion, also the engine's own, ends in an error of the worker, which is its record's exception."""
    result = await arena.run(attack)
    assert len(result.item.exceptions) == 1


async def test_an_error_of_memory_can_be_caught(arena: Arena) -> None:
    """A worker that catches the refusal of a giant allocation goes on, and so do its next requests."""
    worker, witness = arena.worker("try { new ArrayBuffer(1 << 30) } catch (e) { console.log(e.name) } return new Response('on')")
    for _ in range(3):
        assert (await arena.call(worker, witness)).body == b"on"


async def test_a_recursion_can_be_caught(arena: Arena) -> None:
    """A worker that catches the end of its recursion goes on."""
    source = "let n = 0; const f = () => { n++; f(); }; try { f() } catch (e) { console.log(e.name, n > 500) } return new Response('on')"
    worker, witness = arena.worker(source, limits=Limits(cpu_ms=5_000))
    for _ in range(3):
        assert (await arena.call(worker, witness)).body == b"on"
        assert [log.message for log in witness.items[-1].logs] == [["RangeError", True]]


async def test_an_instance_that_was_killed_is_not_used_again(arena: Arena) -> None:
    """What a stopped instance held in memory is gone: the next request gets a new one."""
    source = "export default { fetch(r) { globalThis.n ??= 0; n++; console.log(n); const a = []; while (r.url.endsWith('bomb')) a.push({}); return new Response(`${n}`) } }"
    worker, witness = arena.worker(source, limits=ROOM)
    for path, body in (("", b"1"), ("", b"2"), ("bomb", b""), ("", b"1")):
        assert (await arena.call(worker, witness, Request("GET", "http://attacker/" + path))).body == body
