"""What the exporter can tell of one invocation: when it was read, when it was settled, and how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otelbridge.model.passage import ExportPassage, Place
from otelbridge.otel import Exporter
from otelbridge.otel.passages import Passages
from otelbridge.spool import SpoolReader, SpoolWriter
from tests.collector import FakeCollector, Partial, Status
from tests.otel.conftest import MakeExporter, append, new_part


def end_of_spool(tmp_path: Path) -> Place:
    """Where the last frame of the spool ends."""
    reader = SpoolReader(tmp_path / "spool" / "main", None)
    try:
        frame = reader.read(1 << 20)[-1]
    finally:
        reader.close()
    return Place("main", frame.boot, *frame.position, frame.time_ns)


def told(exporter: Exporter, invocation_id: str, place: Place | None = None) -> dict[str, ExportPassage]:
    """By signal, of one destination."""
    return {passage.signal: passage for passage in exporter.passages(invocation_id, place)}


async def test_a_delivered_invocation_has_its_times(exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector) -> None:
    """Its lines and its span were read after they were written, and settled after that; their numbers are those sent."""
    part = new_part("one", "two")
    before = time.time_ns()
    async with exporting(collector.url, writer=writer) as exporter:
        append(writer, part)
        assert await exporter.drain(20)
        found = told(exporter, part.invocation_id)
    assert [(p.state, p.delivered, p.rejected, p.dropped) for p in found.values()] == [("delivered", 2, 0, {}), ("delivered", 1, 0, {})]
    for passage in found.values():
        assert before <= int(passage.read_time_unix_nano or 0) <= int(passage.settled_time_unix_nano or 0) <= time.time_ns()


async def test_parts_of_an_invocation_count_together(exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector) -> None:
    """Of one that was written in three parts, the time goes from the first part's read to the last one's answer."""
    first = new_part("one", outcome=None)
    async with exporting(collector.url, writer=writer) as exporter:
        append(writer, first)
        assert await exporter.drain(20)
        early = told(exporter, first.invocation_id)
        assert early["spans"].state == "queued"  # until its end is known
        append(writer, new_part("two", outcome=None, invocation=first.invocation_id, number=1, first=1))
        append(writer, new_part("three", "four", invocation=first.invocation_id, number=2, first=2))
        assert await exporter.drain(20)
        found = told(exporter, first.invocation_id)
    assert (found["logs"].state, found["logs"].delivered) == ("delivered", 4)
    assert found["logs"].read_time_unix_nano == early["logs"].read_time_unix_nano
    assert int(found["logs"].settled_time_unix_nano or 0) > int(early["logs"].settled_time_unix_nano or 0)
    assert (found["spans"].state, found["spans"].delivered) == ("delivered", 1)


async def test_what_waits_says_why(exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector) -> None:
    """While the destination is away an invocation is queued with its last error, and delivered when it is back."""
    collector.always = Status(503)
    part = new_part("waits")
    async with exporting(collector.url, writer=writer) as exporter:
        append(writer, part)
        while next(iter(exporter.lanes.values())).sender.last_error is None:
            await asyncio.sleep(0.01)
        waiting = told(exporter, part.invocation_id)["logs"]
        assert (waiting.state, waiting.settled_time_unix_nano, waiting.delivered) == ("queued", None, 0)
        assert "503" in (waiting.error or "")
        collector.always = None
        assert await exporter.drain(20)
        found = told(exporter, part.invocation_id)["logs"]
    assert (found.state, found.read_time_unix_nano, found.error) == ("delivered", waiting.read_time_unix_nano, None)


async def test_what_is_still_in_the_spool_is_queued(
    exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector, tmp_path: Path
) -> None:
    """An invocation that the exporter has not come to is queued without a time; one that it never saw is not known."""
    collector.always = Status(503)
    full = {"OTEL_BLRP_MAX_QUEUE_SIZE": "10", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "10"}
    part = new_part("behind many")
    async with exporting(collector.url, writer=writer, **full) as exporter:
        append(writer, *(new_part(*(["line"] * 10)) for _ in range(300)))
        while next(iter(exporter.lanes.values())).queued < 10:
            await asyncio.sleep(0.01)
        append(writer, part)
        await exporter.ledger()  # it has counted all of the spool by then
        found = told(exporter, part.invocation_id, end_of_spool(tmp_path))["logs"]
        assert (found.state, found.read_time_unix_nano) == ("queued", None)
        assert told(exporter, "0" * 32)["logs"].state == "unknown"


FATES: dict[str, tuple[Callable[[FakeCollector], Any], dict[str, Any], dict[str, tuple[str, int, int, dict[str, int]]]]] = {
    "poison": (
        lambda c: setattr(c, "poison", lambda record: getattr(record, "body", "") == "poison"),
        {},
        {"logs": ("rejected", 1, 1, {}), "spans": ("delivered", 1, 0, {})},
    ),
    "partial": (lambda c: c.faults.append(Partial(1)), {"export.destinations": "logs"}, {"logs": ("rejected", 1, 1, {})}),
    "filtered": (
        lambda c: None,
        {"export.destinations": "others"},
        {"logs": ("dropped", 0, 0, {"filtered": 2}), "spans": ("dropped", 0, 0, {"filtered": 1})},
    ),
}


@pytest.mark.parametrize("name", FATES)
async def test_losses_are_named(exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector, name: str) -> None:
    """What a destination refused, in part or a record alone, and what was never meant for it, has its own state and number."""
    prepare, settings, expected = FATES[name]
    prepare(collector)
    kinds = {"logs": {"signals": ["logs"]}, "others": {"workers": ["other*"], "signals": ["logs", "traces"]}}
    if settings:
        own = [{"name": "default", "endpoint": collector.url, **kinds[settings["export.destinations"]]}]
        settings = {"export.destinations": own}
    part = new_part("fine", "poison")
    async with exporting("" if settings else collector.url, writer=writer, settings=settings) as exporter:
        append(writer, part)
        assert await exporter.drain(20)
        found = told(exporter, part.invocation_id)
    assert {signal: (p.state, p.delivered, p.rejected, p.dropped) for signal, p in found.items()} == expected


async def test_an_invocation_without_lines_sends_nothing(exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector) -> None:
    """Of one that logged nothing, the logs are settled as nothing, and the span is delivered."""
    part = new_part()
    async with exporting(collector.url, writer=writer) as exporter:
        append(writer, part)
        assert await exporter.drain(20)
        found = told(exporter, part.invocation_id)
    assert (found["logs"].state, found["spans"].state) == ("nothing", "delivered")


async def test_after_a_restart_the_way_is_known_no_longer(
    exporting: MakeExporter, writer: SpoolWriter, collector: FakeCollector, tmp_path: Path
) -> None:
    """What an earlier process delivered is neither queued nor delivered to the eyes of the next one: it does not know."""
    part = new_part("before")
    async with exporting(collector.url, writer=writer) as exporter:
        append(writer, part)
        assert await exporter.drain(20)
    async with exporting(collector.url, writer=writer) as exporter:
        place = end_of_spool(tmp_path)
        assert {p.state for p in told(exporter, part.invocation_id, place).values()} == {"unknown"}
        append(writer, new_part("after"))
        assert await exporter.drain(20)
        assert {p.state for p in told(exporter, part.invocation_id, place).values()} == {"unknown"}
    assert len(collector.bodies()) == 2


def test_memory_of_passages_is_bounded() -> None:
    """Of 50,000 frames the newest 20,000 are known; frames of one invocation are told as one, from the first to the last."""
    passages = Passages()
    for number in range(50_000):
        passages.note(f"{number // 2:032x}", number, {None: 1} if number % 2 else {"rejected": 2})
    known = passages.get(f"{24_000:032x}")
    assert known is not None
    assert (known.read_ns, known.fates) == (48_000, {None: 1, "rejected": 2})
    assert passages.get(f"{15_000:032x}") is not None
    assert passages.get(f"{14_999:032x}") is None
