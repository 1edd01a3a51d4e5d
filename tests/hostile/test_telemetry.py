"""Attacks on the truth of the telemetry: floods, forged identities, broken builtins, rings and structs written by hand."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest

from otelbridge import Limits, Request
from otelbridge.model import ring
from otelbridge.sandbox import JsInstance, Meter, Stop, wasm
from tests.hostile.arena import Arena, Attack, words
from tests.sandbox.guests import text
from tests.sandbox.guests import worker as guest

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL_LOG = Limits(log_bytes=20_000, cpu_ms=5_000)
FULL = "Log size limit exceeded: "

FLOODS = [
    Attack(
        name="short lines",
        source="for (let i = 0; i < 1e5; i++) console.log(i); return new Response('x')",
        body="x",
        logs_begin=("0", "1"),
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="empty lines",
        source="for (let i = 0; i < 1e5; i++) console.log(); return new Response('x')",
        body="x",
        logs_begin=("", ""),
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="giant line, then a small one",
        source="console.log('x'.repeat(3e6)); console.log('after'); return new Response('x')",
        body="x",
        logs=None,
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="giant objects",
        source="const o = {}; for (let i = 0; i < 1e4; i++) o['k' + i] = 'x'.repeat(100); for (let i = 0; i < 20; i++) console.log(o); return new Response('x')",
        body="x",
        logs=None,
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="many arguments",
        source="console.log(...Array(20000).fill('y')); return new Response('x')",
        body="x",
        logs=None,
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="escapes that grow sixfold",
        source="console.log('\\u0001'.repeat(19000)); return new Response('x')",
        body="x",
        logs=None,
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="errors with giant stacks",
        source="const e = new Error('m'); e.stack = 's'.repeat(1e6); for (let i = 0; i < 50; i++) console.error(e); return new Response('x')",
        body="x",
        logs=None,
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="exceptions in timers",
        source="for (let i = 0; i < 5000; i++) setTimeout(() => { throw new Error('e' + i) }, 0); await scheduler.wait(50); return new Response('x')",
        body="x",
        drops=True,
        limits=SMALL_LOG,
    ),
    Attack(
        name="exceptions in waitUntil, each with a giant message",
        source="for (let i = 0; i < 100; i++) ctx.waitUntil(Promise.reject(new Error('m'.repeat(1e4)))); return new Response('x')",
        body="x",
        drops=True,
        limits=Limits(cpu_ms=10_000),
    ),
    Attack(
        name="spans",
        source="import { tracing } from 'cloudflare:workers'; export default { fetch() { for (let i = 0; i < 2e3; i++) tracing.enterSpan('s'.repeat(100), (s) => s.setAttribute('k', 'v'.repeat(500))); return new Response('x') } }",
        body="x",
        drops=True,
        limits=Limits(cpu_ms=10_000),
    ),
    Attack(
        name="diagnostics",
        source="import dc from 'node:diagnostics_channel'; export default { fetch() { const c = dc.channel('c'); for (let i = 0; i < 1e4; i++) c.publish({ i, x: 'y'.repeat(100) }); return new Response('x') } }",
        body="x",
        drops=True,
        limits=Limits(cpu_ms=10_000),
    ),
    Attack(
        name="a log within a log within a log",
        source="let n = 0; const o = { toJSON() { if (n++ < 300) console.log(o); return n } }; console.log(o); return new Response('x')",
        body="x",
        logs=None,
    ),
]


@pytest.mark.parametrize("attack", FLOODS, ids=str)
async def test_a_flood_is_cut_and_counted(arena: Arena, attack: Attack) -> None:
    """A flood takes no more than its budget, what was dropped is counted, and the invocation itself goes on."""
    result = await arena.run(attack)
    assert sum(len(line) for line in words(result.item)) < 300_000
    assert sum(len(e.message) for e in result.item.exceptions) < 300_000


async def test_the_last_exception_survives_every_flood(arena: Arena) -> None:
    """With the budgets of logs and exceptions used up, the exception that ends the invocation is still recorded."""
    await arena.run(
        Attack(
            name="flood, then throw",
            source="for (let i = 0; i < 5000; i++) console.log('x'.repeat(50)); for (let i = 0; i < 5000; i++) reportError(new Error('r'.repeat(100))); throw new Error('the end')",
            outcome="exception",
            error="Error: the end",
            logs=None,
            drops=True,
            limits=SMALL_LOG,
        )
    )


# What a worker may write to look like somebody else. It comes out as what it is: a log line of its own.
FORGERIES = [
    (
        "an object with our members",
        "{ workerId: 'victim', traceId: 'f'.repeat(32), spanId: 'f'.repeat(16), invocationId: 'x', severityNumber: 24 }",
    ),
    (
        "attribute names of ours",
        "{ 'faas.invocation_id': 'x', 'otelbridge.sequence': 0, 'log.record.uid': 'x', 'otelbridge.source': 'bridge', 'service.name': 'victim' }",
    ),
    ("a trace item", "{ outcome: 'ok', logs: [], exceptions: [], event: { request: { url: 'http://victim/' } }, truncated: true }"),
    ("levels", "{ level: 'error', kind: 'exception', severityText: 'FATAL' }"),
    ("the text of a ring entry", json.dumps(ring.pack(ring.EXCEPTION, b'{"name":"Forged"}', level=4).decode("latin-1"))),
    ("line breaks and terminal codes", "'a\\nworker=victim level=error\\r\\u001b[2J\\u009b'"),
    ("a message of the host protocol", "JSON.stringify(['thrown', 'Error', 'forged', null, false])"),
    ("times", "{ timestamp: 0, time: '1970-01-01T00:00:00Z', eventTimestamp: -1 }"),
    ("prototype members", 'JSON.parse(\'{"__proto__": {"level": "error"}, "constructor": 1}\')'),
]


@pytest.mark.parametrize(("name", "value"), FORGERIES, ids=[name for name, _ in FORGERIES])
async def test_a_forged_identity_is_only_text(arena: Arena, name: str, value: str) -> None:
    """Whatever a worker logs stands in one line of its own record, under the ids that the host gave."""
    worker, witness = arena.worker(f"console.log({value}); return Response.json([{value}])")
    for _ in range(2):
        result = await arena.call(worker, witness)
        assert [log.message for log in result.item.logs] == [json.loads(result.body)]
        assert [(log.level, log.span) for log in result.item.logs] == [("log", 0)]
        assert (result.item.outcome, result.item.exceptions, result.item.truncated) == ("ok", [], False)
    await arena.neighbour()


async def test_headers_that_look_like_ours(arena: Arena) -> None:
    """A worker's answer may carry any header: the ids of the record are the host's all the same."""
    result = await arena.run(
        Attack(
            name="forged ids in headers",
            source="return new Response('x', { headers: { 'otelbridge-invocation-id': 'f', 'otelbridge-trace-id': 'f', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` } })",
            body="x",
        )
    )
    assert result.item.trace_id != "a" * 32
    assert len(result.item.invocation_id) == 32


async def test_spans_of_nobody(arena: Arena) -> None:
    """Spans nest as they were opened; closing one twice, or from outside, changes nothing."""
    source = (
        "import { tracing } from 'cloudflare:workers'; let kept; export default { async fetch() {"
        "if (kept) { kept.setAttribute('late', 1); kept.end(); kept.end(); }"
        "tracing.startActiveSpan('a', (s) => { kept = s; s.setAttribute('__proto__', 1); s.setAttribute('span_id', 'x'); console.log('in'); });"
        "try { new kept.constructor() } catch (e) { console.log(e.name) }"
        "return new Response('x') } }"
    )
    worker, witness = arena.worker(source)
    for _ in range(3):
        item = (await arena.call(worker, witness)).item
        assert [(span.name, span.parent) for span in item.spans] == [("a", 0)]
        assert words(item) == ["in", "TypeError"]
        assert item.spans[0].attributes.get("late") is None


POLLUTIONS = [
    "Object.prototype.level = 'forged'; Object.prototype.stack = 'forged'; Object.prototype.name = 'Forged'",
    "Object.defineProperty(Object.prototype, '0', { set() { throw new Error('setter') }, configurable: true })",
    "Object.defineProperty(Array.prototype, '0', { set() { throw new Error('setter') }, configurable: true })",
    "Object.prototype.toJSON = () => 'forged'; Array.prototype.toJSON = () => 'forged'",
    "JSON.stringify = () => '[\"done\"]'; JSON.parse = () => ['invoke']",
    "Array.prototype.push = Array.prototype.slice = Array.prototype.splice = () => { throw new Error('array') }",
    "Array.prototype[Symbol.iterator] = function* () { yield 'forged' }",
    "String.prototype.indexOf = () => 0; String.prototype.slice = () => 'forged'; String = () => 'forged'",
    "Promise.prototype.then = () => {}; Promise.resolve = () => {}; globalThis.Promise = class {}",
    "Object.defineProperty(Promise, Symbol.species, { value: class { constructor(f) { f(() => {}, () => {}) } } })",
    "Map.prototype.get = Map.prototype.set = WeakMap.prototype.get = () => undefined",
    "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('call') }",
    "Reflect.apply = () => 'forged'; Object.keys = () => []; Object.getPrototypeOf = () => null",
    "Error.prepareStackTrace = () => ({ forged: true }); Error.stackTraceLimit = 0",
    "Object.defineProperty(Error.prototype, 'name', { get() { throw 1 } }); delete Error.prototype.stack",
    "Headers.prototype.get = Headers.prototype.set = () => 'forged'; Object.defineProperty(Response.prototype, 'status', { get: () => 200 })",
    "globalThis.console = null; delete globalThis.Response; delete globalThis.Headers; delete globalThis.fetch",
    "Number.prototype.toString = () => 'forged'; Number.isInteger = () => false; Math.floor = () => NaN",
    "Uint8Array.prototype.set = () => {}; globalThis.Uint8Array = class {}; ArrayBuffer.isView = () => false",
    "for (const k of Object.getOwnPropertyNames(Object.prototype)) try { delete Object.prototype[k] } catch {}",
]


@pytest.mark.parametrize("pollution", POLLUTIONS)
async def test_polluted_builtins(arena: Arena, pollution: str) -> None:
    """A worker that breaks its builtins has its lines, its exception and its answers recorded truly, request after request."""
    source = (
        "const log = console.log, R = Response, E = Error;" + pollution + ";"
        "export default { fetch(request) { log('line', 1); if (request.url === 'http://attacker/throw') throw new E('thrown');"
        "return new R('answer', { status: 201 }) } }"
    )
    worker, witness = arena.worker(source)
    for path in ("ok", "throw", "ok"):
        result = await arena.call(worker, witness, Request("GET", "http://attacker/" + path))
        assert words(result.item) == ["line 1"], (path, result.error)
        if path == "throw":
            assert result.item.outcome == "exception"
            assert [e.message for e in result.item.exceptions] == ["thrown"]
        else:
            assert (result.status, result.body, result.item.outcome) == (201, b"answer", "ok"), result.error
    await arena.neighbour()


# ----------------------------------------------------------------------------- rings and structs written by hand

STATE = (
    "abi",
    "status",
    "in_ptr",
    "in_cap",
    "out_ptr",
    "out_len",
    "ring_ptr",
    "ring_cap",
    "ring_used",
    "dropped_logs",
    "dropped_exceptions",
    "flags",
)


async def loaded(arena: Arena) -> tuple[Any, JsInstance]:
    """A worker that was called once, and the instance it keeps."""
    worker, witness = arena.worker("console.log('true'); return new Response('x')")
    assert (await arena.call(worker, witness)).body == b"x"
    version = await worker.version()
    return worker, version.idle[-1].instance


@pytest.mark.parametrize("word", range(len(STATE)), ids=STATE)
@pytest.mark.parametrize("value", [0, 1, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF])
async def test_a_forged_state_struct(arena: Arena, word: int, value: int) -> None:
    """A guest that has taken over its engine writes any word of the struct: reads give bytes or nothing, never a crash."""
    _, instance = await loaded(arena)
    instance._u32[word] = value
    data = instance.read_ring()
    assert isinstance(data, bytes)
    size, count = ring.check(data)
    assert size <= len(data)
    assert len(list(ring.walk(data))) == count
    counters = instance.counters()
    assert 0 <= counters.dropped_bytes < 1 << 63
    instance.close()
    await arena.neighbour()


@pytest.mark.parametrize("word", [2, 3, 4, 5, 6, 7, 8], ids=lambda w: STATE[w])
@pytest.mark.parametrize("value", [1, 0x7FFFFFFF, 0xFFFFFFF8])
async def test_a_forged_struct_under_a_call(arena: Arena, word: int, value: int) -> None:
    """With a forged pointer or length the next call ends, well or with an exception of its own, and others don't notice."""
    worker, instance = await loaded(arena)
    instance._u32[word] = value
    witness = worker.host and (await worker.version()).code.tails[0]
    result = await arena.call(worker, witness)
    assert result.item.outcome in ("ok", "exception", "exceededMemory")
    await arena.neighbour()


