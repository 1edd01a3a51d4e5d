"""Sampling: whole invocations or nothing, the same everywhere, and never the ones that went wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from otelbridge.model import ring
from otelbridge.otel.environment import LOGS, SPANS, Environment
from otelbridge.otel.sampling import Sampling
from otelbridge.settings import Settings
from otelbridge.spool import SpoolWriter
from tests.collector import FakeCollector
from tests.otel.conftest import MakeExporter, append, new_part
from tests.otel.test_exporter import line

LOW, HIGH = "0" * 31 + "1", "f" * 32  # trace ids that any rate takes, and that only 1 takes
BOOM = ring.pack(ring.EXCEPTION, b'{"name":"Error","message":"boom"}')


def sampling(signal: Any, variables: dict[str, str] | None = None, **flags: Any) -> Sampling:
    settings = Settings(environ={}, flags={f"observability.{k}": v for k, v in flags.items()})
    return Sampling(signal, settings.observability, Environment(variables or {}))


@given(trace=st.integers(1, (1 << 128) - 1), rate=st.floats(0, 1))
def test_head_sampling_agrees_with_the_sdk(trace: int, rate: float) -> None:
    """The decision for a trace is the one that the SDK's ratio sampler takes for it."""
    ours = sampling(LOGS, head_sampling_rate=rate).head(new_part(trace=f"{trace:032x}"))
    assert ours == (TraceIdRatioBased(rate).should_sample(None, trace, "").decision is not Decision.DROP)


def test_traces_follow_their_parent() -> None:
    """A span below a sampled parent is kept at rate 0, one below an unsampled parent dropped at rate 1; logs go by the rate."""
    parent = "ab" * 8
    for flags in (0, 1):
        part = new_part(parent=parent, flags=flags, trace=HIGH)
        assert sampling(SPANS, head_sampling_rate=1.0 - flags).head(part) is bool(flags)
        assert sampling(LOGS, head_sampling_rate=0.0).head(part) is False


@pytest.mark.parametrize(
    ("sampler", "argument", "root", "kept_below_unsampled"),
    [
        ("always_on", "", True, True),
        ("always_off", "", False, False),
        ("traceidratio", "0.5", False, False),
        ("traceidratio", "1", True, True),
        ("parentbased_always_on", "", True, False),
        ("parentbased_always_off", "", False, False),
        ("parentbased_traceidratio", "0.5", False, False),
    ],
)
def test_standard_samplers(sampler: str, argument: str, root: bool, kept_below_unsampled: bool) -> None:
    """OTEL_TRACES_SAMPLER decides for traces when it is set, over the settings."""
    made = sampling(SPANS, {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}, head_sampling_rate=0.1)
    assert made.head(new_part(trace=HIGH)) is root
    assert made.head(new_part(trace=HIGH, parent="ab" * 8, flags=0)) is kept_below_unsampled


def test_a_section_overrides_the_common_rate() -> None:
    """logs.head_sampling_rate and traces.head_sampling_rate stand for themselves, as in wrangler."""
    flags: dict[str, Any] = {"head_sampling_rate": 1.0, "logs.head_sampling_rate": 0.0}
    assert not sampling(LOGS, **flags).head(new_part(trace=HIGH))
    assert sampling(SPANS, **flags).head(new_part(trace=HIGH))


