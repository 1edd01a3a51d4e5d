"""The table against workerd: same workers, same client, one core each, alternating. `python -m bench.workerd [--quick]`."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench import peers
from bench.client import load, one_by_one

__all__ = ["main"]

_LOGS = 'for (let i = 0; i < 10; i++) console.log("request handled", { i, user: "u-42", path: request.url });'
SOURCES = {
    "plain": 'export default { async fetch(request, env, ctx) { return new Response("ok\\n"); } };',
    "seed": f'export default {{ async fetch(request, env, ctx) {{ {_LOGS} return new Response("ok\\n"); }} }};',
    "throw": 'export default { async fetch(request) { console.log("one line"); throw new Error("bench"); } };',
    "cold": 'export default { async fetch(request, env, ctx) { return new Response("cold\\n"); } };',
    "kept": 'export default { async fetch(request) { console.log("one line", 1); return new Response("ok\\n"); } };',
}


def main(arguments: list[str]) -> int:
    """Print a markdown table, and the raw figures as JSON with --json FILE."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rounds, seconds, ids = (2, 1.0, 50) if options.quick else (5, 3.0, 200)
    cache = Path.home() / ".cache" / "otelbridge" / "bench"
    program = peers.workerd_program(cache)
    rows: dict[str, dict[str, list[float]]] = {}

    def note(row: str, who: str, value: float) -> None:
        rows.setdefault(row, {}).setdefault(who, []).append(value)

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers = {"otelbridge": stack.enter_context(peers.otelbridge(folder))}
        if program is not None:
            servers["workerd"] = stack.enter_context(peers.workerd(program, folder / "workerd", SOURCES))
        _, port = servers["otelbridge"]
        for kind in ("plain", "seed", "throw"):
            peers.put(port, kind, SOURCES[kind])
        peers.put(port, "seed-fresh", SOURCES["seed"], isolation="invocation")
        for number in range(rounds * ids):
            peers.put(port, f"cold-{number}", SOURCES["cold"])
        for turn in range(rounds):
            for who, (_, at) in servers.items():
                for kind, row in (("plain", "warm, no logs"), ("seed", "warm, 10 logs + tail"), ("throw", "throwing, 1 log + tail")):
                    load(at, f"/w/{kind}/x", connections=16, seconds=0.3)
                    got = load(at, f"/w/{kind}/x", connections=16, seconds=seconds)
                    note(f"{row}: requests/s, 16 connections", who, got.rate)
                    note(f"{row}: p99 us, 16 connections", who, got.p99)
                fresh = "seed-fresh" if who == "otelbridge" else "seed"
                got = load(at, f"/w/{fresh}/x", connections=16, seconds=seconds)
                note("fresh instance per request (workerd: warm), 10 logs + tail: requests/s", who, got.rate)
                cold = one_by_one(at, [f"/w/cold-{turn * ids + i}/x" for i in range(ids)])
                note("cold start, new id to response: p50 us", who, statistics.median(cold))
        for who, (pid, at) in servers.items():
            count = 100 if options.quick else 500
            before = peers.rss_bytes(pid)
            if who == "otelbridge":
                for number in range(count):
                    peers.put(at, f"kept-{number}", SOURCES["kept"])
            one_by_one(at, [f"/w/kept-{i}/x" for i in range(count)])
            note(f"private memory per warm worker ({count} of them): KiB", who, (peers.rss_bytes(pid) - before) / count / 1024)
    _print(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


def _print(rows: dict[str, dict[str, list[float]]]) -> None:
    print("| measurement | otelbridge | workerd | ratio |\n|---|---|---|---|")
    for row, figures in rows.items():
        medians = {who: statistics.median(values) for who, values in figures.items()}
        peer = medians.get("workerd")
        ratio = f"{medians['otelbridge'] / peer:.2f}" if peer else ""
        print(f"| {row} | {medians['otelbridge']:,.0f} | {f'{peer:,.0f}' if peer else 'not here'} | {ratio} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
