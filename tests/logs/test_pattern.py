"""Regular expressions: the same answers as Python's, in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelbridge.logs.pattern import Pattern, PatternTimeout

atoms = st.sampled_from(
    ["a", "b", "c", "1", ".", r"\d", r"\w", r"\s", "[ab]", "[^a]", "[a-c1]", r"\b", "_", " ", "^", "$", r"\.", r"\W", "é", "[é-ü]"]
)
repeats = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,}", "*?", "{1}"])
sources = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        # An assertion alone can't be repeated, here as in most engines; with something beside it, it can.
        st.tuples(inner, repeats).map(lambda pair: f"(?:a|{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(sources, st.lists(st.text("abc1_. \néÜX", max_size=10), max_size=8), st.booleans())
def test_agrees_with_python(source: str, texts: list[str], ignore_case: bool) -> None:
    """On texts that Python's engine can take, the answers are its own; $ is the end of the text alone."""
    ours = Pattern(source, ignore_case=ignore_case)
    theirs = re.compile(source.replace("$", r"\Z"), re.IGNORECASE if ignore_case else 0)
    for text in texts:
        found = theirs.search(text) is not None
        assert ours.search(text) == found, text
        assert not found or ours.literal in text


@pytest.mark.parametrize("source", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*)*$", "(a?){50}a{50}", "(.*a){20}"])
def test_catastrophic_patterns_end(source: str) -> None:
    """What takes Python's engine for ever takes one look at each character."""
    Pattern(source).search("a" * 20_000 + "!")


def test_deadline_is_kept() -> None:
    """A search stops when its time is over."""
    with pytest.raises(PatternTimeout):
        Pattern("(.*a){20}").search("ab" * 1_000, deadline=time.monotonic() - 1)


@pytest.mark.parametrize(
    ("source", "position"),
    [
        *[("(", 0), (")", 0), ("a)", 1), ("[a", 0), ("*a", 0), ("a**", 2), ("a{3,2}", 1), ("a{2000}", 1), ("\\", 0), (r"(a)\1", 3)],
        *[("(?=a)", 0), ("(?<a>b)", 0), ("[z-a]", 3), (r"\q", 0), ("^*", 1), ("a" * 1_001, 0), ("(a{100}){100}", 0)],
        ("(" * 60 + ")" * 60, 51),
    ],
)
def test_errors_say_where(source: str, position: int) -> None:
    """What is no expression, or one that can't run in linear time, is refused with its place."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        Pattern(source)
    assert caught.value.args[1] == position


@pytest.mark.parametrize(
    ("source", "literal"),
    [("user \\d+ failed", " failed"), ("abc", "abc"), ("a|b", ""), ("ab*c", "a"), ("(abc)d", "d"), ("a{2}bc", "bc"), (r"a\.b", "a.b")],
)
def test_literal_stands_in_every_match(source: str, literal: str) -> None:
    """The piece that is looked for first is one that no match can lack."""
    assert Pattern(source).literal == literal


def test_case() -> None:
    """Case counts unless it is ignored, by argument or by (?i)."""
    assert not Pattern("zoé").search("ZOÉ")
    assert Pattern("zoé", ignore_case=True).search("ZOÉ")
    assert Pattern("(?i)[a-z]oé").search("ZOÉ")
    assert Pattern("(?i)zoé").literal == ""


def test_memory_stays_bounded_over_many_characters() -> None:
    """A text of all characters there are leaves no more than the bound behind, and the right answer."""
    pattern = Pattern("[^x]y$")
    assert not pattern.search("".join(chr(c) for c in range(0x10000, 0x10000 + 60_000)))
    assert pattern.search("ay")
