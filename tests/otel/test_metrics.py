"""Metrics: what they count, cumulative and delta, through kills of the exporter, and as Prometheus text."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from otelbridge.model.part import ColdStart
from otelbridge.otel import aggregate
from otelbridge.otel.items import Items
from otelbridge.spool import SpoolWriter
from otelbridge.tail import TailStage
from tests.collector import FakeCollector, attributes
from tests.otel.conftest import MakeExporter, append, new_part

ONLY_METRICS = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"}


def last(collector: FakeCollector, name: str) -> Any:
    """The newest metric of a name that arrived."""
    return [r.proto for r in collector.metrics if r.proto.name == name][-1]


async def test_metrics_of_invocations(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Counts, durations, CPU and memory arrive under the shared resource, without a worker's id, with exemplars."""
    async with exporting(collector.url, **ONLY_METRICS) as exporter:
        good = new_part("x", memory_bytes=1 << 20, cold_start=ColdStart(1, 30_000_001))
        append(writer, good, new_part(worker="other", outcome="exceededCpu", status=None), new_part(outcome=None))
        assert await exporter.drain(10)
        (destination,) = exporter.exports()["destinations"]
        counts = destination["signals"]["metrics"]
        assert counts["emitted"] == counts["delivered"] > 10
    names = {r.proto.name for r in collector.metrics if r.resource["service.name"] == "dynamic-workers"}
    assert names == set(aggregate.INSTRUMENTS)
    assert all("workerId" not in r.resource for r in collector.metrics)
    assert [
        p.as_int for n in ("invocations", "errors", "timeouts", "coldstarts") for p in last(collector, f"faas.{n}").sum.data_points
    ] == [1] * 4
    duration = last(collector, "faas.init_duration").histogram.data_points[0]
    assert (duration.count, duration.sum, duration.min, duration.max) == (1, 0.03, 0.03, 0.03)
    assert duration.exemplars[0].trace_id.hex() == good.trace_id
    failed = [attributes(p) for p in last(collector, "http.server.request.duration").histogram.data_points][1]
    assert failed["error.type"] == "exceededCpu"
    bridge = {r.proto.name for r in collector.metrics if r.resource["service.name"] == "otelbridge"}
    assert "otelbridge.spool.size" in bridge


