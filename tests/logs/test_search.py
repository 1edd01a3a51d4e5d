"""Search: what the compiled SQL finds is what the naive evaluator finds, on any records and any query."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.errors import QueryError
from otelbridge.logs.language import clean_query, literal, parse
from otelbridge.logs.pages import Span, page
from otelbridge.logs.reader import Budget
from otelbridge.logs.segments import Segments
from otelbridge.logs.tree import And, Condition, Contains, Literal, Matches, Not, Or, Tree, Words, matches
from otelbridge.model.part import Part, SpoolItem, decode, encode
from otelbridge.model.record import Record, records
from tests.logs.samples import HOSTILE, NAMES, START_NS, WORDS, fuzzed, line, numbers, part, spool_items, stored, texts

TEXT_FIELDS = ["text", "worker", "version", "invocation", "trace", "outcome", "method", "path", "url", "exception", "kind", "level"]
NUMBER_FIELDS = ["status", "wallMs", "cpuMs", "memoryBytes"]
VALUES = [
    "w",
    "W",
    "we*",
    "*",
    "",
    "ok",
    "ex*",
    "GET",
    "get",
    "/",
    "/api*",
    "*/users",
    "http*",
    "TypeError",
    "v1",
    "error",
    "log",
    "0" * 31 + "1",
]

PIECES = [
    "level:",
    "error",
    "a",
    " ",
    "(",
    ")",
    "-",
    "NOT ",
    " OR ",
    '"',
    "\\",
    "*",
    "=",
    "!=",
    ">",
    "/",
    "x",
    ":",
    "since:",
    "1h",
    "status:",
    "5xx",
    "é",
    "'",
    ";",
]

# ------------------------------------------------------------------------------------------------------- random queries

MEMBERS = [*NAMES, "a.b.id", "user_id.a", "b.a"]
TOKENS = ["timeout", "user", "id", "zoé", "naïve", "日", "本", "🔥", "a", "1", "us", "near", "true", "null"]
PATTERNS = ["time.ut", "^a", r"\d+", "us(er|_id)", "[A-Z]", "zoé$", r"\bid\b", '"a":', "."]
ORDERED = ["eq", "neq", "gt", "gte", "lt", "lte"]
ON_TEXT = [*ORDERED, "includes", "not_includes", "starts_with", "like"]

queried = (texts | st.sampled_from(VALUES + WORDS + HOSTILE)).map(clean_query)
typed = st.builds(literal, queried, bare=st.booleans())
counted = st.builds(lambda n: Literal(str(n), n), numbers | st.sampled_from([200, 404, 500, 1, 5000]))


def conditions(fields: list[str], structured: bool, operations: list[str], values: st.SearchStrategy[Literal]) -> st.SearchStrategy[Tree]:
    """Conditions with one value, or for in and not_in with several."""
    field = st.sampled_from(fields)
    one = st.builds(lambda f, o, v: Condition(f, structured, o, (v,)), field, st.sampled_from(operations), values)
    some = st.lists(values, max_size=3).map(tuple)
    several = st.builds(lambda f, o, v: Condition(f, structured, o, v), field, st.sampled_from(["in", "not_in"]), some)
    none = st.builds(lambda f, o: Condition(f, structured, o), field, st.sampled_from(["exists", "is_null"]))
    return st.one_of(one, one, one, several, none)


leaves = st.one_of(
    conditions(TEXT_FIELDS, False, [*ON_TEXT, "same"], typed),
    conditions(NUMBER_FIELDS, False, ORDERED, counted),
    conditions(MEMBERS, True, ON_TEXT, typed | counted),
    st.builds(lambda n: Condition("status", False, "class", (Literal(f"{n}xx", n),)), st.integers(1, 5)),
    st.builds(lambda p, x: Words(tuple(p), x), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=2), st.booleans()),
    st.builds(Contains, queried, st.booleans()),
    st.builds(Matches, st.sampled_from(PATTERNS), st.booleans()),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda parts: And(tuple(parts)), st.lists(inner, max_size=3)),
        st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, max_size=3)),
    ),
    max_leaves=5,
)


def expected(items: Sequence[SpoolItem]) -> list[Record]:
    """All records of spool items, as they are once every end that comes has come."""
    ends = {item.invocation_id: item for item in items if isinstance(item, Part) and item.end is not None}
    found = []
    for item in items:
        last = ends.get(item.invocation_id) if isinstance(item, Part) else None
        for record in records(decode(encode(item))):
            if last is not None and last.end is not None:
                # Earlier lines learn how it ended; the last four members stand on its own record.
                changed = {"outcome": last.end.outcome, "status": last.end.status}
                record = msgspec.structs.replace(record, **changed)
            found.append(record)
    return found


def find(segments: Segments, tree: Tree) -> list[Record]:
    """What a tree finds, through the same code as Store.logs()."""
    return page(segments.all, tree, Span(), Budget(60), limit=1_000, after=None, ascending=False)[0]


def check(segments: Segments, items: Sequence[SpoolItem], queries: Sequence[Tree]) -> None:
    """Everything is there as it was written, and each query finds what the evaluator says."""
    wanted = expected(items)
    assert {record.id: record for record in find(segments, And(()))} == {record.id: record for record in wanted}
    for tree in queries:
        found = [record.id for record in find(segments, tree)]
        assert sorted(found) == sorted(record.id for record in wanted if matches(tree, record)), tree


@fuzzed(150)
@given(spool_items(), st.lists(trees, min_size=1, max_size=20))
def test_sql_and_evaluator_agree(items: list[SpoolItem], queries: list[Tree]) -> None:
    """Any query over any records: the store finds exactly what the evaluator says, and gives records as they were written."""
    with stored(items) as segments:
        check(segments, items, queries)


@fuzzed(30)
@given(spool_items(), st.lists(trees, min_size=1, max_size=10))
def test_they_agree_over_several_segments(items: list[SpoolItem], queries: list[Tree]) -> None:
    """The same when each item fills a segment, also for invocations that begin in one and end in another."""
    with stored(*[[item] for item in items], segment_records=1) as segments:
        check(segments, items, queries)


@fuzzed(150)
@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_any_text_is_a_query_or_an_error_with_a_column(text: str) -> None:
    """No text breaks the parser or the SQL: it is refused with a column inside the text, or it searches."""
    items = [part(line("user timeout", time_ns=START_NS), line({"user_id": 1}))]
    try:
        tree = parse(text, START_NS).tree
    except QueryError as e:
        assert e.column is not None
        assert 1 <= e.column <= len(text) + 1
        return
    with stored(items) as segments:
        check(segments, items, [tree])
