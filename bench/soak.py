"""Soak: the storm of tests/e2e/test_faults.py for minutes: kills, every fault, two collectors, memory watched throughout.

    python -m bench.soak [--minutes 10] [--seed N]     # seed: another course of events

Ends with 1 when a record that a client was answered for did not arrive, more than 2 % came twice, the ledger was ever
wrong, or memory grew without end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.table import OURS, Table
from tests.collector import rotel
from tests.e2e.receiver import Receiver, poisoned
from tests.e2e.storm import FAULTS, Service, Storm, equations_hold

__all__ = ["measure"]

RELAY = '[[export.destinations]]\nname = "relay"\nendpoint = "{url}"\nprotocol = "grpc"\nsignals = ["logs"]\n'
MIB = 1 << 20


def measure(table: Table) -> None:
    """Figures of one storm: half a minute with table.quick, else ten."""
    for row, unit, value, goal in asyncio.run(soak(seconds=30 if table.quick else 600, seed=1)):
        table.note(row, OURS, value, unit=unit, goal=goal)


async def soak(*, seconds: float, seed: int) -> list[tuple[str, str, float, str]]:
    """Rows of (what, unit, figure, goal). AssertionError when the ledger is wrong at any moment."""
    with tempfile.TemporaryDirectory(prefix="otelbridge-soak-") as name:
        folder = Path(name)
        async with Receiver() as faulty, Receiver() as sink, rotel(sink.url, folder) as relay:
            faulty.poison = poisoned
            service = Service(
                folder / "service",
                config=RELAY.format(url=relay.grpc_url),
                OTEL_EXPORTER_OTLP_ENDPOINT=faulty.url,
                OTEL_METRIC_EXPORT_INTERVAL="5000",
            )
            began, resident = time.monotonic(), []
            async with Storm(service, seed=seed) as storm:
                async with storm.blowing(
                    lambda: storm.kill(every=(10.0, 40.0)),
                    lambda: storm.suspend(relay.process, every=(10.0, 30.0), seconds=2.0),
                ):
                    while time.monotonic() - began < seconds:
                        await storm.fail(faulty, list(FAULTS), seconds=2.0, calm=2.0)
                        resident.append(service.measure())
                        print(
                            f"{time.monotonic() - began:6.0f} s  {storm.records:10,d} records  {service.kills} kills  "
                            f"{resident[-1] // MIB} MiB  twice {faulty.repeated():.3%} {sink.repeated():.3%}",
                            file=sys.stderr,
                            flush=True,
                        )
                await storm.restart()
                await storm.settled(seconds=300)
                faulty.poison = None
                await storm.ask("POST", "/v1/exports/resend?timeout=600")
                ledger = await storm.settled(seconds=300)
            equations_hold(ledger)
            emitted = ledger["total"]["logs"]["emitted"] + ledger["bridge"]["logs"]["emitted"]
            arrived = faulty.distinct() + faulty.lost() + sink.distinct()
            unexplained = max(len(storm.missing(faulty)) - faulty.lost(), 0) + len(storm.missing(sink))
            return [
                ("soak: records answered for", "records", storm.records, ""),
                ("soak: kills", "", service.kills, ""),
                ("soak: faults", "", storm.faults.total(), ""),
                ("soak: looks at the ledger, all exact", "", storm.ledgers, ""),
                ("soak: records missing", "records", unexplained, "0"),
                ("soak: records that came twice, worse collector", "%", 100 * max(faulty.repeated(), sink.repeated()), "< 2"),
                ("soak: ledger's emitted less what arrived or was refused", "records", emitted - arrived, "0"),
                ("soak: memory after start", "MiB", service.first_rss / MIB, ""),
                ("soak: memory at most", "MiB", service.peak_rss / MIB, "bounded"),
            ]


def main() -> int:
    """For minutes on end."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = asyncio.run(soak(seconds=options.minutes * 60, seed=options.seed))
    figures = {row: value for row, _, value, _ in rows}
    for row, unit, value, goal in rows:
        print(f"{row:60s} {value:12,.2f} {unit:8s} {goal}")
    wrong = figures["soak: records missing"] or figures["soak: ledger's emitted less what arrived or was refused"]
    grown = figures["soak: memory at most"] > 2 * figures["soak: memory after start"] + 200
    return 1 if wrong or grown or figures["soak: records that came twice, worse collector"] >= 2 else 0


if __name__ == "__main__":
    sys.exit(main())
