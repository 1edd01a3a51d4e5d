"""A query's tree to a plan of SQL over one segment: what drives the search, and the conditions on each row.

Three ways, the first that fits: the few invocations that it asks for, the index of words (which also knows workers,
kinds and levels), or all rows from the newest on. Rows and index lie in order of time, so none of them sorts much.
"""

from __future__ import annotations

from typing import Any

import msgspec

from otelbridge.logs.conditions import NEVER, Sql, escape_like, member_phrase, on_choice, on_id, on_member, on_number, on_text
from otelbridge.logs.fields import FIELDS
from otelbridge.logs.pattern import Pattern
from otelbridge.logs.reader import Reader
from otelbridge.logs.tree import And, Condition, Contains, Matches, Not, Or, Tree, Words

__all__ = ["JOINS", "Plan", "compile_condition", "compile_tree"]

JOINS = (
    "LEFT JOIN invocations i ON i.number = r.invocation "
    "LEFT JOIN workers w ON w.number = r.worker "
    "LEFT JOIN versions v ON v.number = i.version"
)

_FEW_INVOCATIONS = 512
_FEW_WORKERS = 64


class Plan(msgspec.Struct, frozen=True):
    """`FROM {source} {JOINS} WHERE {where}`; `key` is the number of the row, to bound and to order by."""

    source: str
    key: str
    where: str
    parameters: tuple[Any, ...]


def compile_tree(tree: Tree, reader: Reader) -> Plan | None:
    """The plan for a segment; None when it has no record that answers."""
    compiler = _Compiler(reader)
    parts = _flatten(tree)
    workers = [compiler.workers(part) for part in parts if _is_worker(part)]
    if any(not numbers for numbers in workers):
        return None
    few = compiler.few_invocations(parts, workers)
    if few is not None:
        if not few:
            return None
        plain = _Compiler(reader, plain=True).all(parts)
        chosen = msgspec.json.encode(few).decode()
        where = f"r.invocation IN (SELECT value FROM json_each(?)) AND {plain[0]}"
        return Plan("records r INDEXED BY records_invocation", "r.number", where, (chosen, *plain[1]))
    matches: list[str] = []
    rest: list[Tree] = []
    for part in parts:
        match, exact = compiler.match(part)
        if match is not None:
            matches.append(match)
        if match is None or not exact:
            rest.append(part)
    sql, parameters = compiler.all(rest)
    if not matches:
        return Plan("records r NOT INDEXED", "r.number", sql, parameters)
    source = "words CROSS JOIN records r ON r.number = words.rowid"
    return Plan(source, "words.rowid", f"words MATCH ? AND {sql}", (_and(matches), *parameters))


def compile_condition(tree: Tree, reader: Reader) -> Sql:
    """The condition alone, on rows r that have worker, kind and level; without the index of words."""
    return _Compiler(reader, plain=True).condition(tree)


def _flatten(tree: Tree) -> list[Tree]:
    return [one for part in tree.parts for one in _flatten(part)] if isinstance(tree, And) else [tree]


def _is_worker(tree: Tree) -> bool:
    return isinstance(tree, Condition) and not tree.structured and tree.field == "worker" and tree.operation != "is_null"


def _of_invocation(tree: Tree) -> bool:
    """Whether a condition asks for nothing but properties of the invocation."""
    if isinstance(tree, And | Or):
        return bool(tree.parts) and all(_of_invocation(part) for part in tree.parts)
    # Not Not, and not is_null: both hold for records without an invocation too.
    return isinstance(tree, Condition) and not tree.structured and FIELDS[tree.field].of == "invocation" and tree.operation != "is_null"


def _and(matches: list[str]) -> str:
    return " AND ".join([f"({match})" for match in matches])


def _phrase(phrase: tuple[str, ...], prefix: bool) -> str:
    # Tokens hold letters, digits and pictographs alone: nothing in them has a meaning to FTS5 inside quotes.
    return f'text : "{" ".join(phrase)}"{" *" if prefix else ""}'


def _tags(letter: str, numbers: list[int]) -> str:
    return " OR ".join([f'tags : "{letter}{number}"' for number in numbers])