async def test_a_drain_that_is_given_up_loses_no_invocation(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was being read when nobody waited any more is read again, and counted."""
    async with exporting(collector.url, **ONLY_METRICS) as exporter:
        read, threads = Items.read, []

        def slow(*asked: Any) -> Any:
            found = read(*asked)
            threads.append(threading.get_ident())
            time.sleep(0.3)
            return found

        assert await exporter.drain(10)  # its first round is over, and the next one comes in a second
        append(writer, *(new_part("x") for _ in range(10)))
        with monkeypatch.context() as slowly:
            slowly.setattr(Items, "read", slow)
            assert not await exporter.drain(0.1)
        assert threads
        assert await exporter.drain(10)
    assert [p.as_int for p in last(collector, "faas.invocations").sum.data_points] == [10]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("aggregation", ["explicit_bucket_histogram", "base2_exponential_bucket_histogram"])
async def test_counts_go_on_after_restarts(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, temporality: str, aggregation: str
) -> None:
    """Over restarts cumulative counters go on growing, and deltas add up to every invocation exactly once."""
    variables = {
        **ONLY_METRICS,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": aggregation,
    }
    for turn in range(3):
        append(writer, *(new_part() for _ in range(turn + 1)))
        async with exporting(collector.url, **variables) as exporter:
            assert await exporter.drain(10)
            append(writer, new_part())
            assert await exporter.drain(10)
    counts = [p.as_int for r in collector.metrics if r.proto.name == "faas.invocations" for p in r.proto.sum.data_points]
    kind = "histogram" if aggregation.startswith("explicit") else "exponential_histogram"
    durations = [p for r in collector.metrics if r.proto.name == "faas.invoke_duration" for p in getattr(r.proto, kind).data_points]
    assert counts == [p.count for p in durations] == ([1, 2, 4, 5, 8, 9] if temporality == "cumulative" else [1, 1, 2, 1, 3, 1])
    starts = [p.start_time_unix_nano for p in durations]
    assert starts == (starts[:1] * 6 if temporality == "cumulative" else sorted(set(starts)))
    if temporality == "delta":
        assert [p.time_unix_nano for p in durations][:-1] == starts[1:]


async def test_what_could_not_be_sent_is_in_the_next_delta(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """A collector that is away costs no count: the next delta has it all."""
    async with FakeCollector() as gone:
        pass
    variables = {**ONLY_METRICS, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    append(writer, new_part())
    async with exporting(gone.url, **variables) as exporter:
        assert not await exporter.drain(0.3)
        assert exporter.exports()["destinations"][0]["state"] == "retrying"
    append(writer, new_part())
    async with exporting(collector.url, **variables) as exporter:
        assert await exporter.drain(10)
    assert last(collector, "faas.invocations").sum.data_points[0].as_int == 2


async def test_prometheus_text_is_well_formed(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Every line of /metrics is a comment or a sample, histograms are cumulative, counters end in _total."""
    async with exporting(collector.url, writer=writer) as exporter:
        append(writer, *(new_part("x") for _ in range(5)))
        assert await exporter.drain(10)
        text = exporter.metrics_text()
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? (-?\d+(\.\d+)?(e-?\d+)?|\+Inf)')
    lines = text.splitlines()
    assert all(sample.fullmatch(line) for line in lines if not line.startswith("# "))
    assert 'faas_invoke_duration_seconds_bucket{faas_trigger="http",le="0.005"} 5' in lines
    assert 'faas_invoke_duration_seconds_bucket{faas_trigger="http",le="+Inf"} 5' in lines
    assert 'otelbridge_export_delivered_total{destination="otlp",signal="logs"} 5' in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


async def test_bytes_that_can_not_be_read_are_counted_once(tmp_path: Path, exporting: MakeExporter) -> None:
    """What changed on disk and what a kill tore is in the metric, in the ledger and in records of the bridge, once through restarts."""
    directory = tmp_path / "spool" / "main"
    async with SpoolWriter(directory) as writer:
        append(writer, *(new_part("x") for _ in range(3)))
        (path,) = directory.glob("*.seg")
        size = path.stat().st_size
        changed = bytearray(path.read_bytes())
        changed[size // 2] ^= 1
        path.write_bytes(changed)
    told: list[dict[str, Any]] = []
    for _ in range(2):
        async with exporting(tell=lambda *_, **fields: told.append(fields)) as exporter:
            assert await exporter.drain(10)
            (found,) = exporter.exports()["damaged"]
            assert (found["spool"], size // 4 < found["bytes"] < size // 2) == ("main", True)
            assert f'otelbridge_spool_damaged_bytes_total{{spool="main"}} {found["bytes"]}' in exporter.metrics_text().splitlines()
    assert told == [{"event": "otelbridge.spool.skipped", "spool": "main", "bytes": found["bytes"]}]
    async with SpoolWriter(directory) as writer:
        append(writer, new_part("torn"))
        path = max(directory.glob("*.seg"))
    os.truncate(path, path.stat().st_size - 100)
    torn = path.stat().st_size - 16  # the head of the segment
    async with SpoolWriter(directory) as writer:
        TailStage(spool=writer).cut(writer.cut_bytes)
        for _ in range(2):
            async with exporting() as exporter:
                assert await exporter.drain(10)
                assert exporter.exports()["damaged"] == [{"spool": "main", "bytes": found["bytes"] + torn}]


async def test_a_destination_of_some_workers_gets_only_their_metrics(writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Its counters are of the workers that it takes, also after a restart, and the bridge's own metrics go elsewhere."""
    async with FakeCollector() as all_of_them, FakeCollector() as some:
        one = {"name": "tenant", "endpoint": some.url, "workers": ["a*"], "signals": ["metrics"]}
        settings = {"export.destinations": [one]}
        for _ in range(2):
            append(writer, *(new_part("x", worker=worker) for worker in ("alpha", "beta", "alpha")))
            async with exporting(all_of_them.url, settings=settings, OTEL_METRICS_EXPORTER="otlp") as exporter:
                assert await exporter.drain(20)
    counts = {
        number: [r.proto.sum.data_points[0].as_int for r in collector.metrics if r.proto.name == "faas.invocations"][-1]
        for number, collector in enumerate((all_of_them, some))
    }
    assert counts == {0: 6, 1: 4}
    assert "otelbridge.export.delivered" in {r.proto.name for r in all_of_them.metrics}
    assert not [r.proto.name for r in some.metrics if r.proto.name.startswith("otelbridge.")]
