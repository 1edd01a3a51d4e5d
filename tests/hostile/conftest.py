"""One bridge for each file of attacks, with limits small enough that a bomb goes off in milliseconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from otelbridge import Bridge, Settings
from tests.hostile.arena import Arena


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled engines, shared by all test processes: entries are named after what they hold."""
    return tmp_path_factory.getbasetemp().parent / "otelbridge-hostile-cache"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> AsyncIterator[Arena]:
    """A bridge with an attacker and a neighbour."""
    environ = {
        "OTELBRIDGE_DATA_DIR": str(tmp_path_factory.mktemp("arena")),
        "OTELBRIDGE_SANDBOX_CACHE_DIR": str(cache_dir),
        "OTELBRIDGE_STORE_ENABLED": "0",
    }
    async with Bridge(Settings(environ=environ)) as bridge:
        yield Arena(bridge)
