"""Sampling and propagation through the whole service: wrangler's rates, what is kept all the same, counts that stay true."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.collector import FakeCollector

# An even path is fine, /1 throws, /3 logs an error and answers.
TALK = """export default { async fetch(request, env) {
  const n = Number(new URL(request.url).pathname.slice(1));
  console.log('first', n); console.debug('second', n);
  if (n === 3) console.error('bad');
  if (n === 1) throw new Error('boom');
  return new Response('ok');
} }"""


async def ledger_when_settled(service: Any) -> Any:
    while True:
        ledger = (await service.ask("GET", "/v1/exports"))[2]
        if not any(part["queued"] for part in ledger["total"].values()):
            return ledger
        await asyncio.sleep(0.05)


async def test_rates_keep_whole_invocations_and_all_failures(serve: Callable[..., Any]) -> None:
    """At a tenth for logs and none for traces: an invocation's records arrive all or not at all, failed ones always, and ledger
    and metrics count every one of them."""
    async with FakeCollector() as collector:
        destination = {"name": "main", "endpoint": collector.url, "signals": ["logs", "traces"]}
        service = await serve(
            export__destinations=[destination],
            observability__logs__head_sampling_rate=0.1,
            observability__traces__head_sampling_rate=0.0,
        )
        await service.put("w", TALK)
        calls = 120
        answers = await asyncio.gather(*(service.ask("GET", f"/w/w/{n if n in (1, 3) else 2 * n}") for n in range(calls)))
        ids = [headers["otelbridge-invocation-id"] for _, headers, _ in answers]
        ledger = await ledger_when_settled(service)
        arrived = Counter(record.attributes["faas.invocation_id"] for record in collector.logs)
        assert arrived[ids[1]] == arrived[ids[3]] == 3
        assert all(arrived[i] in (0, 2) for i in ids if i not in (ids[1], ids[3]))
        assert 0 < sum(i in arrived for i in ids) - 2 < calls / 2
        logs, spans = ledger["total"]["logs"], ledger["total"]["spans"]
        assert logs["emitted"] == 2 * calls + 2
        assert logs["delivered"] == len(collector.logs)
        assert logs["dropped"] == {"sampled": logs["emitted"] - logs["delivered"]}
        servers = [span for span in collector.spans if span.proto.kind == 2]
        assert {span.attributes["faas.invocation_id"] for span in servers} == {ids[1], ids[3]}
        assert spans["emitted"] == spans["delivered"] + spans["dropped"]["sampled"]
        while True:  # metrics look once a second
            text = (await service.ask("GET", "/metrics"))[2]
            counted = re.findall(r'^faas_(invocations|errors)_total\{faas_trigger="http"\} (\d+)$', text, re.M)
            if sum(int(n) for _, n in counted) == calls:
                break
            await asyncio.sleep(0.05)
        assert dict(counted) == {"invocations": str(calls - 1), "errors": "1"}


async def test_nothing_is_sent_when_nothing_is_observed(serve: Callable[..., Any]) -> None:
    """With logs and traces off no record leaves."""
    async with FakeCollector() as collector:
        service = await serve(
            export__destinations=[{"name": "main", "endpoint": collector.url, "signals": ["logs", "traces"]}],
            observability__logs__enabled=False,
            observability__traces__enabled=False,
        )
        await service.put("w", TALK)
        await service.ask("GET", "/w/w/2")
        ledger = await ledger_when_settled(service)
        assert [part["delivered"] for part in ledger["total"].values()] == [0, 0]
        assert collector.logs == collector.spans == []


@pytest.mark.parametrize(("propagators", "joins"), [("", True), ("baggage, tracecontext", True), ("none", False), ("b3", False)])
async def test_propagators_decide_on_traceparent(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, propagators: str, joins: bool
) -> None:
    """OTEL_PROPAGATORS without tracecontext: a caller's trace is not joined, and subrequests carry no traceparent of ours."""
    monkeypatch.setenv("OTEL_PROPAGATORS", propagators)
    service = await serve(outbound__allow_private=True)
    await service.put("seen", "export default { fetch(r) { return new Response(r.headers.get('traceparent') ?? 'none') } }")
    await service.put("asks", f"export default {{ fetch() {{ return fetch('{service.url}/w/seen/') }} }}")
    trace = "0af7651916cd43dd8448eb211c80319c"
    _, headers, said = await service.ask("GET", "/w/asks/", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert (headers["otelbridge-trace-id"] == trace) is joins
    assert said.startswith(f"00-{trace}-") if joins else said == "none"
