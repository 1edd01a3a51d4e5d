"""Who may use the API, and how the service ends."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from otelbridge import Settings
from otelbridge.errors import SettingsError
from otelbridge.settings import check_exposure


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "bearer\xe4"])
async def test_the_api_needs_the_token(serve: Any, header: str | None) -> None:
    """Without the right token everything under /v1 is 401, also what does not exist; workers and health stay open."""
    running = await serve(auth__token="s3cret")
    headers = {} if header is None else {"authorization": header}
    for path in ("/v1/workers", "/v1/nothing"):
        status, got, body = await running.ask("GET", path, headers=headers)
        assert (status, got["www-authenticate"]) == (401, "Bearer")
        assert "s3cret" not in str(body)
    assert (await running.ask("GET", "/healthz", headers=headers))[0] == 200
    assert (await running.ask("GET", "/w/nobody/", headers=headers))[0] == 404
    for right in ("Bearer s3cret", "bearer s3cret"):
        assert (await running.ask("GET", "/v1/workers", headers={"authorization": right}))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example:8787"}, 403),
        ({"Host": "localhost:8787", "Origin": "http://localhost:8787"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "10.0.0.7"}, 200),
        ({}, 200),
    ],
)
async def test_web_pages_of_others_may_not_use_the_api(running: Any, headers: dict[str, str], status: int) -> None:
    """Without a token, a page in the developer's browser can't run code here, by a request or by DNS rebinding."""
    assert (await running.ask("GET", "/v1/workers", headers=headers))[0] == status


def test_others_are_not_let_in_by_accident() -> None:
    """Listening beyond this machine needs a token, or --insecure."""
    exposed = Settings(environ={}, flags={"server.host": "0.0.0.0"})
    with pytest.raises(SettingsError, match="OTELBRIDGE_AUTH_TOKEN"):
        check_exposure(exposed, insecure=False)
    check_exposure(exposed, insecure=True)
    check_exposure(Settings(environ={}, flags={"server.host": "0.0.0.0", "auth.token": "x"}), insecure=False)
    check_exposure(Settings(environ={}), insecure=False)


async def test_a_stop_lets_requests_end(serve: Any) -> None:
    """While it stops, the service answers what runs, then closes; idle connections end at once, new ones are refused."""
    running = await serve()
    await running.put("slow", "export default { async fetch() { await scheduler.wait(200); return new Response('whole') } }")
    async with running.connect(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n") as (idle, _):
        await idle.readuntil(b'{"status":"ok"}')
        async with running.connect(b"GET /w/slow/ HTTP/1.1\r\nHost: h\r\n\r\n") as (busy, _):
            while not running.service._running:
                await asyncio.sleep(0.001)
            await running.service.aclose()
            answer = await busy.read()
        assert await idle.read() == b""
    assert answer.endswith(b"whole")
    assert b"connection: close" in answer
    with pytest.raises(ConnectionRefusedError):
        await running.raw(b"GET / HTTP/1.1\r\n\r\n")


async def test_a_stop_does_not_wait_for_ever(serve: Any) -> None:
    """A request that does not end within server.drain_seconds is cut off."""
    running = await serve(server__drain_seconds=0.05)
    await running.put("slow", "export default { async fetch() { await scheduler.wait(20000) } }")
    async with running.connect(b"GET /w/slow/ HTTP/1.1\r\nHost: h\r\n\r\n") as (busy, _):
        while not running.service._running:
            await asyncio.sleep(0.001)
        await running.service.aclose()
        assert await busy.read() == b""


async def test_readiness_ends_with_the_stop(serve: Any) -> None:
    """/readyz says 503 as soon as the bridge stops."""
    running = await serve()
    assert (await running.ask("GET", "/readyz"))[0] == 200
    running.bridge.stopping()
    status, _, body = await running.ask("GET", "/readyz")
    assert (status, body["type"]) == (503, "urn:otelbridge:problem:not-ready")


async def test_requests_in_one_write_are_answered_in_order(running: Any) -> None:
    """Pipelined requests get their answers in order, the last one ends the connection."""
    await running.put("echo", "export default { fetch(r) { return new Response(new URL(r.url).pathname) } }")
    asked = b"".join(b"GET /w/echo/%d HTTP/1.1\r\nHost: h\r\n%b\r\n" % (i, b"Connection: close\r\n" if i == 9 else b"") for i in range(10))
    answer = await running.raw(asked)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"/%d" % i for i in range(10)]


async def test_http_1_0_is_served(running: Any) -> None:
    """A client without Host and keep-alive gets its answer and the end of the connection."""
    await running.put("old", "export default { fetch(r) { return new Response(r.url) } }")
    answer = await running.raw(b"GET /w/old/x HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"http://localhost/x")
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "source", ["export default { fetch() { throw new Error('no') } }", "export default { fetch() { return new Response('a') } }"]
)
async def test_a_request_leaves_nothing_to_the_collector_of_garbage(running: Any, source: str) -> None:
    """Whether a worker answers or throws, nothing of a request stays in a cycle: it looks seldom, and bodies may be large."""
    await running.put("cycles", source)
    request = b"POST /w/cycles/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)
    async with running.connect(b"") as (reader, writer):

        async def ask() -> None:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))

        for _ in range(3):
            await ask()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(20):
                await ask()
            gc.collect()
            found = [type(thing).__name__ for thing in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.garbage.clear()
    assert found.count("Entrypoint") + found.count("BaseRequest") + found.count("Request") == 0
