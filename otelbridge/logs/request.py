"""Requests to the query builder (`POST /v1/query`): their shape, and how they become a tree. The same structs make OpenAPI."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.fields import FIELDS, LEVELS
from otelbridge.logs.language import Parsed, clean_query, literal, parse
from otelbridge.logs.pages import Span
from otelbridge.logs.pattern import Pattern
from otelbridge.logs.times import MAX_TIME_NS, point_ns
from otelbridge.logs.tree import And, Condition, Contains, Matches, Or, Tree
from otelbridge.logs.tree import Literal as Value
from otelbridge.model.readable import readable

__all__ = ["Calculation", "Filter", "Having", "Needle", "OrderBy", "QueryRequest", "Wanted", "member_or_field", "read_request", "span_of"]

Operation = Literal[
    "eq", "neq", "gt", "gte", "lt", "lte", "includes", "not_includes", "starts_with", "regex", "exists", "is_null", "in", "not_in"
]
Operator = Literal[
    "count", "countDistinct", "min", "max", "sum", "avg", "stddev", "variance", "median",
    "p001", "p01", "p05", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p999",
]  # fmt: skip
Scalar = str | int | float | bool

_MAX_DEPTH = 4
_MAX_FILTERS = 200


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Filter(_Part, frozen=True):
    """A condition on a key, or with kind "group" several filters as one. Groups are nested 4 deep at most."""

    kind: Literal["filter", "group"] = "filter"
    key: str | None = None
    operation: Operation | None = None
    value: Scalar | list[Scalar] | None = None
    filter_combination: Literal["and", "or"] = "and"
    filters: list[Filter] = []


class Needle(_Part, frozen=True):
    """A piece of the text, or a regular expression found in it."""

    value: str
    is_regex: bool = False
    match_case: bool = False


class Calculation(_Part, frozen=True):
    """What to count or reckon. `alias`: its name in the answer; without one "count" or "p95(wallMs)"."""

    operator: Operator
    key: str | None = None
    alias: str | None = None

    @property
    def name(self) -> str:
        """Its name in the answer."""
        return self.alias or (self.operator if self.key is None else f"{self.operator}({self.key})")


class Having(_Part, frozen=True):
    """A condition on a calculation, by its name."""

    calculation: str
    operation: Literal["eq", "neq", "gt", "gte", "lt", "lte"]
    value: float


class OrderBy(_Part, frozen=True):
    """What to order by: a calculation's name, a key of groupBy, or "time"."""

    value: str
    order: Literal["asc", "desc"] = "desc"


class QueryRequest(_Part, frozen=True):
    """A request. `since` and `until`: 15m, RFC 3339 or unix time. `q`: the query language. All conditions hold at once."""

    view: Literal["events", "invocations", "traces", "calculations"] = "events"
    since: str | int | float | None = None
    until: str | int | float | None = None
    q: str = ""
    filters: list[Filter] = []
    filter_combination: Literal["and", "or"] = "and"
    needle: Needle | None = None
    calculations: list[Calculation] = []
    group_by: list[str] = []
    bucket_ms: int | None = None
    having: list[Having] = []
    order_by: OrderBy | None = None
    limit: int | None = None
    cursor: str | None = None
    compare: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """A request that has been read: what to look for, and where."""

    request: QueryRequest
    tree: Tree
    span: Span
    limit: int


def read_request(request: dict[str, Any] | QueryRequest, now_ns: int) -> Wanted:
    """Check a request and make its tree. QueryError says what is wrong, and where."""
    if not isinstance(request, QueryRequest):
        try:
            request = msgspec.convert(request, QueryRequest)
        except msgspec.ValidationError as e:
            raise QueryError(readable(e, QueryRequest)) from e
        except RecursionError as e:
            raise QueryError(f"{e}") from e
    parsed = parse(request.q, now_ns)
    counter = [0]
    combined = _combine([_filter(one, 1, counter) for one in request.filters], request.filter_combination)
    parts = [parsed.tree, *([combined] if request.filters else []), *([_needle(request.needle)] if request.needle else [])]
    _check(request)
    most, default = (10_000, 10_000) if request.view == "calculations" else (1_000, 100)
    limit = default if request.limit is None else request.limit
    if not 1 <= limit <= most:
        raise QueryError(f"limit: 1 to {most}, not {limit}")
    span = span_of(parsed, request.since, request.until, now_ns)
    if request.compare and (span.since_ns == 0 or request.view != "calculations"):
        raise QueryError("compare needs calculations and a since, to know how long the period before is")
    return Wanted(request, And(tuple(parts)) if len(parts) > 1 else parts[0], span, limit)


