"""What nobody foresees: a record, a frame, a batch or a spool that makes the exporter itself fail costs only itself."""

from __future__ import annotations

import asyncio
import errno
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otelbridge.model.part import decode
from otelbridge.otel import intake
from otelbridge.otel import items as items_room
from otelbridge.otel import lane as lane_room
from otelbridge.otel.encoder import Encoder
from otelbridge.otel.span_rows import span_rows
from otelbridge.spool import SpoolReader, SpoolWriter
from tests.collector import FakeCollector
from tests.otel.conftest import MakeExporter, append, new_part
from tests.otel.test_exporter import line

ONLY_LOGS = {"OTEL_TRACES_EXPORTER": "none"}


async def test_what_cant_be_mapped_costs_only_itself(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame whose mapping raises is dropped with a reason, the ledger stays exact, the others arrive and the spool is let go of."""

    def faulty(real: Any) -> Any:
        def map_it(*args: Any, **kwargs: Any) -> Any:
            parts = args[1] if isinstance(args[0], Encoder) else args[0]
            if any(part.worker.worker_id == "odd" for part in parts):
                raise AssertionError("a defect")
            return real(*args, **kwargs)

        return map_it

    monkeypatch.setattr(Encoder, "log_records", faulty(Encoder.log_records))
    monkeypatch.setattr(intake, "span_rows", faulty(span_rows))
    async with exporting(collector.url) as exporter:
        odd = msgspec.structs.replace(new_part("2", worker="odd"), entrypoint="Odd")  # like none of the others
        append(writer, *(odd if i == 2 else new_part(f"{i}") for i in range(5)))
        assert await exporter.drain(20)
        total = exporter.exports()["total"]
        lanes = list(exporter.lanes.values())
        assert [feed.low == feed.reader.position for lane in lanes for feed in lane._progress.feeds] == [True, True]
    assert total == {signal: line(5, 4, unmappable=1) for signal in ("logs", "spans")}
    assert sorted(collector.bodies()) == ["0", "1", "3", "4"]


async def test_a_batch_that_fails_before_its_answer_is_tried_again(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect on the way of a batch costs nothing when it passes; when it stays, the records are dropped with a reason."""
    monkeypatch.setattr(lane_room, "_FIRST_PAUSE_SECONDS", 0.001)
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        lane = exporter.lanes["otlp", "logs"]
        deliver, tries = lane.sender.deliver, itertools.count()

        async def fails(request: Any, settled: Any) -> None:
            if next(tries) < 2 or request.counts.get("odd"):
                raise RuntimeError("can't start new thread")
            await deliver(request, settled)

        monkeypatch.setattr(lane.sender, "deliver", fails)
        append(writer, new_part("x"))
        assert await exporter.drain(20)
        append(writer, new_part("y", worker="odd"))
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(2, 1, unsendable=1)
    assert collector.bodies() == ["x"]


async def test_a_spool_that_cant_be_read_holds_up_no_other(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While one spool can't be read the others are, that is shown, and afterwards nothing of it is missing or sent twice."""
    spools = [tmp_path / "spool" / "main", tmp_path / "spool" / "other"]
    async with SpoolWriter(spools[1], sync_ms=10) as other, exporting(collector.url, spools=spools, **ONLY_LOGS) as exporter:
        (_, feed) = exporter.lanes["otlp", "logs"]._progress.feeds
        with monkeypatch.context() as broken:

            def refuse(reader: SpoolReader, segment: int) -> int:
                if reader.directory == spools[1]:
                    raise OSError(errno.EMFILE, "too many open files")
                return opened(reader, segment)

            opened = SpoolReader._open
            broken.setattr(SpoolReader, "_open", refuse)
            append(other, *(new_part(f"{i}") for i in range(10)))
            append(writer, new_part("main"))
            while collector.bodies() != ["main"] or not exporter.troubles:
                await asyncio.sleep(0.01)
            assert exporter.troubles == ["spool other can't be read: [Errno 24] too many open files"]
        while feed.trouble is not None:
            await asyncio.sleep(0.01)
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(11, 11)
    assert sorted(collector.bodies()) == sorted(["main", *(str(i) for i in range(10))])


async def test_a_frame_that_cant_be_decoded_costs_only_itself(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of frames read together, one over which decoding stumbles is left out and counted, and the others are sent."""
    append(writer, *(new_part(f"{i}") for i in range(5)))
    real = decode

    def stumbles(payload: bytes) -> Any:
        item = real(payload)
        if b'"2"' in payload:
            raise AssertionError("a defect")
        return item

    monkeypatch.setattr(items_room, "decode", stumbles)
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(4, 4)
        assert 'otelbridge_export_unreadable_total{destination="otlp",signal="logs"} 1' in exporter.metrics_text()
    assert sorted(collector.bodies()) == ["0", "1", "3", "4"]


async def test_a_round_that_fails_loses_nothing_of_what_was_read(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of slices read together, those behind one over which the lane itself stumbles are sent after a pause; that one stays in the spool."""
    append(writer, *(new_part(f"{i}") for i in range(100)))
    real, seen = lane_room.Lane._counted, itertools.count()

    def stumbles(*found: Any) -> Any:
        if next(seen) == 1:
            raise AssertionError("a defect")
        return real(*found)

    with monkeypatch.context() as broken:
        broken.setattr(lane_room.Lane, "_counted", stumbles)
        async with exporting(collector.url, **ONLY_LOGS) as exporter:
            while len(collector.bodies()) < 68:
                await asyncio.sleep(0.01)
            (lane,) = exporter.lanes.values()
            assert lane.task is not None
            assert lane.task.failures == 1
            (feed,) = lane._progress.feeds
            assert feed.low < feed.reader.position
    assert sorted(collector.bodies(), key=int) == [str(i) for i in range(100) if not 32 <= i < 64]
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.drain(20)
    assert sorted(collector.bodies(), key=int) == [str(i) for i in range(100)]
