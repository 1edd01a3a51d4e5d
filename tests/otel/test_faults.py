"""Every way a destination can fail: nothing is lost, nothing is sent needlessly, the ledger stays exact."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
from pathlib import Path
from typing import Any

import pytest

from otelbridge.otel.transport import Accepted, Refused, Retry, retry_after, verdict_of_status
from otelbridge.spool import SpoolWriter
from tests.collector import CloseEarly, CloseMidBody, FakeCollector, Fault, Partial, Slow, Status
from tests.otel.conftest import MakeExporter, append, new_part
from tests.otel.test_exporter import line

ONLY_LOGS = {"OTEL_TRACES_EXPORTER": "none"}


@pytest.mark.parametrize(
    "fault",
    [
        Status(429), Status(502), Status(503), Status(504), Status(503, retry_after="0"), Status(500), Status(501), Status(307, location="/x"),
        Status(301), Status(401), Status(404), Status(408), CloseEarly(), CloseMidBody(),
    ],
    ids=str,
)  # fmt: skip
async def test_passing_faults_lose_and_repeat_nothing(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, fault: Fault
) -> None:
    """After a fault of the way, the same records are sent again and arrive once."""
    collector.faults = [fault, fault]
    append(writer, *(new_part(f"{i}") for i in range(5)))
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(5, 5)
        assert exporter.exports()["destinations"][0]["state"] == "ok"
    assert sorted(collector.bodies()) == ["0", "1", "2", "3", "4"]  # 404 is bisected
    assert [seen.records for seen in collector.seen] == [5, 5, 5]
    assert {seen.path for seen in collector.seen} == {"/v1/logs"}


async def test_a_hung_collector_is_given_up_and_asked_again(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Without an answer within the timeout (in milliseconds) the request is sent again."""
    collector.faults = [Slow(60)]
    async with exporting(collector.url, OTEL_EXPORTER_OTLP_TIMEOUT="100", **ONLY_LOGS) as exporter:
        append(writer, new_part("x"))
        assert await exporter.drain(20)
    assert collector.bodies() == ["x"]
    assert len(collector.seen) == 2


