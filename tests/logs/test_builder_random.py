"""The query builder against a plain evaluator: random requests over random records, counted by hand from the records' own JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.logs.fields import FIELDS, lookup
from otelbridge.logs.query import run_query
from otelbridge.logs.reader import Budget
from otelbridge.logs.request import read_request
from otelbridge.logs.segments import Segments
from otelbridge.logs.tree import matches
from otelbridge.model.part import SpoolItem
from otelbridge.model.record import Record, rfc3339
from tests.logs.samples import HOSTILE, NAMES, SECOND_NS, START_NS, WORDS, fuzzed, spool_items, stored
from tests.logs.test_search import expected

NOW = START_NS + 3600 * SECOND_NS
TEXT_KEYS = ["text", "worker", "workerId", "outcome", "method", "path", "url", "exception", "kind", "level"]
NUMBER_KEYS = ["status", "wallMs", "memoryBytes"]
MEMBERS = [*(name for name in NAMES if name not in FIELDS), "a.b.id", "fields.text", "fields.status"]

scalars = st.sampled_from([*WORDS, *HOSTILE, "w", "ok", "error", "GET", "200"]) | st.integers(-5, 5) | st.booleans()
numbers = st.sampled_from([0, 1, 200, 404, 500, 1_048_576, 2.5])


def filters_of(keys: list[str], operations: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Filters with a value, with several, or with none."""
    key = st.sampled_from(keys)
    one = st.builds(lambda k, o, v: {"key": k, "operation": o, "value": v}, key, st.sampled_from(operations), values)
    some = st.builds(
        lambda k, o, v: {"key": k, "operation": o, "value": v}, key, st.sampled_from(["in", "not_in"]), st.lists(values, max_size=3)
    )
    none = st.builds(lambda k, o: {"key": k, "operation": o}, key, st.sampled_from(["exists", "is_null"]))
    return st.one_of(one, one, some, none)


