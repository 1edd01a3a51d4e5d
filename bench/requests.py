"""Warm requests, fresh instances and throwing workers: rates and latencies against workerd, on one core and on two.

Ours has everything on: spool, store, live tail and OTLP export into a real collector. On one core all of that shares the
server's core. On two, where ours has two loaders and a hub, the client and the collector take what they need of them.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from bench import peers
from bench.client import load
from bench.peers import SOURCES, Server
from bench.table import OURS, Table

__all__ = ["measure"]

# row, worker of ours, worker of workerd's, connections, goal of the rates' ratio
_CASES = (
    ("warm, no logs", "plain", "plain", 16, ">= 1"),
    ("warm, 10 logs + tail + export", "seed", "seed", 16, ">= 2"),
    ("warm, 10 logs + tail + export", "seed", "seed", 64, ""),
    ("throwing, 1 log + tail + export", "throw", "throw", 16, ""),
    ("fresh instance per request (workerd: warm), 10 logs + tail + export", "seed-fresh", "seed", 16, ">= 1"),
)


def measure(table: Table) -> None:
    """Rates by wall time and by the server's CPU time, that of its backlog included; p50 and p99 of the latency."""
    _measure(table, "one core", 1, frozenset({peers.SERVER_CORE}))
    _measure(table, "two cores", 2, peers.BOTH)


def _measure(table: Table, where: str, processes: int, cores: frozenset[int]) -> None:
    seconds = 1.0 if table.quick else 3.0
    program = peers.workerd_program()
    if program is None:
        table.remark("workerd was not measured: there is no npm here to install it with")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        endpoint = stack.enter_context(peers.collector(folder / "collector"))
        servers = {OURS: stack.enter_context(peers.otelbridge(folder, endpoint, processes=processes, cores=cores))}
        untailed = stack.enter_context(peers.untailed(folder / "untailed")) if processes == 1 else None
        if program is not None:
            servers["workerd"] = stack.enter_context(peers.workerd(program, folder / "workerd", cores))
        for kind in ("plain", "seed", "throw"):
            peers.put(servers[OURS].port, kind, SOURCES[kind])
        peers.put(servers[OURS].port, "seed-fresh", SOURCES["seed"], isolation="invocation")
        if untailed is not None:
            peers.put(untailed.port, "plain", SOURCES["plain"])
        for _ in table.rounds():
            if untailed is not None:  # workerd's plain worker has no tail; ours, as a service, gives one to every worker
                for who, server in ({**servers, OURS: untailed}).items():
                    _case(table, who, server, "/w/plain/x", f"{where}: warm, no logs, no tail on either side", 16, seconds, ">= 1")
            for row, ours, theirs, connections, goal in _CASES:
                for who, server in servers.items():
                    _case(table, who, server, f"/w/{ours if who == OURS else theirs}/x", f"{where}: {row}", connections, seconds, goal)


def _case(table: Table, who: str, server: Server, path: str, row: str, connections: int, seconds: float, goal: str) -> None:
    load(server.port, path, connections=connections, seconds=0.3)
    if who == OURS:
        peers.drained(server)
    before = server.cpu_seconds()
    got = load(server.port, path, connections=connections, seconds=seconds)
    if who == OURS:
        peers.drained(server)  # what is left to send and store costs CPU time too, and is not for the next server's core
    cpu = server.cpu_seconds() - before
    row = f"{row}, {connections} connections"
    table.note(row, who, got.rate, unit="requests/s", goal=goal)
    table.note(f"{row}: by CPU time", who, got.count / cpu, unit="requests/CPU s", goal=goal)
    table.note(f"{row}: p50", who, got.p50, unit="us")
    table.note(f"{row}: p99", who, got.p99, unit="us", goal="<= 0.2" if connections == 16 and ": warm" in row else "")
