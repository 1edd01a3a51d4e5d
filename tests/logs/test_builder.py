"""The query builder: filters, views, calculations and what they are compared with."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.errors import QueryError
from otelbridge.logs.query import run_query
from otelbridge.logs.reader import Budget
from otelbridge.logs.request import read_request
from otelbridge.logs.segments import Segments
from otelbridge.model.part import Notice, SpoolItem
from tests.logs.samples import SECOND_NS, START_NS, Filled, end_of, line, part, stored

NOW = START_NS + 3600 * SECOND_NS
MINUTE_NS = 60 * SECOND_NS


def ask(segments: Segments, **request: Any) -> dict[str, Any]:
    """Run a request as Store.query() does, and give its answer as JSON."""
    found = run_query(segments.all, read_request(request, NOW), Budget(60))
    return msgspec.json.decode(msgspec.json.encode(found))  # type: ignore[no-any-return]


def rows_of(answer: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows of calculations by their groups and time."""
    return {(*row["groups"].values(), *([row["time"]] if "time" in row else [])): row["values"] for row in answer["calculations"]}


ITEMS: list[SpoolItem] = [
    part(line({"ms": 10, "who": "a"}), line("plain"), invocation=1, worker="web", end=end_of(time_ns=START_NS + 5, wall_ns=1_000_000)),
    part(line({"ms": 20, "who": "b"}, level="error"), invocation=2, worker="web", end=end_of(time_ns=START_NS + 6, wall_ns=2_000_000, status=500)),
    part(line({"ms": 60, "who": "a", "ok": True}), invocation=3, worker="api", end=end_of(time_ns=START_NS + 7, wall_ns=9_000_000)),
    part(line({"ms": "30", "ok": 1}), invocation=4, worker="api", ended=False),
    Notice(START_NS + 8, "warn", "dropped", {"ms": 5}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "texts"),
    [
        ([{"key": "ms", "operation": "gt", "value": 15}], {20, 60}),
        ([{"key": "ms", "operation": "eq", "value": "30"}], {"30"}),
        ([{"key": "ms", "operation": "in", "value": [10, 30]}], {10, "30"}),
        ([{"key": "ms", "operation": "not_in", "value": [10, 30]}], {20, 60, 5}),
        ([{"key": "who", "operation": "neq", "value": "a"}], {20}),
        ([{"key": "who", "operation": "is_null"}, {"key": "ms", "operation": "exists"}], {"30", 5}),
        ([{"key": "ok", "operation": "eq", "value": True}], {60}),
        ([{"key": "level", "operation": "gte", "value": "warn"}, {"key": "kind", "operation": "neq", "value": "invocation"}], {20, 5}),
        ([{"key": "workerId", "operation": "starts_with", "value": "a"}, {"key": "fields.ms", "operation": "exists"}], {60, "30"}),
        ([{"key": "status", "operation": "gte", "value": 500}, {"key": "kind", "operation": "eq", "value": "log"}], {20}),
        ([{"key": "text", "operation": "regex", "value": '"ms":[16]0'}], {10, 60}),
        ([{"key": "ms", "operation": "gt", "value": 0}, {"key": "text", "operation": "eq", "value": "plain"}], set()),
        ([{"key": "ms", "operation": "gt", "value": 0}, {"key": "text", "operation": "eq", "value": '{"ms":10,"who":"a"}'}], {10}),
        ([{"key": "text", "operation": "includes", "value": '"who":"a"'}], {10, 60}),
        (
            [
                {
                    "kind": "group",
                    "filterCombination": "or",
                    "filters": [
                        {"key": "ms", "operation": "lt", "value": 8},
                        {
                            "kind": "group",
                            "filters": [
                                {"key": "who", "operation": "eq", "value": "a"},
                                {"key": "worker", "operation": "eq", "value": "web"},
                            ],
                        },
                    ],
                }
            ],
            {5, 10},
        ),
    ],
)
def test_filters(filters: list[dict[str, Any]], texts: set[Any]) -> None:
    """Each operation, alone and in groups, on known fields and on members."""
    with stored(ITEMS) as segments:
        found = ask(segments, view="events", filters=filters)["events"]
        assert {record["fields"]["ms"] for record in found} == texts


@pytest.mark.parametrize(
    ("needle", "count"),
    [
        ({"value": "PLAIN"}, 1),
        ({"value": "PLAIN", "matchCase": True}, 0),
        ({"value": "lai"}, 1),
        ({"value": "^pl.*n$", "isRegex": True}, 1),
        ({"value": "^PL", "isRegex": True}, 1),
        ({"value": "^PL", "isRegex": True, "matchCase": True}, 0),
        ({"value": "100%"}, 0),
    ],
)
def test_needle(needle: dict[str, Any], count: int) -> None:
    """A needle is a piece of text or a regular expression; case counts only if it is told to."""
    with stored(ITEMS) as segments:
        assert len(ask(segments, needle=needle, q="kind:log")["events"]) == count


