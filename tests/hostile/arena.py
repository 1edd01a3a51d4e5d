"""Where attacks run: one bridge, the attacker's records as its tail got them, and a neighbour that must not notice."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from otelbridge import Bridge, Limits, Request, Response, TailWorker, TraceItem, WorkerCode, WorkerError
from otelbridge.model.trace import OUTCOMES

__all__ = ["Arena", "Attack", "Result", "words"]

SMALL = Limits(cpu_ms=50, memory_mb=32, wall_ms=10_000, log_bytes=65_536)
NEIGHBOUR = "export default { fetch() { console.log('fine'); return new Response('fine'); } }"


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent in and what must come of it. Members that are None are not looked at."""

    name: str
    source: str  # of the main module; one that is only statements is the body of fetch()
    outcome: str = "ok"
    body: str | None = None  # of the response; None with an `error`
    status: int = 200
    error: str | None = None  # a part of "Name: message", as the client gets it
    logs: tuple[str, ...] | None = ()  # the kept lines' words, all of them
    logs_begin: tuple[str, ...] | None = None  # instead: the first of them
    exceptions: tuple[str, ...] | None = None  # a part of each "Name: message"
    drops: bool = False  # whether lines or exceptions were dropped, and counted
    limits: Limits = Limits()
    options: Mapping[str, Any] = {}  # of WorkerCode

    def __str__(self) -> str:
        return self.name


class Result(msgspec.Struct):
    """What came of an attack. `error`: "Name: message" as the client got it."""

    item: TraceItem
    status: int | None = None
    body: bytes = b""
    headers: list[tuple[str, str]] = []
    error: str | None = None


class Witness(TailWorker):
    """Keeps every trace item."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[TraceItem] = []

    async def tail(self, events: Sequence[TraceItem]) -> None:
        self.items.extend(events)


def words(item: TraceItem) -> list[str]:
    """The log lines of an item: their arguments, separated by spaces."""
    return [" ".join(a if isinstance(a, str) else json.dumps(a) for a in log.message) for log in item.logs]


def lower(own: Limits) -> Limits:
    """An attack's own limits, with small ones for the rest."""
    return Limits(**{n: getattr(SMALL, n) if getattr(own, n) is None else getattr(own, n) for n in Limits.__struct_fields__})


class Arena:
    """Runs attacks against one bridge and checks what must hold after every one of them."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self._seen = Witness()
        self._neighbour = bridge.loader.get(
            "neighbour", lambda: WorkerCode(main_module="n.js", modules={"n.js": NEIGHBOUR}, tails=[self._seen])
        )

    @property
    def stacks(self) -> Any:
        """The engine's stacks."""
        return self._neighbour.host.runtimes.javascript._engine.stacks

    def worker(self, source: str, *, limits: Limits | None = None, **options: Any) -> tuple[Any, Witness]:
        """A worker of this source, and what its tail gets to see."""
        witness = Witness()
        if "export default" not in source:
            source = "export default { async fetch(request, env, ctx) {\n" + source + "\n} }"
        modules = {"index.js": source, **options.pop("modules", {})}
        code = WorkerCode(main_module="index.js", modules=modules, limits=lower(limits or Limits()), tails=[witness], **options)
        return self.bridge.loader.load(code), witness

    def core(self, source: bytes, *, limits: Limits | None = None, **options: Any) -> tuple[Any, Witness]:
        """A core-module worker, and what its tail gets to see."""
        witness = Witness()
        code = WorkerCode(main_module="a.wasm", modules={"a.wasm": source}, limits=lower(limits or Limits()), tails=[witness], **options)
        return self.bridge.loader.load(code), witness

    async def call(self, worker: Any, witness: Witness, request: Request | None = None, **options: Any) -> Result:
        """One request, its response or error, and its record, checked. The invocation has ended."""
        before = time.time_ns()
        seen = len(witness.items)
        status: int | None = None
        body, headers = b"", list[tuple[str, str]]()
        error: str | None = None
        try:
            response: Response = await worker.get_entrypoint().fetch(request or Request("GET", "http://attacker/"), **options)
            status, headers, invocation_id = response.status, response.headers, response.invocation_id
            body = await response.bytes()
        except WorkerError as e:
            error, invocation_id = f"{e.name}: {e.message}", e.invocation_id
        await self.bridge.drain()
        assert len(witness.items) == seen + 1, "an invocation leaves one record"
        item = witness.items[-1]
        check_truth(item, worker.worker_id, before, time.time_ns())
        assert item.invocation_id == invocation_id
        return Result(item, status, body, headers, error)

    async def run(self, attack: Attack) -> Result:
        """An attack, with everything that it says of itself, and what holds for all."""
        worker, witness = self.worker(attack.source, limits=attack.limits, **attack.options)
        result = await self.call(worker, witness)
        expect(attack, result)
        await self.neighbour()
        return result

    async def neighbour(self) -> None:
        """The neighbour is served, and its record holds what it logged and nothing else."""
        response = await self._neighbour.get_entrypoint().fetch(Request("GET", "http://neighbour/"))
        assert await response.bytes() == b"fine"
        await self.bridge.drain()
        item = self._seen.items[-1]
        assert (item.worker_id, item.invocation_id, item.outcome) == ("neighbour", response.invocation_id, "ok")
        assert (words(item), item.exceptions, item.dropped.logs) == (["fine"], [], 0)


def expect(attack: Attack, result: Result) -> None:
    """Compare what came with what the attack says must come."""
    item = result.item
    thrown = [f"{e.name}: {e.message}" for e in item.exceptions]
    about = (item.outcome, result.error, result.status, result.body[:200], words(item)[:5], thrown[:3])
    assert item.outcome == attack.outcome, about
    if attack.error is not None:
        assert attack.error in (result.error or ""), about
    else:
        assert (result.error, result.status) == (None, attack.status), about
        assert attack.body is None or result.body.decode() == attack.body, about
    if attack.logs_begin is not None:
        assert tuple(words(item)[: len(attack.logs_begin)]) == attack.logs_begin, about
    elif attack.logs is not None:
        assert tuple(words(item)) == attack.logs, about
    if attack.exceptions is not None:
        assert len(thrown) == len(attack.exceptions), about
        assert all(part in whole for part, whole in zip(attack.exceptions, thrown, strict=True)), about
    assert bool(item.dropped.logs or item.dropped.exceptions or item.dropped.bytes) == attack.drops, item.dropped
    assert item.truncated == attack.drops


def check_truth(item: TraceItem, worker_id: str, before: int, after: int) -> None:
    """What no guest can bend: whose record it is, its times, its outcome, and that it can be written as JSON."""
    assert item.worker_id == worker_id
    assert item.outcome in OUTCOMES
    assert before <= item.start_ns <= item.end_ns <= after
    entries = sorted((e.sequence, e.time_ns) for found in (item.logs, item.exceptions, item.diagnostics) for e in found)
    times = [time_ns for _, time_ns in entries]
    assert times == sorted(set(times))
    assert not times or (before <= times[0] and times[-1] <= after + len(times))
    assert all(log.level in ("debug", "log", "info", "warn", "error") for log in item.logs)
    json.dumps(item.to_json(), allow_nan=False)
