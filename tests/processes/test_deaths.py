"""Processes that are killed: nothing that was answered is lost, and whoever is not concerned does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.collector import FakeCollector, Status


async def test_a_killed_loader_loses_nothing_and_is_replaced(serve: Callable[..., Any]) -> None:
    """SIGKILL for one loader under load: its clients lose their connection once, all that was answered is in the store and
    a record tells of the death."""
    running = await serve()
    await running.put("echo")
    before = await running.steady()
    async with running.load() as load:
        await load.until(50)
        os.kill(before[0]["pid"], signal.SIGKILL)
        await running.wait_for("was killed by SIGKILL; it is started anew")
        await load.until(200)
        after = await running.steady()
        await load.until(50)
    assert len(load.failures) <= 6, load.failures
    assert [p["restarts"] for p in after] == [1, 0]
    assert after[0]["pid"] != before[0]["pid"]
    assert after[1]["pid"] == before[1]["pid"]
    await running.logs_hold(load.answered)
    _, page = await running.ask("GET", "/v1/logs?q=kind:bridge+level:error")
    assert any("loader-1 was killed by SIGKILL" in record["text"] for record in page["logs"])
    assert await running.stop() == 0


async def test_a_killed_hub_stops_no_invocation(serve: Callable[..., Any]) -> None:
    """SIGKILL for the hub, again and again: no call fails, all that was answered reaches the collector and the ledger is exact;
    what only the hub can answer is a clean 503 while it is away."""
    async with FakeCollector() as collector:
        running = await serve(env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"})
        await running.put("echo")
        await running.steady()
        refused = []
        async with running.load() as load:
            for _ in range(2):
                (hub,) = await running.processes("hub")
                os.kill(hub["pid"], signal.SIGKILL)
                status = 200
                while status == 200:
                    status, body = await running.ask("GET", "/readyz")
                refused.append((status, body["type"]))
                await load.until(50)
                await running.steady()
        assert refused == [(503, "urn:otelbridge:problem:hub-unavailable")] * 2
        assert load.failures == []
        await running.logs_hold(load.answered)
        assert await running.stop() == 0
    sent = [record.body["n"] for record in collector.logs if isinstance(record.body, dict) and "n" in record.body]
    assert set(load.answered) <= set(sent)


async def test_what_crashes_in_a_loop_waits(serve: Callable[..., Any]) -> None:
    """A loader that dies again and again is restarted after longer and longer pauses, which /readyz tells; the other one serves."""
    running = await serve()
    await running.put("echo")
    await running.steady()
    while True:
        loaders = await running.processes("loader")
        if loaders[0]["state"] == "waiting":
            break
        if loaders[0]["state"] == "running":
            with contextlib.suppress(ProcessLookupError):  # the table may be older than the process's end
                os.kill(loaders[0]["pid"], signal.SIGKILL)
        await asyncio.sleep(0.02)
    status, body = await running.ask("GET", "/readyz")
    assert (status, body["status"]) == (200, "degraded")
    assert "loader-1 was killed by SIGKILL again and again" in body["reasons"][0]
    assert (await running.ask("GET", "/w/echo/?n=1"))[1] == "1"
    await running.steady()
    assert (await running.ask("GET", "/readyz"))[1] == {"status": "ready"}


async def test_a_killed_supervisor_takes_all_with_it(serve: Callable[..., Any]) -> None:
    """SIGKILL for the supervisor under load: the others end by themselves, the next start works at once and finds all that was
    answered."""
    running = await serve("--port", "0")
    await running.put("echo")
    await running.steady()
    async with running.load() as load:
        await load.until(100)
        running.process.kill()
        again = await serve()
        load.stop()
    assert await running.ended() == -signal.SIGKILL  # also: nobody holds its stderr any more
    await again.logs_hold(load.answered)
    assert await again.stop() == 0


async def test_a_spool_without_a_loader_is_read(serve: Callable[..., Any], tmp_path: Path) -> None:
    """With fewer processes than before, what is left in the spools of those that are no more is read to the end."""
    running = await serve("--processes", "3")
    await running.put("echo")
    await running.steady(3)
    (hub,) = await running.processes("hub")
    os.kill(hub["pid"], signal.SIGSTOP)
    async with running.load() as load:
        await load.until(100)
    os.kill(hub["pid"], signal.SIGKILL)
    running.process.kill()
    await running.ended()
    assert {path.name for path in (tmp_path / "data" / "spool").iterdir()} == {"hub", "loader-1", "loader-2", "loader-3"}
    single = await serve("--processes", "1")
    await single.logs_hold(load.answered)
    (only,) = await single.processes("all")
    assert only["name"] == "main"
    assert await single.stop() == 0


async def test_a_loader_that_hangs_is_replaced(serve: Callable[..., Any]) -> None:
    """A loader that stands still (SIGSTOP) is killed after server.hang_seconds and replaced, which a record tells; calls go on,
    and what it had answered is in the store."""
    running = await serve(env={"OTELBRIDGE_SERVER_HANG_SECONDS": "2"})
    await running.put("echo")
    before = await running.steady()
    async with running.load() as load:
        await load.until(50)
        os.kill(before[0]["pid"], signal.SIGSTOP)
        await running.wait_for("loader-1 did not respond for 2 s and was killed; it is started anew")
        while not (after := await running.steady())[0]["restarts"]:  # that is told before the process is gone
            await asyncio.sleep(0.05)
        await load.until(50)
    assert [p["restarts"] for p in after] == [1, 0]
    assert after[1]["pid"] == before[1]["pid"]
    await running.logs_hold(load.answered)
    _, page = await running.ask("GET", "/v1/logs?q=kind:bridge+level:error")
    assert any("loader-1 did not respond for 2 s and was killed" in record["text"] for record in page["logs"])
    assert await running.stop() == 0


async def test_a_full_spool_of_two_loaders_is_accounted_for(serve: Callable[..., Any]) -> None:
    """With small spools, two loaders and a collector that is away, what each spool has to leave out is counted: when the
    collector is back, what was emitted is what was delivered and what was dropped, and what arrived is what was delivered."""
    async with FakeCollector() as collector:
        collector.always = Status(503)
        running = await serve(
            env={
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_BLRP_MAX_QUEUE_SIZE": "64",
                "OTEL_BSP_MAX_QUEUE_SIZE": "64",
                "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "16",
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
                "OTELBRIDGE_SPOOL_MAX_BYTES": str(4 << 20),
            }
        )
        await running.put("echo", "export default { fetch() { console.log('x'.repeat(20_000)); return new Response() } }")
        loaders = await running.steady()
        calls = 0
        async with asyncio.TaskGroup() as group:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                done = asyncio.Event()

                async def client() -> None:
                    nonlocal calls
                    while not done.is_set():
                        async with session.get(f"{running.url}/w/echo/") as answer:
                            assert answer.status == 200
                            calls += 1

                clients = [group.create_task(client()) for _ in range(4)]
                ledger: dict[str, Any] = {}
                while ledger.get("dropped", {}).get("spool_full", 0) < 50:
                    await asyncio.sleep(0.2)
                    _, body = await running.ask("GET", "/v1/exports")
                    ledger = body["total"]["logs"]
                done.set()
                await asyncio.gather(*clients)
        collector.always = None
        while True:
            _, body = await running.ask("GET", "/v1/exports")
            logs, spans = body["total"]["logs"], body["total"]["spans"]
            if logs["queued"] == spans["queued"] == 0 and logs["emitted"] == calls:
                break
            await asyncio.sleep(0.2)
        assert spans["emitted"] == calls + len([r for r in collector.spans if r.proto.name == "load"])
        for line in (logs, spans):
            assert (line["emitted"], line["rejected"]) == (line["delivered"] + sum(line["dropped"].values()), 0)
        assert set(logs["dropped"]) == {"spool_full"}
        for records, line in ((collector.logs, logs), (collector.spans, spans)):
            assert len([r for r in records if r.resource.get("workerId") == "echo"]) == line["delivered"]
        assert [p["pid"] for p in await running.steady()] == [p["pid"] for p in loaders]
        assert await running.stop() == 0