ORDERED = ["eq", "neq", "gt", "gte", "lt", "lte"]
ON_TEXT = ["eq", "neq", "includes", "not_includes", "starts_with"]
leaves = st.one_of(
    filters_of([key for key in TEXT_KEYS if key != "level"], ON_TEXT, scalars.map(str)),
    filters_of(["level"], ORDERED, st.sampled_from(["debug", "info", "warn", "error"])),
    filters_of(NUMBER_KEYS, ORDERED, numbers),
    filters_of(MEMBERS, [*ORDERED, *ON_TEXT], scalars),
)
filters = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda combination, some: {"kind": "group", "filterCombination": combination, "filters": some},
        st.sampled_from(["and", "or"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=4,
)
needles = st.none() | st.builds(
    lambda value, case: {"value": value, "matchCase": case}, st.sampled_from([*WORDS, *HOSTILE]).filter(bool), st.booleans()
)
requests = st.fixed_dictionaries(
    {
        "filters": st.lists(filters, max_size=3),
        "filterCombination": st.sampled_from(["and", "or"]),
        "needle": needles,
        "q": st.sampled_from(["", "", "level:error", "-kind:log", "user OR timeout", "status:5xx", "user_id>0"]),
    }
)


def depth(one: dict[str, Any]) -> int:
    """How deep the groups of a filter are nested."""
    return 1 + max((depth(part) for part in one.get("filters", [])), default=0)


def holds(one: dict[str, Any], record: Record) -> bool:
    """Whether a record meets a filter, by the words of docs/search.md."""
    if one.get("kind") == "group":
        found = [holds(part, record) for part in one["filters"]]
        return any(found) if one["filterCombination"] == "or" else all(found)
    value, is_member = value_of(one["key"], record)
    operation, other = one["operation"], one.get("value")
    if value is None:
        return bool(operation == "is_null")
    if operation in ("exists", "is_null"):
        return bool(operation == "exists")
    if operation in ("eq", "in", "neq", "not_in"):
        others = other if isinstance(other, list) else [other]
        same = any(equal(value, o) if is_member else str(value) == str(o) or value == o for o in others)
        return same is (operation in ("eq", "in"))
    if one["key"] == "level" and operation in ORDERED:
        value, other = (FIELDS["level"].choices.index(level) for level in (value, other))
    if is_member and operation in ORDERED:
        number = as_number(other)
        if number is not None:
            return isinstance(value, int | float) and not isinstance(value, bool) and compare(value, number, operation)
        other = text_of(other)
        return isinstance(value, str) and compare(value, other, operation)
    if operation in ORDERED:
        return compare(value, other, operation)
    if not isinstance(value, str):
        return bool(operation == "not_includes")
    other = text_of(other)
    return {"includes": other in value, "not_includes": other not in value, "starts_with": value.startswith(other)}[operation]


def value_of(key: str, record: Record) -> tuple[Any, bool]:
    """The value that a record has for a key, and whether that is a member of what it logged."""
    known = {"workerId": "worker"}.get(key, key)
    if known in FIELDS:
        return FIELDS[known].get(record), False
    return lookup(record.fields, key.removeprefix("fields.")), True


def equal(value: Any, other: Any) -> bool:
    """Equality of a member's value and a filter's: texts that read as a number also mean the number."""
    if isinstance(value, str):
        return value == text_of(other)
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = as_number(other)
        return number is not None and float(value) == float(number)
    return msgspec.json.encode(value).decode() == text_of(other)


def text_of(value: Any) -> str:
    """A filter's value as text."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("\0", "\ufffd")


def as_number(value: Any) -> int | float | None:
    """A filter's value as a number, if it is one or reads as one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return {"1": 1, "12": 12, "200": 200, "1e5": 1e5}.get(value)
    return value  # type: ignore[no-any-return]


def compare(value: Any, other: Any, operation: str) -> bool:
    """Order."""
    return bool(
        {
            "gt": value > other,
            "gte": value >= other,
            "lt": value < other,
            "lte": value <= other,
            "eq": value == other,
            "neq": value != other,
        }[operation]
    )


def wanted_records(request: dict[str, Any], items: list[SpoolItem]) -> list[Record]:
    """The records that a request asks for."""
    combine = any if request["filterCombination"] == "or" else all
    language = read_request({"q": request["q"]}, NOW).tree
    found = []
    for record in expected(items):
        needle = request["needle"]
        if needle is not None:
            piece, text = needle["value"].replace("\0", "\ufffd"), record.text
            if not needle["matchCase"]:
                piece, text = piece.casefold(), text.casefold()
            if piece not in text:
                continue
        if request["filters"] and not combine(holds(one, record) for one in request["filters"]):
            continue
        if matches(language, record):
            found.append(record)
    return found


def ask(segments: Segments, **request: Any) -> list[Any]:
    """What the builder answers."""
    answer = run_query(segments.all, read_request(request, NOW), Budget(60))
    return answer[request["view"]]  # type: ignore[no-any-return]


@fuzzed(60)
@given(spool_items(), st.lists(requests, min_size=1, max_size=8))
def test_events_are_those_that_meet_the_filters(items: list[SpoolItem], given_requests: list[dict[str, Any]]) -> None:
    """Filters of every operation, in groups, with needle and query language, find what a plain reading of each record says."""
    with stored(items) as segments:
        for request in given_requests:
            if any(depth(one) > 4 for one in request["filters"]):
                continue
            found = sorted(record.id for record in ask(segments, view="events", limit=1_000, **request))
            assert found == sorted(record.id for record in wanted_records(request, items)), request


CALCULATIONS = ["count", "countDistinct", "min", "max", "sum", "avg", "stddev", "variance", "median", "p25", "p99"]


@fuzzed(25)
@given(spool_items(), requests, st.sampled_from(["level", "worker", "outcome", "id", "user_id"]), st.sampled_from([None, 1_000, 60_000]))
def test_calculations_are_those_of_the_records(items: list[SpoolItem], request: dict[str, Any], group: str, bucket_ms: int | None) -> None:
    """Every operator over every group and time bucket, from segments that hold one item each, is what the statistics module says."""
    if any(depth(one) > 4 for one in request["filters"]):
        return
    groups: dict[tuple[str, str, str | None], list[Record]] = {}
    for record in wanted_records(request, items):
        value = value_of(group, record)[0]
        whole = msgspec.json.encode(value).decode()
        shown = whole if isinstance(value, list | dict) else value  # lists and objects are shown as their JSON
        bucket = None if bucket_ms is None else rfc3339(record.time_ns // (bucket_ms * 1_000_000) * bucket_ms * 1_000_000)
        groups.setdefault((whole, msgspec.json.encode(shown).decode(), bucket), []).append(record)
    calculations = [{"operator": name} | ({} if name == "count" else {"key": "wallMs"}) for name in CALCULATIONS]
    with stored(*[[item] for item in items], segment_records=1) as segments:
        rows = ask(segments, view="calculations", calculations=calculations, groupBy=[group], bucketMs=bucket_ms, **request)
    found = {(msgspec.json.encode(row["groups"][group]).decode(), row.get("time")): row["values"] for row in rows}
    wanted = {(shown, bucket): reckon(some) for (_, shown, bucket), some in groups.items()}
    assert (len(found), found.keys()) == (len(rows), wanted.keys())
    for key, values in wanted.items():
        assert found[key].keys() == values.keys()
        assert all(alike(found[key][name], value) for name, value in values.items()), (key, found[key], values)


def reckon(found: list[Record]) -> dict[str, Any]:
    """The values of all calculations over these records."""
    values = sorted(record.wall_ms for record in found if record.wall_ms is not None)
    out: dict[str, Any] = {"count": len(found), "countDistinct(wallMs)": len(set(values))}
    nothing = not values
    reckoned: dict[str, Callable[[], float]] = {
        "min": lambda: values[0],
        "max": lambda: values[-1],
        "sum": lambda: math.fsum(values),
        "avg": lambda: statistics.fmean(values),
        "stddev": lambda: statistics.pstdev(values),
        "variance": lambda: statistics.pvariance(values),
        "median": lambda: statistics.median_low(values),
        "p25": lambda: values[max(0, math.ceil(len(values) / 4) - 1)],
        "p99": lambda: values[max(0, math.ceil(len(values) * 99 / 100) - 1)],
    }
    return out | {f"{name}(wallMs)": None if nothing else value() for name, value in reckoned.items()}


def alike(one: float | None, other: float | None) -> bool:
    """Whether two values are the same but for rounding: sums of several segments are added in another order."""
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=1e-8))
