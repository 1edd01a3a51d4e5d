"""Core modules that behave: requests, responses, levels, clocks, randomness, start-up."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from otelbridge.errors import WorkerCodeError
from otelbridge.model import ring
from otelbridge.sandbox import Engine, Meter, Stop
from tests.sandbox.guests import SECOND, Build, Start, fetch, lines, text, wasi, worker

EXAMPLES = Path(__file__).parents[2] / "examples" / "guests"
ECHO = worker(
    "(call $log (i32.const 1) (local.get $p) (local.get $n))",
)


async def test_example_in_text(start: Start) -> None:
    """The sample guest answers, and its lines come out with their levels and as it wrote them."""
    guest = await start((EXAMPLES / "hello.wat").read_text())
    status, headers, body = await fetch(guest)
    assert (status, headers, body) == (200, [("content-type", "text/plain")], b"hello from wat\n")
    hello = "hello from WebAssembly text"
    assert lines(guest) == [*((level, hello) for level in ring.LEVELS), ("log", '{"answer":42,"from":"wat"}')]


async def test_request_as_the_guest_sees_it(start: Start) -> None:
    """Method, URL, headers and body arrive as the JSON of the worker ABI, whatever bytes a header holds."""
    guest = await start(ECHO)
    await guest.fetch("POST", "http://w/ä", [("a", "1"), ("a", "\udcff")], b"\x00\xff", Meter(SECOND))
    (_, line), *_ = lines(guest)
    assert json.loads(line) == {"method": "POST", "url": "http://w/ä", "headers": [["a", "1"], ["a", "�"]], "body": "AP8="}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ('{"status":204}', (204, [], b"")),
        ('{"status":200,"headers":{"a":"b"},"body":"ü"}', (200, [("a", "b")], "ü".encode())),
        ('{"status":599,"headers":[["a","1"],["a","2"]],"bodyBase64":"AP8="}', (599, [("a", "1"), ("a", "2")], b"\x00\xff")),
    ],
)
async def test_response(start: Start, response: str, expected: object) -> None:
    """Headers may be pairs or an object, the body text or base64."""
    assert await fetch(await start(worker(response=response))) == expected


async def test_levels_are_clamped(start: Start) -> None:
    """A level that does not exist is a plain log."""
    calls = "".join(f"(call $log (i32.const {n}) (i32.const 1024) (i32.const 1))" for n in (5, -1, 2**31 - 1, 4))
    guest = await start(worker(calls))
    await fetch(guest)
    assert [level for level, _ in lines(guest)] == ["log", "log", "log", "error"]


async def test_times_increase(start: Start) -> None:
    """The lines of one slice have different, increasing times."""
    call = "(call $log (i32.const 1) (i32.const 1024) (i32.const 1))"
    guest = await start(worker(call * 50))
    await fetch(guest)
    times = [entry.time_ns for entry in ring.walk(guest.read_ring())]
    assert times == sorted(set(times))


async def test_lines_of_stdout_and_stderr(start: Start) -> None:
    """stdout makes info lines, stderr error lines; pieces are joined, and what has no line break ends with the request."""
    data = text(512, "one\ntw" + "o\r\n\nthree") + text(700, "bad\n")
    iovs = text(600, b"".join(n.to_bytes(4, "little") for n in (512, 6, 518, 9)))
    more = data + iovs + text(640, b"".join(n.to_bytes(4, "little") for n in (700, 4)))
    write = wasi("fd_write", "i32 i32 i32 i32")
    guest = await start(
        worker(
            "(drop (call $fd_write (i32.const 1) (i32.const 600) (i32.const 2) (i32.const 0)))"
            "(drop (call $fd_write (i32.const 2) (i32.const 640) (i32.const 1) (i32.const 0)))",
            imports=write,
            more=more,
        )
    )
    await fetch(guest)
    assert lines(guest) == [("info", "one"), ("info", "two"), ("info", ""), ("error", "bad"), ("info", "three")]


async def test_start_section_and_initialize(start: Start) -> None:
    """The start function and _initialize run once, in this order, and what they log is kept."""
    guest = await start(
        worker(
            "(call $log (i32.const 2) (i32.const 1024) (i32.const 3))",
            more="""(func $s (call $log (i32.const 1) (i32.const 1024) (i32.const 1))) (start $s)
                 (func (export "_initialize") (call $log (i32.const 1) (i32.const 1024) (i32.const 2)))""",
        )
    )
    await fetch(guest)
    await fetch(guest)
    assert [len(line) for _, line in lines(guest)] == [1, 2, 3, 3]


async def test_environment(start: Start) -> None:
    """A worker sees its own environment through WASI, and nothing else."""
    imports = wasi("environ_sizes_get", "i32 i32") + wasi("environ_get", "i32 i32")
    guest = await start(
        worker(
            """(drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
               (drop (call $environ_get (i32.const 64) (i32.const 128)))
               (call $log (i32.const 1) (i32.const 0) (i32.const 8))
               (call $log (i32.const 1) (i32.load (i32.const 68)) (i32.const 5))
               (call $log (i32.const 1) (i32.const 128) (i32.load (i32.const 4)))""",
            imports=imports,
        ),
        env={"A": "1", "BC": "ü"},
    )
    await fetch(guest)
    logged = [entry.payload for entry in ring.walk(guest.read_ring())]
    assert logged == [b"\2\0\0\0\x0a\0\0\0", "BC=ü".encode(), "A=1\0BC=ü\0".encode()]


async def test_randomness_differs(build: Build, start: Start) -> None:
    """Two instances of one module, and two invocations of one instance, never see the same random bytes."""
    source = worker(
        "(drop (call $random_get (i32.const 2048) (i32.const 200))) (call $log (i32.const 1) (i32.const 2048) (i32.const 200))",
        imports=wasi("random_get", "i32 i32"),
    )
    seen = []
    for guest in (await start(source), await start(source)):
        for _ in range(2):
            guest.begin(262_144)
            await fetch(guest)
            seen += [entry.payload for entry in ring.walk(guest.read_ring())]
    assert len(set(seen)) == 4
    assert len({piece for payload in seen for piece in (payload[:64], payload[64:128], payload[128:192])}) == 12


async def test_clocks(start: Start) -> None:
    """The wall clock tells the time, the monotonic one how long the invocation has run, and each reading is later."""
    guest = await start(
        worker(
            """(drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 64)))
               (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 72)))
               (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 80)))
               (call $log (i32.const 1) (i32.const 64) (i32.const 24))""",
            imports=wasi("clock_time_get", "i32 i64 i32"),
        )
    )
    before = time.time_ns()
    guest.begin(262_144)
    await fetch(guest)
    (entry,) = ring.walk(guest.read_ring())
    first, second, monotonic = (int.from_bytes(entry.payload[i : i + 8], "little") for i in (0, 8, 16))
    assert before <= first < second
    assert 0 < monotonic < 60 * SECOND


SLEEP = worker(
    """(i64.store (i32.const 64) (i64.const 77))
       (i64.store (i32.const 88) (i64.const 30000000))
       (call $log (i32.const 1) (i32.const 64) (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 0)))
       (call $log (i32.const 1) (i32.const 128) (i32.const 32))
       (call $log (i32.const 1) (i32.const 0) (i32.const 4))""",
    imports=wasi("poll_oneoff", "i32 i32 i32 i32"),
)


async def test_sleep_does_not_hold_the_loop(start: Start) -> None:
    """A guest that sleeps in poll_oneoff lets others run, uses next to no CPU, and gets its event."""
    sleeper, other = await start(SLEEP), await start(worker())
    meter = Meter(SECOND)
    task = asyncio.create_task(fetch(sleeper, meter=meter))
    await asyncio.sleep(0)
    assert (await fetch(other))[0] == 200
    assert not task.done()
    assert (await task)[0] == 200
    assert meter.slices < 10
    logged = [entry.payload for entry in ring.walk(sleeper.read_ring())]
    assert logged == [b"", (77).to_bytes(8, "little") + bytes(8) + b"\1" + bytes(15), b"\1\0\0\0"]


async def test_small_and_large_modules(build: Build, engine: Engine) -> None:
    """A module too large for this process is compiled by a child, and found in the cache the next time."""
    large = worker(more=text(4096, bytes(range(256)) * 20))
    assert (await build(large)).kind == "worker"
    assert (await build(large)).kind == "worker"


async def test_memory_below_what_the_module_needs(build: Build) -> None:
    """A memory limit below the module's first page count is refused with both numbers."""
    module = await build(worker(memory='(memory (export "memory") 32)'))
    with pytest.raises(WorkerCodeError, match=r"starts with 2 MiB, but its limit is 1 MiB"):
        module.new(memory_bytes=1 << 20, env={}, log_budget=1000)


@pytest.mark.parametrize("env", [{"A=B": "1"}, {"": "1"}, {"A": "x\0y"}])
async def test_environment_that_cannot_be(build: Build, env: dict[str, str]) -> None:
    """Names and values that no environment can hold are refused."""
    module = await build(worker())
    with pytest.raises(WorkerCodeError, match="environment variable"):
        module.new(memory_bytes=1 << 20, env=env, log_budget=1000)


async def test_proc_exit(start: Start) -> None:
    """A worker that calls proc_exit has failed, with a message that says so, and is not used again."""
    guest = await start(worker("(call $proc_exit (i32.const 3))", imports=wasi("proc_exit", "i32", "")))
    with pytest.raises(Stop) as stop:
        await fetch(guest)
    assert (stop.value.outcome, stop.value.message) == ("exception", "The worker called proc_exit(3).")
    assert guest.dead
