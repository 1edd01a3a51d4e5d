"""A service under load and under faults: it is killed, its collectors fail in every way, and whatever a client was answered
is remembered, to be compared with what arrived. tests/e2e/test_faults.py does this for a minute, bench/soak.py for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.collector import CloseEarly, CloseMidBody, Fault, Partial, Slow, Status, free_port
from tests.e2e.receiver import Receiver

__all__ = ["FAULTS", "Service", "Storm", "equations_hold"]

PROGRAM = str(Path(sys.executable).parent / "otelbridge")

# As many lines as the path says; every seventh number throws, every fiftieth logs what one collector will not take.
TALK = """export default { fetch(request) {
  const url = new URL(request.url), n = Number(url.pathname.slice(1));
  const text = 'as long as such lines are, on the whole'.padEnd(Number(url.searchParams.get('length')));
  for (let i = 0; i < n; i++) console.log('line', i, { of: n, text });
  if (n % 50 === 0) console.log('poison');
  if (n % 7 === 0) throw new Error('every seventh');
  return new Response('ok');
} }"""


def records_of(n: int) -> int:
    """How many log records a call with this number leaves."""
    return n + (n % 50 == 0) + (n % 7 == 0)


class Service:
    """`otelbridge serve`, which may be killed and started again. `wrap`: what stands before the command; with `pid_file` it
    starts the service again by itself, and writes its number there."""

    def __init__(self, folder: Path, *, wrap: tuple[str, ...] = (), pid_file: Path | None = None, config: str = "", **environ: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.kills = 0
        self.peak_rss = self.first_rss = 0
        self._folder = folder
        self._wrap = wrap
        self._pid_file = pid_file
        self._process: asyncio.subprocess.Process | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "otelbridge.toml").write_text(config)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTELBRIDGE_", "OTEL_"))}
        own = {
            "OTELBRIDGE_DATA_DIR": str(folder / "data"),
            "OTELBRIDGE_SERVER_PORT": str(port),
            "OTELBRIDGE_SERVER_PROCESSES": "1",
            **environ,
        }
        self._environ = clean | {"OTELBRIDGE_SANDBOX_CACHE_DIR": str(folder / "cache")} | own

    @property
    def said(self) -> str:
        """The end of what it wrote, for a failed test."""
        return (self._folder / "serve.log").read_text("utf-8", "replace")[-4000:]

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Until it serves."""
        command = [*self._wrap, PROGRAM, "serve", "--config", str(self._folder / "otelbridge.toml")]
        if self._pid_file is None or self._process is None:
            with open(self._folder / "serve.log", "ab") as log:  # noqa: ASYNC230
                self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=self._environ)
        while True:
            assert self._process.returncode is None, self.said
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        break
            await asyncio.sleep(0.05)
        self.first_rss = self.first_rss or self.measure()

    @property
    def pid(self) -> int:
        """Of the service itself."""
        assert self._process is not None
        return self._process.pid if self._pid_file is None else int(self._pid_file.read_text())

    def measure(self) -> int:
        """Bytes of memory now; the peak is kept."""
        rss = 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            rss = pages * os.sysconf("SC_PAGE_SIZE")
        self.peak_rss = max(self.peak_rss, rss)
        return rss

    async def kill(self, after: float = 0.0) -> None:
        """SIGKILL after a while. From a thread: on this loop it would come just when a collector on it has answered."""
        assert self._process is not None
        self.measure()
        pid = self.pid
        await asyncio.to_thread(_kill, pid, after)
        if self._pid_file is None:
            await self._process.wait()
        while self._pid_file is not None and self._pid_file.read_text() in ("", f"{pid}\n"):
            await asyncio.sleep(0.01)
        self.kills += 1

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            if self._pid_file is not None:
                self._process.kill()  # first who would start it again
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        return await self._process.wait()


def _kill(pid: int, after: float) -> None:
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)


async def _status(receiver: Receiver, fault: Fault, seconds: float) -> None:
    receiver.always = fault
    await asyncio.sleep(seconds)
    receiver.always = None


async def _stopped(receiver: Receiver, seconds: float) -> None:
    await receiver.stop()
    await asyncio.sleep(seconds)
    await receiver.__aenter__()  # on the port it had


async def _some(receiver: Receiver, faults: list[Fault], seconds: float) -> None:
    receiver.faults += faults
    await asyncio.sleep(seconds)
    receiver.faults.clear()


def _always(fault: Fault) -> Callable[[Receiver, float], Awaitable[None]]:
    return lambda receiver, seconds: _status(receiver, fault, seconds)


FAULTS: Mapping[str, Callable[[Receiver, float], Awaitable[None]]] = {
    "stopped": _stopped,
    "slow": _always(Slow(0.3)),
    "429 with Retry-After": _always(Status(429, retry_after="1")),
    "503 with Retry-After": _always(Status(503, retry_after="1")),
    "500": _always(Status(500)),
    "redirect": _always(Status(307, location="/elsewhere")),
    "partial success": lambda receiver, seconds: _some(receiver, [Partial(3), Partial(1)], seconds),
    "closes early": _always(CloseEarly()),
    "closes mid-body": _always(CloseMidBody()),
}


