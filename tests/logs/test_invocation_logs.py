"""`observability.logs.invocation_logs`: whether the invocations' own records are among the logs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from otelbridge import Bridge, Request, Settings, WorkerCode
from otelbridge.logs.events import batches_of, select
from otelbridge.logs.live import LiveTail
from otelbridge.logs.tail_filter import tail_filter
from tests.logs.samples import end_of, frames, line, part

SECOND = 1_764_000_001_000_000_000


@pytest.mark.parametrize("shown", [True, False])
async def test_records_of_invocations_are_shown_or_not(data_dir: Path, shown: bool) -> None:
    """Off: neither /v1/logs, the view `events` nor the live tail has them; invocations are found, by what they alone know, and counted."""
    settings = Settings(
        environ={},
        flags={
            "data_dir": data_dir,
            "sandbox.cache_dir": data_dir.parent / "cache",
            "observability.logs.invocation_logs": shown,
        },
    )
    code = WorkerCode(
        main_module="a.js", modules={"a.js": "export default { fetch() { console.log('line'); return new Response('', {status: 503}) } }"}
    )
    async with Bridge(settings) as bridge:
        assert bridge.control.live is not None
        assert bridge.control.store is not None
        subscription = bridge.control.live.subscribe(tail_filter([("status", "5xx")]))
        result = await bridge.data.run(code, Request("GET", "http://worker/"), worker_id="w")
        assert result.response is not None
        assert result.response.status == 503
        chunks, seen = aiter(subscription), b""
        async with asyncio.timeout(30):
            while b"event: log" not in seen:
                seen += await anext(chunks)
        await subscription.aclose()
        assert (b"event: invocation" in seen) is shown

        store = bridge.control.store
        while not (await store.invocations("status:5xx wallMs:>=0")).invocations:
            await asyncio.sleep(0.01)
        kinds = {"log", "invocation"} if shown else {"log"}
        assert {record.kind for record in (await store.logs("status:5xx")).logs} == kinds
        assert bool((await store.logs("kind:invocation")).logs) is shown
        assert {event.kind for event in (await store.query({"view": "events", "q": "worker:w"}))["events"]} == kinds
        counted = await store.query({"view": "calculations", "calculations": [{"operator": "count", "key": "wallMs"}]})
        assert counted["calculations"][0]["values"] == {"count(wallMs)": 1}
        while "faas_invocations_total" not in bridge.control.metrics_text() and "faas_errors_total" not in bridge.control.metrics_text():
            await asyncio.sleep(0.05)


async def test_a_filter_by_status_waits_for_an_end_that_is_not_shown(data_dir: Path) -> None:
    """The end gives no event then, but what waited for it comes with it."""
    decoder = LiveTail(spools={}, invocation_logs=False).decoder()
    items = [part(line("early"), ended=False), part(number=1, end=end_of(time_ns=SECOND, status=404))]
    data, count = select(batches_of(decoder, "main", frames(items), {}), tail_filter([("status", "404")]))
    assert count == 1
    assert b"early" in data
