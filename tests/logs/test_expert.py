"""SQL for experts: what it may see, and that it can do nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from otelbridge.errors import QueryError
from otelbridge.logs import Store
from otelbridge.logs.expert import run_sql
from otelbridge.logs.reader import Budget
from tests.logs.samples import START_NS, Filled, line, part, stored, thrown

ITEMS = [part(line("hello", 1), line({"a": 1}, level="error"), thrown("E", "m"), worker="web", invocation=i) for i in range(1, 4)]


async def test_views(data_dir: Path) -> None:
    """Logs, invocations and spans of all segments are there, with names in place of numbers."""
    async with Filled(data_dir, segment_records=5) as filled:
        for item in ITEMS:
            await filled.put(item)
        found = await filled.store.sql("SELECT kind, level, count(*) FROM logs WHERE worker_id = ? GROUP BY 1, 2 ORDER BY 1, 2", ["web"])
        assert found.rows == [["exception", "error", 3], ["invocation", "info", 3], ["log", "error", 3], ["log", "info", 3]]
        assert found.columns == ["kind", "level", "count(*)"]
        assert found.segments[0] == found.segments[1] > 1
        rows = (await filled.store.sql("SELECT fields ->> '$.a', time_ns - ? FROM logs WHERE fields IS NOT NULL LIMIT 1", [START_NS])).rows
        assert rows == [[1, 1]]
        joined = "SELECT l.text FROM invocations i JOIN logs l USING (invocation_id) WHERE i.invocation_id = ? AND kind = 'log' ORDER BY sequence"
        assert (await filled.store.sql(joined, [f"{2:032x}"])).rows == [["hello 1"], ['{"a":1}']]
        assert (await filled.store.sql("SELECT count(*) FROM spans")).rows == [[0]]
        assert (await filled.store.sql("SELECT count(*) FROM s0.words WHERE words MATCH 'hello'")).rows[0][0] > 0


def test_a_text_that_is_no_json_stands_beside_what_is() -> None:
    """A condition on the text changes nothing about how a record's own fields are read, whatever SQLite concludes from it."""
    sql = "SELECT count(*) FROM logs WHERE fields ->> '$.a' > 0 AND text = ?"
    with stored(ITEMS) as segments:
        assert [run_sql(segments.all, sql, [text], Budget(10)).rows for text in ("hello 1", '{"a":1}')] == [[[0]], [[3]]]


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM s0.records",
        "WITH x AS (SELECT 1) DELETE FROM s0.records",
        "UPDATE s0.records SET text = ''",
        "INSERT INTO s0.facts VALUES ('a', 1)",
        "INSERT INTO s0.words (words) VALUES ('delete-all')",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "DROP TABLE s0.records",
        "DROP VIEW logs",
        "ATTACH 'file:other.db?mode=rwc' AS other",
        "ATTACH ':memory:' AS other",
        "DETACH s0",
        "PRAGMA query_only = 0",
        "PRAGMA s0.user_version",
        "PRAGMA data_version = 1",
        "SELECT * FROM pragma_database_list",
        "VACUUM",
        "VACUUM INTO 'copy.db'",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT a",
        "SELECT load_extension('x')",
        "SELECT fts3_tokenizer('x', 'y')",
        "SELECT 1; DELETE FROM s0.records",
        "",
        "-- nothing",
        "SELEC",
        "SELECT * FROM nothing",
        "SELECT ?",
        "SELECT zeroblob(1000000000)",
        "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
        "SELECT 1 " + "UNION ALL SELECT 1 " * 600,
        "SELECT " + "x" * 200_000,
    ],
)
def test_refusals(text: str) -> None:
    """Nothing can be written, attached, set or loaded, and what is no SELECT is a query error."""
    with stored(ITEMS) as segments:
        before = segments.all[0].path.read_bytes()
        with pytest.raises(QueryError, match=r"^sql: "):
            run_sql(segments.all, text, [], Budget(60))
        assert segments.all[0].path.read_bytes() == before
        assert run_sql(segments.all, "SELECT count(*) FROM logs", [], Budget(60)).rows == [[12]]


@pytest.mark.parametrize("text", ["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"])
def test_what_never_ends_is_stopped(text: str) -> None:
    """A statement that goes on for ever ends with its time."""
    with stored(ITEMS) as segments:
        budget = Budget(60)
        budget.deadline = 0.0
        with pytest.raises(QueryError, match="stopped"):
            run_sql(segments.all, text, [], budget)


def test_rows_are_limited_and_can_be_sent() -> None:
    """At most 10,000 rows come back, and values that JSON lacks are made into ones that it has."""
    with stored(ITEMS) as segments:
        many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n"
        found = run_sql(segments.all, many, [], Budget(60))
        assert (len(found.rows), found.truncated) == (10_000, True)
        odd = run_sql(segments.all, "SELECT x'00ff', 1e999, -1e999, CAST(x'ff' AS TEXT), NULL, char(0)", [], Budget(60))
        assert odd.rows == [["00ff", None, None, "\ufffd", None, "\0"]]
        msgspec.json.encode(odd)


@pytest.mark.parametrize("params", [[1 << 70], ["\ud800"], [object()], list(range(2_000))])
def test_parameters_that_cannot_be_used(params: list[object]) -> None:
    """Parameters that SQLite can't take are the caller's mistake."""
    with stored(ITEMS) as segments, pytest.raises(QueryError, match="sql"):
        run_sql(segments.all, "SELECT ?", params, Budget(60))


async def test_an_empty_store_has_its_views(data_dir: Path) -> None:
    """Before the first record the views are there, and empty."""
    async with Store(directory=data_dir) as store:
        assert (await store.sql("SELECT * FROM logs")).rows == []
        assert (await store.logs()).logs == []
        assert (await store.invocations()).invocations == []
        assert await store.worker_counters() == []
        assert (await store.state()).records == 0
