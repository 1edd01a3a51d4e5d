"""What a query asks, as a tree of frozen structs, and whether one record answers it.

matches() is what live filters use and what the compiled SQL is tested against: they agree on every record.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from otelbridge.logs.fields import FIELDS, Field, Value, lookup, rank_of_level
from otelbridge.logs.pattern import Pattern
from otelbridge.logs.tokens import ascii_lower, has_phrase
from otelbridge.model.record import Record

__all__ = ["And", "Condition", "Contains", "Literal", "Matches", "Not", "Or", "Tree", "Words", "like", "matches", "test_known", "wildcards"]


class And(msgspec.Struct, frozen=True):
    """All of them; of none: every record."""

    parts: tuple[Tree, ...]


class Or(msgspec.Struct, frozen=True):
    """Any of them; of none: no record."""

    parts: tuple[Tree, ...]


class Not(msgspec.Struct, frozen=True):
    """Everything else."""

    part: Tree


class Words(msgspec.Struct, frozen=True):
    """These tokens, next to each other, in the text; with `prefix` the last one may go on."""

    phrase: tuple[str, ...]
    prefix: bool = False


class Contains(msgspec.Struct, frozen=True):
    """A piece of the text."""

    piece: str
    match_case: bool = False


class Matches(msgspec.Struct, frozen=True):
    """A regular expression found in the text."""

    pattern: str
    ignore_case: bool = False


class Literal(msgspec.Struct, frozen=True):
    """A value to compare with. `number` when it reads as one; `bare`: not quoted, so true may also be the boolean."""

    text: str
    number: int | float | None = None
    bare: bool = True


class Condition(msgspec.Struct, frozen=True):
    """A condition on a field: one of FIELDS, or with `structured` the path of a member of a logged object.

    Operations: those of the query builder, and "like" (wildcards; known fields ignore case), "same" (case ignored), "class" (5xx).
    A record without the field answers no condition but is_null.
    """

    field: str
    structured: bool
    operation: str
    values: tuple[Literal, ...] = ()


Tree = And | Or | Not | Words | Contains | Matches | Condition


def matches(tree: Tree, record: Record) -> bool:
    """Whether a record answers the query."""
    if isinstance(tree, And):
        return all(matches(part, record) for part in tree.parts)
    if isinstance(tree, Or):
        return any(matches(part, record) for part in tree.parts)
    if isinstance(tree, Not):
        return not matches(tree.part, record)
    if isinstance(tree, Words):
        return has_phrase(record.text, tree.phrase, tree.prefix)
    if isinstance(tree, Contains):
        return contains(record.text, tree.piece, tree.match_case)
    if isinstance(tree, Matches):
        return _pattern(tree.pattern, tree.ignore_case).search(record.text)
    if tree.structured:
        return _test_member(lookup(record.fields, tree.field), tree)
    field = FIELDS[tree.field]
    return test_known(field.get(record), field, tree)


def contains(text: str, piece: str, match_case: bool) -> bool:
    """Whether a piece stands in a text; letter by letter, without words."""
    if match_case:
        return piece in text
    return ascii_lower(piece) in ascii_lower(text) if piece.isascii() else piece.casefold() in text.casefold()


_MAX_PATTERNS = 64
_patterns = threading.local()


def _pattern(source: str, ignore_case: bool) -> Pattern:
    """A compiled expression: a live filter asks for the same one with every record. Each thread has its own."""
    compiled: dict[tuple[str, bool], Pattern] = _patterns.__dict__.setdefault("compiled", {})
    found = compiled.get((source, ignore_case))
    if found is None:
        if len(compiled) >= _MAX_PATTERNS:
            compiled.clear()
        found = compiled[source, ignore_case] = Pattern(source, ignore_case=ignore_case)
    return found


# --------------------------------------------------------------------------------------------------------- conditions


def test_known(value: Value, field: Field, test: Condition) -> bool:
    """Whether a value of a known field meets a condition on it."""
    operation = test.operation
    if value is None:
        return operation == "is_null"
    if operation in ("is_null", "exists"):
        return operation == "exists"
    first = test.values[0] if test.values else Literal("")
    if operation == "like":
        return like(ascii_lower(first.text), ascii_lower(str(value)))
    if operation == "same":
        return ascii_lower(first.text) == ascii_lower(str(value))
    if operation == "class":
        return isinstance(value, int) and value // 100 == first.number
    if field.type == "number":
        return _compare(value, [v.number for v in test.values], operation)
    if field.name == "level" and operation in ("gt", "gte", "lt", "lte"):
        return _compare(rank_of_level(str(value)), [rank_of_level(first.text)], operation)
    return _compare(value, [v.text for v in test.values], operation)


def _test_member(value: Any, test: Condition) -> bool:
    operation = test.operation
    if value is None:
        return operation == "is_null"
    if operation in ("is_null", "exists"):
        return operation == "exists"
    if operation in ("eq", "in"):
        return any(_equal(value, v) for v in test.values)
    if operation in ("neq", "not_in"):
        return not any(_equal(value, v) for v in test.values)
    first = test.values[0]
    if operation in ("gt", "gte", "lt", "lte") and first.number is not None:
        return _is_number(value) and _compare(_plain(value), [first.number], operation)
    if not isinstance(value, str):
        return operation == "not_includes"
    if operation == "like":
        return like(first.text, value)
    return _compare(value, [first.text], operation)


def _compare(value: Any, others: list[Any], operation: str) -> bool:
    other: Any = others[0] if others else None
    if operation in ("eq", "in"):
        return value in others
    if operation in ("neq", "not_in"):
        return value not in others
    if operation == "gt":
        return bool(value > other)
    if operation == "gte":
        return bool(value >= other)
    if operation == "lt":
        return bool(value < other)
    if operation == "lte":
        return bool(value <= other)
    if operation == "includes":
        return other in value
    if operation == "not_includes":
        return other not in value
    if operation == "starts_with":
        return bool(value.startswith(other))
    assert operation == "regex", operation
    return _pattern(other, False).search(value)


def _equal(value: Any, literal: Literal) -> bool:
    if isinstance(value, str):
        return value == literal.text
    if _is_number(value):
        return literal.number is not None and bool(_plain(value) == _plain(literal.number))
    return literal.bare and msgspec.json.encode(value).decode() == literal.text  # true, false, a list, an object


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(number: int | float) -> int | float:
    """The number as SQLite holds it: integers beyond 64 bits are floating point there."""
    return number if isinstance(number, float) or -(1 << 63) <= number < 1 << 63 else float(number)


# ---------------------------------------------------------------------------------------------------------- wildcards


def wildcards(pattern: str) -> list[str]:
    """The pieces between the wildcards of a pattern: one piece means that there is none."""
    return pattern.split("*")


def like(pattern: str, text: str) -> bool:
    """Whether the whole text fits a pattern in which * stands for anything. Linear; no regular expression is built."""
    pieces = wildcards(pattern)
    if len(pieces) == 1:
        return text == pattern
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
