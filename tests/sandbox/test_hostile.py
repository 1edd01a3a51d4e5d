"""Core modules that don't behave: each ends in a clear Stop or WorkerCodeError, and the process lives on."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.errors import WorkerCodeError
from otelbridge.model import ring
from otelbridge.sandbox import Meter, Stop, wasm
from otelbridge.sandbox.core import cgi, exchange
from tests.sandbox.guests import SECOND, Build, Start, fetch, lines, text, wasi, worker

MIB = 1 << 20
HELLO = "(call $log (i32.const 1) (i32.const 1024) (i32.const 5))"


async def stopped(start: Start, source: str | bytes, *, cpu_ns: int = SECOND, memory_bytes: int = 64 * MIB) -> Stop:
    """How a request ends. The guest is dead afterwards, unless only its answer was wrong."""
    guest = await start(source, memory_bytes=memory_bytes)
    with pytest.raises(Stop) as stop:
        await fetch(guest, meter=Meter(cpu_ns))
    return stop.value


async def test_endless_loop(start: Start) -> None:
    """A loop without end is stopped at the CPU limit, and what it logged before is kept."""
    guest = await start(worker(HELLO + "(loop $l (br $l))"))
    meter = Meter(20_000_000)
    with pytest.raises(Stop) as stop:
        await fetch(guest, meter=meter)
    assert (stop.value.outcome, stop.value.message) == ("exceededCpu", "Worker exceeded CPU time limit.")
    assert meter.cpu_ns > 20_000_000
    assert meter.slices > 1
    assert guest.dead
    assert [line for _, line in lines(guest)] == ['{"sta']


@pytest.mark.parametrize(
    "more",
    ["(func $s (loop $l (br $l))) (start $s)", '(func (export "_initialize") (loop $l (br $l)))'],
    ids=["start section", "_initialize"],
)
async def test_endless_start(start: Start, more: str) -> None:
    """A start function that never ends is stopped at the CPU limit."""
    with pytest.raises(Stop) as stop:
        await start(worker(more=more), cpu_ns=10_000_000)
    assert stop.value.outcome == "exceededCpu"


async def test_endless_alloc(build: Build) -> None:
    """An allocator that never ends is stopped like anything else."""
    guest = (await build(worker(alloc="(loop $l (br $l)) (unreachable)"))).new(memory_bytes=MIB, env={}, log_budget=1000)
    try:
        with pytest.raises(Stop) as stop:
            await fetch(guest, meter=Meter(10_000_000))
        assert stop.value.outcome == "exceededCpu"
    finally:
        guest.close()


async def test_trap_has_name_message_and_stack(start: Start) -> None:
    """A trap is an exception with the trap's words, function names and offsets into the module as it was sent."""
    stop = await stopped(start, worker("(call $inner)", more="(func $inner (unreachable))"))
    assert (stop.outcome, stop.name, stop.message) == ("exception", "RuntimeError", "wasm `unreachable` instruction executed")
    first, second, third = (stop.stack or "").splitlines()
    assert first == "RuntimeError: wasm `unreachable` instruction executed"
    assert second.startswith("    at inner (wasm-function[1]:0x")
    assert "wasm-function[3]:0x" in third


async def test_offsets_point_into_the_tenants_module(start: Start) -> None:
    """The offset of a trap names the trapping instruction in the bytes that were sent, not in those that run."""
    source = wasm.wat(worker("(drop (i32.load (i32.const -1)))"))
    stop = await stopped(start, source)
    offset = int((stop.stack or "").rsplit(":0x", 1)[1].rstrip(")"), 16)
    assert source[offset] == 0x28  # the opcode of i32.load


async def test_deep_recursion(start: Start) -> None:
    """Recursion without end is the RangeError that JavaScript has for it."""
    stop = await stopped(start, worker("(call $r)", more="(func $r (call $r))"))
    assert (stop.name, stop.message) == ("RangeError", "Maximum call stack size exceeded")


