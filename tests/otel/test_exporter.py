"""From the spool to a collector over real sockets: what arrives, when, and what the ledger says."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from otelbridge.model.part import Notice, encode
from otelbridge.spool import SpoolReader, SpoolWriter, registered_consumers
from tests.collector import FakeCollector, rotel
from tests.otel.conftest import MakeExporter, append, new_part


def line(emitted: int = 0, delivered: int = 0, queued: int = 0, rejected: int = 0, **dropped: int) -> dict[str, Any]:
    """One L of the ledger."""
    return {"emitted": emitted, "delivered": delivered, "queued": queued, "rejected": rejected, "dropped": dropped}


async def test_logs_and_spans_arrive_with_their_worker(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """A part's lines and its invocation's span arrive under the worker's resource, tied by their trace, and are accounted for."""
    async with exporting(collector.url, writer=writer) as exporter:
        part = new_part("hello", "world")
        append(writer, part)
        assert await exporter.drain(10)
        assert exporter.exports()["workers"] == [{"workerId": "demo", "logs": line(2, 2), "spans": line(1, 1)}]
    assert collector.bodies() == ["hello", "world"]
    record, span = collector.logs[0], collector.spans[0]
    assert record.resource["workerId"] == record.resource["faas.name"] == "demo"
    assert record.resource["service.name"] == "dynamic-workers"
    assert record.resource == span.resource
    assert (record.proto.trace_id, record.proto.span_id) == (span.proto.trace_id, span.proto.span_id)
    assert (record.scope, record.proto.severity_number, record.proto.severity_text) == ("otelbridge", 9, "log")
    assert span.proto.name == "GET /w/{workerId}/{path}"


