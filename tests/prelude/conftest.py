"""Runs JavaScript in a real worker. A module of tests names its expressions in TABLE and gets all their results at once as `got`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from otelbridge import Bridge, Request, Settings, TailWorker, WorkerCode

SOURCE = """
const cases = {
%s
};
export default {
  async fetch(request, env, ctx) {
    const out = {};
    for (const name in cases) {
      try {
        out[name] = (await cases[name](request, env, ctx)) ?? null;
      } catch (e) {
        out[name] = { throws: e?.name, message: e?.message };
      }
    }
    return Response.json(out);
  },
};
"""


class Recorder(TailWorker):
    """Keeps the trace items of a worker."""

    def __init__(self) -> None:
        super().__init__(props={})
        self.items: list[dict[str, Any]] = []

    async def tail(self, events: Any) -> None:
        self.items += [event.to_json() for event in events]


class Throws:
    """Equal to a result that is an error of this name, whose message holds this text."""

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and other.get("throws") == self.name and self.text in str(other.get("message"))

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Throws({self.name!r}, {self.text!r})"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bridge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridge]:
    """One bridge for all of this folder; compiled engines are shared with other test processes."""
    settings = Settings(
        environ={
            "OTELBRIDGE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "OTELBRIDGE_SANDBOX_CACHE_DIR": str(Path(tmp_path_factory.getbasetemp()).parent / "otelbridge-sandbox-cache"),
            "OTELBRIDGE_OUTBOUND_ALLOW_PRIVATE": "1",
            "OTELBRIDGE_LIMITS_CPU_MS": "30000",
        }
    )
    async with Bridge(settings) as bridge:
        yield bridge


Run = Callable[..., Awaitable[tuple[Any, list[dict[str, Any]]]]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def run(bridge: Bridge) -> Run:
    """Run a worker once: its response's JSON (or text) and the invocation's trace items."""

    async def run(source: str, request: Request | None = None, **code: Any) -> tuple[Any, list[dict[str, Any]]]:
        recorder = Recorder()
        worker = bridge.loader.load(WorkerCode(main_module="index.js", modules={"index.js": source}, tails=[recorder], **code))
        response = await worker.get_entrypoint().fetch(request or Request("GET", "http://worker.example/path?q=1"))
        body = (await response.bytes()).decode()
        await bridge.drain()
        return json.loads(body) if body[:1] in ("{", "[", '"') else body, recorder.items

    return run


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def got(request: pytest.FixtureRequest, run: Run) -> Mapping[str, Any]:
    """The results of a module's TABLE: a value as JSON, or `throws` and `message`."""
    table: Mapping[str, tuple[str, Any]] = request.module.TABLE
    rows = ",\n".join(f"{json.dumps(name)}: async (request, env, ctx) => ({expression})" for name, (expression, _) in table.items())
    results, _ = await run(SOURCE % rows)
    assert isinstance(results, dict)
    return results
