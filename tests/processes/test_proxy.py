"""What loaders pass on to the hub."""

from __future__ import annotations

import asyncio
import io
import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from otelbridge.web import remote
from otelbridge.web.problem import Problem
from otelbridge.web.remote import Remote
from otelbridge.web.reply import Reply, json_reply


async def events(answer: Any) -> AsyncIterator[dict[str, Any]]:
    """The records of a stream of server-sent events."""
    async for line in answer.content:
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


async def test_live_tail_comes_through_at_once(serve: Callable[..., Any]) -> None:
    """Records of both loaders reach a subscriber while the stream is open; when it leaves, the hub lets go of it."""
    running = await serve()
    await running.put("echo")
    await running.steady()
    async with running.session.get(f"{running.url}/v1/tail?worker=echo&level=log") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        stream = events(answer)
        async with running.load(clients=4) as load:
            await load.until(20)
        seen = {(await anext(stream))["fields"]["n"] for _ in load.answered}
        assert seen == set(load.answered)
        assert await _streams(running) == 1
    while await _streams(running):
        await asyncio.sleep(0.02)
    assert await running.stop() == 0


async def _streams(running: Any) -> int:
    """Live tails in the hub: it says how many it serves."""
    _, text = await running.ask("GET", "/metrics")
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("otelbridge_live_tail_subscribers "))


async def test_the_hub_answers_loaders_only(serve: Callable[..., Any], tmp_path: Path) -> None:
    """The socket is for its owner only, and the token is asked for before a request gets there."""
    running = await serve(env={"OTELBRIDGE_AUTH_TOKEN": "s3cret"})
    mode = stat.S_IMODE((tmp_path / "data" / "hub.sock").stat().st_mode)
    assert mode == 0o600
    assert (await running.ask("GET", "/v1/logs"))[0] == 401
    assert (await running.ask("GET", "/v1/logs", headers={"authorization": "Bearer s3cret"}))[0] == 200
    assert (await running.ask("GET", "/healthz"))[0] == 200


async def test_requests_pass_unchanged(serve: Callable[..., Any]) -> None:
    """Queries, bodies, problems and methods are the hub's, as if it had been asked itself."""
    running = await serve()
    status, body = await running.ask("GET", "/v1/logs?q=level%3A")
    assert (status, body["type"]) == (400, "urn:otelbridge:problem:invalid-query")
    status, body = await running.ask("POST", "/v1/query", json={"view": "invocations"})
    assert (status, body["invocations"]) == (200, [])
    assert (await running.ask("GET", "/v1/nothing"))[0] == 404
    async with running.session.post(running.url + "/v1/logs") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    async with running.session.head(running.url + "/healthz") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    assert "paths" in (await running.ask("GET", "/openapi.json"))[1]
    assert (await running.ask("POST", "/v1/query", data=io.BytesIO(bytes(17 << 20))))[0] == 413

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"view": '
        await asyncio.sleep(0.05)
        yield b'"invocations"}'

    assert (await running.ask("POST", "/v1/query", data=pieces()))[0] == 200


async def test_a_long_data_directory_is_no_hindrance(serve: Callable[..., Any], tmp_path: Path) -> None:
    """The path of the data directory may be longer than a socket's address can be."""
    running = await serve("--data-dir", str(tmp_path / ("long" * 40) / "data"))
    assert (await running.ask("GET", "/healthz"))[1] == {"status": "ok"}
    assert await running.stop() == 0


async def test_work_may_take_longer_than_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that is silent for too long is given up, but not while it works: resending dead letters may take ten minutes."""
    monkeypatch.setattr(remote, "_SILENCE_SECONDS", 0.05)

    async def hub(request: web.BaseRequest) -> Any:
        if request.method == "GET":
            await asyncio.Event().wait()
        await asyncio.sleep(0.2)
        return _rendered(json_reply({}), request)

    async def loader(request: web.BaseRequest) -> Any:
        try:
            return _rendered(await proxy.forward(request, request.raw_path, 0), request)
        except Problem as e:
            return _rendered(e.reply(), request)

    path = str(tmp_path / "hub.sock")
    behind, front = web.Server(hub, handler_cancellation=True), web.Server(loader)
    async with Remote(path) as proxy, aiohttp.ClientSession() as session:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_unix_server(behind, path), await loop.create_server(front, "127.0.0.1", 0)]
        url = f"http://127.0.0.1:{servers[1].sockets[0].getsockname()[1]}/v1/exports/resend"
        async with session.get(url) as answer:
            assert (answer.status, (await answer.json())["detail"]) == (503, "The hub has not answered for 0.05 s.")
        async with session.post(url) as answer:
            assert answer.status == 200
        assert (proxy._silence, Remote(path, query_seconds=90)._silence) == (0.05, 95.0)
        for server in servers:
            server.close()
    for one in (front, behind):
        await one.shutdown()


def _rendered(reply: Reply, request: web.BaseRequest) -> Reply:
    reply.render(request)
    return reply
