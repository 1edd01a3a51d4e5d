"""The bridge's own spans: off by default, what they tell when on, and that they never stand among a worker's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from otelbridge import Bridge, Request, Settings, WorkerCode
from otelbridge.model.part import ColdStart
from otelbridge.spool import SpoolWriter
from tests.collector import FakeCollector, Status
from tests.otel.conftest import MakeExporter, append, new_part

ON: dict[str, Any] = {"telemetry.own_traces": True}


def own(collector: FakeCollector) -> list[Any]:
    """Spans under the bridge's own resource."""
    return [record for record in collector.spans if record.resource["service.name"] == "otelbridge"]


async def test_off_by_default(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Without the setting there are only spans of workers."""
    async with exporting(collector.url) as exporter:
        append(writer, new_part("x", cold_start=ColdStart(1, 2)))
        assert await exporter.drain(10)
        assert exporter.own_traces is None
    assert collector.spans
    assert own(collector) == []


async def test_exports_and_loads(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Each attempt to export is a span, a failed one with its error, and each load; sending them makes no further ones, and the ledger
    counts the workers' alone."""
    collector.faults.append(Status(503))
    async with exporting(collector.url, settings=ON, OTEL_TRACES_EXPORTER="otlp", OTEL_LOGS_EXPORTER="otlp") as exporter:
        append(writer, new_part("x", worker="theirs", cold_start=ColdStart(5, 25, 10)))
        assert await exporter.drain(20)
        ledger = exporter.exports()
        assert exporter.own_traces is not None
        assert exporter.own_traces.sent == len(own(collector))
        assert exporter.own_traces.dropped == 0
        count = len(own(collector))
        assert await exporter.drain(20)
        assert len(own(collector)) == count, "nothing is told of sending them"
        assert f'fate="sent"}} {count}' in exporter.metrics_text()

    exports = [r for r in own(collector) if r.proto.name == "export"]
    assert {r.attributes["otelbridge.signal"] for r in exports} == {"logs", "spans"}
    failed = [r.proto for r in exports if r.proto.status.code == 2]
    assert len(failed) == 1
    assert "503" in failed[0].status.message
    assert all(r.proto.kind == 3 and r.proto.end_time_unix_nano >= r.proto.start_time_unix_nano > 0 for r in exports)
    (load,) = [r for r in own(collector) if r.proto.name == "load worker"]
    assert (load.proto.start_time_unix_nano, load.proto.end_time_unix_nano) == (5, 25)
    assert load.attributes["otelbridge.worker_id"] == "theirs"
    assert all("workerId" not in r.resource for r in own(collector))
    assert {r.proto.name for r in collector.spans if r.resource.get("workerId") == "theirs"}.isdisjoint(
        {"export", "load worker", "index batch"}
    )
    theirs = ledger["total"]["spans"]
    assert theirs["emitted"] == theirs["delivered"] == len([r for r in collector.spans if r.resource.get("workerId") == "theirs"])


async def test_they_are_bounded(collector: FakeCollector, exporting: MakeExporter) -> None:
    """With the collector away no more than the queue's length wait; the rest is counted as dropped, and what it refuses too."""
    async with exporting(collector.url, settings=ON, OTEL_BSP_SCHEDULE_DELAY="600000") as exporter:
        traces = exporter.own_traces
        assert traces is not None
        for number in range(2_058):
            traces.record("export", number, number + 1, {})
        assert traces.dropped == 10
        collector.always = Status(400)
        assert await exporter.drain(60)
        assert (traces.sent, traces.dropped) == (0, 2_058)
    assert own(collector) == []


async def test_index_batches_of_a_bridge(tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a running bridge what the log store writes, real loads and exports are spans of the bridge."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    settings = Settings(environ={}, flags={**ON, "data_dir": tmp_path / "data", "sandbox.cache_dir": tmp_path / "cache"})
    code = WorkerCode(main_module="a.js", modules={"a.js": "export default { fetch() { console.log(1); return new Response() } }"})
    async with Bridge(settings) as bridge:
        await bridge.data.run(code, Request("GET", "http://worker/"), worker_id="w")
        assert bridge.control.store is not None
        while not (await bridge.control.store.logs("kind:log")).logs:
            pass
    assert {r.proto.name for r in own(collector)} == {"export", "load worker", "index batch"}
    batches = [r for r in own(collector) if r.proto.name == "index batch"]
    assert sum(r.attributes["otelbridge.records"] for r in batches) >= 2


async def test_own_spans_that_are_left_at_the_end_are_counted(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """What a destination that is away has not taken when the bridge stops counts as dropped, also what was under way, and is said."""
    collector.always = Status(503)
    async with exporting(collector.url, settings=ON, OTEL_LOGS_EXPORTER="none") as exporter:
        traces = exporter.own_traces
        assert traces is not None
        for _ in range(3):
            traces.record("load worker", 1, 2, {})
        while not collector.seen:
            await asyncio.sleep(0.01)
    assert (traces.sent, traces.dropped) == (0, 3)
    assert "3 of the bridge's own spans were not sent before it stopped, and are gone" in caplog.messages
