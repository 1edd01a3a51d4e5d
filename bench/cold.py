"""Cold starts: a worker id that the server has not loaded, from request to response, one after the other."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from pathlib import Path

from bench import peers
from bench.client import one_by_one
from bench.peers import SOURCES
from bench.table import OURS, Table

__all__ = ["measure"]


def measure(table: Table) -> None:
    """p50 and p99 of the latency, and cold loads per second of CPU time."""
    ids = 50 if table.quick else 200
    program = peers.workerd_program()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers = {OURS: stack.enter_context(peers.otelbridge(folder))}
        if program is not None:
            servers["workerd"] = stack.enter_context(peers.workerd(program, folder / "workerd"))
        port = servers[OURS].port
        peers.put(port, "plain", SOURCES["plain"])
        # Registering loads once, to see whether the code is good, and keeps nothing of it.
        for number in range(table.count * ids):
            peers.put(port, f"cold-{number}", SOURCES["cold"])
        for turn in table.rounds():
            for who, server in servers.items():
                one_by_one(server.port, ["/w/plain/x"] * 20)
                before = server.cpu_seconds()
                took = sorted(one_by_one(server.port, [f"/w/cold-{turn * ids + i}/x" for i in range(ids)]))
                cpu = server.cpu_seconds() - before
                table.note("cold start over HTTP: p50", who, statistics.median(took), unit="us", goal="<= 0.25")
                table.note("cold start over HTTP: p99", who, took[int(ids * 0.99)], unit="us")
                table.note("cold loads", who, ids / (sum(took) / 1e6), unit="loads/s")
                table.note("cold loads: by CPU time", who, ids / cpu, unit="loads/CPU s")
