"""Requests over HTTP against plain aiohttp, which answers at once: a ratio that holds on any machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import peers
from bench.client import load
from bench.peers import SOURCES
from bench.table import OURS, Table

__all__ = ["measure"]

QUICK = True
PLAIN = "(plain aiohttp)"


def measure(table: Table) -> None:
    """Requests per second of CPU time; the spool and the store are on, the export is off."""
    seconds = 0.4 if table.quick else 3.0
    with tempfile.TemporaryDirectory() as name, peers.otelbridge(Path(name)) as ours, peers.plain() as plain:
        for kind in ("plain", "seed"):
            peers.put(ours.port, kind, SOURCES[kind])
        peers.put(ours.port, "plain-fresh", SOURCES["plain"], isolation="invocation")
        for _ in table.rounds():
            for path, row in (("plain", "warm, no logs"), ("seed", "warm, 10 logs"), ("plain-fresh", "fresh memory per request, no logs")):
                for who, server in ((OURS, ours), (PLAIN, plain)):
                    load(server.port, f"/w/{path}/x", connections=16, seconds=0.2)
                    before = server.cpu_seconds()
                    got = load(server.port, f"/w/{path}/x", connections=16, seconds=seconds)
                    table.note(f"HTTP, {row}", who, got.count / (server.cpu_seconds() - before), unit="requests/CPU s")
