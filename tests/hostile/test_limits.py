"""Every limit of docs/limits.md end to end: what the client gets, the outcome, the record, and what survives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otelbridge import Limits, Request, Response, WorkerCode, WorkerError
from otelbridge.errors import WorkerCodeError
from otelbridge.sandbox import wasm
from tests.hostile.arena import Arena, Attack, words
from tests.sandbox.guests import worker as guest

pytestmark = pytest.mark.asyncio(loop_scope="module")

STOPS = [
    ("exceededCpu", "Error: Worker exceeded CPU time limit.", "for (;;);", Limits(cpu_ms=20)),
    ("exceededWallTime", "Error: Worker exceeded wall time limit.", "await scheduler.wait(1e6)", Limits(wall_ms=50)),
    (
        "exceededMemory",
        "Error: Worker exceeded memory limit.",
        "const a = []; for (;;) a.push('x'.repeat(1e5) + a.length)",
        Limits(memory_mb=20, cpu_ms=5_000),
    ),
]


@pytest.mark.parametrize(("outcome", "error", "source", "limits"), STOPS, ids=[row[0] for row in STOPS])
async def test_a_limit_that_stops(arena: Arena, outcome: str, error: str, source: str, limits: Limits) -> None:
    """The client gets the error, the record the outcome and the exception behind the lines of before, and the next request is served."""
    worker, witness = arena.worker(
        f"console.log('before'); if (request.url.endsWith('stop')) {{ {source} }} return new Response('on')", limits=limits
    )
    for path in ("stop", "go", "stop", "go"):
        result = await arena.call(worker, witness, Request("GET", "http://attacker/" + path))
        assert words(result.item) == ["before"]
        if path == "stop":
            assert (result.error, result.item.outcome, result.status) == (error, outcome, None)
            assert [f"{e.name}: {e.message}" for e in result.item.exceptions] == [error]
        else:
            assert (result.body, result.item.outcome, result.item.exceptions) == (b"on", "ok", [])


@pytest.mark.parametrize(("outcome", "error", "source", "limits"), STOPS, ids=[row[0] for row in STOPS])
async def test_a_limit_after_the_response(arena: Arena, outcome: str, error: str, source: str, limits: Limits) -> None:
    """What waitUntil() does beyond a limit is stopped; the client has its response, the record says how it ended."""
    worker, witness = arena.worker(
        f"ctx.waitUntil((async () => {{ await scheduler.wait(1); {source} }})()); return new Response('sent', {{ status: 201 }})",
        limits=limits,
    )
    result = await arena.call(worker, witness)
    assert (result.status, result.body) == (201, b"sent")
    assert (result.item.outcome, result.item.status) == (outcome, 201)
    assert [f"{e.name}: {e.message}" for e in result.item.exceptions] == [error]


@pytest.mark.parametrize(("outcome", "error", "source", "limits"), STOPS, ids=[row[0] for row in STOPS])
async def test_a_limit_in_the_middle_of_a_body(arena: Arena, outcome: str, error: str, source: str, limits: Limits) -> None:
    """A body that is being read breaks off with the limit's error."""
    pull = f"new ReadableStream({{ n: 0, async pull(c) {{ if (this.n++) {{ {source} }} c.enqueue(new TextEncoder().encode('part')) }} }})"
    worker, witness = arena.worker(f"return new Response({pull})", limits=limits)
    result = await arena.call(worker, witness)
    assert (result.error, result.item.outcome) == (error, outcome)


async def test_the_lower_limit_holds(arena: Arena) -> None:
    """A call may lower the limits of the code, and never raise them."""
    worker, witness = arena.worker("for (;;);", limits=Limits(cpu_ms=40))
    for given, most in ((Limits(cpu_ms=10), 400), (Limits(cpu_ms=60_000), 2_000), (None, 2_000)):
        with pytest.raises(WorkerError, match="CPU time limit"):
            await worker.get_entrypoint(limits=given).fetch(Request("GET", "http://attacker/"))
        await arena.bridge.drain()
        assert witness.items[-1].cpu_ns < most * 1_000_000


