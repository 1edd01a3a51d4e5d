"""Export: the way from the spool to a real collector against the stock SDK's exporter, and what it costs the service.

    python -m bench.export            # the same as python -m bench export

Both paths make the same records for the same receiver: 64 workers, lines of about 90 characters with four attributes and a
trace. Ours starts at the write into the spool; the stock path is Logger.emit, BatchLogRecordProcessor, OTLPLogExporter.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import peers
from bench.client import load
from bench.peers import SERVER_CORE, SOURCES
from bench.table import OURS, Table

__all__ = ["QUICK", "measure"]

QUICK = True
STOCK = "stock SDK"
WORKERS = 64
LINES = 10  # of an invocation
TEXT = "request handled in the usual way, with a text as long as most lines are, number"


def measure(table: Table) -> None:
    """Records per second and CPU per record side by side, the write into the spool, and the service with export on and off."""
    _spool(table)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        endpoint = stack.enter_context(peers.collector(folder / "collector"))
        _paths(table, endpoint)
        if not table.quick:  # half a minute
            _service(table, endpoint, folder, stack)


def _paths(table: Table, endpoint: str) -> None:
    records = 20_000 if table.quick else 100_000
    for _ in table.rounds():
        for who in (OURS, STOCK):
            command = [sys.executable, "-m", "bench.export", "ours" if who == OURS else "stock", endpoint, str(records)]
            got = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            table.note("export of log records", who, records / got["wall_s"], unit="records/s", goal=">= 3")
            table.note("export of log records: CPU", who, got["cpu_s"] / records * 1e6, unit="us/record", goal="<= 0.33")


def _service(table: Table, endpoint: str, folder: Path, stack: ExitStack) -> None:
    seconds = 1.0 if table.quick else 3.0
    servers = {
        OURS: stack.enter_context(peers.otelbridge(folder / "on", endpoint)),
        "export off": stack.enter_context(peers.otelbridge(folder / "off")),
    }
    for server in servers.values():
        peers.put(server.port, "seed", SOURCES["seed"])
        load(server.port, "/w/seed/x", connections=16, seconds=0.5)
        peers.drained(server)
    for number in table.rounds():
        for who, server in sorted(servers.items(), reverse=number % 2 == 1):
            before = server.cpu_seconds()
            got = load(server.port, "/w/seed/x", connections=16, seconds=seconds)
            peers.drained(server)  # what is still to be sent belongs to it
            table.note("service with export on, 10 logs", who, got.rate, unit="requests/s", goal=">= 0.85")
            cpu = server.cpu_seconds() - before
            table.note("service with export on, 10 logs: by CPU time", who, got.count / cpu, unit="requests/CPU s", goal=">= 0.85")


def _spool(table: Table) -> None:
    from otelbridge.model.part import encode
    from otelbridge.spool import SpoolWriter

    part = _part(0)
    for _ in table.rounds():
        with tempfile.TemporaryDirectory() as name:
            writer = SpoolWriter(Path(name) / "spool")
            times = []
            for _ in range(3000):
                start = time.thread_time_ns()
                writer.append(encode(part), rank=2, worker_id="w")
                times.append(time.thread_time_ns() - start)
            writer.close()
        table.note("write into the spool, 10 logs", OURS, statistics.median(times[200:]) / 1000, unit="us/invocation", goal="<= 20 us")


# ------------------------------------------------------------------------------------------------- in their own process


def _part(number: int):  # type: ignore[no-untyped-def]
    import msgspec

    from otelbridge.model import ring
    from otelbridge.model.part import End, Part, WorkerRef
    from otelbridge.model.trace import FetchEvent

    now = time.time_ns()
    lines = (ring.pack(ring.LOG, msgspec.json.encode([f"{TEXT} {i}"]), level=1, time_ns=now) for i in range(LINES))
    return Part(
        worker=WorkerRef(f"w{number % WORKERS}", "v1", 1 << 27),
        invocation_id=f"{number:032x}",
        trace_id=f"{number + 1:032x}",
        span_id=f"{number + 1:016x}",
        parent_span_id=None,
        trace_flags=1,
        event=FetchEvent("GET", "http://worker/x", {}),
        entrypoint=None,
        start_ns=now,
        number=0,
        first_sequence=0,
        floor_ns=now,
        time_ns=now,
        ring=b"".join(lines),
        end=End(now, "ok", 1_000_000, 2_000_000, status=200),
    )


async def _ours(endpoint: str, records: int) -> dict[str, float]:
    from otelbridge.model.part import encode
    from otelbridge.otel import Environment, Exporter
    from otelbridge.settings import Settings
    from otelbridge.spool import SpoolWriter

    variables = {"OTEL_BLRP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{endpoint}/v1/logs"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = SpoolWriter(folder / "spool" / "main")
        payloads = [encode(_part(number)) for number in range(records // LINES)]  # the loader's work, not the export's
        exporter = Exporter(
            settings=Settings(environ={}, flags={"data_dir": folder}),
            environment=Environment(variables),
            spools=[folder / "spool" / "main"],
            data_dir=folder,
        )
        async with exporter:
            writer.subscribe(exporter.wake)
            writer.append(payloads[0])
            assert await exporter.drain(60)
            before = exporter.exports()["total"]["logs"]["delivered"]
            wall, cpu = time.perf_counter(), time.process_time()
            for number, payload in enumerate(payloads):
                writer.append(payload, rank=2, worker_id="w")
                if number % 64 == 63:
                    await asyncio.sleep(0)
            while exporter.exports()["total"]["logs"]["delivered"] - before < records:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            out = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        writer.close()
    return out


def _stock(endpoint: str, records: int) -> dict[str, float]:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    exporter = OTLPLogExporter(endpoint=f"{endpoint}/v1/logs")
    processor = BatchLogRecordProcessor(exporter, max_queue_size=2 * records, max_export_batch_size=512)
    base = Resource.create({"service.name": "dynamic-workers", "process.runtime.name": "wasmtime"})
    loggers = []
    for number in range(WORKERS):
        provider = LoggerProvider(base.merge(Resource({"workerId": f"w{number}", "faas.name": f"w{number}"})), shutdown_on_exit=False)
        provider.add_log_record_processor(processor)
        loggers.append(provider.get_logger("otelbridge"))
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(records // LINES):
        context = set_span_in_context(NonRecordingSpan(SpanContext(number + 1, number + 1, False, TraceFlags(1))))
        for i in range(LINES):
            loggers[number % WORKERS].emit(
                LogRecord(
                    timestamp=time.time_ns(),
                    context=context,
                    severity_number=SeverityNumber.INFO,
                    severity_text="log",
                    body=f"{TEXT} {i}",
                    attributes={
                        "faas.invocation_id": f"{number:032x}",
                        "otelbridge.source": "dynamic-worker-tail",
                        "otelbridge.sequence": i,
                        "log.record.uid": f"{number:032x}-{i}",
                    },
                )
            )
    processor.force_flush(120_000)
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def main(arguments: list[str]) -> None:
    """Without arguments: all of it. With them: one path, in a process on the servers' core."""
    if not arguments or arguments == ["--quick"]:
        table = Table(quick=bool(arguments))
        measure(table)
        print(table.markdown())
        return
    os.sched_setaffinity(0, {SERVER_CORE})
    who, endpoint, records = arguments[0], arguments[1], int(arguments[2])
    print(json.dumps(asyncio.run(_ours(endpoint, records)) if who == "ours" else _stock(endpoint, records)))


if __name__ == "__main__":
    main(sys.argv[1:])
