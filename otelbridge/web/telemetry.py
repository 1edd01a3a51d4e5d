"""Routes over what workers left behind: search, query, live tail, the loss ledger."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from otelbridge.errors import QueryError
from otelbridge.model.record import Record
from otelbridge.web.problem import Problem, not_found
from otelbridge.web.reply import Reply, json_reply, stream
from otelbridge.web.route import Call, Parameter

__all__ = ["SEARCH", "TAIL", "get_exports", "get_invocation", "get_invocations", "get_logs", "live_tail", "run_query"]

SEARCH: Final = (
    Parameter("q", 'The query, for example `level:error worker:abc* user_id>=100 "free text"`; see docs/query.md.'),
    Parameter("since", "Not before: a duration back from now (`1h`), an RFC 3339 time, or ms since 1970."),
    Parameter("until", "Not after: like `since`."),
    Parameter("limit", "Most records to return.", Annotated[int, Meta(ge=1, le=1_000)]),
    Parameter("cursor", "`nextCursor` of the page before."),
    Parameter("order", "Newest first, or oldest first.", Literal["asc", "desc"]),
)

TAIL: Final = (
    Parameter("worker", "Worker ids, `*` as wildcard.", repeat=True),
    Parameter("level", "Levels of records.", repeat=True),
    Parameter("search", "Text in the record.", repeat=True),
    Parameter("method", "HTTP methods.", repeat=True),
    Parameter("status", "ok, error, canceled, a status code or a class like 5xx.", repeat=True),
    Parameter("header", "Request headers: `name` or `name:value`.", repeat=True),
    Parameter("ip", "Addresses of clients.", repeat=True),
    Parameter("sampling-rate", "Share of invocations to see.", Annotated[float, Meta(ge=0, le=1)]),
)


class LogsBody(msgspec.Struct, frozen=True, rename="camel"):
    """A page of records."""

    logs: list[Record]
    next_cursor: str | None


class InvocationsBody(msgspec.Struct, frozen=True, rename="camel"):
    """A page of invocations."""

    invocations: list[dict[str, Any]]
    next_cursor: str | None


async def get_logs(call: Call) -> Reply:
    """Records that match, newest first."""
    page = await _store(call).logs(**call.query)
    return json_reply({"logs": page.logs, "nextCursor": page.next_cursor})


async def get_invocations(call: Call) -> Reply:
    """Invocations that match, newest first."""
    page = await _store(call).invocations(**call.query)
    return json_reply({"invocations": page.invocations, "nextCursor": page.next_cursor})


async def get_invocation(call: Call) -> Reply:
    """One invocation as a trace item."""
    item = await _store(call).invocation(call.params["invocationId"])
    if item is None:
        raise not_found("No invocation in the store has this id; it may be too old, or still on its way.")
    return json_reply(item)


async def run_query(call: Call) -> Reply:
    """The query builder."""
    try:
        query = msgspec.json.decode(await call.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise QueryError(f"The body is not JSON: {e}") from None
    return json_reply(await _store(call).query(query))


async def live_tail(call: Call) -> Reply:
    """Records as they happen. Each event's id resumes behind it with `Last-Event-ID`; a `gap` event says how many were missed."""
    live = call.bridge.live
    if live is None:
        raise Problem(503, "live-tail-off", "Live tail is off", "This bridge has no live tail: observability.enabled is off.")
    subscription = live.subscribe(live.filter(call.query), call.request.headers.get("last-event-id"))
    # The second header keeps a proxy from holding events back.
    headers = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    try:
        return await stream(call.request, 200, headers, subscription)
    finally:
        await subscription.aclose()


async def get_exports(call: Call) -> Reply:
    """The loss ledger: emitted = delivered + queued + rejected + dropped, for each destination, worker and signal."""
    return json_reply(call.bridge.exports())


def _store(call: Call) -> Any:
    if call.bridge.store is None:
        raise Problem(503, "store-off", "The log store is off", "Set store.enabled to search and query logs.")
    return call.bridge.store
