"""What observation costs on the request path: the service with its tail and OTLP export, against the same without tails."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import peers
from bench.client import CLIENT_CORE, load
from bench.peers import SOURCES
from bench.table import OURS, Table

__all__ = ["measure"]

OFF = "(tails off)"


def measure(table: Table) -> None:
    """Throughput with everything behind the spool on the server's core as well; and what is left of it on the request path
    when a hub does that: requests per second of the loaders' CPU time."""
    seconds = 1.0 if table.quick else 3.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            peers.collector(folder / "collector") as endpoint,
            peers.otelbridge(folder / "on", endpoint) as on,
            peers.otelbridge(folder / "export", endpoint, store_enabled="0") as export,
            peers.otelbridge(folder / "hub", endpoint, processes=2, cores=peers.BOTH) as hub,
            peers.untailed(folder / "off") as off,
            peers.otelbridge(folder / "hub off", processes=2, cores=peers.BOTH, observability_enabled="0") as hub_off,
        ):
            for server in (hub, hub_off):
                server.pin("loader", peers.SERVER_CORE)
                server.pin("hub", CLIENT_CORE)
            for server in (on, export, hub, off, hub_off):
                for kind in ("plain", "seed"):
                    peers.put(server.port, kind, SOURCES[kind])
            for _ in table.rounds():
                for kind, what in (("plain", "no logs"), ("seed", "10 logs")):
                    rates = {}
                    for who, server in (("on", on), ("export", export), ("off", off), ("hub", hub), ("hub off", hub_off)):
                        load(server.port, f"/w/{kind}/x", connections=16, seconds=0.3)
                        peers.drained(server)
                        role = "loader" if who.startswith("hub") else None
                        before = server.cpu_seconds(role)
                        got = load(server.port, f"/w/{kind}/x", connections=16, seconds=seconds)
                        peers.drained(server)  # what is left to send and store costs CPU time too
                        rates[who] = got.rate, got.count / (server.cpu_seconds(role) - before)
                    for who, row in (("on", "tail + store + export, all on one core"), ("export", "tail + export, all on one core")):
                        for index, unit in ((0, "requests/s"), (1, "requests/CPU s")):
                            table.note(f"{row}, {what}: {unit}", OURS, rates[who][index], unit=unit, goal=">= 0.9" if index else "")
                            table.note(f"{row}, {what}: {unit}", OFF, rates["off"][index])
                    row = f"tail + store + export in the hub, {what}: requests/CPU s of the loaders"
                    table.note(row, OURS, rates["hub"][1], unit="requests/CPU s", goal=">= 0.9")
                    table.note(row, OFF, rates["hub off"][1])  # as many loaders as with tails on
