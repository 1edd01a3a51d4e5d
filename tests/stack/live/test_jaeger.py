"""Traces in Jaeger."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.stack.live.logql import logsql
from tests.stack.live.stores import Stores, eventually
from tests.stack.live.world import World


def tags(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def process(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["process"]["tags"]}


def the(spans: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [span for span in spans if tags(span).get("span.kind") == kind]
    assert len(found) == 1, spans
    return found[0]


def parent(span: dict[str, Any]) -> str:
    return next((reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"), "")


def test_a_cold_start_is_a_trace_with_its_load(stores: Stores, world: World) -> None:
    """The first invocation of a worker: a server span with the conventions' attributes, and the load as its child."""
    first = world.answers["greeter"][0]
    spans = eventually(lambda: stores.trace(first.trace_id))
    server = the(spans, "server")
    found = tags(server)
    assert server["operationName"].startswith("GET /w/{workerId}")
    assert server["process"]["serviceName"] == "dynamic-workers"
    assert process(server)["workerId"] == process(server)["faas.name"] == "greeter"
    assert found["faas.trigger"] == "http"
    assert found["faas.coldstart"] is True
    assert found["faas.invocation_id"] == first.invocation_id
    assert found["http.request.method"] == "GET"
    assert found["http.response.status_code"] == 200
    assert found["url.path"] == "/hello/0"
    assert found["otelbridge.outcome"] == "ok"
    assert found["otelbridge.cpu_time_ms"] >= 0
    load = next(span for span in spans if span["operationName"] == "load")
    assert parent(load) == server["spanID"]
    assert server["startTime"] <= load["startTime"] + 1


def test_a_warm_start_has_no_load(stores: Stores, world: World) -> None:
    """A later invocation says that it was no cold start, and has one span."""
    spans = eventually(lambda: stores.trace(world.answers["greeter"][-1].trace_id))
    assert [span["operationName"] for span in spans if span["operationName"] == "load"] == []
    assert tags(the(spans, "server"))["faas.coldstart"] is False


def test_a_subrequest_is_a_client_span(stores: Stores, world: World) -> None:
    """fetch() in a worker: a client span under the server span, whose ids the other side got as traceparent."""
    answer = world.answers["caller"][-1]
    spans = eventually(lambda: stores.trace(answer.trace_id))
    server, client = the(spans, "server"), the(spans, "client")
    assert parent(client) == server["spanID"]
    assert tags(client)["http.request.method"] == "POST"
    assert tags(client)["http.response.status_code"] == 200
    assert f"00-{answer.trace_id}-{client['spanID']}-01" in world.target.traceparents


def test_failures_are_errors_with_their_outcome(stores: Stores, world: World) -> None:
    """A throw, a CPU limit and a 503 are error spans that say which of them it was."""
    for worker, outcome, kind in (("thrower", "exception", "exception"), ("looper", "exceededCpu", "exceededCpu"), ("teapot", "ok", "503")):
        trace_id = world.answers[worker][-1].trace_id
        spans = eventually(partial(stores.trace, trace_id))
        found = tags(the(spans, "server"))
        assert found["otelbridge.outcome"] == outcome, worker
        assert found["error.type"] == kind, worker
        assert found["error"] is True, worker


def test_traces_are_searched_by_worker(stores: Stores, world: World) -> None:
    """Jaeger's search by the tag workerId gives the traces of that worker alone."""
    found = eventually(lambda: stores.traces("dynamic-workers", tags={"workerId": "caller"}, limit=50))
    assert {trace["traceID"] for trace in found} == {answer.trace_id for answer in world.answers["caller"]}


def test_a_trace_leads_to_its_logs_and_back(stores: Stores, world: World, repository: Path) -> None:
    """The query behind Grafana's link finds a trace's lines, and the ids are the same on both sides."""
    answer = world.answers["thrower"][0]
    sources = yaml.safe_load((repository / "collector/grafana/provisioning/datasources/otelbridge.yaml").read_text())["datasources"]
    link = next(source for source in sources if source["uid"] == "jaeger")["jsonData"]["tracesToLogsV2"]["query"]
    query = link.replace("$${__trace.traceId}", answer.trace_id)
    translated = logsql(query, stores.log_fields(start_ns=world.started_ns), instant=False)
    lines = eventually(lambda: stores.logs(translated, start_ns=world.started_ns))
    spans = {span["spanID"] for span in eventually(lambda: stores.trace(answer.trace_id))}
    assert {line.fields["span_id"] for line in lines} <= spans
    assert lines
