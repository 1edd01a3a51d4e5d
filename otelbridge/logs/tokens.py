"""Words: how text is cut into them. The index, queries and live filters all cut here, so they never disagree.

A token is a run of letters and digits, case folded; each ideograph, kana, arrow and pictograph is a token of its own,
so that text without spaces can be searched too.
"""

from __future__ import annotations

import re

__all__ = ["ascii_lower", "fold", "has_phrase", "tokens"]

_SINGLE = "\u2190-\u2bff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U0001f000-\U0001faff\U00020000-\U0003ffff"
_TOKEN = re.compile(f"[{_SINGLE}]|[^\\W_{_SINGLE}]+")
_ASCII_TOKEN = re.compile("[0-9a-z]+")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    return _TOKEN.findall(text.casefold())


def fold(text: str) -> str:
    """The text as the index takes it: its `ascii` tokenizer then finds exactly tokens(text).

    ASCII text goes in as it is, because that tokenizer folds case and splits as tokens() does: no work for most lines.
    """
    return text if text.isascii() else " ".join(_TOKEN.findall(text.casefold()))


def has_phrase(text: str, phrase: tuple[str, ...], prefix: bool) -> bool:
    """Whether the tokens of `phrase` stand next to each other in the text; with `prefix` the last may go on."""
    found = tokens(text)
    size = len(phrase)
    last = phrase[-1]
    head = phrase[:-1]
    for at in range(size - 1, len(found)):
        token = found[at]
        if (token == last or (prefix and token.startswith(last))) and tuple(found[at - size + 1 : at]) == head:
            return True
    return False


def ascii_lower(text: str) -> str:
    """Lower case of A to Z alone: the case-insensitivity of SQLite's LIKE and NOCASE."""
    return text.lower() if text.isascii() else text.translate(_LOWER)
