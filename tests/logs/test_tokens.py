"""Words: the index and the evaluator cut texts alike."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from otelbridge.logs.tokens import ascii_lower, fold, has_phrase, tokens

words = st.text(st.sampled_from("abAB12_-. \"'*(){}:^\\\n\ufffdéÉßİıΣς日本🔥→ａ①ﬁ"), max_size=20) | st.text(max_size=20)


def test_tokens() -> None:
    """Runs of letters and digits, in lower case; one token for each ideograph and pictograph."""
    assert tokens("Hello, wor_ld-42!") == ["hello", "wor", "ld", "42"]
    assert tokens("Zoé sagt: 日本語🔥x → ß") == ["zoé", "sagt", "日", "本", "語", "🔥", "x", "→", "ss"]


@given(words, words)
def test_index_finds_what_the_evaluator_finds(text: str, query: str) -> None:
    """FTS5's tokenizer on the folded text finds each phrase exactly where has_phrase() does."""
    text, query = text.replace("\0", " "), query.replace("\0", " ")
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5 (text, content = '', columnsize = 0, tokenize = 'ascii')")
    db.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (fold(text),))
    phrase = tuple(tokens(query))
    for wanted in {phrase[:1], phrase[:2], phrase, tuple(tokens(text))[1:3]} - {()}:
        for prefix in (False, True):
            match = f'text : "{" ".join(wanted)}"{" *" if prefix else ""}'
            found = db.execute("SELECT count(*) FROM words WHERE words MATCH ?", (match,)).fetchone()[0]
            assert bool(found) == has_phrase(text, wanted, prefix), (match, text)
    db.close()


@given(st.text(max_size=10))
def test_ascii_lower_is_the_case_of_like(text: str) -> None:
    """ascii_lower() changes A to Z and nothing else."""
    assert ascii_lower(text) == "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)