def test_operators() -> None:
    """Every operator over one key, as reckoned by hand."""
    names = ["min", "max", "sum", "avg", "variance", "stddev", "median", "p001", "p25", "p75", "p999", "count", "countDistinct"]
    with stored(ITEMS[:2], ITEMS[2:], segment_records=1) as segments:
        answer = ask(segments, view="calculations", calculations=[{"operator": name, "key": "ms", "alias": name} for name in names])
        values = [5, 10, 20, 60]  # "30" is no number
        assert answer["calculations"][0]["values"] == {
            "min": 5,
            "max": 60,
            "sum": 95,
            "avg": 23.75,
            "variance": statistics.pvariance(values),
            "stddev": pytest.approx(statistics.pstdev(values)),
            "median": 10,
            "p001": 5,
            "p25": 5,
            "p75": 20,
            "p999": 60,
            "count": 5,
            "countDistinct": 5,
        }
        durations = ask(segments, view="calculations", calculations=[{"operator": "avg", "key": "wallMs"}, {"operator": "count"}])
        assert durations["calculations"][0]["values"] == {"avg(wallMs)": 4, "count": 9}


def test_calculation_over_nothing() -> None:
    """Without groups there is one row, also when no record answers; what can't be reckoned is null."""
    with stored(ITEMS) as segments:
        request = {"view": "calculations", "calculations": [{"operator": "count"}, {"operator": "p95", "key": "ms"}], "q": "nothing"}
        assert ask(segments, **request)["calculations"] == [{"groups": {}, "values": {"count": 0, "p95(ms)": None}}]
        assert ask(segments, **request, groupBy=["level"])["calculations"] == []


def test_groups_keep_their_types() -> None:
    """true is not 1, a missing member is a group of its own, and a text is not a number."""
    with stored(ITEMS) as segments:
        answer = ask(segments, view="calculations", calculations=[{"operator": "count"}], groupBy=["ok"])
        found = [(row["groups"]["ok"], row["values"]["count"]) for row in answer["calculations"]]
        assert sorted(found, key=str) == sorted([(None, 7), (True, 1), (1, 1)], key=str)
        assert {type(value) for value, _ in found} == {type(None), bool, int}


def test_having_order_and_limit() -> None:
    """Rows can be chosen by their values, ordered by a value, a key or the time, and cut."""
    request: dict[str, Any] = {"view": "calculations", "calculations": [{"operator": "count"}], "groupBy": ["worker", "level"]}
    with stored(ITEMS) as segments:
        counts = [row["values"]["count"] for row in ask(segments, **request)["calculations"]]
        assert counts == sorted(counts, reverse=True)
        kept = ask(segments, **request, having=[{"calculation": "count", "operation": "gte", "value": 2}])["calculations"]
        assert [row["values"]["count"] for row in kept] == [count for count in counts if count >= 2]
        by_worker = ask(segments, **request, orderBy={"value": "worker", "order": "asc"}, limit=2)["calculations"]
        assert [row["groups"]["worker"] for row in by_worker] == ["api", "web"]


