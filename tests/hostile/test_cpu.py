"""Attacks on the CPU: code that never ends, wherever a worker's code can run."""

from __future__ import annotations

from typing import Any

import pytest

from otelbridge import Limits, Request
from tests.hostile.arena import Arena, Attack

pytestmark = pytest.mark.asyncio(loop_scope="module")

CPU = "Error: Worker exceeded CPU time limit."
CUT: dict[str, Any] = {"outcome": "exceededCpu", "error": CPU, "exceptions": (CPU,), "logs": ("before",)}
BEFORE = "console.log('before');"

LOOPS = [
    Attack(name="for (;;)", source=BEFORE + "for (;;);", **CUT),
    Attack(
        name="after the answer, in waitUntil()",
        source=BEFORE + "ctx.waitUntil((async () => { await null; for (;;); })()); return new Response('x')",
        **CUT,
    ),
    Attack(name="getter that is logged", source=BEFORE + "console.log({ get x() { for (;;); } })", **CUT),
    Attack(name="toJSON that is logged", source=BEFORE + "console.log({ toJSON() { for (;;); } })", **CUT),
    Attack(name="toString that is logged", source=BEFORE + "class A { toString() { for (;;); } } console.log(new A())", **CUT),
    Attack(name="toJSON of the response", source=BEFORE + "return Response.json({ toJSON() { for (;;); } })", **CUT),
    Attack(name="getter of an error that is thrown", source=BEFORE + "throw { name: 'E', get message() { for (;;); } }", **CUT),
    Attack(name="Error.prepareStackTrace", source=BEFORE + "Error.prepareStackTrace = () => { for (;;); }; null.x", **CUT),
    Attack(name="Proxy traps", source=BEFORE + "return new Response(new Proxy({}, { get() { for (;;); } }))", **CUT),
    Attack(name="ownKeys trap of what is logged", source=BEFORE + "console.log(new Proxy({}, { ownKeys() { for (;;); } }))", **CUT),
    Attack(name="regular expression", source=BEFORE + "return new Response(/^(a+)+$/.test('a'.repeat(40) + 'b'))", **CUT),
    Attack(
        name="regular expression with a lookbehind",
        source=BEFORE + "return new Response('a'.repeat(60).replace(/(?<=(a|aa)+)c|(a*)*b/, ''))",
        **CUT,
    ),
    Attack(name="chain of promises", source=BEFORE + "const next = () => Promise.resolve().then(next); await next()", **CUT),
    Attack(
        name="chain of microtasks", source=BEFORE + "const next = () => queueMicrotask(next); next(); await new Promise(() => {})", **CUT
    ),
    Attack(name="thenable that resolves with itself", source=BEFORE + "const t = { then(f) { f(t) } }; await t", **CUT),
    Attack(name="async generator", source=BEFORE + "for await (const _ of (async function* () { for (;;) yield 1 })());", **CUT),
    Attack(name="sort with a comparator without an order", source=BEFORE + "[...Array(1000).keys()].sort(() => { for (;;); })", **CUT),
    Attack(
        name="iterator without an end",
        source=BEFORE + "const i = { [Symbol.iterator]() { return { next() { return { done: false } } } } }; for (const _ of i);",
        **CUT,
    ),
    Attack(
        name="iterator without an end, as headers",
        source=BEFORE + "new Headers({ [Symbol.iterator]() { return { next() { return { value: ['a', 'b'] } } } } })",
        **CUT,
    ),
    Attack(name="array of four thousand million holes", source=BEFORE + "const a = []; a.length = 4294967295; a.indexOf(1)", **CUT),
    Attack(name="valueOf of a delay", source=BEFORE + "setTimeout(() => {}, { valueOf() { for (;;); } })", **CUT),
    Attack(name="BigInt power", source=BEFORE + "let x = 3n; for (;;) x = (x * x) % (2n ** 4096n)", **CUT),
    Attack(name="JSON.parse reviver", source=BEFORE + "JSON.parse('[1]', () => { for (;;); })", **CUT),
    Attack(name="class field", source=BEFORE + "class A { x = (() => { for (;;); })() } new A()", **CUT),
    Attack(name="tagged template, label, finally", source=BEFORE + "for (;;) { try { continue } finally { continue } }", **CUT),
    Attack(name="catches every error", source=BEFORE + "for (;;) { try { for (;;); } catch {} }", **CUT),
    Attack(
        name="in the listener of unhandled rejections",
        source=BEFORE + "addEventListener('unhandledrejection', () => { for (;;); }); Promise.reject(1); return new Response('x')",
        **CUT,
    ),
    Attack(
        name="in a timer, after the answer",
        source=BEFORE + "ctx.waitUntil(new Promise(() => setTimeout(() => { for (;;); }, 1))); return new Response(new ReadableStream())",
        **CUT,
    ),
    Attack(
        name="a stream's pull",
        source=BEFORE + "return new Response(new ReadableStream({ pull() { for (;;); } }))",
        **CUT,
    ),
    Attack(
        name="at module scope",
        source="console.log('before'); for (;;); export default {}",
        **CUT | {"error": "Failed to start Worker:\nUncaught " + CPU},
    ),
    Attack(
        name="in a module that is imported",
        source="import './a.js'; export default {}",
        options={"modules": {"a.js": "console.log('before'); for (;;);"}},
        **CUT | {"error": CPU},
    ),
    Attack(
        name="in required CommonJS",
        source="import a from './a.cjs'; export default {}",
        options={"modules": {"a.cjs": {"cjs": "console.log('before'); for (;;);"}}},
        **CUT | {"error": CPU},
    ),
    Attack(
        name="shorter than a slice, for ever, with a timer between",
        source=BEFORE + "for (;;) { for (let i = 0; i < 1e4; i++); await new Promise((r) => setTimeout(r, 0)); }",
        **CUT,
    ),
    Attack(
        name="waits for ever instead, and is charged by the clock on the wall",
        source=BEFORE + "for (;;) await new Promise((r) => setTimeout(r, 20))",
        outcome="exceededWallTime",
        error="Error: Worker exceeded wall time limit.",
        exceptions=("Worker exceeded wall time limit.",),
        logs=("before",),
        limits=Limits(wall_ms=100),
    ),
]


@pytest.mark.parametrize("attack", LOOPS, ids=str)
async def test_endless_code_is_stopped(arena: Arena, attack: Attack) -> None:
    """Code without an end is stopped at its limit, the client is told, and what was logged before is kept."""
    await arena.run(attack)


async def test_cpu_time_is_not_shared(arena: Arena) -> None:
    """A worker that was stopped for its CPU time has all of it again for its next request."""
    worker, witness = arena.worker("if (request.url.endsWith('loop')) for (;;); return new Response('quick')")
    for path in ("loop", "quick", "loop", "quick"):
        result = await arena.call(worker, witness, Request("GET", "http://attacker/" + path))
        assert result.item.outcome == ("exceededCpu" if path == "loop" else "ok")
    assert witness.items[-1].cpu_ns < 50_000_000
