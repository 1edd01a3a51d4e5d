"""One process against two loaders and a hub on two cores: throughput, CPU time by role, memory, and what the hub costs invocations.

Client and servers share the two cores, so the rate of cheap requests says more about the client than about us. Two figures do
not depend on it: requests that compute for 2 ms each, beside which a client's 0.05 ms is little, and CPU time per request.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import peers
from bench.client import CLIENT_CORE, Result, load
from bench.peers import SOURCES, Server
from bench.table import OURS, Table

__all__ = ["measure"]

ONE = "1 process"
BOTH = frozenset({peers.SERVER_CORE, CLIENT_CORE})
KIB = 1024
COMPUTE = """export default { fetch() {
  const end = Date.now(); let x = 1;
  for (let i = 0; i < 5000; i++) x = (x * 48271) % 2147483647;
  return new Response(String(x + end - end));
} }"""


def measure(table: Table) -> None:
    """Rates and CPU time of one against two, round by round; then the two with and without a working hub; then memory."""
    seconds = 1.0 if table.quick else 3.0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        endpoint = stack.enter_context(peers.collector(folder / "collector"))
        servers = {
            OURS: stack.enter_context(peers.otelbridge(folder / "two", endpoint, processes=2, cores=BOTH)),
            ONE: stack.enter_context(peers.otelbridge(folder / "one", endpoint, cores=BOTH)),
        }
        for server in servers.values():
            peers.put(server.port, "compute", COMPUTE)
            peers.put(server.port, "seed", SOURCES["seed"])
        two = servers[OURS]
        while len([p for p in _processes(two) if p["state"] == "running"]) < 4:
            time.sleep(0.1)
        for _ in table.rounds():
            for row, worker, connections, goal in (
                ("computes 2 ms per request", "compute", 16, ">= 1.8"),
                ("warm, 10 logs + tail + export", "seed", 32, ""),
            ):
                for who, server in servers.items():
                    _case(table, f"2 loaders: {row}", who, server, worker, connections, seconds, goal)
            _hub(table, two, seconds)
        for process in _processes(two):
            pid = process["pid"]
            table.note(f"2 loaders: private memory of {process['role']}", OURS, _own_bytes(pid) / KIB, unit="KiB")
        table.note("2 loaders: private memory of the one process", ONE, servers[ONE].own_bytes() / KIB, unit="KiB")


def _case(table: Table, row: str, who: str, server: Server, worker: str, connections: int, seconds: float, goal: str) -> None:
    load(server.port, f"/w/{worker}/x", connections=connections, seconds=0.3)
    before = _cpu_by_role(server)
    got = _load(server, worker, connections, seconds)
    peers.drained(server)  # what the hub has left to do belongs to these requests
    used = {role: (cpu - before.get(role, 0.0)) / got.count * 1e6 for role, cpu in _cpu_by_role(server).items()}
    table.note(row, who, got.rate, unit="requests/s", goal=goal)
    table.note(f"{row}: p99", who, got.p99, unit="us")
    table.note(f"{row}: CPU per request", who, sum(used.values()), unit="us")
    if who == OURS:
        table.note(f"{row}: CPU per request, hub", who, used["hub"], unit="us")


def _hub(table: Table, server: Server, seconds: float) -> None:
    """Invocations at half of what the service can go on with, while export and index work, and while the hub is stopped."""
    hub = next(p["pid"] for p in _processes(server) if p["role"] == "hub")
    began = time.monotonic()
    count = _load(server, "seed", 32, seconds / 2).count
    peers.drained(server)  # it gives way to the loaders, and is behind when they end
    rate = count / (time.monotonic() - began) / 2
    working = load(server.port, "/w/seed/x", connections=16, seconds=seconds, rate=rate)
    os.kill(hub, signal.SIGSTOP)
    try:
        stopped = load(server.port, "/w/seed/x", connections=16, seconds=seconds, rate=rate)
    finally:
        os.kill(hub, signal.SIGCONT)
    for name, one, other in (("p50", working.p50, stopped.p50), ("p99", working.p99, stopped.p99)):
        table.note(f"2 loaders: {name} at half load with the hub at work", OURS, one, unit="us", goal="<= 1.1")
        table.note(f"2 loaders: {name} at half load with the hub at work", "hub stopped", other, unit="us")
    peers.drained(server)


def _load(server: Server, worker: str, connections: int, seconds: float) -> Result:
    return load(server.port, f"/w/{worker}/x", connections=connections, seconds=seconds)


def _processes(server: Server) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/v1/exports") as answer:
        processes: list[dict[str, Any]] = json.load(answer)["processes"]
    return processes


def _cpu_by_role(server: Server) -> dict[str, float]:
    out: dict[str, float] = {}
    for process in _processes(server):
        if process["pid"] is not None:
            out[process["role"]] = out.get(process["role"], 0.0) + sum(_schedule(process["pid"]))
    return out


def _schedule(pid: int) -> Iterator[float]:
    """CPU seconds of each thread of a process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            yield int((task / "schedstat").read_text().split()[0]) / 1e9


def _own_bytes(pid: int) -> int:
    """Private memory of one process, without those that it has started."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))
