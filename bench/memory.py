"""Memory that a process does not share, per loaded worker that stays warm; and what is left of it after a pause."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from bench import peers
from bench.client import one_by_one
from bench.peers import SOURCES
from bench.table import OURS, Table

__all__ = ["measure"]

KIB = 1024


def measure(table: Table) -> None:
    """One run of 1,000 workers (100 with quick): memory grows by pages, not by chance."""
    count = 100 if table.quick else 1_000
    pause = 2 if table.quick else 15
    program = peers.workerd_program()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers = {OURS: stack.enter_context(peers.otelbridge(folder, sandbox_max_instances="1100"))}
        if program is not None:
            servers["workerd"] = stack.enter_context(peers.workerd(program, folder / "workerd"))
        for number in range(count):
            peers.put(servers[OURS].port, f"kept-{number}", SOURCES["kept"])
        peers.put(servers[OURS].port, "plain", SOURCES["plain"])
        for who, server in servers.items():
            one_by_one(server.port, ["/w/plain/x"] * 200)
            time.sleep(pause / 2)
            before = server.own_bytes()
            one_by_one(server.port, [f"/w/kept-{i}/x" for i in range(count)])
            after = server.own_bytes()
            time.sleep(pause)
            row = f"private memory per warm worker, {count:,} of them"
            table.note(row, who, (after - before) / count / KIB, unit="KiB", goal="<= 0.1")
            table.note(f"{row}: after {pause} s of idleness", who, (server.own_bytes() - before) / count / KIB, unit="KiB")
