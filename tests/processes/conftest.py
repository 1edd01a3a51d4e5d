"""A real `otelbridge serve` in several processes, on a free port, and what tests do with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from otelbridge.cli import main; main()", "serve", "--port", "0")
ECHO = """export default { async fetch(request) {
  const number = new URL(request.url).searchParams.get('n');
  console.log({ n: Number(number) });
  return new Response(number);
} }"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test starts some ten processes, which on a busy machine takes its time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(400))


class Load:
    """Clients that call a worker all the time, each on a connection of its own. `answered`: numbers of calls that were answered."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.answered: list[int] = []
        self.failures: list[str] = []
        self._url = url
        self._session = session
        self._next = 0
        self._running = True

    async def until(self, count: int) -> None:
        """Wait until that many more calls were answered."""
        count += len(self.answered)
        while len(self.answered) < count:
            await asyncio.sleep(0.005)

    async def client(self) -> None:
        while self._running:
            self._next += 1
            number = self._next
            try:
                async with self._session.get(f"{self._url}/w/echo/?n={number}") as answer:
                    body = await answer.text()
                    if answer.status == 200 and body == str(number):
                        self.answered.append(number)
                    else:
                        self.failures.append(f"{answer.status} {body}")
            except aiohttp.ClientError as e:
                self.failures.append(f"{type(e).__name__}: {e}")

    def stop(self) -> None:
        self._running = False


class Running:
    """A service: its supervisor's process, its URL and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.session = session
        self.url = ""
        self.said: list[str] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._news:
                self.said.append(line.decode())
                self._news.notify_all()
        async with self._news:
            self.said.append("(end)")
            self._news.notify_all()

    async def wait_for(self, text: str, *, after: int = 0) -> str:
        """Wait for a line with this text behind the first `after` lines."""
        async with self._news:
            while True:
                for line in self.said[after:]:
                    if text in line:
                        return line
                assert self.said[-1:] != ["(end)"], "".join(self.said)
                await self._news.wait()

    async def begun(self) -> None:
        """Wait until all processes serve."""
        line = await self.wait_for("listens on")
        found = re.search(r"http://\S+", re.sub(r"\x1b\[\d+m", "", line))
        assert found is not None
        self.url = found[0]

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and body, which is decoded when it is JSON."""
        async with self.session.request(method, self.url + path, **options) as answer:
            kind = answer.headers.get("content-type", "")
            return answer.status, await answer.json(content_type=None) if "json" in kind else await answer.text()

    async def put(self, worker_id: str, source: str = ECHO) -> None:
        """Register a worker."""
        status, body = await self.ask("PUT", f"/v1/workers/{worker_id}", data=source, headers={"content-type": "text/javascript"})
        assert status in (200, 201), body

    async def processes(self, role: str) -> list[dict[str, Any]]:
        """What the API shows of the processes with a role."""
        while True:
            status, body = await self.ask("GET", "/v1/exports")
            if status == 200:
                return [process for process in body["processes"] if process["role"] == role]
            assert status == 503
            await asyncio.sleep(0.05)

    async def steady(self, count: int = 2) -> list[dict[str, Any]]:
        """Wait until hub and loaders run, and no others; the loaders."""
        while True:
            loaders, hubs = await self.processes("loader"), await self.processes("hub")
            if len(loaders) == count and len(hubs) == 1 and all(p["state"] == "running" for p in (*loaders, *hubs)):
                return loaders
            await asyncio.sleep(0.05)

    async def logged(self, worker_id: str = "echo") -> list[tuple[str, int]]:
        """Invocation and number of each line that the worker has logged, from the store."""
        lines: list[tuple[str, int]] = []
        cursor = ""
        while True:
            status, page = await self.ask("GET", f"/v1/logs?q=worker:{worker_id}+level:log&limit=1000{cursor}")
            assert status == 200, page
            lines += [(record["invocationId"], record["fields"]["n"]) for record in page["logs"] if "fields" in record]
            if page["nextCursor"] is None:
                return lines
            cursor = f"&cursor={page['nextCursor']}"

    async def logs_hold(self, numbers: list[int]) -> None:
        """Wait until the store has the line of each of these calls; no line is there twice. A call may be there as two invocations:
        a client whose connection ends without an answer repeats a GET by itself."""
        found = await self.logged()
        while not set(numbers) <= {number for _, number in found}:
            await asyncio.sleep(0.1)
            found = await self.logged()
        assert len(found) == len(set(found))

    @contextlib.asynccontextmanager
    async def load(self, clients: int = 6) -> AsyncIterator[Load]:
        """Call worker echo all the time."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            load = Load(self.url, session)
            tasks = [asyncio.ensure_future(load.client()) for _ in range(clients)]
            try:
                yield load
            finally:
                load.stop()
                await asyncio.gather(*tasks)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the supervisor a signal; its exit code."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the supervisor's end and that of all who hold its stderr: its exit code."""
        code = await self.process.wait()
        await self._reading
        return code


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code, shared by all tests of this process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environ(tmp_path: Path, cache: Path) -> dict[str, str]:
    """The environment of a service that this test starts."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTELBRIDGE_", "OTEL_", "NO_COLOR", "FORCE_COLOR"))}
    return clean | {
        "OTELBRIDGE_DATA_DIR": str(tmp_path / "data"),
        "OTELBRIDGE_SANDBOX_CACHE_DIR": str(cache),
        "OTELBRIDGE_SERVER_PROCESSES": "2",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


@pytest_asyncio.fixture
async def serve(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Start a service, by default with two loaders; `ready=False`: do not wait until it serves."""
    started: list[Running] = []
    async with aiohttp.ClientSession() as session:

        async def start(*arguments: str, env: dict[str, str] | None = None, ready: bool = True) -> Running:
            process = await asyncio.create_subprocess_exec(
                *PROGRAM, *arguments, env=environ | (env or {}), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
            )
            running = Running(process, session)
            started.append(running)
            if ready:
                await running.begun()
            return running

        yield start
        for running in started:
            if running.process.returncode is None:
                running.process.kill()
            await running.ended()