class _Compiler:
    """`plain`: without the index of words, for few rows."""

    def __init__(self, reader: Reader, *, plain: bool = False) -> None:
        self._reader = reader
        self._plain = plain
        self._found: dict[Condition, list[int]] = {}

    def workers(self, test: Tree) -> list[int]:
        """The numbers of the workers that meet a condition."""
        assert isinstance(test, Condition)
        if test not in self._found:
            sql, parameters = on_text("worker_id", test)
            self._found[test] = self._reader.json(f"SELECT json_group_array(number) FROM workers WHERE {sql}", parameters)
        return self._found[test]

    def few_invocations(self, parts: list[Tree], workers: list[list[int]]) -> list[int] | None:
        """The invocations that the query asks for, if it does and if they are few."""
        wanted = [part for part in parts if _of_invocation(part)]
        if not wanted:
            return None
        sql, parameters = self.all(wanted)
        for numbers in workers:
            sql += " AND i.worker IN (SELECT value FROM json_each(?))"
            parameters += (msgspec.json.encode(numbers).decode(),)
        rest = f"FROM invocations i LEFT JOIN versions v ON v.number = i.version WHERE {sql} LIMIT {_FEW_INVOCATIONS + 1}"
        found: list[int] = self._reader.json(f"SELECT json_group_array(number) FROM (SELECT i.number {rest})", parameters)
        return found if len(found) <= _FEW_INVOCATIONS else None

    # ------------------------------------------------------------------------------------------------ the index of words

    def match(self, tree: Tree) -> tuple[str | None, bool]:
        """What to ask the index of words, if it can help; and whether nothing else is to be asked then."""
        if isinstance(tree, Words):
            return _phrase(tree.phrase, tree.prefix), True
        if isinstance(tree, And | Or) and tree.parts:
            found = [self.match(part) for part in tree.parts]
            if any(match is None or not exact for match, exact in found):
                return None, False
            return (" OR " if isinstance(tree, Or) else " AND ").join([f"({match})" for match, _ in found]), True
        if not isinstance(tree, Condition):
            return None, False
        if tree.structured:
            phrase = member_phrase(tree)
            # The bridge's own records have fields that don't stand in their text; they are few.
            return (f'({_phrase(phrase, False)}) OR tags : "k3"', False) if phrase else (None, False)
        if _is_worker(tree) and 0 < len(numbers := self.workers(tree)) <= _FEW_WORKERS:
            return _tags("w", numbers), True
        if tree.field in ("level", "kind"):
            chosen, _ = on_choice("", tree)
            if chosen and min(chosen) >= (3 if tree.field == "level" else 1):
                return _tags(tree.field[0], chosen), True
        return None, False

    # ---------------------------------------------------------------------------------------------------- conditions

    def all(self, parts: list[Tree]) -> Sql:
        """The condition that all of them hold."""
        return self._join([self.condition(part) for part in parts], " AND ", "1")

    def condition(self, tree: Tree) -> Sql:
        """A condition on a row of records r, invocations i, workers w, versions v."""
        if isinstance(tree, And):
            return self.all(list(tree.parts))
        if isinstance(tree, Or):
            return self._join([self.condition(part) for part in tree.parts], " OR ", "0")
        if isinstance(tree, Not):
            sql, parameters = self.condition(tree.part)
            return f"NOT ifnull({sql}, 0)", parameters  # what is not known is not so
        if isinstance(tree, Words):
            return self._words(tree)
        if isinstance(tree, Contains):
            return _contains(tree)
        if isinstance(tree, Matches):
            return _matches(tree)
        if tree.structured:
            return on_member(tree)
        return self._known(tree)

    def _join(self, found: list[Sql], operator: str, nothing: str) -> Sql:
        if not found:
            return nothing, ()
        sql = operator.join([sql for sql, _ in found])
        return (f"({sql})" if len(found) > 1 else sql), tuple(p for _, ps in found for p in ps)

    def _words(self, words: Words) -> Sql:
        if self._plain:
            return "has_phrase(r.text, ?, ?)", (" ".join(words.phrase), words.prefix)
        return "r.number IN (SELECT rowid FROM words WHERE words MATCH ?)", (_phrase(words.phrase, words.prefix),)

    def _known(self, test: Condition) -> Sql:
        field = FIELDS[test.field]
        if field.choices:
            chosen, condition = on_choice(field.sql, test)
            return condition if chosen else NEVER
        if field.of == "worker":
            if test.operation == "is_null":
                return "r.worker IS NULL", ()
            numbers = msgspec.json.encode(self.workers(test)).decode()
            return "r.worker IN (SELECT value FROM json_each(?))", (numbers,)
        if field.type == "number":
            return on_number(field.sql, test)
        if test.field in ("invocation", "trace"):
            return on_id("i.id" if test.field == "invocation" else "i.trace_id", field.sql, test)
        return on_text(field.sql, test)


def _contains(tree: Contains) -> Sql:
    if tree.match_case:
        return "instr(r.text, ?) > 0", (tree.piece,)
    if not tree.piece.isascii():
        return "contains_folded(r.text, ?)", (tree.piece,)
    return "r.text LIKE ? ESCAPE '\\'", (f"%{escape_like(tree.piece)}%",)


def _matches(tree: Matches) -> Sql:
    """The automaton sees only rows that hold what every match holds: that is looked for without the interpreter."""
    literal = Pattern(tree.pattern, ignore_case=tree.ignore_case).literal
    sql, parameters = "matches_pattern(?, ?, r.text)", (tree.pattern, tree.ignore_case)
    return (f"(instr(r.text, ?) > 0 AND {sql})", (literal, *parameters)) if literal else (sql, parameters)
