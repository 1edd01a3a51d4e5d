"""The query language of CLI, API and pages: text to a tree. Errors point at the column. docs/search.md explains it.

query   = all { "OR" all }          all   = not { ["AND"] not }          not = ["-" | "NOT"] term
term    = "(" query ")" | field:value | name operator value | word | "phrase" | /regex/
"""

from __future__ import annotations

import math
import re
from typing import NoReturn

import msgspec

from otelbridge.errors import QueryError
from otelbridge.logs.fields import FIELDS, LEVELS, field_name
from otelbridge.logs.pattern import Pattern
from otelbridge.logs.times import point_ns
from otelbridge.logs.tokens import tokens
from otelbridge.logs.tree import And, Condition, Contains, Literal, Matches, Not, Or, Tree, Words
from otelbridge.model.record import clean_text

__all__ = ["Parsed", "clean_query", "literal", "parse", "text_term"]

_MAX_LENGTH = 8_192
_MAX_TERMS = 200
_MAX_DEPTH = 32

_SPACE = re.compile(r"\s*")
# What a word may hold: no space, parenthesis, quote, or sign that makes it a condition.
_WORD = re.compile(r"""[^\s()"=<>!:]+(?:!(?!=)[^\s()"=<>!:]*)*""")
_VALUE = re.compile(r"""[^\s()"]+""")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OPERATOR = re.compile(r"!=|>=|<=|[=<>:]")
_REGEX = re.compile(r"/((?:[^/\\]|\\.)+)/(i?)", re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_OPERATIONS = {"=": "eq", "!=": "neq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


class Parsed(msgspec.Struct, frozen=True):
    """A query that has been read. The times are of since: and until:, ns; until is not part of the span."""

    tree: Tree
    since_ns: int | None = None
    until_ns: int | None = None


def parse(text: str, now_ns: int) -> Parsed:
    """Read a query. QueryError with the column where it goes wrong."""
    text = clean_query(text)
    if len(text) > _MAX_LENGTH:
        raise QueryError(f"A query has at most {_MAX_LENGTH} characters.", _MAX_LENGTH + 1)
    parser = _Parser(text, now_ns)
    tree = parser.either(0)
    if parser.at < len(text):
        parser.fail("there is no ( for this )")
    return Parsed(tree, parser.since_ns, parser.until_ns)


def clean_query(text: str) -> str:
    """A text as records have it: without lone surrogates, and NUL as U+FFFD."""
    return clean_text(text.encode("utf-8", "replace").decode())


def literal(text: str, *, bare: bool = True) -> Literal:
    """A value as it was typed; a number too, if it reads as one and was not quoted."""
    if not bare or not _NUMBER.fullmatch(text):
        return Literal(text, None, bare)
    number = float(text) if any(c in text for c in ".eE") else int(text)
    return Literal(text, number if math.isfinite(number) else None, bare)


def text_term(text: str, *, prefix: bool = False) -> Tree:
    """What looks for a text word by word; what has no letters or digits is looked for as it stands."""
    phrase = tuple(tokens(text))
    return Words(phrase, prefix) if phrase else Contains(text)


class _Parser:
    def __init__(self, text: str, now_ns: int) -> None:
        self.text = text
        self.now_ns = now_ns
        self.at = 0
        self.terms = 0
        self.since_ns: int | None = None
        self.until_ns: int | None = None
        self.skip()

    # ------------------------------------------------------------------------------------------------------ structure

    def either(self, depth: int, *, nested: bool = False) -> Tree:
        if depth > _MAX_DEPTH:
            self.fail("parentheses are nested too deep")
        start = self.at
        parts = [self.all(depth, nested)]
        while self.keyword("OR"):
            self.at += 2
            self.skip()
            parts.append(self.all(depth, True, after="OR"))
        if len(parts) > 1 and not nested and (self.since_ns is not None or self.until_ns is not None):
            self.fail("since: and until: hold for the whole query; they can't stand beside OR", start)
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all(self, depth: int, nested: bool, after: str = "") -> Tree:
        parts: list[Tree] = []
        while self.at < len(self.text) and self.text[self.at] != ")" and not self.keyword("OR"):
            if self.keyword("AND"):
                if not parts:
                    self.fail("AND stands between two terms")
                self.at += 3
                self.skip()
                if self.at >= len(self.text) or self.text[self.at] == ")" or self.keyword("OR") or self.keyword("AND"):
                    self.fail("a term is missing after AND")
            part = self.negation(depth, nested)
            if part is not None:
                parts.append(part)
            self.skip()
        if after and not parts:
            self.fail(f"a term is missing after {after}")
        if not parts and self.keyword("OR"):
            self.fail("a term is missing before OR")
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def negation(self, depth: int, nested: bool) -> Tree | None:
        start, negated = self.at, False
        while True:
            if self.text.startswith("-", self.at):
                self.at += 1
            elif self.keyword("NOT"):
                self.at += 3
                self.skip()
            else:
                break
            negated = not negated
        if self.at >= len(self.text) or self.text[self.at].isspace() or self.text[self.at] == ")":
            self.fail("a term is missing after the negation", start)
        part = self.term(depth, nested or self.at > start)
        if not negated:
            return part
        assert part is not None
        return Not(part)

    def term(self, depth: int, nested: bool) -> Tree | None:
        self.terms += 1
        if self.terms > _MAX_TERMS:
            self.fail(f"a query has at most {_MAX_TERMS} terms")
        start = self.at
        char = self.text[start]
        if char == "(":
            return self.group(depth)
        if char == "/":
            return self.regex()
        if char == '"':
            name, quoted = self.quoted(), True
        else:
            found = _WORD.match(self.text, start)
            if found is None:
                self.fail(f"a name is missing before {self.text[start : start + 2].strip()}" if char in "=<>!:" else "unexpected character")
            name, quoted = found[0], False
            self.at = found.end()
        operator = _OPERATOR.match(self.text, self.at)
        if operator is None:
            self.finish(start)
            return text_term(name) if quoted else self.word(name, start)
        self.at = operator.end()
        if operator[0] == ":":
            return self.known(name, start, nested)
        return self.member(name, operator[0], start)

    def group(self, depth: int) -> Tree:
        start = self.at
        self.at += 1
        self.skip()
        if self.text.startswith(")", self.at):
            self.fail("nothing stands in these parentheses", start)
        part = self.either(depth + 1, nested=True)
        if not self.text.startswith(")", self.at):
            self.fail("this ( is never closed", start)
        self.at += 1
        return part

    # ---------------------------------------------------------------------------------------------------------- terms

    def word(self, word: str, start: int) -> Tree:
        bare = word.removesuffix("*")
        if "*" in bare or (not bare and word):
            self.fail("in a word, * can stand at the end only", start + word.index("*"))
        return text_term(bare, prefix=bare != word)

    def regex(self) -> Tree:
        start = self.at
        found = _REGEX.match(self.text, start)
        if found is None:
            self.fail("this regular expression has no closing / (put a path in quotes)")
        self.at = found.end()
        self.finish(start, "a space must follow a regular expression (put a path in quotes)")
        self.check_regex(found[1], start + 2)
        return Matches(found[1], bool(found[2]))

    def known(self, typed: str, start: int, nested: bool) -> Tree | None:
        if typed.lower() in ("since", "until"):
            self.span(typed.lower(), start, nested)
            return None
        name = field_name(typed)
        if name is None:
            known = ", ".join([*FIELDS, "since", "until"])
            self.fail(f"there is no field {typed[:50]!r}; there are {known} (put text with a colon in quotes; for a member use =)", start)
        at = self.at
        comparison = _OPERATOR.match(self.text, at)
        if comparison is not None and comparison[0] in (">", ">=", "<", "<="):
            self.at = comparison.end()
            return Condition(name, False, _OPERATIONS[comparison[0]], (self.ordered(name, at),))
        value, quoted = self.value(start)
        if FIELDS[name].type == "number" and (name != "status" or quoted or "*" not in value):
            if name == "status" and re.fullmatch("[1-5][xX][xX]", value):
                return Condition(name, False, "class", (Literal(value, int(value[0])),))
            number = literal(value)
            if number.number is None:
                self.fail(f"{name} is a number{', or 5xx and the like' if name == 'status' else ''}", at)
            return Condition(name, False, "eq", (number,))
        choices = FIELDS[name].choices
        if choices and (quoted or "*" not in value) and value.lower() not in choices:
            self.fail(f"{name} is one of {', '.join(choices)}", at)
        return Condition(name, False, "same" if quoted else "like", (Literal(value),))

    def ordered(self, name: str, at: int) -> Literal:
        value, _ = self.value(at)
        if name == "level":
            if value.lower() not in LEVELS:
                self.fail(f"level is one of {', '.join(LEVELS)}", at)
            return Literal(value.lower())
        number = literal(value)
        if FIELDS[name].type == "number" and number.number is None:
            self.fail(f"{name} is a number", at)
        return number

    def member(self, name: str, operator: str, start: int) -> Tree:
        value, quoted = self.value(start)
        if "*" in value and not quoted and operator in ("=", "!="):
            test = Condition(name, True, "like", (Literal(value),))
            return test if operator == "=" else And((Condition(name, True, "exists"), Not(test)))
        return Condition(name, True, _OPERATIONS[operator], (literal(value, bare=not quoted),))

    def span(self, which: str, start: int, nested: bool) -> None:
        if nested:
            self.fail(f"{which}: holds for the whole query; it can't stand in parentheses, beside OR or after -", start)
        at = self.at
        value, _ = self.value(start)
        point = point_ns(value, self.now_ns, what=which, column=at + 1)
        if which == "since":
            self.since_ns = point if self.since_ns is None else max(self.since_ns, point)
        else:
            self.until_ns = point if self.until_ns is None else min(self.until_ns, point)

    # --------------------------------------------------------------------------------------------------------- tokens

    def value(self, start: int) -> tuple[str, bool]:
        """A value, and whether it was quoted."""
        if self.text.startswith('"', self.at):
            text = self.quoted()
            self.finish(start)
            return text, True
        found = _VALUE.match(self.text, self.at)
        if found is None:
            self.fail("a value is missing here")
        self.at = found.end()
        self.finish(start)
        return found[0], False

    def quoted(self) -> str:
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            self.fail('this " is never closed')
        self.at = found.end()
        return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)

    def finish(self, start: int, message: str = "a space is missing here") -> None:
        if self.at < len(self.text) and not self.text[self.at].isspace() and self.text[self.at] != ")":
            self.fail(message)

    def keyword(self, word: str) -> bool:
        end = self.at + len(word)
        return self.text.startswith(word, self.at) and (end == len(self.text) or self.text[end].isspace() or self.text[end] in "()")

    def skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def check_regex(self, pattern: str, column: int) -> None:
        try:
            Pattern(pattern)
        except ValueError as e:
            raise QueryError(f"{e.args[0]}, at column {column + e.args[1]}", column + e.args[1]) from e

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        column = (self.at if at is None else at) + 1
        raise QueryError(f"{message}, at column {column}", column)
