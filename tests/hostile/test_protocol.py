"""Attacks on the host: floods of operations, what never settles, HTTP that splits, and what another invocation left behind."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from typing import Any

import pytest

from otelbridge import Limits, Request, Response, WorkerError
from otelbridge.sandbox import wasm
from tests.hostile.arena import Arena, Attack, words
from tests.sandbox.guests import worker as guest

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUNG = "The Workers runtime canceled this request"
WORK = Limits(cpu_ms=10_000)


async def echo(request: Request) -> Response:
    """A service or an outbound that answers with what it was asked."""
    return Response(json.dumps([request.method, request.url, [list(pair) for pair in request.headers if pair[0] != "traceparent"]]))


class Slow:
    """A service that never answers."""

    async def fetch(self, request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError(request)

    async def call(self, *arguments: Any) -> Any:
        await asyncio.Event().wait()
        return arguments


OPERATIONS = [
    Attack(
        name="more timers than the host keeps",
        source="for (let i = 0; i < 12000; i++) setTimeout(() => {}, 1e9); return new Response('x')",
        body="x",
        limits=Limits(cpu_ms=10_000, memory_mb=128),
    ),
    Attack(
        name="timers that set timers",
        source="const f = () => setTimeout(f, 0); f(); await new Promise(() => {})",
        outcome="exceededWallTime",
        error="wall time",
        limits=Limits(wall_ms=150, cpu_ms=5_000),
    ),
    Attack(
        name="an interval of nothing",
        source="setInterval(() => {}, 0); await new Promise(() => {})",
        outcome="exceededWallTime",
        error="wall time",
        limits=Limits(wall_ms=150, cpu_ms=5_000),
    ),
    Attack(
        name="fetches beyond the limit",
        source="const all = await Promise.allSettled(Array.from({ length: 1000 }, () => fetch('http://x/'))); return new Response(`${all.filter((r) => r.status === 'fulfilled').length}`)",
        body="50",
        limits=WORK,
        options={"global_outbound": echo},
    ),
    Attack(
        name="digests of the same megabyte",
        source="const b = new Uint8Array(1 << 20); for (;;) await crypto.subtle.digest('SHA-512', b)",
        outcome="exceededCpu",
        error="CPU time limit",
        limits=Limits(cpu_ms=100, wall_ms=20_000, memory_mb=64),
    ),
    Attack(
        name="a decompression bomb",
        source="const z = new Response(new Blob([new Uint8Array(1 << 22)]).stream().pipeThrough(new CompressionStream('gzip')));"
        "const c = new Uint8Array(await z.arrayBuffer()); const d = []; for (;;) d.push(await new Response(new Blob([c]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer())",
        outcome="exceededMemory",
        error="memory limit",
        limits=Limits(cpu_ms=20_000, wall_ms=30_000, memory_mb=32),
    ),
    Attack(name="a promise that nobody settles", source="await new Promise(() => {})", outcome="exception", error=HUNG),
    Attack(
        name="a body that nobody ends",
        source="return new Response(new ReadableStream({ pull() { return new Promise(() => {}) } }))",
        outcome="exception",
        error=HUNG,
    ),
    Attack(
        name="waitUntil() of a promise that nobody settles",
        source="ctx.waitUntil(new Promise(() => {})); return new Response('x')",
        body="x",
        exceptions=(HUNG,),
    ),
    Attack(
        name="a service that never answers",
        source="await env.SLOW.fetch('http://x/')",
        outcome="exceededWallTime",
        error="wall time",
        limits=Limits(wall_ms=100),
        options={"env": {"SLOW": Slow()}},
    ),
    Attack(name="a thenable that never answers", source="return { then() {} }", outcome="exception", error=HUNG),
    Attack(
        name="an answer for two",
        source="let r; const p = new Promise((f) => { r = f }); r(new Response('one')); r(new Response('two')); return p",
        body="one",
    ),
    Attack(
        name="arguments that are circular, deep or wild",
        source="const a = []; a.push(a); let d = {}; for (let i = 0; i < 1e4; i++) d = { d }; let n = 0;"
        "for (const v of [a, d, Symbol(), () => 1, new Proxy({}, { ownKeys() { throw new Error('p') } }), { get x() { throw new Error('g') } }]) try { await env.SLOW.call(v) } catch { n++ }"
        "return new Response(`${n}`)",
        body="6",
        options={"env": {"SLOW": Slow()}},
        limits=Limits(wall_ms=5_000),
    ),
    Attack(
        name="names of Python's own",
        source="const out = []; for (const m of ['__class__', '__init__', '_private', '__globals__', 'fetch.__func__', 'constructor', '__proto__']) try { await env.SLOW[m]('x'); out.push(m) } catch (e) {} return Response.json(out)",
        body="[]",
        options={"env": {"SLOW": Slow()}},
        limits=Limits(wall_ms=2_000),
    ),
    Attack(
        name="a URL without an end",
        source="try { await fetch('http://x/' + 'y'.repeat(5e4)); return new Response('?') } catch (e) { return new Response(e.name) }",
        body="TypeError",
        limits=WORK,
        options={"global_outbound": echo},
    ),
    Attack(
        name="a header without an end",
        source="return new Response('x', { headers: { a: 'y'.repeat(2e5) } })",
        outcome="exception",
        error="the limit is",
        limits=WORK,
    ),
]


@pytest.mark.parametrize("attack", OPERATIONS, ids=str)
async def test_operations_are_bounded(arena: Arena, attack: Attack) -> None:
    """A flood or a wait without an end is over at its limit, for this worker only."""
    await arena.run(attack)


async def test_calls_of_itself_without_an_end(arena: Arena) -> None:
    """A worker that calls itself is told so at a depth of 16, and each of its invocations leaves one record."""
    source = (
        "import { WorkerEntrypoint } from 'cloudflare:workers'; export default class Me extends WorkerEntrypoint {"
        "async fetch() { return this.ctx.exports.default({}).fetch('http://x/') } }"
    )
    worker, witness = arena.worker(source)
    with pytest.raises(WorkerError, match="Subrequest depth limit exceeded"):
        await worker.get_entrypoint().fetch(Request("GET", "http://attacker/"))
    await arena.bridge.drain()
    assert [item.outcome for item in witness.items] == ["exception"] * 16
    await arena.neighbour()


async def test_calls_of_itself_in_all_directions(arena: Arena) -> None:
    """A worker whose every call calls itself many times ends at its limits, and its neighbour is served all the while."""
    source = (
        "import { WorkerEntrypoint } from 'cloudflare:workers'; export default class Me extends WorkerEntrypoint {"
        "async fetch() { await Promise.allSettled(Array.from({ length: 50 }, () => this.ctx.exports.default({}).fetch('http://x/'))); return new Response('x') } }"
    )
    worker, witness = arena.worker(source, limits=Limits(wall_ms=500, subrequests=50))
    call = asyncio.ensure_future(worker.get_entrypoint().fetch(Request("GET", "http://attacker/")))
    for _ in range(5):
        await asyncio.sleep(0)
        await arena.neighbour()
    await asyncio.wait([call])
    await arena.bridge.drain()
    assert {item.outcome for item in witness.items} <= {"ok", "exceededWallTime", "exception", "canceled", "loadShed"}
    await arena.neighbour()


# What would write headers, lines or a second message into HTTP, if anything let it through.
SPLITS = [
    "new Response('x', { headers: { a: 'b\\r\\nset-cookie: c=d' } })",
    "new Response('x', { headers: { a: 'b\\nc' } })",
    "new Response('x', { headers: { a: 'b\\0c' } })",
    "new Response('x', { headers: { 'a\\r\\nb': 'c' } })",
    "new Response('x', { headers: { 'a b': 'c' } })",
    "new Response('x', { headers: { '': 'c' } })",
    "new Response('x', { headers: { 'ä': 'c' } })",
    "new Response('x', { headers: { a: '\\u010a\\u010d' } })",
    "new Response('x', { status: 99 })",
    "new Response('x', { status: 600 })",
    "new Response('x', { status: NaN })",
    "new Response('x', { status: '200 OK\\r\\nx: y' })",
    "new Response('x', { statusText: 'OK\\r\\nx: y' })",
    "(() => { const h = new Headers(); h.append('a', 'b\\r\\nc'); return new Response('x', { headers: h }) })()",
    "Response.redirect('http://x/\\r\\nset-cookie: a=b')",
    "new Response('x', { headers: [['a', 'b', 'c']] })",
]


@pytest.mark.parametrize("response", SPLITS)
async def test_a_response_is_not_split(arena: Arena, response: str) -> None:
    """What HTTP does not allow is the worker's own error, or comes out as one harmless header."""
    worker, witness = arena.worker(f"return {response}")
    result = await arena.call(worker, witness)
    if result.error is None:
        for name, value in result.headers:
            assert not set(name + value) & set("\r\n\0")
        assert all(name in ("a", "content-type", "location") for name, _ in result.headers), result.headers
    else:
        assert result.item.outcome == "exception"
        assert "Error" in result.error
    await arena.neighbour()