async def test_what_went_wrong_is_kept_whole(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """At rate 0, invocations that failed, were slow or logged an error arrive with all of their lines; the others are counted."""
    settings = {"observability.head_sampling_rate": 0.0, "observability.slow_ms": 1000}
    async with exporting(collector.url, writer=writer, settings=settings) as exporter:
        fast, slow = 1, 2_000_000_000
        ways: list[tuple[int, dict[str, Any]]] = [
            (fast, {"outcome": "exceededCpu"}),
            (fast, {"status": 503}),
            (fast, {"level": 4}),
            (fast, {"ring_bytes": BOOM}),
            (slow, {}),
            (fast, {}),
            (fast, {}),
        ]
        for number, (wall_ns, way) in enumerate(ways):
            invocation = f"{number + 1:032x}"
            last = new_part(f"{number}", invocation=invocation, trace=HIGH, number=1, first=1, **way)
            assert last.end is not None
            last = msgspec.structs.replace(last, end=msgspec.structs.replace(last.end, wall_ns=wall_ns))
            append(writer, new_part("early", outcome=None, invocation=invocation, trace=HIGH), last)
        assert await exporter.drain(10)
        report = exporter.exports()
    assert sorted(str(b) for b in collector.bodies()) == ["0", "1", "2", "3", "4", "Error: boom", *["early"] * 5]
    assert report["total"]["logs"] == line(15, 11, sampled=4)
    assert report["total"]["spans"] == line(7, 5, sampled=2)


async def test_unsampled_invocations_wait_only_when_their_end_matters(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """Without keep_failed an unsampled invocation is dropped at once; a sampled one never waits for its end."""
    settings = {"observability.head_sampling_rate": 0.5, "observability.keep_failed": False}
    async with exporting(collector.url, writer=writer, settings=settings, OTEL_TRACES_EXPORTER="none") as exporter:
        append(writer, new_part("kept", outcome=None, trace=LOW), new_part("gone", outcome=None, trace=HIGH))
        assert await exporter.drain(10)
        assert exporter.exports()["total"]["logs"] == line(2, 1, sampled=1)
    assert collector.bodies() == ["kept"]


async def test_waiting_invocations_survive_a_restart(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Lines that wait for their invocation's end are queued, not lost, when the exporter goes and comes back."""
    settings = {"observability.head_sampling_rate": 0.0}
    async with exporting(collector.url, settings=settings) as exporter:
        append(writer, new_part("first", outcome=None, invocation="a" * 32, trace=HIGH), new_part("other", trace=HIGH))
        assert await exporter.drain(10)
        assert exporter.exports()["total"]["logs"] == line(2, 0, 1, sampled=1)
    append(writer, new_part("last", outcome="exception", invocation="a" * 32, trace=HIGH, number=1, first=1))
    async with exporting(collector.url, settings=settings) as exporter:
        assert await exporter.drain(10)
        assert exporter.exports()["total"]["logs"] == line(3, 2, sampled=1)
    assert collector.bodies() == ["first", "last"]


async def test_an_invocation_whose_process_died_is_kept(collector: FakeCollector, exporting: MakeExporter, tmp_path: Any) -> None:
    """When a new process writes to the spool, the open invocations of the old one count as failed: lines, and a span without an end."""
    spool = tmp_path / "spool" / "main"
    first = SpoolWriter(spool)
    append(first, new_part("cut off", outcome=None, trace=HIGH))
    first.close()
    second = SpoolWriter(spool)
    append(second, new_part("alive", trace=HIGH))
    async with exporting(collector.url, settings={"observability.head_sampling_rate": 0.0}) as exporter:
        assert await exporter.drain(10)
        assert exporter.exports()["total"] == {"logs": line(2, 1, sampled=1), "spans": line(2, 1, sampled=1)}
    (span,) = collector.spans
    assert collector.bodies() == ["cut off"]
    assert (span.attributes["otelbridge.outcome"], span.attributes["otelbridge.incomplete"], span.proto.status.code) == ("unknown", True, 2)
    second.close()


@pytest.mark.parametrize("key", ["observability.enabled", "observability.logs.enabled"])
async def test_a_disabled_signal_is_counted_as_dropped(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, key: str
) -> None:
    """What is switched off is not sent, and shown as such."""
    async with exporting(collector.url, settings={key: False}) as exporter:
        append(writer, new_part("x"))
        assert await exporter.drain(10)
        assert exporter.exports()["total"]["logs"] == line(1, disabled=1)
    await asyncio.sleep(0)
    assert collector.logs == []