async def test_retry_after_is_waited_for(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """A collector that names a time is left alone until then."""
    collector.faults = [Status(503, retry_after="2")]
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        append(writer, new_part("x"))
        assert not await exporter.drain(1)
        assert len(collector.seen) == 1
        assert await exporter.drain(20)
    assert collector.bodies() == ["x"]


async def test_one_request_at_a_time_probes_a_failing_collector(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """While it fails, batches do not all knock at once; when it recovers, they go out side by side."""
    collector.always = Status(503)
    limits = {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "5", "OTEL_BLRP_MAX_QUEUE_SIZE": "40", **ONLY_LOGS}
    async with exporting(collector.url, **limits) as exporter:
        append(writer, *(new_part(f"{i}") for i in range(100)))
        assert not await exporter.drain(1)
        assert len(collector.seen) <= 8 + 5  # all that were under way, then one by one
        collector.always = None
        assert await exporter.drain(20)
    assert sorted(map(int, collector.bodies())) == list(range(100))


async def test_a_poison_record_costs_only_itself(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """A batch that is refused is halved down to the record that caused it, which is kept as a dead letter."""
    collector.poison = lambda record: record.body == "poison"
    heard: list[Any] = []
    async with exporting(collector.url, tell=lambda *a, **k: heard.append((a, k)), **ONLY_LOGS) as exporter:
        append(
            writer, *(new_part(*("poison" if i == 37 and j == 2 else f"{i}.{j}" for j in range(4)), worker=f"w{i % 3}") for i in range(60))
        )
        assert await exporter.drain(20)
        report = exporter.exports()
        letters = list(exporter.dead_letters())
    assert len(set(collector.bodies())) == len(collector.bodies()) == 239
    assert report["total"]["logs"] == line(240, 239, rejected=1)
    assert [w["logs"]["rejected"] for w in report["workers"]] == [0, 1, 0]
    (letter,) = letters
    assert (letter["signal"], letter["records"], letter["workers"], letter["reason"]) == ("logs", 1, {"w1": 1}, "rejected")
    assert "400" in letter["error"]
    (record,) = letter["request"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record["body"] == {"stringValue": "poison"}
    assert len(record["traceId"]) == 32
    assert len(collector.seen) < 40


async def test_what_a_split_request_delivered_is_not_sent_again(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """A request that had to be halved is settled piece by piece: ending while a later piece waits repeats only that one."""
    collector.poison = lambda record: record.body == "14"
    collector.faults, collector.always = [None, None], Status(503)
    append(writer, *(new_part(f"{i}", worker=f"w{i % 3}") for i in range(16)))
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert not await exporter.drain(1)
        assert exporter.exports()["total"]["logs"] == line(16, 8, 8)
    collector.always = None
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(16, 15, rejected=1)
    assert sorted(collector.bodies(), key=int) == [str(i) for i in range(16) if i != 14]


async def test_a_slow_collector_gets_more_requests_at_a_time(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """One request at a time while answers come at once, several while they are slow: what is under way may come twice."""
    limits = {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "5", "OTEL_BLRP_MAX_QUEUE_SIZE": "40", **ONLY_LOGS}
    async with exporting(collector.url, **limits) as exporter:
        append(writer, *(new_part(f"{i}") for i in range(100)))
        assert await exporter.drain(20)
        assert collector.max_running == 1
        collector.always = Slow(0.1)
        append(writer, *(new_part(f"{i}") for i in range(100, 300)))
        assert await exporter.drain(20)
        assert 4 <= collector.max_running <= 8
    assert sorted(map(int, collector.bodies())) == list(range(300))


async def test_dead_letters_can_be_sent_again(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """What was refused is delivered by resend() once the cause is gone, and the ledger follows; what fails again stays."""
    collector.poison = lambda record: record.body.startswith("poison")
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        append(writer, new_part("fine", "poison 1", "poison 2"))
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(3, 1, rejected=2)
        collector.poison = lambda record: record.body == "poison 2"
        assert await exporter.resend() == {"delivered": 1, "failed": 1, "left": 0}
        assert exporter.exports()["total"]["logs"] == line(3, 2, rejected=1)
        assert [letter["records"] for letter in exporter.dead_letters()] == [1]
    collector.poison = None
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.resend("otlp") == {"delivered": 1, "failed": 0, "left": 0}
        assert exporter.exports()["workers"] == [{"workerId": "demo", "logs": line(3, 3), "spans": line()}]
        assert list(exporter.dead_letters()) == []
        assert await exporter.resend() == {"delivered": 0, "failed": 0, "left": 0}
    assert sorted(collector.bodies()) == ["fine", "poison 1", "poison 2"]


async def test_a_kill_between_a_letter_and_the_ledger_makes_no_second_letter(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, tmp_path: Path
) -> None:
    """What the next process has refused once more is the letter that is there; what is sent again and refused is a letter again."""
    collector.poison = lambda record: record.body == "poison"
    append(writer, new_part("fine", "poison"))
    path = tmp_path / "export" / "otlp" / "logs" / "dead-letters.jsonl"
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.drain(20)
    letter = path.read_bytes()
    for file in [*(tmp_path / "export").rglob("*"), *(tmp_path / "spool").rglob("*.cursor")]:
        if file.is_file():  # all else that it noted came too late
            file.unlink()
    path.write_bytes(letter)
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(2, 1, rejected=1)
        assert path.read_bytes() == letter
        assert await exporter.resend() == {"delivered": 0, "failed": 1, "left": 0}
        assert len(list(exporter.dead_letters())) == 1
        collector.poison = None
        assert await exporter.resend() == {"delivered": 1, "failed": 0, "left": 0}
        assert exporter.exports()["total"]["logs"] == line(2, 2)


async def test_dead_letters_wait_for_a_destination_that_is_away(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter
) -> None:
    """resend() gives up after its time and says what is left; nothing of it is lost, and nothing delivered is sent again."""
    collector.always = Status(400)
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        append(writer, new_part("a"), new_part("b"), new_part("c"))
        assert await exporter.drain(20)
        collector.faults, collector.always = [None], Status(503)
        assert await exporter.resend(timeout=0.3) == {"delivered": 1, "failed": 0, "left": 2}
        assert exporter.exports()["total"]["logs"] == line(3, 1, rejected=2)
        collector.always = None
        assert await exporter.resend() == {"delivered": 2, "failed": 0, "left": 0}
        assert exporter.exports()["total"]["logs"] == line(3, 3)
    assert sorted(collector.bodies()) == ["a", "b", "c"]


async def test_refused_metrics_are_dead_letters_too(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Metrics that are refused are counted by data point, kept metric by metric, and can be sent again."""
    collector.always = Status(400)
    variables = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "3600000", "OTEL_LOGS_EXPORTER": "none", **ONLY_LOGS}
    async with exporting(collector.url, **variables) as exporter:
        append(writer, *(new_part(outcome=outcome) for outcome in ("ok", "exception", "exceededCpu")))
        assert await exporter.drain(20)
        (destination,) = exporter.exports()["destinations"]
        refused = destination["signals"]["metrics"]["rejected"]
        assert destination["signals"]["metrics"] == line(refused, rejected=refused)
        letters = list(exporter.dead_letters())
        assert sum(letter["records"] for letter in letters) == refused > len(letters) > 5
        collector.always = None
        assert await exporter.resend() == {"delivered": refused, "failed": 0, "left": 0}
        assert exporter.exports()["destinations"][0]["signals"]["metrics"] == line(refused, refused)
    assert "http.server.request.duration" in {record.proto.name for record in collector.metrics}


async def test_status_500_is_retried_for_a_bounded_time(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """A 500 that stays is set aside after the time of the setting, whole, and can be sent again."""
    collector.always = Status(500)
    async with exporting(collector.url, settings={"export.retry_500_seconds": 0.2}, **ONLY_LOGS) as exporter:
        append(writer, new_part("a", "b"))
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(2, retries_exhausted=2)
        collector.always = None
        assert await exporter.resend() == {"delivered": 2, "failed": 0, "left": 0}
        assert exporter.exports()["total"]["logs"] == line(2, 2)
    assert collector.bodies() == ["a", "b"]


async def test_partial_success_is_counted_and_not_repeated(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Records that the collector says it rejected count as rejected, over its workers in proportion, and are not sent again."""
    collector.faults = [Partial(4)]
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        append(writer, new_part(*"abcdef", worker="big"), new_part(*"gh", worker="small"))
        assert await exporter.drain(20)
        report = exporter.exports()
    assert report["total"]["logs"] == line(8, 4, rejected=4)
    assert [(w["workerId"], w["logs"]["rejected"]) for w in report["workers"]] == [("big", 3), ("small", 1)]
    assert report["destinations"][0]["state"] == "partial"
    assert report["destinations"][0]["lastError"] == "some were too old"
    assert len(collector.seen) == 1


@pytest.mark.parametrize("code", [14, 8, 13, 4, 10], ids=["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED"])
@pytest.mark.parametrize("delay", [None, "0.1"])
async def test_grpc_faults_are_retried(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, code: int, delay: str | None
) -> None:
    """gRPC's transient codes, with and without RetryInfo, lose and repeat nothing."""
    await collector.listen_grpc()
    collector.faults = [Status(code, retry_after=delay)]
    async with exporting(collector.grpc_url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **ONLY_LOGS) as exporter:
        append(writer, new_part("a"))
        assert await exporter.drain(20)
    assert collector.bodies() == ["a"]
    assert len(collector.seen) == 2


async def test_grpc_refusals_and_sizes(writer: SpoolWriter, exporting: MakeExporter) -> None:
    """INVALID_ARGUMENT is searched for its record; messages stay below the server's limit; partial success is read."""
    async with FakeCollector(max_grpc_bytes=4 << 20) as collector:
        await collector.listen_grpc()
        collector.poison = lambda record: record.body == "poison"
        async with exporting(collector.grpc_url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **ONLY_LOGS) as exporter:
            append(writer, *(new_part("x" * 200_000, f"{i}") for i in range(60)), new_part("poison"))
            assert await exporter.drain(20)
            assert exporter.exports()["total"]["logs"] == line(121, 120, rejected=1)
            collector.faults = [Partial(1)]
            append(writer, new_part("p", "q"))
            assert await exporter.drain(20)
            assert exporter.exports()["total"]["logs"] == line(123, 121, rejected=2)
        assert max(seen.size for seen in collector.seen) < 4 << 20


async def test_signals_do_not_hold_each_other_up(writer: SpoolWriter, exporting: MakeExporter) -> None:
    """With the traces' endpoint away, log records go on arriving."""
    async with FakeCollector() as gone:
        pass
    async with FakeCollector() as collector:
        async with exporting("", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"{collector.url}/v1/logs",
                             OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{gone.url}/v1/traces") as exporter:  # fmt: skip
            append(writer, *(new_part(f"{i}") for i in range(3000)))
            assert not await exporter.drain(2)
            while len(collector.logs) < 3000:
                await asyncio.sleep(0.01)
            report = exporter.exports()
        assert report["total"] == {"logs": line(3000, 3000), "spans": line(3000, 0, 3000)}


async def test_several_destinations_are_independent(writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Each destination has its own filter, state and counts; one that is away does not touch the other."""
    async with FakeCollector() as gone:
        pass
    async with FakeCollector() as collector:
        settings = {
            "export.destinations": [
                {"name": "errors", "endpoint": collector.url, "signals": ["logs"], "min_level": "error", "workers": ["pay-*"]},
                {"name": "away", "endpoint": gone.url, "signals": ["logs"]},
            ]
        }
        async with exporting("", settings=settings) as exporter:
            append(writer, new_part("a", worker="pay-1"), new_part("b", worker="pay-1", level=4), new_part("c", worker="shop", level=4))
            assert not await exporter.drain(1)
            report = exporter.exports()
        assert collector.bodies() == ["b"]
    by_name = {d["name"]: d for d in report["destinations"]}
    assert by_name["errors"]["signals"]["logs"] == line(3, 1, filtered=2)
    assert by_name["away"]["signals"]["logs"] == line(3, 0, 3)
    assert (by_name["errors"]["state"], by_name["away"]["state"]) == ("ok", "retrying")
    assert report["total"]["logs"] == line(6, 1, 3, filtered=2)
    shop = next(w for w in report["workers"] if w["workerId"] == "shop")
    assert shop["destinations"]["errors"]["logs"] == line(1, filtered=1)


async def test_losses_are_told_as_records_of_the_bridge(
    collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused records are told once each, with their worker, destination, reason and number."""
    monkeypatch.setattr("otelbridge.otel.exporter._TELL_SECONDS", 0.05)
    collector.always = Status(400)
    heard: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    async with exporting(collector.url, tell=lambda *a, **k: heard.append((a, k)), **ONLY_LOGS) as exporter:
        append(writer, new_part("a", "b"))
        assert await exporter.drain(20)
        while sum(fields["count"] for _, fields in heard) < 2:  # told in one piece or in two
            await asyncio.sleep(0.01)
    ((level, text), fields) = heard[0]
    count = fields.pop("count")
    assert (level, text) == ("warn", f"{count} logs of worker demo did not get to otlp: rejected")
    assert fields == {
        "worker_id": "demo",
        "event": "otelbridge.export.lost",
        "destination": "otlp",
        "signal": "logs",
        "reason": "rejected",
    }


def test_verdicts_of_statuses() -> None:
    """Which statuses are retried for ever, which for a while, and which are a verdict on the records."""
    forever, bounded = Retry("r"), Retry("r", bounded=True)
    expected = {429: forever, 502: forever, 503: forever, 504: forever, 500: bounded, 505: bounded, 302: bounded, 401: bounded, 403: bounded,
                404: bounded, 400: Refused("r"), 413: Refused("r"), 422: Refused("r"), 431: Refused("r")}  # fmt: skip
    assert {status: verdict_of_status(status, "r", {}) for status in expected} == expected
    assert Accepted() == Accepted(0, "")


def test_retry_after_is_seconds_or_a_date() -> None:
    """Both forms are read; nonsense and the past are no wait; a year is not believed."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    assert retry_after("7") == 7
    assert 90 < retry_after(email.utils.format_datetime(soon, usegmt=True)) <= 100
    for nonsense in (None, "", "soon", "-3", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert retry_after(nonsense) == 0
    assert retry_after("31536000") == 3600


async def test_a_torn_dead_letter_is_skipped(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter, tmp_path: Any) -> None:
    """A kill while a letter was written leaves half a line, which neither listing nor resending stumbles over."""
    collector.always = Status(400)
    async with exporting(collector.url, **ONLY_LOGS) as exporter:
        append(writer, new_part("a"))
        assert await exporter.drain(20)
        path = tmp_path / "export" / "otlp" / "logs" / "dead-letters.jsonl"
        path.write_bytes(path.read_bytes() + json.dumps({"time": "x"}).encode()[:-3])
        assert len(list(exporter.dead_letters())) == 1
        collector.always = None
        assert await exporter.resend() == {"delivered": 1, "failed": 0, "left": 0}


async def test_dead_letters_are_bounded(collector: FakeCollector, writer: SpoolWriter, exporting: MakeExporter) -> None:
    """Beyond the limit refused records are counted, but not kept."""
    collector.always = Status(400)
    async with exporting(collector.url, settings={"export.dead_letter_bytes": 3000}, **ONLY_LOGS) as exporter:
        append(writer, *(new_part(f"{i}") for i in range(20)))
        assert await exporter.drain(20)
        assert exporter.exports()["total"]["logs"] == line(20, rejected=20)
        assert 0 < len(list(exporter.dead_letters())) < 5
