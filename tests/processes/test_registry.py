"""Workers are the same in all processes, from the moment a change is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

VERSION = "export default {{ fetch() {{ return new Response('{}') }} }}"


async def test_a_put_is_in_force_for_every_request_that_follows(serve: Callable[..., Any]) -> None:
    """After each PUT and DELETE, requests on connections to both loaders all see it, the very next ones too."""
    running = await serve()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> tuple[int, str]:
            async with session.get(f"{running.url}/w/changing/") as answer:
                return answer.status, await answer.text()

        for number in range(12):
            await running.put("changing", VERSION.format(number))
            assert set(await asyncio.gather(*(call() for _ in range(12)))) == {(200, str(number))}
        connections = await _connections(running)
        assert len(connections) == 2
        assert min(connections.values()) >= 4
        assert (await running.ask("DELETE", "/v1/workers/changing"))[0] == 204
        assert {status for status, _ in await asyncio.gather(*(call() for _ in range(12)))} == {404}


async def _connections(running: Any) -> dict[str, int]:
    """Connections of each loader, as /metrics says."""
    _, text = await running.ask("GET", "/metrics")
    rows = [line.split() for line in text.splitlines() if line.startswith("otelbridge_process_connections{")]
    return {name: int(value) for name, value in rows}


async def test_counters_are_those_of_all_loaders(serve: Callable[..., Any]) -> None:
    """The list of workers counts the invocations of every process."""
    running = await serve()
    await running.put("echo")
    async with running.load(clients=4) as load:
        await load.until(100)
    while True:
        (worker,) = (await running.ask("GET", "/v1/workers"))[1]["workers"]
        if worker.get("counters", {}).get("invocations") == len(load.answered):
            break
        await asyncio.sleep(0.05)
    assert not load.failures


async def test_what_was_replaced_elsewhere_is_let_go(serve: Callable[..., Any]) -> None:
    """Instances of a version that another loader has replaced are closed as soon as a request comes for the new one."""
    running = await serve()

    async def instances() -> int:
        _, text = await running.ask("GET", "/metrics")
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("otelbridge_process_instances{"))

    for number in range(4):
        await running.put("changing", VERSION.format(number))
        for _ in range(8):
            assert await running.ask("GET", "/w/changing/", headers={"connection": "close"}) == (200, str(number))
    while await instances() > 2:  # the numbers are shown once a second
        await asyncio.sleep(0.1)
