"""Images of fresh-per-invocation workers: one loader runs module scope, the others map what it has stored."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

SOURCE = """console.log('module scope');
const loaded = Date.now(); let calls = 0;
const table = new Array(%d).fill('entry').map((text, i) => text + i);
export default { fetch() { return new Response(`${loaded} ${++calls} ${table.length}`) } }"""


class Worker:
    """A worker with isolation "invocation", and the files that the service has of it."""

    def __init__(self, running: Any, data: Path, *, size: int = 10, worker_id: str = "fresh") -> None:
        self.running = running
        self.images = data / "images"
        self.id = worker_id
        self.code = {"mainModule": "index.js", "modules": {"index.js": SOURCE % size}, "isolation": "invocation"}
        self.size = size
        self.invocations: list[str] = []

    async def put(self) -> None:
        """Register it, again with the same code."""
        status, body = await self.running.ask("PUT", f"/v1/workers/{self.id}", json=self.code)
        assert status in (200, 201), body

    def maps(self, pid: int) -> set[str]:
        """Its files that a process has mapped."""
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        return {line.split(maxsplit=5)[5] for line in lines if f"{self.images}/" in line}

    async def ask(self, session: aiohttp.ClientSession) -> str:
        """When its module scope ran, as it says; no call sees what another one has left."""
        async with session.get(f"{self.running.url}/w/{self.id}/") as answer:
            loaded, calls, size = (await answer.text()).split()
            self.invocations.append(answer.headers["otelbridge-invocation-id"])
            assert (calls, size) == ("1", str(self.size))
            return loaded

    async def logged(self) -> list[str]:
        """What it has logged, in all invocations."""
        for invocation in self.invocations:
            while (await self.running.ask("GET", f"/v1/invocations/{invocation}"))[1].get("outcome") != "ok":
                await asyncio.sleep(0.05)
        _, page = await self.running.ask("GET", f"/v1/logs?q=worker:{self.id}+level:log")
        return [record["text"] for record in page["logs"]]

    async def ask_until_mapped(self, *pids: int) -> set[str]:
        """Ask on one connection after the other, until these processes have an image of it: what it has answered."""
        answers = set()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
            async with asyncio.timeout(60):
                while not all(self.maps(pid) for pid in pids):
                    answers.update(await asyncio.gather(*(self.ask(session) for _ in range(6))))
        return answers


def pids(loaders: list[dict[str, Any]]) -> list[int]:
    """Of these processes."""
    return [loader["pid"] for loader in loaders]


@pytest.mark.parametrize("size", [10, 30_000])
async def test_one_loader_runs_module_scope_for_all(serve: Callable[..., Any], tmp_path: Path, size: int) -> None:
    """Both loaders answer from one image, in files that both have mapped, small or large; the lines of module scope are recorded
    once."""
    running = await serve()
    loaders = pids(await running.steady())
    worker = Worker(running, tmp_path / "data", size=size)
    await worker.put()
    async with aiohttp.ClientSession() as session:
        first = await worker.ask(session)
    assert await worker.ask_until_mapped(*loaders) | {first} == {first}
    assert len({frozenset(worker.maps(pid)) for pid in loaders}) == 1
    assert await worker.logged() == ["module scope"]


async def test_a_put_and_a_delete_end_an_image(serve: Callable[..., Any], tmp_path: Path) -> None:
    """The same code registered again runs its module scope anew; what was stored for it before is removed."""
    running = await serve()
    loaders = pids(await running.steady())
    worker = Worker(running, tmp_path / "data")
    answers = []
    for _ in range(3):
        await worker.put()
        assert list(worker.images.iterdir()) == []
        async with aiohttp.ClientSession() as session:
            answers.append(await worker.ask(session))
        assert await worker.ask_until_mapped(*loaders) == {answers[-1]} or not answers[:-1]
        assert len(list(worker.images.iterdir())) == 1
    assert len(set(answers)) == 3
    assert (await running.ask("DELETE", f"/v1/workers/{worker.id}"))[0] == 204
    assert list(worker.images.iterdir()) == []


async def test_an_image_ends_with_the_service(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A loader that was killed goes on from it; after a SIGHUP, a restart and a crash of the service module scope runs again, and
    a single process stores nothing."""
    running = await serve()
    worker = Worker(running, tmp_path / "data")
    await worker.put()
    before = pids(await running.steady())
    (first,) = await worker.ask_until_mapped(*before)
    os.kill(before[0], signal.SIGKILL)
    while before[0] in (after := pids(await running.steady())):
        await asyncio.sleep(0.05)
    assert await worker.ask_until_mapped(*after) == {first}

    running.process.send_signal(signal.SIGHUP)
    await running.wait_for("all processes are replaced")
    while {*after} & {*(replaced := pids(await running.steady()))}:
        await asyncio.sleep(0.05)
    (second,) = await worker.ask_until_mapped(*replaced)
    running.process.kill()
    await running.ended()
    assert worker.images.exists()

    worker.running = running = await serve()
    assert list(worker.images.iterdir()) == []
    (third,) = await worker.ask_until_mapped(*pids(await running.steady()))
    assert len({first, second, third}) == 3
    running.process.kill()
    await running.ended()

    worker.running = running = await serve("--processes", "1")
    async with aiohttp.ClientSession() as session:
        assert await worker.ask(session) not in {first, second, third}
    assert not worker.images.exists()
    assert await running.stop() == 0


async def test_nothing_is_left_of_images(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A service that ends removes them: they hold what workers had in memory."""
    running = await serve()
    worker = Worker(running, tmp_path / "data")
    await worker.put()
    await worker.ask_until_mapped(*pids(await running.steady()))
    assert os.stat(worker.images).st_mode & 0o777 == 0o700
    assert await running.stop() == 0
    assert not worker.images.exists()


async def test_a_damaged_image_is_made_anew(serve: Callable[..., Any], tmp_path: Path) -> None:
    """The loader that finds it damaged runs module scope itself and stores what that left."""
    running = await serve()
    worker = Worker(running, tmp_path / "data")
    await worker.put()
    loaders = pids(await running.steady())
    async with aiohttp.ClientSession() as session:
        first = await worker.ask(session)
    (other,) = [pid for pid in loaders if not worker.maps(pid)]
    (entry,) = worker.images.iterdir()
    for path in list(entry.iterdir()):  # other files of the same names: what is mapped stays as it is
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert len(await worker.ask_until_mapped(other) | {first}) == 2
