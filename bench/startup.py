"""From the start of the process to the first response of a worker that is registered already."""

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


def measure(table: Table) -> None:
    """Compiled code is in the cache, as at every start but the first."""
    program = peers.workerd_program()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with peers.otelbridge(folder) as server:
            peers.put(server.port, "plain", SOURCES["plain"])
        for _ in table.rounds():
            for who in (OURS, *(["workerd"] if program is not None else [])):
                started = time.perf_counter()
                with contextlib.ExitStack() as stack:
                    if program is None or who == OURS:
                        server = stack.enter_context(peers.otelbridge(folder))
                    else:
                        server = stack.enter_context(peers.workerd(program, folder / "workerd"))
                    one_by_one(server.port, ["/w/plain/x"])
                    table.note("process start to first response", who, (time.perf_counter() - started) * 1000, unit="ms")
                    table.note("CPU time of that", who, server.cpu_seconds() * 1000, unit="ms")
