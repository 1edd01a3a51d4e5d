"""GET /v1/invocations/{id}: what became of an invocation's records after its end, from a worker's call on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from otelbridge import Request, TailWorker, WorkerCode
from otelbridge.model.trace import TraceItem
from otelbridge.web.telemetry import InvocationBody
from tests.collector import FakeCollector

LOGS = "export default { fetch() { console.log('one'); console.log('two'); return new Response('ok') } }"


async def shown(service: Any, invocation: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    """The invocation as soon as it is in the store and fits."""
    while True:
        status, _, item = await service.ask("GET", f"/v1/invocations/{invocation}")
        if status == 200:
            msgspec.convert(item, InvocationBody)  # as /openapi.json describes it
        if status == 200 and "tail" in item and fits(item):
            return dict(item)
        await asyncio.sleep(0.02)


def states(item: dict[str, Any]) -> dict[tuple[str, str], str]:
    """By destination and signal."""
    return {(one["destination"], one["signal"]): one["state"] for one in item["exports"]}


async def call(service: Any) -> str:
    """Call the worker; the invocation's id."""
    status, headers, _ = await service.ask("GET", "/w/w/")
    assert status == 200
    return str(headers["otelbridge-invocation-id"])


async def test_times_of_tail_and_export_follow_one_another(serve: Callable[..., Any]) -> None:
    """End of the run, in the spool, in the store; read for each destination and signal, and acknowledged: in that order."""
    async with FakeCollector() as collector:
        service = await serve(export__destinations=[{"name": "main", "endpoint": collector.url, "signals": ["logs", "traces"]}])
        await service.put("w", LOGS)
        item = await shown(service, await call(service), lambda item: set(states(item).values()) == {"delivered"})
    assert list(states(item)) == [("main", "logs"), ("main", "spans")]
    ended, tail = int(item["timing"]["endTimeUnixNano"]), item["tail"]
    assert ended <= int(tail["spooledTimeUnixNano"]) <= int(tail["storedTimeUnixNano"])
    logs, spans = item["exports"]
    sent = [span for span in collector.spans if span.proto.trace_id.hex() == item["traceId"]]
    assert (logs["delivered"], spans["delivered"]) == (2, len(sent))
    for one in (logs, spans):
        assert int(tail["spooledTimeUnixNano"]) <= int(one["readTimeUnixNano"]) <= int(one["settledTimeUnixNano"])


async def test_a_destination_that_is_down_delays_only_itself(serve: Callable[..., Any]) -> None:
    """Where nobody listens an invocation is queued and says why; when somebody does, it is delivered; the other one never waits."""
    async with FakeCollector() as up, FakeCollector() as gone:
        await gone.stop()
        destinations = [
            {"name": "up", "endpoint": up.url, "signals": ["logs"]},
            {"name": "down", "endpoint": gone.url, "signals": ["logs"]},
        ]
        service = await serve(export__destinations=destinations)
        await service.put("w", LOGS)
        invocation = await call(service)
        item = await shown(service, invocation, lambda item: "error" in item["exports"][1] and states(item)["up", "logs"] == "delivered")
        assert states(item) == {("up", "logs"): "delivered", ("down", "logs"): "queued"}
        assert "settledTimeUnixNano" not in item["exports"][1]
        async with FakeCollector(port=int(gone.url.rpartition(":")[2])) as back:
            item = await shown(service, invocation, lambda item: states(item)["down", "logs"] == "delivered")
            assert back.bodies() == ["one", "two"]
        up_, down = item["exports"]
        assert int(down["settledTimeUnixNano"]) > int(up_["settledTimeUnixNano"])


async def test_without_a_destination_there_is_no_export(running: Any) -> None:
    """An invocation that goes nowhere has its tail, and an empty list of exports; one that runs has neither."""
    await running.put("w", LOGS)
    assert (await shown(running, await call(running)))["exports"] == []
    slow = "export default { async fetch() { console.log('x'); await scheduler.wait(700); return new Response('ok') } }"
    await running.put("slow", slow)
    answer = asyncio.ensure_future(running.ask("GET", "/w/slow/"))
    while not (found := (await running.ask("GET", "/v1/invocations?q=worker:slow"))[2]["invocations"]):
        await asyncio.sleep(0.01)
    item = (await running.ask("GET", f"/v1/invocations/{found[0]['invocationId']}"))[2]
    assert "outcome" in item or not {"tail", "exports"} & set(item)
    await answer


async def test_after_a_restart_what_is_not_kept_is_unknown(serve: Callable[..., Any]) -> None:
    """The next process knows when a record was in the spool, and of the store and the export says that it does not know."""
    async with FakeCollector() as collector:
        flags = {"export__destinations": [{"name": "main", "endpoint": collector.url, "signals": ["logs"]}]}
        service = await serve(**flags)
        await service.put("w", LOGS)
        invocation = await call(service)
        before = await shown(service, invocation, lambda item: set(states(item).values()) == {"delivered"})
        await service.service.aclose()
        await service.bridge.aclose()
        item = await shown(await serve(**flags), invocation)
    assert item["tail"] == {"spooledTimeUnixNano": before["tail"]["spooledTimeUnixNano"]}
    assert item["exports"] == [{"destination": "main", "signal": "logs", "state": "unknown"}]


class Audit(TailWorker):
    """A tail that takes its time."""

    async def tail(self, events: Sequence[TraceItem]) -> None:
        await asyncio.sleep(0.02)


class Broken(TailWorker):
    """A tail that raises."""

    async def tail(self, events: Sequence[TraceItem]) -> None:
        raise ValueError("no disk")


async def test_tails_of_an_embedding_program_have_their_times(running: Any) -> None:
    """Each tail of a worker is named with its begin and end after the record was written, and with what it raised."""
    bridge = running.bridge
    code = WorkerCode(main_module="index.js", modules={"index.js": LOGS}, tails=[Audit(), Broken(), bridge.data.tail])
    response = await bridge.loader.load(code).get_entrypoint().fetch(Request("GET", "http://worker/"))
    await bridge.drain()
    item = await shown(running, response.invocation_id)
    audit, broken = item["tail"]["calls"]
    assert (audit["name"], broken["name"], broken["error"]) == ("Audit", "Broken", "ValueError: no disk")
    assert "error" not in audit
    spooled = int(item["tail"]["spooledTimeUnixNano"])
    assert spooled <= int(audit["startTimeUnixNano"]) <= int(audit["endTimeUnixNano"]) - 20_000_000
