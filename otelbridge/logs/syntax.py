"""Syntax of regular expressions: text to a tree. No back references and no look-around: those can't run in linear time."""

from __future__ import annotations

from typing import Any

__all__ = ["BOUNDARY", "END", "NOT_BOUNDARY", "START", "Chars", "Node", "literal_of", "parse"]

START, END, BOUNDARY, NOT_BOUNDARY = "^", "$", "b", "B"

# ("chars", Chars) | ("assert", kind) | ("concat", [Node]) | ("either", [Node]) | ("repeat", Node, least, most or None)
Node = tuple[Any, ...]

_MAX_LENGTH = 1_000
_MAX_DEPTH = 50
_MAX_COUNT = 1_000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


class Chars:
    """A set of characters."""

    __slots__ = ("_classes", "_ignore_case", "_negated", "_ranges", "single")

    def __init__(self, ranges: list[tuple[str, str]], classes: str = "", *, negated: bool = False, ignore_case: bool = False) -> None:
        self._ranges = ranges
        self._classes = classes
        self._negated = negated
        self._ignore_case = ignore_case
        self.single = ranges[0][0] if len(ranges) == 1 and ranges[0][0] == ranges[0][1] and not classes and not negated else None

    def __contains__(self, char: str) -> bool:
        inside = self._has(char)
        if not inside and self._ignore_case:
            inside = any(len(other) == 1 and self._has(other) for other in (char.lower(), char.upper()))
        return inside != self._negated

    def _has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self._ranges) or any(_in_class(char, c) for c in self._classes)


def _in_class(char: str, name: str) -> bool:
    kind = name.lower()
    if kind == "d":
        found = char.isdecimal()
    elif kind == "w":
        found = char.isalnum() or char == "_"
    else:
        found = char.isspace()
    return found == name.islower()


def parse(source: str, ignore_case: bool = False) -> tuple[Node, bool]:
    """The tree, and whether case is ignored (also by a leading (?i)). ValueError(message, position) if it is wrong."""
    if len(source) > _MAX_LENGTH:
        raise ValueError(f"a regular expression has at most {_MAX_LENGTH} characters", 0)
    at = 0
    if source.startswith("(?i)"):
        at, ignore_case = 4, True
    parser = _Parser(source, at, ignore_case)
    tree = parser.either(0)
    if parser.at < len(source):
        raise ValueError("unbalanced )", parser.at)
    return tree, ignore_case


class _Parser:
    def __init__(self, source: str, at: int, ignore_case: bool) -> None:
        self.source = source
        self.at = at
        self.ignore_case = ignore_case

    def peek(self) -> str:
        return self.source[self.at] if self.at < len(self.source) else ""

    def take(self) -> str:
        char = self.peek()
        self.at += 1
        return char

    def either(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise ValueError("groups are nested too deep", self.at)
        parts = [self.concat(depth)]
        while self.peek() == "|":
            self.at += 1
            parts.append(self.concat(depth))
        return parts[0] if len(parts) == 1 else ("either", parts)

    def concat(self, depth: int) -> Node:
        parts: list[Node] = []
        while (char := self.peek()) and char not in "|)":
            parts.append(self.repeat(self.atom(depth)))
        return parts[0] if len(parts) == 1 else ("concat", parts)

    def repeat(self, node: Node) -> Node:
        start, char = self.at, self.peek()
        if char in ("*", "+", "?"):
            self.at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        elif char == "{" and (counts := self.counts()) is not None:
            least, most = counts
        else:
            return node
        if node[0] == "assert":
            raise ValueError("nothing to repeat", start)
        if self.peek() == "?":  # lazy: the same texts match
            self.at += 1
        if self.peek() in ("*", "+"):
            raise ValueError("multiple repeat", self.at)
        return ("repeat", node, least, most)

    def counts(self) -> tuple[int, int | None] | None:
        """{m}, {m,} or {m,n}; None when the brace is only a brace."""
        end = self.source.find("}", self.at)
        low, comma, high = self.source[self.at + 1 : end if end > 0 else self.at + 1].partition(",")
        if not (low.isascii() and low.isdigit() and (not high or (high.isascii() and high.isdigit()))):
            return None
        least = int(low[:9])
        most = int(high[:9]) if high else None if comma else least
        if max(least, most or 0) > _MAX_COUNT or (most is not None and most < least):
            raise ValueError(f"a repeat counts up to {_MAX_COUNT}, the lower number first", self.at)
        self.at = end + 1
        return least, most

    def atom(self, depth: int) -> Node:
        start, char = self.at, self.take()
        if char == "(":
            if self.peek() == "?":
                if self.source[self.at : self.at + 2] != "?:":
                    raise ValueError("of the (?…) groups only (?:…), and (?i) at the start, can be used", start)
                self.at += 2
            inner = self.either(depth + 1)
            if self.take() != ")":
                raise ValueError("missing )", start)
            return inner
        if char == "[":
            return ("chars", self.char_class(start))
        if char == ".":
            return ("chars", Chars([("\n", "\n")], negated=True))
        if char in ("^", "$"):
            return ("assert", START if char == "^" else END)
        if char in ("*", "+", "?"):
            raise ValueError("nothing to repeat", start)
        if char != "\\":
            return ("chars", Chars([(char, char)], ignore_case=self.ignore_case))
        if self.peek() in ("b", "B"):
            return ("assert", BOUNDARY if self.take() == "b" else NOT_BOUNDARY)
        value, is_class = self.escape(start)
        if is_class:
            return ("chars", Chars([], value))
        return ("chars", Chars([(value, value)], ignore_case=self.ignore_case))

    def escape(self, start: int) -> tuple[str, bool]:
        """What stands after a backslash: a character, or the letter of a class."""
        char = self.take()
        if char == "":
            raise ValueError("a backslash at the end", start)
        if char in "dDwWsS":
            return char, True
        if char in _ESCAPES:
            return _ESCAPES[char], False
        if char in "xu":
            digits = self.source[self.at : self.at + (2 if char == "x" else 4)]
            if len(digits) == (2 if char == "x" else 4) and all(d in "0123456789abcdefABCDEF" for d in digits):
                self.at += len(digits)
                return chr(int(digits, 16)), False
        if char.isalnum():
            raise ValueError(f"\\{char} can't be used here", start)
        return char, False

    def char_class(self, start: int) -> Chars:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[tuple[str, str]] = []
        classes = ""
        first = True
        while (char := self.take()) != "]" or first:
            first = False
            if char == "":
                raise ValueError("missing ]", start)
            is_class = False
            if char == "\\":
                char, is_class = self.escape(self.at - 1)
            if is_class:
                classes += char
                continue
            high = char
            if self.peek() == "-" and self.source[self.at + 1 : self.at + 2] not in ("", "]"):
                self.at += 1
                high = self.take()
                if high == "\\":
                    high, is_class = self.escape(self.at - 1)
                if is_class or high < char:
                    raise ValueError("a range goes from a lower to a higher character", self.at - 1)
            ranges.append((char, high))
        return Chars(ranges, classes, negated=negated, ignore_case=self.ignore_case)


def literal_of(tree: Node) -> str:
    """The longest text that every match contains, as far as it is plain to see."""
    best = run = ""
    for node in tree[1] if tree[0] == "concat" else [tree]:
        run = run + node[1].single if node[0] == "chars" and node[1].single is not None else ""
        best = max(best, run, key=len)
    return best