def test_compare_with_the_period_before() -> None:
    """Each row has what the same time before had; a group that has vanished is there too."""
    old = [Notice(NOW - 90 * MINUTE_NS + i, "info", "old") for i in range(3)]
    gone = [Notice(NOW - 90 * MINUTE_NS + 10, "error", "gone")]
    new = [Notice(NOW - 30 * MINUTE_NS + i, "info", "new") for i in range(2)]
    request: dict[str, Any] = {"view": "calculations", "calculations": [{"operator": "count"}], "groupBy": ["level"], "compare": True}
    with stored([*old, *gone, *new]) as segments:
        answer = ask(segments, **request, since=(NOW - 60 * MINUTE_NS) // 10**9, until=NOW // 10**9)
        assert sorted(answer["calculations"], key=str) == sorted(
            [
                {"groups": {"level": "info"}, "values": {"count": 2}, "previous": {"count": 3}},
                {"groups": {"level": "error"}, "values": {"count": 0}, "previous": {"count": 1}},
            ],
            key=str,
        )
        bucketed = ask(segments, **request, since=(NOW - 60 * MINUTE_NS) // 10**9, until=NOW // 10**9, bucketMs=3_600_000)
        assert [row["previous"] for row in bucketed["calculations"] if row["groups"]["level"] == "info"] == [{"count": 3}]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from(["a", "b", None]), st.sampled_from(["info", "warn", "error"])),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 20),
    st.sampled_from([[], ["level"], ["worker"], ["worker", "level"], ["kind", "level"]]),
    st.sampled_from([None, 60_000, 120_000, 45_000]),
    st.tuples(st.integers(-5, 200), st.integers(0, 205)),
    st.sampled_from(["", "level:error", "worker:a", "-worker:a", "level:>=warn worker:*", "kind:bridge"]),
)
def test_counts_are_the_same_from_the_roll_up(
    seconds: list[tuple[int, str | None, str]],
    segment_records: int,
    group_by: list[str],
    bucket_ms: int | None,
    between: tuple[int, int],
    q: str,
) -> None:
    """Counts over any span, groups and buckets are those of the records themselves, whichever segments know a roll-up."""
    base = START_NS // MINUTE_NS * MINUTE_NS
    notices = [Notice(base + at * SECOND_NS + i, level, "x", {}, worker) for i, (at, worker, level) in enumerate(seconds)]
    since, until = (base // SECOND_NS + s for s in between)
    wanted: dict[tuple[Any, ...], int] = defaultdict(int)
    for notice in notices:
        rank = ["info", "warn", "error"].index(notice.level)
        holds = {
            "": True,
            "level:error": rank == 2,
            "worker:a": notice.worker_id == "a",
            "-worker:a": notice.worker_id != "a",
            "level:>=warn worker:*": rank >= 1 and notice.worker_id is not None,
            "kind:bridge": True,
        }[q]
        if holds and since * SECOND_NS <= notice.time_ns < until * SECOND_NS:
            values = {"level": notice.level, "worker": notice.worker_id, "kind": "bridge"}
            bucket = None if bucket_ms is None else notice.time_ns // (bucket_ms * 10**6)
            wanted[(bucket, *[values[key] for key in group_by])] += 1
    request: dict[str, Any] = {"view": "calculations", "calculations": [{"operator": "count"}], "groupBy": group_by, "q": q}
    if bucket_ms is not None:
        request["bucketMs"] = bucket_ms
    with stored(*[[notice] for notice in notices], segment_records=segment_records) as segments:
        answer = ask(segments, **request, since=since, until=until)
        from otelbridge.logs.times import point_ns

        found = {}
        for row in answer["calculations"]:
            bucket = None if bucket_ms is None else point_ns(row["time"], 0) // (bucket_ms * 10**6)
            found[(bucket, *row["groups"].values())] = row["values"]["count"]
        if not group_by and bucket_ms is None and not wanted:
            wanted[(None,)] = 0
        assert found == wanted
        assert answer["statistics"]["rowsRead"] >= sum(wanted.values()) - (wanted == {(None,): 0})


@settings(max_examples=40)
@given(st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | st.integers(-1000, 1000), min_size=1, max_size=30), st.integers(1, 10))
def test_statistics_over_several_segments(values: list[float], segment_records: int) -> None:
    """Partial sums of segments make the same values as all numbers in one place."""
    notices = [[Notice(START_NS + i, "info", "x", {"v": value})] for i, value in enumerate(values)]
    names = ["min", "max", "sum", "avg", "variance", "stddev", "median", "p01", "p90"]
    with stored(*notices, segment_records=segment_records) as segments:
        answer = ask(segments, view="calculations", calculations=[{"operator": name, "key": "v", "alias": name} for name in names])
    found = answer["calculations"][0]["values"]
    ordered = sorted(values)
    exact = {
        "min": ordered[0],
        "max": ordered[-1],
        "sum": math.fsum(values),
        "avg": math.fsum(values) / len(values),
        "variance": statistics.pvariance(values),
        "stddev": statistics.pstdev(values),
        "median": ordered[math.ceil(len(values) / 2) - 1],
        "p01": ordered[max(0, math.ceil(len(values) / 100) - 1)],
        "p90": ordered[math.ceil(len(values) * 0.9 - 1e-9) - 1],
    }
    assert found == {name: pytest.approx(value, rel=1e-9, abs=1e-6) for name, value in exact.items()}


