"""Regular expressions in linear time: the syntax is RE2's core, the work is bounded by pattern length times text length.

Python's `re` backtracks, and holds the interpreter while it does: one `(a+)+$` from an API user against one line of a
guest would stop the whole process. Here an automaton reads each character once; its states are built when needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from otelbridge.logs.syntax import BOUNDARY, END, NOT_BOUNDARY, START, Chars, Node, literal_of, parse

__all__ = ["Pattern", "PatternTimeout"]

_MAX_STATES = 2_000
_MAX_CACHED = 20_000
_MATCH = -1

# What stands before a place: nothing, a word character, another one.
_NOTHING, _WORD, _OTHER = 0, 1, 2

Key = tuple[frozenset[int], int]


class PatternTimeout(Exception):
    """The deadline passed while a text was read."""


class _Builder:
    """Thompson's construction. An instruction is (chars, next), (assertion, next) or (None, next, next)."""

    def __init__(self) -> None:
        self.chars: list[Chars | None] = []
        self.assertion: list[str | None] = []
        self.to: list[tuple[int, ...]] = []

    def add(self, to: tuple[int, ...], chars: Chars | None = None, assertion: str | None = None) -> int:
        if len(self.to) >= _MAX_STATES:
            raise ValueError("the regular expression is too large", 0)
        self.chars.append(chars)
        self.assertion.append(assertion)
        self.to.append(to)
        return len(self.to) - 1

    def build(self, node: Node, to: int) -> int:
        """The entry of an automaton for `node` that goes on to `to`."""
        kind = node[0]
        if kind == "chars":
            return self.add((to,), chars=node[1])
        if kind == "assert":
            return self.add((to,), assertion=node[1])
        if kind == "concat":
            for part in reversed(node[1]):
                to = self.build(part, to)
            return to
        if kind == "either":
            return self.add(tuple([self.build(part, to) for part in node[1]]))
        _, part, least, most = node
        if most is None:
            loop = self.add(())
            self.to[loop] = (self.build(part, loop), to)
            to = loop
        else:
            after = to
            for _ in range(most - least):
                to = self.add((self.build(part, to), after))
        for _ in range(least):
            to = self.build(part, to)
        return to


class Pattern:
    """A compiled expression. ValueError(message, position) when the text is none; not for use by two threads at once."""

    def __init__(self, source: str, *, ignore_case: bool = False) -> None:
        tree, ignore_case = parse(source, ignore_case)
        self.literal = "" if ignore_case else literal_of(tree)  # stands in every text that matches
        builder = _Builder()
        self._start = builder.build(tree, _MATCH)
        self._chars, self._assertion, self._to = builder.chars, builder.assertion, builder.to
        self._next: dict[Key, dict[str, Key | bool]] = {}
        self._cached = 0

    def search(self, text: str, deadline: float | None = None) -> bool:
        """Whether the expression is found anywhere. PatternTimeout when time.monotonic() passes `deadline`."""
        key: Key = (frozenset((self._start,)), _NOTHING)
        row = self._row(key)
        none: dict[str, Key | bool] = {}
        for char in text:
            found = row.get(char)
            if found is None:
                if deadline is not None and time.monotonic() > deadline:
                    raise PatternTimeout
                found = row[char] = self._step(key, char)
                self._cached += 1
            if found is True:
                return True
            assert found is not False
            key = found
            row = self._next.get(key, none)
            if row is none:
                row = self._row(key)
        return self._matches(self._closure(key, None))

    def _row(self, key: Key) -> dict[str, Key | bool]:
        if self._cached > _MAX_CACHED:  # what is needed comes back at once; memory stays bounded whatever is read
            self._next.clear()
            self._cached = 0
        self._cached += 1
        return self._next.setdefault(key, {})

    def _step(self, key: Key, char: str) -> Key | bool:
        """The state after `char`, or True when there is a match before it."""
        states = self._closure(key, char)
        if self._matches(states):
            return True
        after = {self._start}
        for state in states:
            chars = self._chars[state]
            if chars is not None and char in chars:
                after.add(self._to[state][0])
        return True if _MATCH in after else (frozenset(after), _WORD if _is_word(char) else _OTHER)

    def _matches(self, states: Iterable[int]) -> bool:
        return _MATCH in states

    def _closure(self, key: Key, char: str | None) -> set[int]:
        """All states that can be reached without reading, between what stands before and `char` (None: the end)."""
        before = key[1]
        seen: set[int] = set()
        todo = list(key[0])
        while todo:
            state = todo.pop()
            if state in seen:
                continue
            seen.add(state)
            if state == _MATCH or self._chars[state] is not None:
                continue
            assertion = self._assertion[state]
            if assertion is None or _holds(assertion, before, char):
                todo += self._to[state]
        return seen


def _holds(assertion: str, before: int, char: str | None) -> bool:
    if assertion == START:
        return before == _NOTHING
    if assertion == END:
        return char is None
    boundary = (before == _WORD) != (char is not None and _is_word(char))
    return boundary if assertion == BOUNDARY else assertion == NOT_BOUNDARY and not boundary


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
