"""The table of routes. ANY /w/{workerId}/{path} is not in it: the service looks for that one first (invoke.py)."""

from __future__ import annotations

from typing import Any, Final

from otelbridge.logs import InvocationPage, LogPage, QueryRequest
from otelbridge.logs.expert import SqlResult
from otelbridge.web import exports, health, openapi, run, telemetry, workers
from otelbridge.web.code import CodeBody
from otelbridge.web.route import Route

__all__ = ["ROUTES"]

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="PUT",
        path="/v1/workers/{workerId}",
        handler=workers.put_worker,
        plane="data",
        summary="Register a worker",
        text="The body is WorkerCode as JSON, or a single module with its own content type.",
        body=CodeBody,
        result=workers.WorkerBody,
        errors=(400, 413, 415, 422),
    ),
    Route(method="GET", path="/v1/workers", handler=workers.list_workers, summary="List workers", result=workers.WorkersBody),
    Route(
        method="GET",
        path="/v1/workers/{workerId}",
        handler=workers.get_worker,
        summary="Show a worker",
        result=workers.WorkerBody,
        errors=(400, 404),
    ),
    Route(
        method="DELETE",
        path="/v1/workers/{workerId}",
        handler=workers.delete_worker,
        plane="data",
        summary="Remove a worker",
        status=204,
        errors=(400, 404),
    ),
    Route(
        method="POST",
        path="/v1/run",
        handler=run.run,
        plane="data",
        summary="Run code once",
        text="Returns the response together with what the code logged. What the code throws is part of the answer. "
        "With `Accept: text/event-stream`, records come as they happen, the answer as a last event `result`.",
        body=run.RunBody,
        result=run.RunResultBody,
        streams=True,
        errors=(400, 413, 422),
    ),
    Route(
        method="GET",
        path="/v1/logs",
        handler=telemetry.get_logs,
        summary="Search the log store",
        query=telemetry.SEARCH,
        result=LogPage,
        errors=(400, 503),
    ),
    Route(
        method="GET",
        path="/v1/invocations",
        handler=telemetry.get_invocations,
        summary="List invocations",
        query=telemetry.SEARCH,
        result=InvocationPage,
        errors=(400, 503),
    ),
    Route(
        method="GET",
        path="/v1/invocations/{invocationId}",
        handler=telemetry.get_invocation,
        summary="Show an invocation",
        text="Its trace item, with Cloudflare's member names, and what became of its records: tail and exports.",
        result=telemetry.InvocationBody,
        errors=(400, 404, 503),
    ),
    Route(
        method="POST",
        path="/v1/query",
        handler=telemetry.run_query,
        summary="Run a query of the query builder",
        body=QueryRequest,
        result=dict[str, Any],
        errors=(400, 413, 503),
    ),
    Route(
        method="POST",
        path="/v1/sql",
        handler=telemetry.run_sql,
        summary="Run read-only SQL",
        body=telemetry.SqlBody,
        result=SqlResult,
        errors=(400, 413, 503),
    ),
    Route(
        method="GET",
        path="/v1/keys",
        handler=telemetry.get_keys,
        summary="List names that queries can use",
        query=telemetry.KEYS,
        result=telemetry.KeysBody,
        errors=(400, 503),
    ),
    Route(
        method="GET",
        path="/v1/values",
        handler=telemetry.get_values,
        summary="List values of a field",
        query=telemetry.VALUES,
        result=telemetry.ValuesBody,
        errors=(400, 503),
    ),
    Route(
        method="GET",
        path="/v1/tail",
        handler=telemetry.live_tail,
        summary="Watch records as they happen",
        text="Server-sent events: log, exception, invocation, gap.",
        query=telemetry.TAIL,
        media_type="text/event-stream",
        errors=(400, 503),
    ),
    Route(method="GET", path="/v1/exports", handler=exports.get_exports, summary="Show the loss ledger", result=dict[str, Any]),
    Route(
        method="GET",
        path="/v1/exports/dead-letters",
        handler=exports.get_dead_letters,
        summary="List what destinations refused for good",
        text="Oldest first, each with the reason and the whole request as OTLP/JSON.",
        query=exports.LETTERS,
        result=exports.LettersBody,
        errors=(400, 404),
    ),
    Route(
        method="POST",
        path="/v1/exports/resend",
        handler=exports.resend,
        summary="Send dead letters again",
        text="What is refused again is a dead letter again.",
        query=exports.RESEND,
        result=exports.ResendBody,
        errors=(400, 404),
    ),
    Route(method="GET", path="/healthz", handler=health.get_health, summary="Tell that the process lives", result=health.StatusBody),
    Route(
        method="GET", path="/readyz", handler=health.get_ready, summary="Tell whether it can serve", result=health.StatusBody, errors=(503,)
    ),
    Route(method="GET", path="/metrics", handler=health.get_metrics, summary="Show metrics", media_type="text/plain"),
    Route(
        method="GET",
        path="/openapi.json",
        handler=openapi.get_openapi,
        summary="Describe these routes",
        text="This document.",
        result=dict[str, Any],
    ),
)
