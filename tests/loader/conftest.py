"""A bridge of its own for each test, with settings where it needs them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from otelbridge import Bridge, Settings


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code, shared by all test processes: entries are named after what they hold."""
    return tmp_path_factory.getbasetemp().parent / "otelbridge-loader-cache"


@pytest_asyncio.fixture
async def bridged(data_dir: Path, cache_dir: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start a bridge with these settings (`sandbox__queue_seconds=1`)."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**flags: Any) -> Bridge:
            given = {"data_dir": data_dir, "sandbox.cache_dir": cache_dir, "store.enabled": False, "server.drain_seconds": 5}
            settings = Settings(environ={}, flags=given | {k.replace("__", "."): v for k, v in flags.items()})
            return await stack.enter_async_context(Bridge(settings))

        yield start