@pytest.mark.parametrize(
    "call",
    [
        "(call $log (i32.const 1) (i32.const -1) (i32.const 5))",
        "(call $log (i32.const 1) (i32.const 0) (i32.const -1))",
        "(call $log (i32.const 1) (i32.const 65535) (i32.const 2))",
        "(call $log (i32.const 1) (i32.const 0x7fffffff) (i32.const 0x7fffffff))",
        "(i32.store (i32.const -4) (i32.const 1))",
    ],
)
async def test_wild_pointers(start: Start, call: str) -> None:
    """A pointer outside the memory traps inside wasm, in a log call as anywhere else; earlier lines are kept."""
    guest = await start(worker(HELLO + call))
    with pytest.raises(Stop) as stop:
        await fetch(guest)
    assert (stop.value.outcome, stop.value.name) == ("exception", "RuntimeError")
    assert "out of bounds memory access" in stop.value.message
    assert len(lines(guest)) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "arguments"),
    [
        ("fd_write", "i32 i32 i32 i32", "(i32.const 1) (i32.const -8) (i32.const 1) (i32.const 0)"),
        ("fd_write", "i32 i32 i32 i32", "(i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0)"),
        ("fd_write", "i32 i32 i32 i32", "(i32.const 2) (i32.const 2048) (i32.const 1) (i32.const 0)"),
        ("fd_read", "i32 i32 i32 i32", "(i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 0)"),
        ("random_get", "i32 i32", "(i32.const 0) (i32.const -1)"),
        ("clock_time_get", "i32 i64 i32", "(i32.const 0) (i64.const 0) (i32.const -1)"),
        ("environ_get", "i32 i32", "(i32.const -1) (i32.const -1)"),
        ("args_get", "i32 i32", "(i32.const 0) (i32.const -1)"),
        ("fd_fdstat_get", "i32 i32", "(i32.const 1) (i32.const -9)"),
        ("fd_filestat_get", "i32 i32", "(i32.const 1) (i32.const -64)"),
        ("poll_oneoff", "i32 i32 i32 i32", "(i32.const -48) (i32.const 0) (i32.const 2) (i32.const 0)"),
    ],
)
async def test_wild_pointers_to_wasi(start: Start, name: str, parameters: str, arguments: str) -> None:
    """WASI functions check what they are given as the hardware would."""
    source = worker(f"(drop (call ${name} {arguments}))", imports=wasi(name, parameters), more=text(2048, b"\xf0\xff\xff\xff\xff\0\0\0"))
    stop = await stopped(start, source, cpu_ns=10 * SECOND)
    assert (stop.outcome, "out of bounds memory access" in stop.message) == ("exception", True)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("(call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0))", 8),
        ("(call $fd_write (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))", 8),
        ("(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))", 0),
        ("(call $fd_close (i32.const 9))", 8),
        ("(call $fd_close (i32.const 1))", 0),
        ("(call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0))", 70),
        ("(call $fd_prestat_get (i32.const 3) (i32.const 0))", 8),
        ("(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))", 28),
        ("(call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 0))", 28),
        ("(call $sock_shutdown (i32.const 0) (i32.const 0))", 52),
    ],
)
async def test_wasi_errors(start: Start, call: str, code: int) -> None:
    """What does not exist in here answers with the errno that says so."""
    imports = (
        wasi("fd_write", "i32 i32 i32 i32")
        + wasi("fd_close", "i32")
        + wasi("fd_seek", "i32 i64 i32 i32")
        + wasi("fd_prestat_get", "i32 i32")
        + wasi("poll_oneoff", "i32 i32 i32 i32")
        + wasi("clock_time_get", "i32 i64 i32")
        + wasi("sock_shutdown", "i32 i32")
    )
    guest = await start(
        worker(f"(i32.store (i32.const 64) {call}) (call $log (i32.const 1) (i32.const 64) (i32.const 4))", imports=imports)
    )
    await fetch(guest)
    assert next(ring.walk(guest.read_ring())).payload == code.to_bytes(4, "little")


async def test_invalid_utf8_in_a_line(start: Start) -> None:
    """Bytes that are not UTF-8 are kept as they are; readers replace them."""
    guest = await start(worker("(call $log (i32.const 1) (i32.const 64) (i32.const 4))", more=text(64, b"a\xff\xc3b")))
    await fetch(guest)
    assert next(ring.walk(guest.read_ring())).payload == b"a\xff\xc3b"


async def test_log_flood(start: Start) -> None:
    """Lines beyond the budget are dropped and counted, one line says so, and the next invocation starts anew."""
    flood = f"(loop $l {HELLO} (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))"
    guest = await start(worker(flood), log_budget=850)
    for _ in range(2):
        guest.begin(850)
        await fetch(guest)
        logged = lines(guest)
        assert [level for level, _ in logged] == ["log"] * 10 + ["warn"]
        assert logged[-1][1].startswith("Log size limit exceeded")
        counters = guest.counters()
        assert (counters.dropped_logs, counters.dropped_bytes, counters.truncated) == (990, 990 * 85, True)