def test_views_of_invocations_and_traces() -> None:
    """Invocations and traces are found by any of their records, page by page, each once."""
    items = [part(line(f"n{i}"), invocation=i, trace=i // 2, start_ns=START_NS + i, worker=f"w{i}") for i in range(2, 12)]
    with stored(items[:4], items[4:], segment_records=8) as segments:
        for view, key, expected in (
            ("invocations", "invocationId", [f"{i:032x}" for i in reversed(range(2, 12))]),
            ("traces", "traceId", [f"{i:031x}f" for i in reversed(range(1, 6))]),
        ):
            found, cursor = [], None
            for _ in range(20):
                answer = ask(segments, view=view, limit=3, q="n*", **({"cursor": cursor} if cursor else {}))
                found += [row[key] for row in answer[view]]
                cursor = answer["nextCursor"]
                if cursor is None:
                    break
            assert found == expected
        (trace,) = ask(segments, view="traces", q="n5")["traces"]
        assert (trace["workers"], trace["invocations"], trace["logs"], trace["text"]) == (["w4", "w5"], 2, 2, "GET http://worker/")
        assert ask(segments, view="invocations", q="n5")["invocations"][0]["logs"] == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"view": "pictures"}, "view"),
        ({"unknown": 1}, "unknown"),
        ({"limit": 0}, "limit"),
        ({"view": "calculations"}, "calculations"),
        ({"view": "calculations", "calculations": [{"operator": "p42", "key": "x"}]}, "operator"),
        ({"view": "calculations", "calculations": [{"operator": "avg"}]}, "avg needs a key"),
        ({"view": "calculations", "calculations": [{"operator": "avg", "key": "text"}]}, "not a number"),
        ({"view": "calculations", "calculations": [{"operator": "count"}, {"operator": "count"}]}, "alias"),
        ({"view": "calculations", "calculations": [{"operator": "count"}], "compare": True}, "compare"),
        ({"view": "calculations", "calculations": [{"operator": "count"}], "bucketMs": 0}, "bucketMs"),
        ({"view": "calculations", "calculations": [{"operator": "count"}], "having": [{"calculation": "x", "operation": "eq", "value": 1}]}, "having"),
        ({"view": "calculations", "calculations": [{"operator": "count"}], "orderBy": {"value": "x"}}, "orderBy"),
        ({"filters": [{"operation": "eq", "value": 1}]}, "key"),
        ({"filters": [{"key": "a", "operation": "like", "value": 1}]}, "operation"),
        ({"filters": [{"key": "a", "operation": "eq"}]}, "needs one value"),
        ({"filters": [{"key": "a", "operation": "eq", "value": [1, 2]}]}, "needs one value"),
        ({"filters": [{"key": "a", "operation": "regex", "value": "("}]}, "regular expression"),
        ({"filters": [{"key": "status", "operation": "eq", "value": "ok"}]}, "numbers"),
        ({"filters": [{"key": "status", "operation": "includes", "value": "5"}]}, "for texts"),
        ({"filters": [{"key": "level", "operation": "gt", "value": "high"}]}, "level"),
        ({"filters": [{"kind": "group", "filters": [{"kind": "group", "filters": [{"kind": "group", "filters": [{"kind": "group", "filters": [{"key": "a", "operation": "exists"}]}]}]}]}]}, "nested"),
        ({"needle": {"value": "(", "isRegex": True}}, "regular expression"),
        ({"q": "level:bad"}, "level"),
        ({"since": "never"}, "since"),
        ({"cursor": "x"}, "cursor"),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused(request_: dict[str, Any], message: str) -> None:
    """Every request that can't be run says why."""
    with stored(ITEMS) as segments, pytest.raises(QueryError, match=message):
        ask(segments, **request_)


async def test_store_takes_json_as_it_comes(data_dir: Path) -> None:
    """Store.query() takes the decoded JSON of a request and gives what can be encoded."""
    async with Filled(data_dir) as filled:
        await filled.put(*ITEMS)
        answer = await filled.store.query({"view": "events", "limit": 2})
        assert len(answer["events"]) == 2
        msgspec.json.encode(answer)
        with pytest.raises(QueryError):
            await filled.store.query([1])  # type: ignore[arg-type]


def test_names_that_no_record_has_are_told() -> None:
    """A calculation over a field that nobody logged says so, with the known field of nearly that name; others say nothing."""
    with stored(ITEMS) as segments:
        calculations = [{"operator": "avg", "key": "walMs"}, {"operator": "avg", "key": "wallMs"}, {"operator": "max", "key": "ms"}]
        answer = ask(segments, view="calculations", calculations=calculations)
        assert answer["warnings"] == ["avg(walMs): no record of the answer has a number named 'walMs'. Did you mean wallMs?"]
        answer = ask(segments, view="calculations", calculations=[{"operator": "countDistinct", "key": "nobody"}])
        assert answer["warnings"] == ["countDistinct(nobody): no record of the answer has a value named 'nobody'."]
        assert "warnings" not in ask(segments, view="calculations", calculations=calculations[1:], groupBy=["worker"])
        assert "warnings" not in ask(segments, view="events")


def test_an_unknown_operator_is_told_with_those_there_are() -> None:
    """Whoever asks for p98 is told which percentiles there are."""
    with pytest.raises(QueryError, match=r"operator: Invalid enum value 'p98'; it is one of .*p95, p99, p999"):
        read_request({"view": "calculations", "calculations": [{"operator": "p98", "key": "wallMs"}]}, NOW)
