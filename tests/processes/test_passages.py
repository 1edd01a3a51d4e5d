"""Tail and export of an invocation, when a loader wrote its records and the hub sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.collector import FakeCollector, Status

DELAY = {"OTEL_BLRP_SCHEDULE_DELAY": "100", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRICS_EXPORTER": "none"}


async def test_the_hub_knows_what_became_of_what_loaders_ran(serve: Callable[..., Any]) -> None:
    """Of calls that both loaders answered, spool, store and export have their times, whichever process is asked; while the
    destination is down they are queued, and it is said why."""
    async with FakeCollector() as collector:
        running = await serve(env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **DELAY})
        await running.put("echo")
        await running.steady()
        collector.always = Status(503)
        ids = []
        for number in range(8):
            async with running.session.get(f"{running.url}/w/echo/?n={number}", headers={"connection": "close"}) as answer:
                ids.append(answer.headers["otelbridge-invocation-id"])
        while True:
            status, item = await running.ask("GET", f"/v1/invocations/{ids[0]}")
            waiting = item.get("exports", ()) if status == 200 else ()
            if [(one["state"], "503" in one.get("error", "")) for one in waiting] == [("queued", True)] * 2:
                break
            await asyncio.sleep(0.05)
        collector.always = None
        for invocation in ids:
            while True:
                status, item = await running.ask("GET", f"/v1/invocations/{invocation}")
                if status == 200 and {one["state"] for one in item.get("exports", ())} == {"delivered"}:
                    break
                await asyncio.sleep(0.05)
            ended, tail = int(item["timing"]["endTimeUnixNano"]), item["tail"]
            assert ended <= int(tail["spooledTimeUnixNano"]) <= int(tail["storedTimeUnixNano"])
            assert [one["signal"] for one in item["exports"]] == ["logs", "spans"]
            for one in item["exports"]:
                assert int(tail["spooledTimeUnixNano"]) <= int(one["readTimeUnixNano"]) <= int(one["settledTimeUnixNano"])
        assert await running.stop() == 0