class Storm:
    """Clients, faults and kills around a service. `acknowledged`: log records by invocation that a client was answered."""

    def __init__(self, service: Service, *, seed: int, clients: int = 6, pause_seconds: float = 0.03, length: int = 0) -> None:
        self.service = service
        self.acknowledged: dict[str, int] = {}
        self.records = 0  # of all acknowledged invocations
        self.ledgers = 0  # times the ledger was looked at
        self.least: dict[str, int] = {}  # by destination: log records that were emitted for sure
        self.faults: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._clients = clients
        self._pause = pause_seconds
        self.length = length  # of a line, at least
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def __aenter__(self) -> Storm:
        await self.service.start(self._session)
        async with self._session.put(
            f"{self.service.url}/v1/workers/talk", data=TALK, headers={"content-type": "application/javascript"}
        ) as answer:
            assert answer.status == 201, await answer.text()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self.service.stop()

    @contextlib.asynccontextmanager
    async def blowing(self, *extra: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """While inside: clients call, the ledger is watched. What goes wrong in them is raised at the end."""
        work = [self._client(number) for number in range(self._clients)]
        tasks = [asyncio.ensure_future(one) for one in (*work, self._watch(), *(more() for more in extra))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    # -------------------------------------------------------------------------------------------------------- parts

    async def _client(self, number: int) -> None:
        chance = random.Random(self._chance.random())
        while True:
            n = chance.randint(1, 40) if chance.random() > 0.01 else 50
            try:
                async with self._session.get(f"{self.service.url}/w/talk/{n}?length={self.length}") as answer:
                    await answer.read()
                    invocation = answer.headers.get("otelbridge-invocation-id", "")
                    if invocation and answer.status == (500 if n % 7 == 0 else 200):
                        self.acknowledged[invocation] = records_of(n)
                        self.records += records_of(n)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(0, 2 * self._pause))

    async def _watch(self) -> None:
        """The ledger, all the time: its equation holds, nothing that was answered is missing, no count goes back."""
        while True:
            await asyncio.sleep(0.2)
            self.service.measure()
            answered = self.records
            with contextlib.suppress(aiohttp.ClientError, OSError):
                ledger = await self.ledger()
                self.ledgers += 1
                equations_hold(ledger)
                for destination in ledger["destinations"]:
                    emitted, name = destination["signals"]["logs"]["emitted"], destination["name"]
                    assert emitted >= max(answered, self.least.get(name, 0)), (name, emitted, answered, self.least)
                    self.least[name] = emitted

    async def fail(self, receiver: Receiver, names: list[str], *, seconds: float, calm: float) -> None:
        """One fault after the other, in a random order, with calm between them."""
        names = list(names)
        self._chance.shuffle(names)
        for name in names:
            self.faults[name] += 1
            await FAULTS[name](receiver, self._chance.uniform(0.7, 1.3) * seconds)
            await asyncio.sleep(calm)

    async def restart(self) -> None:
        """Kill the service and start it again."""
        await self.service.kill()
        await self.service.start(self._session)

    async def kill(self, *, every: tuple[float, float]) -> None:
        """Kill the service at random moments and start it again."""
        while True:
            await self.service.kill(self._chance.uniform(*every))
            await self.service.start(self._session)

    async def suspend(self, process: Any, *, every: tuple[float, float], seconds: float) -> None:
        """Let a program hang for a while, again and again."""
        while True:
            await asyncio.sleep(self._chance.uniform(*every))
            process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                process.send_signal(signal.SIGCONT)

    # ------------------------------------------------------------------------------------------------------- looking

    async def ask(self, method: str, path: str) -> Any:
        """A JSON document of the service."""
        async with self._session.request(method, self.service.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def text(self, path: str) -> str:
        """A text of the service."""
        async with self._session.get(self.service.url + path) as answer:
            return await answer.text()

    async def ledger(self) -> Any:
        """The loss ledger now."""
        return await self.ask("GET", "/v1/exports")

    async def until(self, condition: Callable[[Any], bool], *, seconds: float = 120) -> Any:
        """The first ledger that fits."""
        deadline = time.monotonic() + seconds
        ledger = None
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                if condition(ledger := await self.ledger()):
                    return ledger
            assert time.monotonic() < deadline, f"{ledger}\n{self.service.said}"
            await asyncio.sleep(0.1)

    async def settled(self, *, seconds: float = 60) -> Any:
        """The ledger when nothing is queued any more."""
        return await self.until(
            lambda ledger: not any(line["queued"] for line in _lines([ledger["total"], ledger["bridge"]])), seconds=seconds
        )

    async def eventually(self, look: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
        """Wait until what is looked at is so."""
        deadline = time.monotonic() + seconds
        while not await look():
            assert time.monotonic() < deadline, f"{await self.ledger()}\n{await self.text('/metrics')}\n{self.service.said}"
            await asyncio.sleep(0.1)

    def missing(self, receiver: Receiver) -> list[str]:
        """Log records that a client was answered for and that did not arrive."""
        have = receiver.records
        return [uid for i, n in self.acknowledged.items() for k in range(n) if (uid := f"{i}-{k}") not in have]


def equations_hold(ledger: Any) -> None:
    """emitted = delivered + queued + rejected + dropped, and nothing below zero, in every line of a ledger."""
    for line in _lines(ledger):
        assert line["emitted"] == line["delivered"] + line["queued"] + line["rejected"] + sum(line["dropped"].values()), line
        assert min(line["emitted"], line["delivered"], line["queued"], line["rejected"], *line["dropped"].values()) >= 0, line


def _lines(tree: Any) -> list[dict[str, Any]]:
    if isinstance(tree, dict):
        return [tree] if "emitted" in tree else [line for member in tree.values() for line in _lines(member)]
    return [line for member in tree for line in _lines(member)] if isinstance(tree, list) else []