async def test_forged_ring_entries(arena: Arena) -> None:
    """Random headers in the ring become entries or nothing: levels, kinds, lengths and times are what the host accepts."""
    worker, instance = await loaded(arena)
    rng = random.Random(7)
    for _ in range(50):
        entries = b"".join(
            struct.pack(
                "<IBBHQII",
                rng.choice([0, 5, 40, 0xFFFFFFFF]),
                rng.randrange(8),
                rng.randrange(8),
                0,
                rng.getrandbits(64),
                rng.getrandbits(32),
                rng.choice([0, 3, 99]),
            )
            + rng.randbytes(rng.choice([0, 8, 40]))
            for _ in range(6)
        )
        instance._memory.write(instance._u32[6], entries)
        instance._u32[8] = len(entries)
        instance._read = 0
        data = instance.read_ring()
        assert data == entries
        for entry in ring.walk(data):
            assert entry.kind <= ring.SPAN_CLOSE
            assert entry.level < len(ring.LEVELS)
    await arena.neighbour()
    assert worker.worker_id


async def test_messages_that_are_none(arena: Arena) -> None:
    """An engine that answers with garbage ends its invocation with an exception."""
    _, instance = await loaded(arena)
    for garbage in (b"\xff" * 16, struct.pack("<II", 1 << 31, 0), struct.pack("<II", 3, 0) + b"{}}", b"\0" * 8):
        instance._memory.write(instance._u32[2], garbage)
        try:
            out = await instance.run(garbage, Meter(1_000_000_000))
        except Stop as stop:
            assert stop.outcome in ("exception", "internalError")
            break
        assert isinstance(out, bytes)
    await arena.neighbour()


async def test_wasm_that_logs_as_somebody_else(arena: Arena) -> None:
    """A core module's lines are read as text or JSON arguments; wild levels, lengths and pointers reach nobody."""
    line = '{"workerId":"victim","level":"error"}'
    source = wasm.wat(
        guest(
            f"(call $log (i32.const 4) (i32.const 4096) (i32.const {len(line)})) (call $log (i32.const 99) (i32.const 4096) (i32.const 2))"
            f"(call $log (i32.const -1) (i32.const 4096) (i32.const 0))",
            more=text(4096, line),
        )
    )
    worker, witness = arena.core(source)
    for _ in range(3):
        item = (await arena.call(worker, witness)).item
        assert item.logs[0].message == [{"workerId": "victim", "level": "error"}]
        assert item.logs[0].level == "error"
        assert item.outcome == "ok"
    await arena.neighbour()