async def test_subrequests_are_not_split(arena: Arena) -> None:
    """Methods, URLs and headers of a subrequest hold one line each, and hop-by-hop tricks are only text to the outbound."""
    source = (
        "const seen = []; for (const [url, init] of [['http://x/a b', {}], ['http://x/\\r\\nHost: y', {}], ['http://x/', { method: 'GET\\r\\nX: y' }],"
        "['http://x/', { headers: { a: 'b\\r\\nc: d' } }], ['http://x/', { headers: { 'x y': 'z' } }], ['http://x\\0/', {}], ['http://u:p@x/', {}], ['//x/', {}],"
        "['file:///etc/passwd', {}], ['http://x/', { method: 'CONNECT' }], ['http://x/', { method: 'TRACE' }], ['data:text/plain,x', {}], ['http://x:99999/', {}]])"
        "try { seen.push(await (await fetch(url, init)).json()) } catch (e) { seen.push(e.name) } return Response.json(seen)"
    )
    worker, witness = arena.worker(source, global_outbound=echo)
    seen = json.loads((await arena.call(worker, witness)).body)
    assert len(seen) == 13
    for one in seen:
        if isinstance(one, str):
            assert one == "TypeError"
            continue
        method, url, headers = one
        assert url.startswith("http://")
        assert not set(method + url + "".join(map("".join, headers))) & set("\r\n\0")
    await arena.neighbour()


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc",
        "/%2e%2e/%2e%2e",
        "//evil.example/",
        "/\\evil",
        "/?a=\r\nb",
        "/%00",
        "/%0d%0aset-cookie:%20x",
        "/;x=y",
        "/%",
        "/\u00fc",
        "/" + "a" * 8000,
    ],
)
async def test_paths_stay_paths(arena: Arena, path: str) -> None:
    """A strange path reaches the worker as a path of its own host, or is refused as the URL that it is not."""
    worker, witness = arena.worker("const u = new URL(request.url); return Response.json([u.host, u.pathname.length > 0])")
    result = await arena.call(worker, witness, Request("GET", "http://attacker" + path))
    if result.error is None:
        assert json.loads(result.body) == ["attacker", True]
    await arena.neighbour()


