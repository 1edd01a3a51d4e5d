"""What of a request may stand in telemetry: secrets in header values and URLs become REDACTED (workerd's rules).

Source: workerd's trace.c++ (headers) and util.c++ (URLs); the rules are listed in docs/compatibility.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

__all__ = ["REDACTED", "redact_headers", "redact_url"]

REDACTED = "REDACTED"

_SECRET_HEADER = re.compile(r"^(?:cookie|set-cookie)$|auth|jwt|key|secret|token")
_SECRET_AMONG = re.compile(_SECRET_HEADER.pattern, re.MULTILINE)  # of several names, one on a line
# Runs of these characters are looked at as one word. No run shorter than 13 can match any rule.
_WORD = re.compile(r"[A-Za-z0-9+\-_]{13,}")
_SEPARATORS = str.maketrans("", "", "+-_")


def redact_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Lower-case names, values of one name joined by ", ", secrets replaced."""
    pairs = [*headers]
    out = dict(pairs)
    names = "\n".join(out)
    if len(out) == len(pairs) and names.islower() and not _SECRET_AMONG.search(names):  # a third of the cost of looking at each
        return out
    out.clear()
    for name, value in pairs:
        name = name.lower()
        if _is_secret(name):
            out[name] = REDACTED
        elif name in out:
            out[name] += ", " + value
        else:
            out[name] = value
    return out


@functools.lru_cache(1024)
def _is_secret(name: str) -> bool:
    return _SECRET_HEADER.search(name) is not None


def redact_url(url: str) -> str:
    """Replace what looks like an id or a secret: 32+ hex digits, mixed ids of 21+ characters, payment card numbers."""
    return _WORD.sub(_redact_word, url)


def _redact_word(found: re.Match[str]) -> str:
    word = found.group()
    return REDACTED if _is_hex_id(word) or _is_mixed_id(word) or _is_card_number(word) else word


def _is_hex_id(word: str) -> bool:
    bare = word.translate(_SEPARATORS)
    return len(bare) >= 32 and all(c in "0123456789abcdefABCDEF" for c in bare)


def _is_mixed_id(word: str) -> bool:
    if len(word) < 21:
        return False
    digits = sum(c.isdigit() for c in word)
    upper = sum(c.isupper() for c in word)
    lower = sum(c.islower() for c in word)
    return digits >= 2 and upper >= 2 and lower >= 2


def _is_card_number(word: str) -> bool:
    bare = word.translate(_SEPARATORS)
    if not (13 <= len(bare) <= 19 and bare.isdigit()):
        return False
    total = 0
    for i, c in enumerate(reversed(bare)):
        digit = int(c)
        if i % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0
