"""The query language: what texts mean, and where errors point."""

from __future__ import annotations

import pytest

from otelbridge.errors import QueryError
from otelbridge.logs.language import parse
from otelbridge.logs.tree import And, Condition, Contains, Literal, Matches, Not, Or, Tree, Words, matches
from otelbridge.model.record import records
from tests.logs.samples import START_NS, end_of, line, part, thrown

NOW = 1_764_003_600_000_000_000
HOUR = 3_600_000_000_000


def word(*phrase: str, prefix: bool = False) -> Words:
    """Tokens next to each other."""
    return Words(phrase, prefix)


def known(field: str, value: str, operation: str = "like") -> Condition:
    """A condition on a known field."""
    return Condition(field, False, operation, (Literal(value),))


def member(name: str, operation: str, text: str, number: float | None = None, *, bare: bool = True) -> Condition:
    """A condition on a member of a logged object."""
    return Condition(name, True, operation, (Literal(text, number, bare),))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", And(())),
        ("  ", And(())),
        ("timeout", word("timeout")),
        ("TimeOut Zoé", And((word("timeout"), word("zoé")))),
        ("connect_timeout", word("connect", "timeout")),
        ("time*", word("time", prefix=True)),
        ('"two words"', word("two", "words")),
        ('"a \\"b\\" \\\\ c"', word("a", "b", "c")),
        ("...", Contains("...")),
        ("a OR b c", Or((word("a"), And((word("b"), word("c")))))),
        ("(a OR b) c", And((Or((word("a"), word("b"))), word("c")))),
        ("a AND b", And((word("a"), word("b")))),
        ("or and ORDER", And((word("or"), word("and"), word("order")))),
        ("-a", Not(word("a"))),
        ("NOT a", Not(word("a"))),
        ("--a", word("a")),
        ("-(a b)", Not(And((word("a"), word("b"))))),
        ("NOT -level:error", known("level", "error")),
        ("level:error", known("level", "error")),
        ("LEVEL:Error", known("level", "Error")),
        ("workerId:abc*", known("worker", "abc*")),
        ('worker:"a*b"', known("worker", "a*b", "same")),
        ("path:/api/users", known("path", "/api/users")),
        ("url:http://h:80/x?y=1", known("url", "http://h:80/x?y=1")),
        ("status:5xx", Condition("status", False, "class", (Literal("5xx", 5),))),
        ("status:404", Condition("status", False, "eq", (Literal("404", 404),))),
        ("status:>=500", Condition("status", False, "gte", (Literal("500", 500),))),
        ("status:50*", known("status", "50*")),
        ("level:>=warn", Condition("level", False, "gte", (Literal("warn"),))),
        ("wall:>0.5", Condition("wallMs", False, "gt", (Literal("0.5", 0.5),))),
        ("user_id=123", member("user_id", "eq", "123", 123)),
        ('user_id="123"', member("user_id", "eq", "123", bare=False)),
        ("user.id>=1.5", member("user.id", "gte", "1.5", 1.5)),
        ("a!=b", member("a", "neq", "b")),
        ("a=b=c", member("a", "eq", "b=c")),
        ('"odd name"<x', member("odd name", "lt", "x")),
        ("a=x*", member("a", "like", "x*")),
        ("/a b/", Matches("a b")),
        ("/a\\/b/i", Matches("a\\/b", True)),
        ("hello! 10.0.0.1", And((word("hello"), word("10", "0", "0", "1")))),
    ],
)
def test_meaning(text: str, tree: Tree) -> None:
    """Each form of the grammar gives the tree that it stands for."""
    assert parse(text, NOW).tree == tree


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a OR", 5),
        ("OR a", 1),
        ("a AND", 6),
        ("AND a", 1),
        ("(a", 1),
        ("a)", 2),
        ("a ()", 3),
        ("a -", 3),
        ("a NOT", 3),
        ("foo:bar", 1),
        ("a 12:30", 3),
        ("status:abc", 8),
        ("level:err", 7),
        ("level:>high", 7),
        ("wall:fast", 6),
        ("x=", 3),
        ("=x", 1),
        ('"open', 1),
        ('a="open', 3),
        ('"a"b', 4),
        ("/open", 1),
        ("/api/users", 6),
        ("/a(/", 3),
        ("/a**/", 4),
        ("a*b", 2),
        ("*", 1),
        ("since:never", 7),
        ("(since:1h)", 2),
        ("-since:1h", 2),
        ("a OR since:1h", 6),
        ("since:1h OR a", 10),
        ("since:1h b OR a", 1),
        ("(" * 40 + "a" + ")" * 40, 34),
        ("a " * 300, 401),
        ("x" * 9_000, 8_193),
    ],
)
def test_errors_point_at_their_column(text: str, column: int) -> None:
    """A query that can't be read says where, from 1 on."""
    with pytest.raises(QueryError) as caught:
        parse(text, NOW)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("since:1h", NOW - HOUR, None),
        ("since:15m a until:5m", NOW - HOUR // 4, NOW - HOUR // 12),
        ("since:2h since:1h", NOW - HOUR, None),
        ("since:2025-11-24", 1_763_942_400_000_000_000, None),
        ("since:2025-11-24T12:00:00+01:00", 1_763_982_000_000_000_000, None),
        ("until:1764000000", None, START_NS),
        ("until:1764000000.5", None, START_NS + 500_000_000),
        ("until:1764000000123", None, START_NS + 123_000_000),
    ],
)
def test_times(text: str, since: int | None, until: int | None) -> None:
    """since: and until: take durations, RFC 3339 and unix times, and hold for the whole query."""
    parsed = parse(text, NOW)
    assert (parsed.since_ns, parsed.until_ns) == (since, until)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abcde"),
        ("timeout", "a"),
        ("TIMEOUT", "a"),
        ("time", ""),
        ("time*", "a"),
        ('"connect timeout"', "a"),
        ('"timeout connect"', ""),
        ("user_id=7", "b"),
        ('user_id="7"', ""),
        ("user_id>6", "b"),
        ("user_id>7", ""),
        ("nested.deep=yes", "b"),
        ("http.status=503", "b"),
        ("ok=true", "b"),
        ("missing!=1", ""),
        ("-missing=1", "abcde"),
        ("user_id!=8", "b"),
        ("level:error", "bce"),
        ("level:>=warn -level:error", ""),
        ("kind:exception", "c"),
        ("exception:type*", "c"),
        ("status:5xx", "abce"),
        ("outcome:exception", "abce"),
        ("-outcome:*", "d"),
        ("worker:WEB", "abce"),
        ("worker:w*", "abcde"),
        ("日", "d"),
        ("本語", "d"),
        ("🔥", "d"),
        ('"->"', "e"),
        ("/use.\\s/", ""),
        ("/\\bat f\\b/", "c"),
        ("timeout OR kind:exception", "ac"),
        ("(timeout OR kind:exception) level:error", "c"),
    ],
)
def test_evaluator(query: str, found: str) -> None:
    """The evaluator reads records as the language's page says."""
    end = end_of(time_ns=START_NS + 9, outcome="exception", status=500)
    logged = {"user_id": 7, "nested": {"deep": "yes"}, "http.status": 503, "ok": True}
    one = part(line("connect_timeout"), line(logged, level="error"), thrown("TypeError", "no", "at f"), worker="web", end=end)
    two = part(line("日本語 🔥"), worker="w2", invocation=2, ended=False)
    a, b, c, e = records(one)
    (d,) = records(two)
    tree = parse(query, NOW).tree
    assert "".join(name for name, record in zip("abcde", (a, b, c, d, e), strict=True) if matches(tree, record)) == found