# ------------------------------------------------------------------------------------------- other invocations

LEFTOVERS = [
    ("ctx", "try { kept.waitUntil(Promise.reject(new Error('late'))); } catch {} return new Response('refused')", "kept = ctx"),
    (
        "a response's stream",
        "try { return new Response(kept.body) } catch { return new Response('refused') }",
        "kept = new Response('secret'); await kept.text()",
    ),
    (
        "an abort controller",
        "kept.abort(); return new Response('refused')",
        "kept = new AbortController(); fetch('http://x/', { signal: kept.signal }).catch(() => {})",
    ),
    ("a timer", "clearTimeout(kept); return new Response('refused')", "kept = setTimeout(() => console.log('late'), 1)"),
    (
        "a promise",
        "return Promise.race([kept, scheduler.wait(5)]).then((v) => new Response(v ? 'secret' : 'refused'))",
        "kept = new Promise((r) => setTimeout(r, 50, 'secret'))",
    ),
    ("a pending log", "return new Response('refused')", "(async () => { await scheduler.wait(1); console.log('secret') })()"),
]


@pytest.mark.parametrize(("name", "later", "first"), LEFTOVERS, ids=[row[0] for row in LEFTOVERS])
async def test_what_an_earlier_invocation_left(arena: Arena, name: str, later: str, first: str) -> None:
    """A reused instance keeps module state, as in workerd; but nothing of an invocation acts, or logs, in a later one."""
    source = (
        "let kept; export default { async fetch(request, env, ctx) { if (request.url.endsWith('first')) { "
        + first
        + "; return new Response('first') } "
        + later
        + " } }"
    )
    worker, witness = arena.worker(source, global_outbound=echo, limits=Limits(wall_ms=2_000))
    first_result = await arena.call(worker, witness, Request("POST", "http://attacker/first", [], "secret"))
    assert first_result.body == b"first"
    result = await arena.call(worker, witness, Request("GET", "http://attacker/later"))
    assert result.body != b"secret", name
    assert "late" not in words(result.item)
    assert "secret" not in words(result.item)
    assert result.item.exceptions == []
    assert result.item.invocation_id != first_result.item.invocation_id