@pytest.mark.parametrize("budget", [0, 1, 100, 5_000])
async def test_log_budgets(arena: Arena, budget: int) -> None:
    """Lines beyond the budget are counted, one warning says so, and the exception that ends the invocation is there."""
    worker, witness = arena.worker(
        "for (let i = 0; i < 200; i++) console.log('line', i); throw new Error('the end')", limits=Limits(log_bytes=budget)
    )
    item = (await arena.call(worker, witness)).item
    kept = [line for line in words(item) if line.startswith("line")]
    assert sum(80 + len(line) for line in kept) <= budget
    assert item.logs[-1].level == "warn"
    assert len(kept) + item.dropped.logs == 200
    assert (item.truncated, [e.message for e in item.exceptions]) == (True, ["the end"])


async def test_subrequests(arena: Arena) -> None:
    """A subrequest beyond the limit rejects with a text that says so; those before, and the invocation, go on."""

    async def outbound(request: Request) -> Response:
        return Response(request.url)

    source = "const out = []; for (let i = 0; i < 4; i++) try { out.push(await (await fetch(`http://x/${i}`)).text()) } catch (e) { out.push(e.message) } return Response.json(out)"
    worker, witness = arena.worker(source, limits=Limits(subrequests=2), global_outbound=outbound)
    result = await arena.call(worker, witness)
    refused = "Too many subrequests by a single Worker invocation: the limit is 2."
    assert json.loads(result.body) == ["http://x/0", "http://x/1", refused, refused]
    assert [s.url for s in result.item.subrequests] == ["http://x/0", "http://x/1"]
    assert result.item.outcome == "ok"


async def test_a_response_of_a_core_module(arena: Arena) -> None:
    """A core module's response of more than 64 MiB is refused by its length, before it is read."""
    worker, witness = arena.core(wasm.wat(guest("(return (i64.const 0x0000000004000001))")))
    result = await arena.call(worker, witness)
    assert result.item.outcome == "exception"
    assert result.error == "RangeError: The worker's response has 67108865 bytes; the most is 67108864."


async def test_a_response_of_javascript(arena: Arena) -> None:
    """A body that is there at once has room in the worker's memory, or ends it; a streamed one may be longer than that."""
    await arena.run(
        Attack(
            name="whole",
            source="return new Response('x'.repeat(3e7))",
            outcome="exceededMemory",
            error="memory limit",
            limits=Limits(cpu_ms=5_000),
        )
    )
    stream = "let n = 0; return new Response(new ReadableStream({ pull(c) { if (n++ < 60) c.enqueue(new Uint8Array(1 << 20)); else c.close() } }))"
    worker, witness = arena.worker(stream, limits=Limits(cpu_ms=10_000))
    assert len((await arena.call(worker, witness)).body) == 60 << 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modules": {"index.js": "//" + "x" * (64 << 20)}}, "exceeds the maximum allowed size of 67108864 bytes"),
        ({"env": {"A": "x" * (1 << 20)}}, "exceeds the maximum allowed size of 1048576 bytes"),
    ],
)
async def test_sizes_of_code_and_env(arena: Arena, change: dict[str, Any], message: str) -> None:
    """Code and env that are too large are refused when the worker is prepared."""
    code = {"main_module": "index.js", "modules": {"index.js": "export default {}"}, **change}
    with pytest.raises(WorkerCodeError, match=message):
        await arena.bridge.loader.load(WorkerCode(**code)).get_entrypoint().fetch(Request("GET", "http://attacker/"))


async def test_tables_and_stack(arena: Arena) -> None:
    """A table grows to 20,000 elements and no further; recursion without an end is a RangeError. Both only concern the guest."""
    grow = "(i32.store (i32.const 64) (table.grow $t (ref.null func) (i32.const 19999))) (i32.store (i32.const 68) (table.grow $t (ref.null func) (i32.const 1)))"
    check = f"{grow} (if (i32.or (i32.ne (i32.load (i32.const 64)) (i32.const 1)) (i32.ne (i32.load (i32.const 68)) (i32.const -1))) (then (unreachable)))"
    worker, witness = arena.core(wasm.wat(guest(check, more="(table $t 1 funcref)")))
    assert (await arena.call(worker, witness)).item.outcome == "ok"
    # 15 ms of CPU time, and several times that on a busy machine: the stack is to end first, not the time.
    worker, witness = arena.core(wasm.wat(guest("(call $r)", more="(func $r (call $r))")), limits=Limits(cpu_ms=5_000))
    result = await arena.call(worker, witness)
    assert (result.error, result.item.outcome) == ("RangeError: Maximum call stack size exceeded", "exception")
    await arena.neighbour()
