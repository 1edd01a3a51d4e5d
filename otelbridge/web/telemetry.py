"""Routes over what workers left behind: search, query, live tail, the loss ledger."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypedDict, TypeVar

import msgspec
from msgspec import Meta

from otelbridge.errors import QueryError
from otelbridge.logs import QueryRequest, Store, tail_filter
from otelbridge.logs.lookups import Key, KeyValue
from otelbridge.model.passage import ExportPassage, TailPassage
from otelbridge.model.readable import readable
from otelbridge.web.problem import Problem, not_found
from otelbridge.web.reply import Reply, event_stream, json_reply
from otelbridge.web.route import Call, Parameter

__all__ = [
    "KEYS",
    "SEARCH",
    "TAIL",
    "VALUES",
    "InvocationBody",
    "KeysBody",
    "SqlBody",
    "ValuesBody",
    "get_invocation",
    "get_invocations",
    "get_keys",
    "get_logs",
    "get_values",
    "live_tail",
    "run_query",
    "run_sql",
]

T = TypeVar("T")

SEARCH: Final = (
    Parameter("q", 'The query, for example `level:error worker:abc* user_id>=100 "free text"`; see docs/search.md.'),
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
    Parameter("ip", "Addresses of clients; `self` is your own.", repeat=True),
    Parameter("invocation", "Ids of invocations.", repeat=True),
    Parameter("q", "A query that a record must answer, in the query language; of several, any.", repeat=True),
    Parameter("sampling-rate", "Share of invocations to see.", Annotated[float, Meta(ge=0, le=1)]),
)


KEYS: Final = (
    Parameter("prefix", "Only names that begin with this."),
    Parameter("limit", "Most names to return.", Annotated[int, Meta(ge=1, le=1_000)]),
)

VALUES: Final = (
    Parameter("key", "The field whose values are asked for.", required=True),
    Parameter("prefix", "Only values that begin with this."),
    Parameter("limit", "Most values to return.", Annotated[int, Meta(ge=1, le=1_000)]),
)


class KeysBody(msgspec.Struct, frozen=True):
    """Names that queries can use."""

    keys: list[Key]


class ValuesBody(msgspec.Struct, frozen=True):
    """Values that a field has lately had, the most frequent first."""

    values: list[KeyValue]


class InvocationBody(TypedDict, total=False):
    """A trace item with Cloudflare's member names; `spans` and `timing` in full precision. `tail` and `exports`: what became of
    its records, once it has ended."""

    invocationId: str
    workerId: str
    traceId: str
    outcome: str
    event: dict[str, Any]
    logs: list[dict[str, Any]]
    exceptions: list[dict[str, Any]]
    subrequests: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    timing: dict[str, Any]
    tail: TailPassage
    exports: list[ExportPassage]


class SqlBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT over the views that docs/search.md describes; `params` for its question marks."""

    sql: Annotated[str, Meta(min_length=1)]
    params: list[str | int | float | bool | None] = []


async def get_logs(call: Call) -> Reply:
    """Records that match, newest first."""
    return json_reply(await _store(call).logs(**call.query))


async def get_invocations(call: Call) -> Reply:
    """Invocations that match, newest first."""
    return json_reply(await _store(call).invocations(**call.query))


async def get_invocation(call: Call) -> Reply:
    """One invocation as a trace item."""
    _store(call)
    item = await call.control.invocation(call.params["invocationId"])
    if item is None:
        raise not_found("No invocation in the store has this id; it may be too old, or still on its way.")
    return json_reply(item)


async def run_query(call: Call) -> Reply:
    """The query builder."""
    return json_reply(await _store(call).query(await _question(call, QueryRequest)))


async def run_sql(call: Call) -> Reply:
    """Read-only SQL."""
    body = await _question(call, SqlBody)
    return json_reply(await _store(call).sql(body.sql, body.params))


async def get_keys(call: Call) -> Reply:
    """Names for completion."""
    return json_reply(KeysBody(await _store(call).keys(**call.query)))


async def get_values(call: Call) -> Reply:
    """Values for completion."""
    return json_reply(ValuesBody(await _store(call).values(**call.query)))


async def live_tail(call: Call) -> Reply:
    """Records as they happen. Each event's id resumes behind it with `Last-Event-ID`; a `gap` event says how many were missed."""
    live = call.control.live
    if live is None:
        raise Problem(503, "live-tail-off", "Live tail is off", "This bridge has no live tail: observability.enabled is off.")
    given = [(name, str(value)) for name, values in call.query.items() for value in (values if isinstance(values, list) else [values])]
    own = [(name, call.client_ip if (name, value) == ("ip", "self") else value) for name, value in given]
    subscription = live.subscribe(tail_filter(own), call.request.headers.get("last-event-id"))
    try:
        return await event_stream(call.request, aiter(subscription))
    finally:
        await subscription.aclose()


async def _question(call: Call, kind: type[T]) -> T:
    """The body of a query: whatever is wrong with it is a QueryError, as in the text of a query."""
    try:
        return msgspec.json.decode(await call.body(), type=kind)
    except msgspec.ValidationError as e:
        raise QueryError(readable(e, kind)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise QueryError(f"The body is not JSON: {e}") from None


def _store(call: Call) -> Store:
    if call.control.store is None:
        raise Problem(503, "store-off", "The log store is off", "Set store.enabled to search and query logs.")
    return call.control.store