async def test_several_workers_share_requests(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Records of many workers travel in few requests, each below its own resource, none larger than the limit."""
    async with exporting(collector.url, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="64") as exporter:
        append(writer, *(new_part(*(f"{w}.{i}.{j}" for j in range(3)), worker=f"w{w}") for w in range(20) for i in range(5)))
        assert await exporter.drain(10)
    sizes = [seen.records for seen in collector.seen if seen.path == "/v1/logs"]
    assert sum(sizes) == 300
    assert 60 < max(sizes) <= 64
    assert len(sizes) <= 8
    assert all(record.body.startswith(record.resource["workerId"].removeprefix("w") + ".") for record in collector.logs)
    assert len(set(collector.uids())) == 300


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_all_protocols_carry_the_same(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, protocol: str, compression: str
) -> None:
    """protobuf, JSON and gRPC, plain or compressed, bring the same records and the configured headers."""
    await collector.listen_grpc()
    url = collector.grpc_url if protocol == "grpc" else collector.url
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b",
    }
    async with exporting(url, **variables) as exporter:
        part = new_part("hello ü😀", "x" * 100_000)
        append(writer, part)
        assert await exporter.drain(10)
        assert exporter.exports()["total"] == {"logs": line(2, 2), "spans": line(1, 1)}
    assert collector.bodies() == ["hello ü😀", "x" * 100_000]
    assert collector.logs[0].proto.trace_id.hex() == part.trace_id
    assert collector.spans[0].attributes["otelbridge.outcome"] == "ok"
    assert {seen.headers["x-tenant"] for seen in collector.seen} == {"a b"}


async def test_rotel_relays_to_the_sink(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, tmp_path: Path) -> None:
    """A real collector takes what is sent, over HTTP and gRPC, and relays it whole."""
    await collector.listen_grpc()
    async with rotel(collector.url, tmp_path) as relay:
        for url, protocol in ((relay.url, "http/protobuf"), (relay.grpc_url, "grpc")):
            async with exporting(url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_COMPRESSION="gzip") as exporter:
                append(writer, *(new_part(f"{protocol} {i}", worker=f"w{i % 7}") for i in range(50)))
                assert await exporter.drain(20)
        wanted = {f"{protocol} {i}" for protocol in ("http/protobuf", "grpc") for i in range(50)}
        while len(collector.logs) < 100 or len(collector.spans) < 100:
            await asyncio.sleep(0.02)
    assert set(collector.bodies()) == wanted
    assert len(set(collector.uids())) == 100
    assert {r.resource["workerId"] for r in collector.spans} == {f"w{i}" for i in range(7)}


async def test_progress_survives_a_restart(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """After a restart nothing is sent again, what came meanwhile is, and the ledger goes on counting."""
    for i in range(3):
        append(writer, new_part(f"before {i}"))
        async with exporting(collector.url) as exporter:
            append(writer, new_part(f"during {i}"))
            assert await exporter.drain(10)
            assert exporter.exports()["total"]["logs"] == line(2 * i + 2, 2 * i + 2)
    assert sorted(collector.bodies()) == sorted(f"{when} {i}" for when in ("before", "during") for i in range(3))


async def test_a_destination_that_is_away_loses_nothing(tmp_path: Path, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Records wait in the spool while the collector is gone, through a restart of the exporter, and all arrive then."""
    async with FakeCollector() as gone:
        port = int(gone.url.rsplit(":", 1)[1])
    async with exporting(gone.url, OTEL_BLRP_MAX_QUEUE_SIZE="20", OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="10") as exporter:
        append(writer, *(new_part(f"{i}") for i in range(100)))
        assert not await exporter.drain(0.5)
        report = exporter.exports()
        assert report["total"]["logs"] == line(100, 0, 100)
        assert report["destinations"][0]["state"] == "retrying"
        assert gone.url in report["destinations"][0]["lastError"]
        assert report["destinations"][0]["lagSeconds"] > 0
    async with FakeCollector(port=port) as back, exporting(back.url) as exporter:
        assert await exporter.drain(10)
        assert exporter.exports()["total"]["logs"] == line(100, 100)
        assert sorted(back.bodies(), key=int) == [str(i) for i in range(100)]
        assert len(back.spans) == 100


async def test_the_spool_is_released_when_all_is_sent(collector: FakeCollector, tmp_path: Path, exporting: MakeExporter) -> None:
    """Segments go when every destination is past them, and a removed destination holds none back."""
    writer = SpoolWriter(tmp_path / "spool" / "main", segment_bytes=4096)
    SpoolReader(tmp_path / "spool" / "main", "export.removed.logs").close()
    append(writer, *(new_part("x" * 100) for _ in range(100)))
    before = len(list((tmp_path / "spool" / "main").glob("*.seg")))
    async with exporting(collector.url) as exporter:
        assert await exporter.drain(10)
    assert before > 5
    assert len(list((tmp_path / "spool" / "main").glob("*.seg"))) <= 2
    writer.close()


async def test_several_spools_are_read(collector: FakeCollector, tmp_path: Path, exporting: MakeExporter) -> None:
    """One exporter serves the spools of several loader processes."""
    spools = [tmp_path / "spool" / f"loader-{i}" for i in range(3)]
    writers = [SpoolWriter(spool) for spool in spools]
    for i, writer in enumerate(writers):
        append(writer, *(new_part(f"{i}.{j}") for j in range(10)))
    for _ in range(2):
        async with exporting(collector.url, spools=spools) as exporter:
            assert await exporter.drain(10)
            assert exporter.exports()["total"]["logs"] == line(30, 30)
    assert sorted(collector.bodies()) == [f"{i}.{j}" for i in range(3) for j in range(10)]
    for writer in writers:
        writer.close()


async def test_a_spool_may_come_later(collector: FakeCollector, tmp_path: Path, exporting: MakeExporter) -> None:
    """A spool that is added while the exporter runs is read from where it was left; nothing is sent or counted twice."""
    first, second = tmp_path / "spool" / "a", tmp_path / "spool" / "b"
    with contextlib.closing(SpoolWriter(first)) as one, contextlib.closing(SpoolWriter(second)) as two:
        for turn in range(3):
            async with exporting(collector.url, spools=[first]) as exporter:
                append(one, new_part(f"a{turn}"))
                append(two, new_part(f"b{turn}"))
                await exporter.add_spool(second)
                await exporter.add_spool(second)
                append(two, new_part(f"c{turn}"))
                assert await exporter.drain(10)
                assert exporter.exports()["total"] == {"logs": line(3 * turn + 3, 3 * turn + 3), "spans": line(3 * turn + 3, 3 * turn + 3)}
                assert f'faas_invocations_total{{faas_trigger="http"}} {3 * turn + 3}\n' in exporter.metrics_text()
                with pytest.raises(ValueError, match="named b"):
                    await exporter.add_spool(tmp_path / "other" / "b")
    assert sorted(collector.bodies()) == sorted(f"{name}{turn}" for name in "abc" for turn in range(3))


async def test_what_is_in_the_spool_is_in_the_ledger(tmp_path: Path, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """After count() every record that was appended is emitted, also while nothing can be sent and the queue is full."""
    async with FakeCollector() as gone:
        pass
    async with exporting(gone.url, OTEL_BLRP_MAX_QUEUE_SIZE="20", OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="10") as exporter:
        for turn in range(1, 6):
            append(writer, *(new_part("a", "b") for _ in range(100)))
            await exporter.count()
            assert exporter.exports()["total"] == {"logs": line(200 * turn, 0, 200 * turn), "spans": line(100 * turn, 0, 100 * turn)}
            await asyncio.sleep(0.05)


async def test_an_invocation_without_an_end_gets_its_span(collector: FakeCollector, tmp_path: Path, exporting: MakeExporter) -> None:
    """When a new process writes, the spans of invocations that died with the old one leave, though nothing new is written."""
    spool = tmp_path / "spool" / "main"
    first = SpoolWriter(spool)
    append(first, new_part("said", outcome=None))
    first.close()
    async with exporting(collector.url) as exporter:
        assert await exporter.drain(10)
        assert collector.spans == []
        second = SpoolWriter(spool)
        while not collector.spans:
            await asyncio.sleep(0.02)
        assert await exporter.drain(10)
        assert exporter.exports()["total"]["spans"] == line(1, 1)
        second.close()
    assert collector.spans[0].attributes["otelbridge.incomplete"] is True


async def test_notices_go_out_under_the_bridges_own_resource(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """What the bridge has to say is never mixed with a worker's records, and told drops are in the ledger."""
    told = {"event": "otelbridge.telemetry.dropped", "reason": "spool_full", "frames": 1, "logs": 7, "spans": 2, "bytes": 100}
    writer.append(encode(Notice(5, "warn", "7 log records were dropped", told, "demo")))
    async with exporting(collector.url) as exporter:
        assert await exporter.drain(10)
        report = exporter.exports()
    (record,) = collector.logs
    assert record.resource["service.name"] == "otelbridge"
    assert "workerId" not in record.resource
    assert (record.proto.severity_number, record.proto.event_name) == (13, "otelbridge.telemetry.dropped")
    assert (record.attributes["otelbridge.logs"], record.attributes["otelbridge.worker_id"]) == (7, "demo")
    assert report["workers"] == [{"workerId": "demo", "logs": line(7, spool_full=7), "spans": line(2, spool_full=2)}]
    assert report["bridge"] == {"logs": line(1, 1)}


async def test_a_destination_of_some_workers_hears_nothing_of_others(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """What the bridge says of a worker goes only where that worker's records go, and not below the lowest level."""
    for level, worker in (("warn", "pay-1"), ("warn", "shop"), ("warn", None), ("info", "pay-1")):
        writer.append(encode(Notice(5, level, f"{level} {worker}", {}, worker)))
    settings = {
        "export.destinations": [
            {"name": "pay", "endpoint": collector.url, "signals": ["logs"], "min_level": "warn", "workers": ["pay-*"]},
        ]
    }
    async with exporting("", settings=settings) as exporter:
        assert await exporter.drain(10)
        assert exporter.exports()["bridge"] == {"logs": line(4, 1, filtered=3)}
    assert collector.bodies() == ["warn pay-1"]


async def test_frames_that_are_no_parts_are_skipped(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """A payload that can't be read stops nothing."""
    writer.append(b"\xc1 not msgpack")
    append(writer, new_part("after"))
    async with exporting(collector.url) as exporter:
        assert await exporter.drain(10)
    assert collector.bodies() == ["after"]


async def test_without_an_endpoint_only_metrics_are_read(tmp_path: Path, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """No endpoint: no destinations, an empty report, and no consumer of the spool but the metrics for /metrics."""
    async with exporting("") as exporter:
        append(writer, new_part("x"))
        assert await exporter.drain(1)
        assert exporter.exports()["destinations"] == []
        assert 'faas_invocations_total{faas_trigger="http"} 1\n' in exporter.metrics_text()
    assert registered_consumers(tmp_path / "spool" / "main") == ["export.metrics"]


async def test_console_prints_readable_lines(capsys: pytest.CaptureFixture[str], writer: SpoolWriter, exporting: MakeExporter) -> None:
    """OTEL_LOGS_EXPORTER=console prints records on standard error, with nothing in them that a terminal would obey."""
    async with exporting("", OTEL_LOGS_EXPORTER="console", OTEL_TRACES_EXPORTER="console") as exporter:
        append(writer, new_part("hello \x1b[31m", "two\nlines"))
        assert await exporter.drain(10)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "LOG   demo: hello \\x1b[31m" in printed.err
    assert "two\\nlines" in printed.err
    assert "SPAN  demo: GET /w/{workerId}/{path}" in printed.err
    assert len(printed.err.splitlines()) == 3
