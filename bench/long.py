"""A long run at half load, with the collector gone in the middle third: memory and latency must stay where they are.

OTELBRIDGE's settings are the defaults. Minutes: BENCH_MINUTES, 30 by default, 1 with --quick.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from pathlib import Path

from bench import peers
from bench.client import load
from bench.peers import SOURCES
from bench.table import OURS, Table

__all__ = ["measure"]

MIB = 1 << 20
FIRST = "(first sixth)"
_KINDS = ("plain", "seed", "throw", "seed-fresh")


def measure(table: Table) -> None:
    """Six stretches of equal length; the collector is gone in the third and the fourth."""
    minutes = float(os.environ.get("BENCH_MINUTES", "1" if table.quick else "30"))
    paths = [f"/w/{kind}/x" for kind in _KINDS]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        port = peers.free_port()
        server = stack.enter_context(peers.otelbridge(folder, f"http://127.0.0.1:{port}"))
        for kind in _KINDS:
            peers.put(server.port, kind, SOURCES[kind.split("-")[0]], "invocation" if kind == "seed-fresh" else "reuse")
        collector = contextlib.ExitStack()
        stack.callback(collector.close)
        collector.enter_context(peers.collector(folder / "collector", port))
        half = load(server.port, paths, connections=16, seconds=10).rate / 2
        peers.drained(server)  # of what came at full speed
        table.note("long run: rate", OURS, half, unit="requests/s")
        first: dict[str, float] = {}
        owned: list[float] = []
        for stretch in range(6):
            if stretch == 2:
                collector.close()
            if stretch == 4:
                collector.enter_context(peers.collector(folder / "collector", port))
            got = load(server.port, paths, connections=16, seconds=minutes * 10, rate=half)
            what = "the collector is gone" if stretch in (2, 3) else "the collector answers"
            row = f"long run of {minutes:g} minutes, sixth {stretch + 1}, {what}"
            owned.append(server.own_bytes() / MIB)
            for figure, value, unit in (
                ("private memory", owned[-1], "MiB"),
                ("RSS", server.rss_bytes() / MIB, "MiB"),
                ("p50", got.p50, "us"),
                ("p99", got.p99, "us"),
            ):
                first.setdefault(figure, value)
                table.note(f"{row}: {figure}", OURS, value, unit=unit, goal="about 1" if stretch else "")
                table.note(f"{row}: {figure}", FIRST, first[figure])
        verdict = f"long run of {minutes:g} minutes, verdict"
        table.note(f"{verdict}: slope of private memory, last half", OURS, slope(owned, minutes), unit="MiB/10 min", goal="about 0")
        table.note(f"{verdict}: p50, last sixth", OURS, got.p50, unit="us", goal="about 1")
        table.note(f"{verdict}: p50, last sixth", FIRST, first["p50"])


def slope(owned: list[float], minutes: float) -> float:
    """MiB per 10 minutes over the last half: the line through the figures at the ends of the third to the sixth sixth."""
    ends = [minutes * sixth / 6 for sixth in (3, 4, 5, 6)]
    return statistics.linear_regression(ends, owned[2:]).slope * 10