async def test_a_fresh_instance_knows_nothing(arena: Arena) -> None:
    """With isolation "invocation" no global of one call is there in the next, and randomness differs."""
    source = "globalThis.n = (globalThis.n ?? 0) + 1; return Response.json([n, Math.random(), crypto.randomUUID()])"
    worker, witness = arena.worker(source, isolation="invocation")
    answers = [json.loads((await arena.call(worker, witness)).body) for _ in range(5)]
    assert [n for n, _, _ in answers] == [1] * 5
    assert len({r for _, r, _ in answers}) == 5
    assert len({u for _, _, u in answers}) == 5


async def test_randomness_of_a_reused_instance(arena: Arena) -> None:
    """Numbers of one invocation don't tell those of the next, nor of another instance."""
    worker, witness = arena.worker("return Response.json([Math.random(), [...crypto.getRandomValues(new Uint32Array(4))]])")
    answers = [(await arena.call(worker, witness)).body for _ in range(4)]
    other, seen = arena.worker("return Response.json([Math.random(), [...crypto.getRandomValues(new Uint32Array(4))]])")
    answers += [(await arena.call(other, seen)).body for _ in range(4)]
    assert len(set(answers)) == 8


async def test_the_clock_is_too_coarse_to_measure_others(arena: Arena) -> None:
    """Within a slice the clock stands still: a worker can't time what its own instructions, or its neighbour's, take."""
    source = "const t = new Set(); for (let i = 0; i < 1e4; i++) t.add(performance.now()); return new Response(`${t.size}`)"
    worker, witness = arena.worker(source, limits=Limits(cpu_ms=5_000))
    steps = [int((await arena.call(worker, witness)).body) for _ in range(5)]
    assert min(steps) < 10


async def test_memory_of_the_process_stays_flat(arena: Arena) -> None:
    """Attacks of each expensive kind, again and again, leave the process as large as it was after the first ones."""
    sources = [
        "const a = []; for (;;) a.push(new Uint8Array(1 << 16).fill(1))",
        "const f = () => f() + 1; f()",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a)",
        "for (let i = 0; i < 1e4; i++) console.log('x'.repeat(100)); return new Response('x')",
        "for (let i = 0; i < 2e4; i++) setTimeout(() => {}, 1e9); return new Response('x')",
    ]

    async def attack() -> None:
        for source in sources:
            worker, witness = arena.worker(source, limits=Limits(cpu_ms=2_000, memory_mb=20))
            await arena.call(worker, witness)
            worker.retire()

    for _ in range(4):
        await attack()
    before = resident()
    for _ in range(8):
        await attack()
    await arena.neighbour()
    assert resident() - before < 40 << 20, (before >> 20, resident() >> 20)


async def test_deep_stacks_of_many_idle_instances(arena: Arena) -> None:
    """What deep recursion touched is given back once no guest is inside a call, though every instance lives on."""
    recurse = guest(
        "(call $r)",
        more="(func $r (local $d i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (if (i32.lt_u (global.get $n) (i32.const 60000)) (then (call $r)))) (global $n (mut i32) (i32.const 0))",
    )
    source = wasm.wat(recurse)
    workers = [arena.core(source, limits=Limits(cpu_ms=2_000)) for _ in range(30)]
    for worker, witness in workers:
        assert (await arena.call(worker, witness)).item.outcome == "ok"
    quiet, witness = arena.worker("return new Response('x')")
    arena.stacks._next = time.monotonic() - 1
    await arena.call(quiet, witness)
    after = resident()
    for worker, witness in workers:
        assert (await arena.call(worker, witness)).item.outcome == "ok"
        arena.stacks._next = time.monotonic() - 1
    assert resident() - after < 30 << 20


def resident() -> int:
    """The process's resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
