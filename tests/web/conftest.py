"""A real service over a real bridge, on a free port of this machine, and clients that speak to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pytest_asyncio import is_async_test

from otelbridge import Bridge, Settings
from otelbridge.web import Service


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests of this wing: they share a service."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Running:
    """A service, and how tests call it."""

    def __init__(self, bridge: Bridge, service: Service, url: str, session: aiohttp.ClientSession) -> None:
        self.bridge = bridge
        self.service = service
        self.url = url
        self.session = session

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    async def put(self, worker_id: str, source: str, **code: Any) -> None:
        """Register a worker from source text."""
        document = {"mainModule": "index.js", "modules": {"index.js": source}, **code}
        async with self.session.put(f"{self.url}/v1/workers/{worker_id}", json=document) as answer:
            assert answer.status in (200, 201), await answer.text()

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Status, headers and body; a JSON body decoded."""
        async with self.session.request(method, self.url + path, **options) as answer:
            body = await answer.read()
            kind = answer.headers.get("content-type", "")
            return answer.status, answer.headers, json.loads(body) if "json" in kind and body else body.decode()

    @contextlib.asynccontextmanager
    async def connect(self, data: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection on which these bytes have been sent."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(data)
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def raw(self, data: bytes) -> bytes:
        """What comes back for these bytes until the other side closes."""
        async with self.connect(data) as (reader, _):
            return await reader.read()


@contextlib.asynccontextmanager
async def started(data_dir: Path, cache: Path, **flags: Any) -> AsyncIterator[Running]:
    """A service with these settings."""
    given = {"data_dir": data_dir, "sandbox.cache_dir": cache, "server.drain_seconds": 5}
    settings = Settings(environ={}, flags=given | {k.replace("__", "."): v for k, v in flags.items()})
    async with Bridge(settings) as bridge, Service(bridge=bridge) as service, aiohttp.ClientSession() as session:
        yield Running(bridge, service, await service.listen("127.0.0.1", 0), session)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code, shared by all tests of this process: compiling the engine takes seconds."""
    return tmp_path_factory.mktemp("cache")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> AsyncIterator[Running]:
    """One service for all tests that need no settings of their own; each registers workers of its own."""
    async with started(tmp_path_factory.mktemp("data"), cache, limits__wall_ms=1_000) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def serve(data_dir: Path, cache: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start a service with settings of its own."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda **flags: stack.enter_async_context(started(data_dir, cache, **flags))
