"""Where the CPU time of one request goes, layer by layer: each row is what a layer adds to those above it.

The lower quarter of many short measurements stands for each figure, because what else runs on the machine only adds.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bench import peers
from bench.client import load
from bench.cpu import LOG_BYTES, REQUEST, SECOND
from bench.peers import SOURCES, Server
from bench.table import OURS, Table
from otelbridge import Bridge, Request, Settings, WorkerCode
from otelbridge.loader.worker import Worker
from otelbridge.sandbox import Meter

__all__ = ["measure"]

_HEADERS = [("Host", "127.0.0.1:8787"), ("User-Agent", "bench"), ("Accept", "*/*")]


def measure(table: Table) -> None:
    """A warm request without logs, one with 10 log lines, and one with a fresh memory."""
    http = _http(table)
    for kind, row in (("plain", "warm, no logs"), ("seed", "warm, 10 logs"), ("seed-fresh", "fresh memory, 10 logs")):
        layers = asyncio.run(_layers(kind, 300 if table.quick else 2_000))
        layers["HTTP of ours, and the metrics of what was recorded"] = http[kind] - http["floor"] - sum(layers.values())
        layers["aiohttp and the socket (as plain aiohttp)"] = http["floor"]
        for layer, us in layers.items():
            table.note(f"{row}: {layer}", OURS, us, unit="us")
        table.note(f"{row}: all of the loop's thread", OURS, http[kind], unit="us")


async def _layers(kind: str, repeats: int) -> dict[str, float]:
    """Us of the layers below HTTP."""
    isolation = "invocation" if "fresh" in kind else "reuse"
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(flags={"data_dir": Path(name), "store.enabled": False})
        async with Bridge(settings) as bridge:

            def worker(tails: list[object]) -> Worker:
                code = WorkerCode(
                    main_module="index.js",
                    modules={"index.js": SOURCES[kind.split("-")[0]]},
                    isolation=isolation,
                    tails=tails,
                )
                return bridge.loader.get(f"{kind}-{len(tails)}", lambda: code)

            async def fetch(one: Worker) -> None:
                await one.get_entrypoint().fetch(Request.parsed("GET", "http://127.0.0.1:8787/x", _HEADERS, None))

            bare, tailed = worker([]), worker([bridge.data.tail])
            await fetch(bare)
            await fetch(tailed)
            version = await bare.version()
            instance = version.idle[0].instance
            guest: list[float] = []

            async def run() -> None:
                meter = Meter(10 * SECOND)
                instance.begin(LOG_BYTES)
                await instance.run(REQUEST, meter)
                guest.append(meter.cpu_ns / 1000)
                instance.read_ring()
                instance.counters()

            async def restored() -> None:
                await run()
                assert instance.restore()

            measured = {"sandbox": run, "loader": lambda: fetch(bare), "tail": lambda: fetch(tailed)}
            if isolation == "invocation":
                measured["restore"] = restored
            us = await _low(measured, repeats)
            out = {"guest: the engine, JavaScript of ours and the worker's": _quarter(guest)}
            out["sandbox: clock, randomness, slice, copies"] = us["sandbox"] - _quarter(guest)
            if isolation == "invocation":
                out["sandbox: give the memory its image back"] = us["restore"] - us["sandbox"]
            out["loader: ids, event, instance, messages, operations"] = us["loader"] - sum(out.values())
            out["tail: the part, one write into the spool"] = us["tail"] - us["loader"]
            return out


async def _low(measured: Mapping[str, Callable[[], Awaitable[object]]], repeats: int) -> dict[str, float]:
    """Us of each, taken in turns: what else runs on the machine comes and goes."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(repeats):
        for name, run in measured.items():
            start = time.thread_time_ns()
            await run()
            times[name].append((time.thread_time_ns() - start) / 1000)
        await asyncio.sleep(0)
    return {name: _quarter(found[repeats // 10 :]) for name, found in times.items()}


def _quarter(values: list[float]) -> float:
    return sorted(values)[len(values) // 4]


def _http(table: Table) -> dict[str, float]:
    """Us of the loop's thread for each request over HTTP: the service without its store, and plain aiohttp."""
    out = {}
    with tempfile.TemporaryDirectory() as name, peers.otelbridge(Path(name), store_enabled="0") as ours, peers.plain() as plain:
        for kind in ("plain", "seed", "seed-fresh"):
            peers.put(ours.port, kind, SOURCES[kind.split("-")[0]], "invocation" if "fresh" in kind else "reuse")
            out[kind] = _loop_us(ours, f"/w/{kind}/x", table)
        out["floor"] = _loop_us(plain, "/x", table)
    return out


def _loop_us(server: Server, path: str, table: Table) -> float:
    stat = Path(f"/proc/{server.pid}/task/{server.pid}/schedstat")
    load(server.port, path, connections=16, seconds=0.5)
    found = []
    for _ in range(8 if table.quick else 24):
        before = int(stat.read_text().split()[0])
        got = load(server.port, path, connections=16, seconds=0.25)
        found.append((int(stat.read_text().split()[0]) - before) / 1000 / got.count)
    return _quarter(found)
