"""The service under kills, failing collectors and full disks: what a client was answered arrives, and the ledger is exact."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.collector import rotel
from tests.e2e.receiver import Receiver, poisoned
from tests.e2e.storm import FAULTS, Service, Storm, equations_hold

RELAY = """[[export.destinations]]
name = "relay"
endpoint = "{url}"
protocol = "grpc"
signals = ["logs"]
"""

# A storm of kills and faults takes 30 s alone, and minutes where other tests take the cores.
pytestmark = pytest.mark.timeout(400)


async def test_kills_and_failing_collectors_lose_nothing(tmp_path: Path) -> None:
    """Through kills of the service, every fault of one collector and a second, real one that hangs: each record of each response
    arrives at both, below 2 % twice; the ledger's equation holds at every look at it, and at the end it agrees with what arrived."""
    async with Receiver() as faulty, Receiver() as sink, rotel(sink.url, tmp_path) as relay:
        faulty.poison = poisoned
        service = Service(
            tmp_path / "service",
            config=RELAY.format(url=relay.grpc_url),
            OTEL_EXPORTER_OTLP_ENDPOINT=faulty.url,
            OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="256",
            OTEL_BSP_SCHEDULE_DELAY="500",
            OTEL_METRIC_EXPORT_INTERVAL="2000",
        )
        async with Storm(service, seed=20) as storm:
            async with storm.blowing(
                lambda: storm.kill(every=(4.0, 8.0)),
                lambda: storm.suspend(relay.process, every=(4.0, 8.0), seconds=1.0),
            ):
                await storm.fail(faulty, list(FAULTS), seconds=2.0, calm=1.5)
            await storm.restart()
            await storm.settled()
            faulty.poison = None
            again = await storm.ask("POST", "/v1/exports/resend?destination=otlp")
            # Those that a kill left without an end come a moment later.
            await storm.until(lambda _: len(storm.acknowledged.keys() - faulty.servers.keys()) <= faulty.refused["spans"])
            ledger = await storm.settled()
            counters = await storm.text("/metrics")
            print(f"{len(storm.acknowledged)} responses, {storm.records} records, {service.kills} kills, {dict(storm.faults)}")
            print(f"repeated: {faulty.repeated():.4f} {sink.repeated():.4f}; resent {again}; ledger seen {storm.ledgers} times")
            print(f"memory {service.first_rss >> 20} to {service.peak_rss >> 20} MiB")

    equations_hold(ledger)
    assert (again["failed"], again["left"]) == (0, 0)
    assert again["delivered"] > 0
    assert service.kills >= 3
    assert storm.ledgers > 20
    assert len(storm.missing(sink)) == 0
    # Whose records a partial success rejects, a collector does not say.
    assert len(storm.missing(faulty)) <= faulty.lost()
    assert faulty.repeated() < 0.02
    assert sink.repeated() < 0.02
    assert len(storm.acknowledged.keys() - faulty.servers.keys()) <= faulty.refused["spans"]

    by_name = {d["name"]: d["signals"] for d in ledger["destinations"]}
    assert by_name["otlp"]["logs"]["dropped"] == by_name["relay"]["logs"]["dropped"] == {}
    emitted = ledger["total"]["logs"]["emitted"] + ledger["bridge"]["logs"]["emitted"]
    assert emitted == faulty.distinct() + faulty.lost() + sink.distinct()
    assert faulty.lost() <= ledger["total"]["logs"]["rejected"] + ledger["bridge"]["logs"]["rejected"] <= faulty.refused["logs"]
    ended = sum(map(int, re.findall(r"^faas_(?:invocations|errors)_total\{.*\} (\d+)$", counters, re.M)))
    assert ended - faulty.refused["spans"] <= len(faulty.servers.keys() - faulty.incomplete) <= ended
    assert service.peak_rss < service.first_rss + (200 << 20)


@pytest.mark.parametrize("small", ["tmpfs", "spool", "tmpfs with the store"])
async def test_a_full_disk_loses_only_what_it_counts(tmp_path: Path, small: str) -> None:
    """With the collector away until the disk, or the space that the spool may have, is full, and kills meanwhile: workers go on
    answering, what is left out is counted, and when the collector is back the rest arrives, space comes back and the store stores."""
    data = tmp_path / "data"
    data.mkdir()
    if small != "spool":
        # A mount of its own, which outlives the service that is killed in it.
        inside = f'mount -t tmpfs -o size=8m none {data} && while true; do "$@" & echo $! >{tmp_path}/pid; wait; done'
        wrap: tuple[str, ...] = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh")
        if subprocess.run([*wrap[:4], "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode:  # noqa: ASYNC221
            pytest.skip("this machine lets nobody mount a file system of their own")
        environ = {"OTELBRIDGE_SPOOL_MAX_BYTES": "1GiB"}
    else:
        wrap, environ = (), {"OTELBRIDGE_SPOOL_MAX_BYTES": "3MiB"}
    async with Receiver() as collector:
        service = Service(
            tmp_path / "service",
            wrap=wrap,
            pid_file=tmp_path / "pid" if wrap else None,
            OTELBRIDGE_DATA_DIR=str(data),
            OTELBRIDGE_SPOOL_SEGMENT_BYTES="64KiB",
            OTELBRIDGE_STORE_ENABLED=str("store" in small).lower(),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="200",
            OTEL_METRICS_EXPORTER="none",
            **environ,
        )
        async with Storm(service, seed=21, clients=8, pause_seconds=0.0, length=4000) as storm:
            await collector.stop()
            async with storm.blowing():
                await storm.until(lambda ledger: sum(ledger["total"]["logs"]["dropped"].values()) > 200)
                await storm.restart()
                before = len(storm.acknowledged)
                await storm.until(lambda _: len(storm.acknowledged) > before + 50)
            equations_hold(await storm.ledger())
            await collector.__aenter__()
            full = await storm.settled()
            await storm.eventually(lambda: spool_is_small(storm))
            storm.length, before = 0, len(storm.acknowledged)
            async with storm.blowing():  # and there is space again
                await storm.until(lambda _: len(storm.acknowledged) > before + 100)
            await storm.until(lambda _: bool(collector.notices))  # the bridge tells of what it left out, within a second
            ledger = await storm.settled()
            if "store" in small:
                last = list(storm.acknowledged)[-1]
                await storm.eventually(lambda: is_stored(storm, last))
                assert (await storm.ask("GET", "/v1/logs?q=kind:bridge+disk+full"))["logs"], "what the store removed is told"

    equations_hold(ledger)
    lost = ledger["total"]["logs"]["dropped"]
    print(f"{small}: {storm.records} records answered, {lost} left out, {len(collector.records)} arrived, {collector.repeated():.4f} twice")
    assert lost.keys() <= {"disk_full", "spool_full"}
    assert lost == full["total"]["logs"]["dropped"], "nothing is lost once there is space"
    assert 0 < len(storm.missing(collector)) <= sum(lost.values())
    assert ledger["total"]["logs"]["emitted"] == len(collector.records) + sum(lost.values())
    assert ledger["total"]["logs"]["emitted"] >= storm.records


async def spool_is_small(storm: Storm) -> bool:
    """Whether what was sent is gone from the disk."""
    sizes = re.findall(r"^otelbridge_spool_size_bytes.* (\d+)$", await storm.text("/metrics"), re.M)
    return int(sizes[0]) < 300_000


async def is_stored(storm: Storm, invocation: str) -> bool:
    """Whether the log store has records of an invocation."""
    return bool((await storm.ask("GET", f"/v1/logs?q=invocation:{invocation}"))["logs"])
