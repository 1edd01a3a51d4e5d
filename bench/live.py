"""Live logs: how soon a line is seen while its invocation still waits, and a thousand subscribers on one process.

    python -m bench.live

A real service and real connections on this machine. A line's time is the clock that the guest saw when it logged.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.table import OURS, Table
from otelbridge import Bridge, Settings
from otelbridge.web import Service

WAITING = """export default { async fetch() {
  console.log('before'); await scheduler.wait(2000); return new Response('done');
} }"""
LINES = 100
CHATTY = f"export default {{ fetch() {{ for (let i = 0; i < {LINES}; i++) console.log('a line of some length, number', i); return new Response() }} }}"


async def put(session: aiohttp.ClientSession, url: str, worker_id: str, source: str) -> None:
    """Register a worker."""
    async with session.put(f"{url}/v1/workers/{worker_id}", data=source, headers={"content-type": "application/javascript"}) as answer:
        answer.raise_for_status()


async def first_line(session: aiohttp.ClientSession, url: str) -> float:
    """How long after its own time the line of a waiting invocation is seen, in ms."""
    async with session.get(f"{url}/v1/tail?worker=waiting") as tail:
        await tail.content.readuntil(b"\n\n")
        call = asyncio.create_task(session.get(f"{url}/w/waiting/"))
        while b"data: " not in (event := await tail.content.readuntil(b"\n\n")):
            pass
        seen = time.time_ns()
        if call.done():
            raise RuntimeError("the line came after the response")
        record = json.loads(event.partition(b"data: ")[2].partition(b"\n")[0])
        (await call).release()
        return (seen - int(record["timeUnixNano"])) / 1e6


async def follow(session: aiohttp.ClientSession, url: str, wanted: int, ready: asyncio.Barrier) -> tuple[int, int, float]:
    """Read a tail until nothing of the worker's lines is outstanding: lines, missed ones, and when the last came."""
    got = missed = 0
    async with session.get(f"{url}/v1/tail?worker=chatty&level=log") as tail:
        buffer = await tail.content.readuntil(b"\n\n")
        buffer = b""
        await ready.wait()
        while got + missed < wanted:
            buffer += await tail.content.readany()
            *events, buffer = buffer.split(b"\n\n")
            for event in events:
                if event.startswith(b"event: gap"):
                    missed += json.loads(event.partition(b"data: ")[2])["missed"]
                elif b"data: " in event:
                    got += 1
    return got, missed, time.perf_counter()


async def run(table: Table, subscribers: int, calls: int) -> None:
    """Both questions."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(environ={}, flags={"data_dir": Path(directory)})
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            Bridge(settings) as bridge,
            Service(bridge=bridge) as service,
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=1 << 20) as session,
        ):
            url = await service.listen("127.0.0.1", 0)
            await put(session, url, "waiting", WAITING)
            await put(session, url, "chatty", CHATTY)
            for _ in range(3 if table.quick else 10):
                delay = await first_line(session, url)
                table.note("a line logged before an await of 2 s is seen after", OURS, delay, unit="ms", goal="at most 200")
            await many(table, session, url, subscribers, calls)


async def many(table: Table, session: aiohttp.ClientSession, url: str, subscribers: int, calls: int) -> None:
    """All subscribers at once, with their clients in this process too."""
    wanted = calls * LINES
    ready = asyncio.Barrier(subscribers + 1)
    tasks = [asyncio.create_task(follow(session, url, wanted, ready)) for _ in range(subscribers)]
    await ready.wait()
    start = time.perf_counter()
    for _ in range(calls):
        async with session.get(f"{url}/w/chatty/") as answer:
            answer.raise_for_status()
    results = await asyncio.gather(*tasks)
    seconds = max(at for _, _, at in results) - start
    got, missed = sum(r[0] for r in results), sum(r[1] for r in results)
    name = f"{subscribers} subscribers, {wanted} lines each:"
    table.note(f"{name} events received", OURS, got)
    table.note(f"{name} announced as missed", OURS, missed)
    table.note(f"{name} lost in silence", OURS, wanted * subscribers - got - missed, goal="0")
    table.note(f"{name} rate", OURS, got / seconds, unit="events/s")


def measure(table: Table) -> None:
    """What a service on this machine shows, with clients in the same process."""
    subscribers, calls = (100, 5) if table.quick else (1_000, 20)
    asyncio.run(run(table, subscribers, calls))


if __name__ == "__main__":
    one = Table()
    measure(one)
    print(one.markdown())
