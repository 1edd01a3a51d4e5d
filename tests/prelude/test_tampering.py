"""A worker that breaks the builtins breaks its own code, not the platform's nor the host protocol."""

from __future__ import annotations

import pytest

from tests.prelude.conftest import Run

pytestmark = pytest.mark.asyncio(loop_scope="session")

BREAK = "() => { throw new Error('tampered') }"
ATTACKS = {
    "array methods": f"for (const k of ['push', 'map', 'join', 'slice', 'splice', 'sort', 'indexOf', 'forEach', 'shift', 'concat']) Array.prototype[k] = {BREAK};",
    "array iteration": f"Object.getPrototypeOf([][Symbol.iterator]()).next = {BREAK}; Array.prototype[Symbol.iterator] = {BREAK};",
    "array setters": f"for (let i = 0; i < 5; i++) Object.defineProperty(Array.prototype, i, {{ set: {BREAK}, configurable: true }});",
    "promises": f"Promise.prototype.then = Promise.prototype.finally = {BREAK}; Promise.resolve = Promise.reject = Promise.all = {BREAK};",
    "promise species": f"Object.defineProperty(Promise, Symbol.species, {{ get: {BREAK} }}); Promise.prototype.constructor = {BREAK};",
    "json": f"JSON.parse = JSON.stringify = {BREAK}; Object.prototype.toJSON = Array.prototype.toJSON = String.prototype.toJSON = () => 'forged';",
    "text": f"for (const k of ['toLowerCase', 'slice', 'indexOf', 'split', 'replace', 'charCodeAt', 'startsWith', 'isWellFormed']) String.prototype[k] = {BREAK};",
    "patterns": f"RegExp.prototype.exec = RegExp.prototype.test = RegExp.prototype[Symbol.replace] = {BREAK};",
    "maps": f"for (const C of [Map, Set, WeakMap, WeakSet]) for (const k of ['get', 'set', 'has', 'add', 'delete', 'forEach']) if (C.prototype[k]) C.prototype[k] = {BREAK};",
    "functions": f"Function.prototype.call = Function.prototype.apply = Function.prototype.bind = {BREAK}; Reflect.apply = {BREAK};",
    "objects": f"for (const k of ['defineProperty', 'keys', 'create', 'setPrototypeOf', 'getPrototypeOf', 'assign', 'freeze']) Object[k] = {BREAK};",
    "globals": f"""for (const k of ['Uint8Array', 'Promise', 'Map', 'Error', 'TypeError', 'DOMException', 'ReadableStream', 'Headers', 'AbortController', 'Event', 'URL',
        'queueMicrotask', 'structuredClone', 'ArrayBuffer', 'Symbol', 'setTimeout0', 'parseInt', 'encodeURIComponent']) globalThis[k] = {BREAK};""",
    "members of every object": """for (const k of ['kind', 'status', 'used', 'data', 'type', 'stream', 'text', 'view', 'ms', 'done', 'value', 'redirect', 'signal', 'method',
        'headers', 'body', 'props', 'id', 'binding', 'transfer', 'once', 'capture', 'get', 'set']) Object.defineProperty(Object.prototype, k, { __proto__: null, value: 'forged', writable: true, configurable: true });""",
    "platform classes": f"""for (const C of [Headers, Request, Response, URLSearchParams, ReadableStream, AbortSignal, EventTarget])
        for (const k of Object.getOwnPropertyNames(C.prototype)) if (k !== 'constructor') try {{ Object.defineProperty(C.prototype, k, {{ get: {BREAK}, configurable: true }}) }} catch {{}}""",
    "typed arrays": f"""const T = Object.getPrototypeOf(Uint8Array.prototype);
        for (const k of ['set', 'slice', 'subarray']) T[k] = {BREAK}; for (const k of ['buffer', 'byteLength', 'byteOffset', 'length']) Object.defineProperty(T, k, {{ get: {BREAK} }});""",
}
WORKER = """
const { setTimeout, Response, console, fetch } = globalThis;
const NativePromise = Promise;
ATTACK
export default { async fetch(request, env, ctx) {
    console.log('first', 1);
    await new NativePromise((done) => { setTimeout(done, 1) });
    ctx.waitUntil((async () => { await new NativePromise((done) => { setTimeout(done, 2) }); console.log('late'); })());
    try { await fetch('http://127.0.0.1:1/'); } catch (e) { console.log('refused'); }
    setTimeout(() => { throw 'thrown' }, 0);
    await new NativePromise((done) => { setTimeout(done, 5) });
    return new Response('answer');
} };
"""


@pytest.mark.parametrize("name", ATTACKS)
async def test_tampering(name: str, run: Run) -> None:
    """Timers, a subrequest, logs, an exception, waitUntil() and the response all work, and nothing is forged."""
    body, items = await run(WORKER.replace("ATTACK", ATTACKS[name]))
    assert body == "answer"
    logs = [log["message"] for log in items[0]["logs"]]
    assert logs[0] == ["first", 1]
    assert sorted(logs[1:]) == [["late"], ["refused"]]
    assert [e["message"] for e in items[0]["exceptions"]] == ["thrown"]
    assert items[0]["outcome"] == "ok"


async def test_a_streamed_answer_survives_tampering(run: Run) -> None:
    """The response's stream is read by the platform's own reader."""
    source = """
    const body = new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('stream')); c.close() } });
    const answer = new Response(body);
    ReadableStream.prototype.getReader = ReadableStreamDefaultReader.prototype.read = () => { throw new Error('tampered') };
    export default { fetch: () => answer };"""
    body, _ = await run(source)
    assert body == "stream"