async def test_giant_line(start: Start) -> None:
    """A line of more than 64 KiB is cut on its own, between two characters, and the lines after it are recorded."""
    source = worker(
        "(memory.fill (i32.const 4096) (i32.const 120) (i32.const 100000))"
        "(i32.store16 (i32.const 69631) (i32.const 0xbcc3))"
        "(call $log (i32.const 1) (i32.const 4096) (i32.const 100000))" + HELLO,
        memory='(memory (export "memory") 4)',
    )
    guest = await start(source)
    await fetch(guest)
    assert [len(entry.payload) for entry in ring.walk(guest.read_ring())] == [65535, 5]
    assert (guest.counters().dropped_logs, guest.counters().dropped_bytes, guest.counters().truncated) == (0, 34465, True)


async def test_giant_line_on_stdout(start: Start) -> None:
    """The same for stdout: what does not fit into 64 KiB before a line break is cut and counted."""
    iov = b"".join(n.to_bytes(4, "little") for n in (4096, 100_001))
    guest = await start(
        worker(
            "(memory.fill (i32.const 4096) (i32.const 120) (i32.const 100000)) (i32.store8 (i32.const 104096) (i32.const 10))"
            "(drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 0)))" + HELLO,
            imports=wasi("fd_write", "i32 i32 i32 i32"),
            more=text(64, iov),
            memory='(memory (export "memory") 4)',
        )
    )
    await fetch(guest)
    assert [len(entry.payload) for entry in ring.walk(guest.read_ring())] == [65536, 5]
    assert guest.counters().dropped_bytes == 100_000 - 65_536


async def test_memory_bomb(start: Start) -> None:
    """A guest that aborts because its memory can't grow any more has exceeded its memory limit."""
    bomb = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)"
    stop = await stopped(start, worker(bomb), memory_bytes=8 * MIB)
    assert (stop.outcome, stop.message) == ("exceededMemory", "Worker exceeded memory limit.")


async def test_memory_is_bounded(start: Start) -> None:
    """memory.grow never gets past the limit."""
    grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"
    guest = await start(worker(grow), memory_bytes=2 * MIB)
    await fetch(guest)
    assert guest.memory_bytes == 2 * MIB


async def test_tables_are_bounded(start: Start) -> None:
    """table.grow is refused beyond the limit: without one it once took 1.5 GB."""
    source = worker(
        "(i32.store (i32.const 64) (table.grow $t (ref.null func) (i32.const 100000000)))"
        "(call $log (i32.const 1) (i32.const 64) (i32.const 4))",
        more="(table $t 1 funcref)",
    )
    guest = await start(source)
    await fetch(guest)
    assert next(ring.walk(guest.read_ring())).payload == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("(i64.const -1)", "The worker's response has 4294967295 bytes; the most is 67108864."),
        ("(i64.const 0xffffffff00000010)", "The worker returned a bad pointer"),
        ("(i64.const 0x0000fff000000011)", "The worker returned a bad pointer"),
    ],
)
async def test_bad_response_pointer(start: Start, result: str, message: str) -> None:
    """A response outside of the memory is refused: negative, overlong, one byte past the end."""
    stop = await stopped(start, worker(f"(return {result})"))
    assert (stop.outcome, stop.name) == ("exception", "RangeError")
    assert stop.message.startswith(message)


@pytest.mark.parametrize("pointer", ["-1", "65500", "0"])
async def test_bad_alloc(start: Start, pointer: str) -> None:
    """An allocator that gives a pointer outside, or none, is refused before anything is written."""
    stop = await stopped(start, worker(alloc=f"(i32.const {pointer})"))
    assert (stop.outcome, stop.name) == ("exception", "RangeError")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"status":"200"}',
        b'{"status":NaN}',
        b'{"status":99}',
        b'{"status":600}',
        b'{"status":1e9}',
        b'{"status":-200}',
        b'{"status":200.5}',
        b'{"status":200,"body":1}',
        b'{"status":200,"body":"\xff"}',
        b'{"status":200,"body":"a","bodyBase64":"YQ=="}',
        b'{"status":200,"bodyBase64":"%"}',
        b'{"status":200,"headers":{"a":1}}',
        b'{"status":200,"headers":[["a"]]}',
        b'{"status":200,"headers":{"a":"b\\r\\nset-cookie: x"}}',
        b'{"status":200,"headers":{"a b":"c"}}',
        b'{"status":200,"headers":{"":"c"}}',
        b'{"status":200} trailing',
        b'{"status":200',
        b"[" * 30_000,
    ],
)
async def test_garbage_responses(start: Start, response: bytes) -> None:
    """Whatever is not a response is a TypeError of the worker, which may go on."""
    source = worker(response=response, alloc="(i32.const 32768)")
    guest = await start(source)
    with pytest.raises(Stop) as stop:
        await fetch(guest)
    assert (stop.value.outcome, stop.value.name) == ("exception", "TypeError")
    assert stop.value.message.startswith("The worker's response is not valid: ")
    assert not guest.dead