def span_of(parsed: Parsed, since: str | int | float | None, until: str | int | float | None, now_ns: int) -> Span:
    """The time that both a query's text and its parameters allow."""
    low = 0 if since is None or since == "" else point_ns(since, now_ns, what="since")
    high = MAX_TIME_NS if until is None or until == "" else point_ns(until, now_ns, what="until")
    low, high = max(low, parsed.since_ns or 0), min(high, MAX_TIME_NS if parsed.until_ns is None else parsed.until_ns)
    return Span(low, max(low, high))


def member_or_field(key: str) -> tuple[str, bool]:
    """What a key means: (name, whether it is a member of the logged object). "fields.x" always is member x."""
    known = _JSON_NAMES.get(key, key)
    if known in FIELDS:
        return known, False
    return key.removeprefix("fields."), True


_JSON_NAMES = {"workerId": "worker", "workerVersion": "version", "invocationId": "invocation", "traceId": "trace"}


def _check(request: QueryRequest) -> None:
    if request.view == "calculations" and not request.calculations:
        raise QueryError("calculations: name at least one for this view")
    if len(request.calculations) > 20 or len(request.group_by) > 8 or len(request.having) > 20:
        raise QueryError("at most 20 calculations, 8 keys to group by and 20 conditions in having")
    if request.bucket_ms is not None and not 1 <= request.bucket_ms <= 10**11:
        raise QueryError("bucketMs: 1 ms to 100,000,000 s")
    names = [calculation.name for calculation in request.calculations]
    if len(set(names)) < len(names):
        raise QueryError("two calculations have the same name: give one an alias")
    for calculation in request.calculations:
        if calculation.key is None and calculation.operator != "count":
            raise QueryError(f"{calculation.operator} needs a key")
    for having in request.having:
        if having.calculation not in names:
            raise QueryError(f"having: there is no calculation {having.calculation!r:.100}; there are {', '.join(names)}")
    order = request.order_by
    if request.view == "calculations" and order is not None and order.value not in [*names, *request.group_by, "time"]:
        raise QueryError(f"orderBy: {order.value!r:.100} is no calculation, no key of groupBy and not time")


def _combine(parts: list[Tree], combination: str) -> Tree:
    return parts[0] if len(parts) == 1 else And(tuple(parts)) if combination == "and" else Or(tuple(parts))


def _filter(one: Filter, depth: int, counter: list[int]) -> Tree:
    counter[0] += 1
    if counter[0] > _MAX_FILTERS or depth > _MAX_DEPTH:
        raise QueryError(f"filters: at most {_MAX_FILTERS}, in groups nested {_MAX_DEPTH} deep")
    if one.kind == "group":
        return _combine([_filter(part, depth + 1, counter) for part in one.filters], one.filter_combination)
    if one.key is None or one.operation is None:
        raise QueryError("filters: a filter has a key and an operation")
    name, structured = member_or_field(one.key)
    values = one.value if isinstance(one.value, list) else [] if one.value is None else [one.value]
    takes = 0 if one.operation in ("exists", "is_null") else None if one.operation in ("in", "not_in") else 1
    if (takes is not None and len(values) < takes) or (takes == 1 and isinstance(one.value, list)):
        raise QueryError(f"filters: {one.operation} of {one.key!r:.100} needs one value")
    test = Condition(name, structured, one.operation, () if takes == 0 else tuple([_value(value) for value in values]))
    _check_test(test, one.key)
    return test


def _value(value: Scalar) -> Value:
    if isinstance(value, bool):
        return Value("true" if value else "false")
    if isinstance(value, str):
        return literal(clean_query(value))
    return Value(msgspec.json.encode(value).decode(), value)


def _check_test(test: Condition, key: str) -> None:
    if test.operation == "regex":
        check_pattern(test.values[0].text)
    if test.structured:
        return
    if FIELDS[test.field].type == "number":
        if test.operation in ("includes", "not_includes", "starts_with", "regex"):
            raise QueryError(f"filters: {key} is a number, {test.operation} is for texts")
        if any(value.number is None for value in test.values):
            raise QueryError(f"filters: {key} is compared with numbers")
    elif test.field == "level" and test.operation in ("gt", "gte", "lt", "lte") and test.values[0].text not in LEVELS:
        raise QueryError(f"filters: level is one of {', '.join(LEVELS)}")


def check_pattern(pattern: str) -> None:
    """QueryError when a text is no regular expression."""
    try:
        Pattern(pattern)
    except ValueError as e:
        raise QueryError(f"regular expression: {e.args[0]}, at its character {e.args[1] + 1}") from e


def _needle(needle: Needle) -> Tree:
    if needle.is_regex:
        check_pattern(needle.value)
        return Matches(clean_query(needle.value), not needle.match_case)
    return Contains(clean_query(needle.value), needle.match_case)
