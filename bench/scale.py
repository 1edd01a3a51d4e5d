"""The scale curve: 10 to 10,000 registered workers under uniform and Zipf traffic, and what an idle one costs."""

from __future__ import annotations

import random
import re
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import peers
from bench.client import load
from bench.peers import SOURCES, Server
from bench.table import OURS, Table
from otelbridge import WorkerCode
from otelbridge.loader.registry import Registry

__all__ = ["measure"]

KIB = 1024
COUNTS = (10, 100, 1_000, 10_000)


def measure(table: Table) -> None:
    """One server for each number of workers, with room for 1,000 instances, as by default."""
    seconds = 5.0 if table.quick else 20.0
    empty: dict[str, float] = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _register(folder, count)
            disk = sum(f.stat().st_size for f in (folder / "data" / "registry").rglob("*") if f.is_file())
            with peers.otelbridge(folder) as server:
                urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz").read()
                own = server.own_bytes()
                empty.setdefault("own", own)
                row = f"{count:,} workers registered"
                table.note(f"{row}, none called: memory", OURS, own / KIB / KIB, unit="MiB")
                table.note(f"{row}: on disk, for each", OURS, disk / count, unit="bytes")
                if count > COUNTS[0]:
                    grown = (own - empty["own"]) / (count - COUNTS[0])
                    table.note(f"{row}: memory for each idle one", OURS, grown, unit="bytes", goal="none")
                for traffic in ("uniform", "Zipf"):
                    _traffic(table, server, count, traffic, seconds, row)


def _register(folder: Path, count: int) -> None:
    registry = Registry(folder / "data" / "registry")
    for number in range(count):
        # No two have the same code: each is a file and an image of its own.
        source = SOURCES["kept"].replace("one line", f"line of worker {number}")
        registry.put(f"kept-{number}", WorkerCode(main_module="index.js", modules={"index.js": source}))


def _traffic(table: Table, server: Server, count: int, traffic: str, seconds: float, row: str) -> None:
    weights = [1 / (rank + 1) if traffic == "Zipf" else 1.0 for rank in range(count)]
    numbers = random.Random(7).choices(range(count), weights, k=50_000)
    paths = [f"/w/kept-{number}/x" for number in numbers]
    load(server.port, paths, connections=16, seconds=seconds / 2)
    cold, before = _cold_starts(server), server.cpu_seconds()
    got = load(server.port, paths[len(paths) // 2 :], connections=16, seconds=seconds)
    cpu = server.cpu_seconds() - before
    row = f"{row}, {traffic}"
    table.note(f"{row}: rate", OURS, got.rate, unit="requests/s")
    table.note(f"{row}: by CPU time", OURS, got.count / cpu, unit="requests/CPU s")
    table.note(f"{row}: p50", OURS, got.p50, unit="us")
    table.note(f"{row}: p99", OURS, got.p99, unit="us")
    table.note(f"{row}: found warm", OURS, 100 * (1 - (_cold_starts(server) - cold) / got.count), unit="%")
    table.note(f"{row}: memory", OURS, server.own_bytes() / KIB / KIB, unit="MiB")


def _cold_starts(server: Server) -> float:
    """Loads so far, as the server's own metrics count them."""
    time.sleep(2)  # they follow the spool
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics").read().decode()
    return sum(float(value) for value in re.findall(r"^faas_coldstarts\S*? (\S+)$", text, re.MULTILINE))
