"""SIGKILL while records are written, read, sent and noted: nothing acknowledged is lost, the ledger stays exact."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from otelbridge.model.count import count
from otelbridge.model.part import decode
from otelbridge.otel.environment import Environment
from otelbridge.otel.exporter import Exporter
from otelbridge.settings import Settings
from otelbridge.spool import SpoolReader, SpoolWriter
from tests.collector import CloseEarly, FakeCollector, Slow, Status

CHILD = """
import asyncio, os, sys
from pathlib import Path
from otelbridge.model.part import encode
from otelbridge.otel.environment import Environment
from otelbridge.otel.exporter import Exporter
from otelbridge.settings import Settings
from otelbridge.spool import SpoolWriter
from tests.otel.conftest import new_part

async def main(directory, url, run):
    writer = SpoolWriter(directory / "spool" / "main", segment_bytes=100_000, sync_ms=20)
    environment = Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "200",
                               "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "50", "OTEL_BLRP_MAX_QUEUE_SIZE": "400"})
    exporter = Exporter(settings=Settings(environ={}, flags={"data_dir": directory}), environment=environment, spools=[directory / "spool" / "main"], data_dir=directory)
    async with exporter:
        writer.subscribe(exporter.wake)
        for i in range(1_000_000):
            invocation = f"{run:016x}{i:016x}"
            first = new_part(f"{run}.{i}.a", f"{run}.{i}.b", worker=f"w{i % 5}", outcome=None, invocation=invocation)
            last = new_part(f"{run}.{i}.c", worker=f"w{i % 5}", invocation=invocation, number=1, first=2)
            for part in (first, last):
                writer.append(encode(part), rank=2, worker_id=part.worker.worker_id)
            os.write(1, invocation.encode() + b"\\n")
            if i % 4 == 0:
                await asyncio.sleep(0.002)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


async def test_kills_and_faults_lose_nothing_and_leave_the_ledger_exact(tmp_path: Path) -> None:
    """Over kills at random moments and a collector full of faults: each record of an acknowledged invocation arrives, few twice,
    and afterwards emitted equals what is in the spool, and delivered equals emitted, for every worker."""
    chance = random.Random(7)
    acknowledged: set[str] = set()
    SpoolReader(tmp_path / "spool" / "main", "audit").close()  # holds on to every segment
    async with FakeCollector() as collector:
        for run in range(4):
            out = tmp_path / f"out{run}"
            with out.open("wb") as file:
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", CHILD, str(tmp_path), collector.url, str(run), stdout=file
                )
            while not out.stat().st_size:
                assert child.returncode is None
                await asyncio.sleep(0.01)
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0.02, 0.2))
                collector.faults += chance.choices(
                    [Status(503), Status(429, retry_after="0"), CloseEarly(), Slow(0.1), Status(500), None], k=2
                )
            child.kill()
            await child.wait()
            acknowledged.update(out.read_text().split("\n")[:-1])
        collector.faults.clear()
        environment = Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"})
        spool = tmp_path / "spool" / "main"
        writer = SpoolWriter(spool)  # a new boot: the invocations of the killed processes will have no end
        async with Exporter(
            settings=Settings(environ={}, flags={"data_dir": tmp_path}), environment=environment, spools=[spool], data_dir=tmp_path
        ) as exporter:
            writer.append(b"\xc1 only to be there")
            assert await exporter.drain(60)
            report = exporter.exports()
        writer.close()

    uids = collector.uids()
    assert {f"{i}-{n}" for i in acknowledged for n in range(3)} <= set(uids)
    spans = [record.attributes["faas.invocation_id"] for record in collector.spans]
    assert acknowledged <= set(spans)
    # What was under way at a kill is sent again: a batch or two of 50 in each run.
    assert len(uids) - len(set(uids)) <= 4 * 100

    reader = SpoolReader(spool, "audit")
    emitted = 0
    while frames := reader.read():
        emitted += sum(count(decode(f.payload)).logs for f in frames if not f.payload.startswith(b"\xc1"))
    assert emitted == len(set(uids))
    assert report["total"]["logs"] == {"emitted": emitted, "delivered": emitted, "queued": 0, "rejected": 0, "dropped": {}}
    spans_line = report["total"]["spans"]
    assert spans_line["emitted"] == spans_line["delivered"] == len(set(spans))
    assert sum(w["logs"]["delivered"] for w in report["workers"]) == emitted