@given(st.binary(max_size=200))
def test_any_bytes_as_a_response(data: bytes) -> None:
    """Any bytes are a response or a Stop, in both dialects."""
    for decode in (exchange.decode, cgi.decode):
        try:
            status, _, _ = decode(data)
            assert 200 <= status <= 599
        except Stop as stop:
            assert stop.name == "TypeError"


NEEDS = [
    ('(module (memory (export "memory") 1))', "the export 'otelbridge_alloc' (i32) -> (i32) is missing"),
    ('(module (memory (export "memory") 1))', "the export 'otelbridge_fetch' (i32, i32) -> (i64) is missing"),
    (worker(memory="(memory 1)"), "the export 'memory' is missing"),
    (worker(memory='(memory 1) (global (export "memory") i32 (i32.const 1))'), "the export 'memory' must be a memory"),
    (worker(imports='(import "env" "abort" (func))'), "unknown import 'env' 'abort' (func)"),
    (worker(imports='(import "wasi_snapshot_preview1" "fd_evil" (func))'), "unknown import 'wasi_snapshot_preview1' 'fd_evil' (func)"),
    (worker(imports='(import "otelbridge" "log" (global i32))'), "unknown import 'otelbridge' 'log' (global)"),
    (
        worker(imports='(import "otelbridge" "log" (func (param i32)))'),
        "the import 'otelbridge' 'log' must have the type (i32, i32, i32) -> (), not (i32) -> ()",
    ),
    (
        '(module (memory (export "memory") 1) (func (export "otelbridge_alloc")) (func (export "otelbridge_fetch")))',
        "the export 'otelbridge_alloc' must have the type (i32) -> (i32), not () -> ()",
    ),
    (worker(more='(func (export "_initialize") (param i32))'), "the export '_initialize' must have the type () -> (), not (i32) -> ()"),
    ('(module (memory (export "memory") 1) (func (export "_start") (param i32)))', "the export '_start' must have the type () -> ()"),
    (worker(memory='(memory (export "memory") 10000)'), "The module's memory starts with 625 MiB; the most is 512 MiB."),
    (worker(memory='(memory (export "memory") 1) (memory 1)'), "exactly one memory"),
    (worker(more='(data (i32.const 65530) "1234567")'), "does not fit into the memory"),
    (worker(memory='(memory (export "memory") i64 1)'), "not valid WebAssembly"),
    (worker(more="(table 100000 funcref)"), "table"),
]


@pytest.mark.parametrize(("source", "message"), NEEDS)
async def test_modules_that_do_not_fit(build: Build, source: str, message: str) -> None:
    """What is missing, of the wrong type, unknown or too large is named."""
    with pytest.raises(WorkerCodeError) as error:
        await build(source)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin with"),
        (b"export default {}", "does not begin with"),
        (b"\0asm\x0d\0\1\0", "components are not supported"),
        (b"\0asm\1\0\0\0\1\xff", "not valid WebAssembly"),
        (b"\0asm\1\0\0\0" + bytes(10_000), "not valid WebAssembly"),
        (b"\0asm\1\0\0\0\x0a\x05\x01\x03\x00\xff\x0b", "not valid WebAssembly"),
    ],
)
async def test_bytes_that_are_no_module(build: Build, data: bytes, message: str) -> None:
    """Bytes that are not a module are refused in words, small ones in here and large ones in the child."""
    with pytest.raises(WorkerCodeError, match=message):
        await build(data)


async def test_cancel_at_any_point(start: Start) -> None:
    """Cancelling a request in the queue, in a sleep or before its first slice leaves a dead guest and a live process."""
    loop_, sleep = (
        worker(HELLO + "(loop $l (br $l))"),
        worker(
            HELLO + "(i64.store (i32.const 88) (i64.const 60000000000))"
            "(drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 0)))",
            imports=wasi("poll_oneoff", "i32 i32 i32 i32"),
        ),
    )
    guests = [await start(source) for source in (loop_, sleep) for _ in range(5)]
    tasks = [asyncio.create_task(fetch(guest, meter=Meter())) for guest in guests]
    for turns, task in enumerate(tasks):
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert all(guest.dead for guest in guests[1:])
    assert len(lines(guests[-1])) == 1
