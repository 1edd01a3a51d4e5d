"""Redaction: workerd's rules on recorded examples, and what holds for any URL and any headers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelbridge.model.redaction import REDACTED, redact_headers, redact_url

HEX32 = "0123456789abcdef0123456789abcdef"

# Recorded from workerd 1.20261117.1.
URLS = [
    (f"http://h/a/{HEX32}", f"http://h/a/{REDACTED}"),
    (f"http://h/a/{HEX32[:-1]}", f"http://h/a/{HEX32[:-1]}"),
    (f"http://h/{HEX32.upper()}/x", f"http://h/{REDACTED}/x"),
    ("http://h/u/123e4567-e89b-12d3-a456-426614174000?x=1", f"http://h/u/{REDACTED}?x=1"),
    ("http://h/?token=short&key=abc", "http://h/?token=short&key=abc"),
    ("http://h/AbCdEfGhIjKlMnOpQrSt12", f"http://h/{REDACTED}"),
    ("http://h/AbCdEfGhIjKlMnOpQrS1", "http://h/AbCdEfGhIjKlMnOpQrS1"),
    ("http://h/abcdefghijklmnopqrstuvwxyz", "http://h/abcdefghijklmnopqrstuvwxyz"),
    ("http://h/4111111111111111", f"http://h/{REDACTED}"),
    ("http://h/4111-1111-1111-1111", f"http://h/{REDACTED}"),
    ("http://h/4111111111111112", "http://h/4111111111111112"),
    (f"http://h/p;{HEX32}=1", f"http://h/p;{REDACTED}=1"),
]
SECRET_NAMES = [
    "authorization",
    "cookie",
    "Set-Cookie",
    "x-api-key",
    "author",
    "monkey",
    "X-Secret-Id",
    "csrf-token",
    "x-jwt-assertion",
    "sec-websocket-key",
]
OPEN_NAMES = ["x-password", "session", "cookie2", "x-cookie", "location", "referer", "x-forwarded-for", "credential"]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_recorded_urls(url: str, expected: str) -> None:
    """What workerd makes of a URL."""
    assert redact_url(url) == expected


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_headers(name: str) -> None:
    """Names that speak of a secret."""
    assert redact_headers([(name, "v")]) == {name.lower(): REDACTED}


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_other_headers(name: str) -> None:
    """Names that workerd does not know as secrets."""
    assert redact_headers([(name, "v")]) == {name: "v"}


HEX = st.text("0123456789abcdefABCDEF", min_size=32, max_size=70)
AROUND = st.text("/?&=.:#%;,~ !ü", max_size=5)


@pytest.mark.fuzz
@given(AROUND, HEX, AROUND)
def test_no_hex_id_is_left(before: str, secret: str, after: str) -> None:
    """32 and more hexadecimal digits in a row never come through, whatever stands around them."""
    assert secret not in redact_url(f"http://h/{before}{secret}{after}")


@pytest.mark.fuzz
@given(st.text(max_size=200))
def test_any_url(url: str) -> None:
    """Redaction only replaces words: doing it twice changes nothing, and no run of 32 hex digits stays."""
    once = redact_url(url)
    assert redact_url(once) == once
    assert not re.search(r"(?<![A-Za-z0-9+\-_])[0-9a-fA-F]{32,}(?![A-Za-z0-9+\-_])", once)
    if len(url) < 13:
        assert once == url


@pytest.mark.fuzz
@given(st.lists(st.tuples(st.text("abcAUTHkeytoken-", max_size=12), st.text(max_size=20)), max_size=6))
def test_any_headers(pairs: list[tuple[str, str]]) -> None:
    """Each name is there once, in lower case; a secret's value nowhere."""
    out = redact_headers(pairs)
    assert set(out) == {name.lower() for name, _ in pairs}
    for name, value in out.items():
        if re.search("auth|jwt|key|secret|token", name):
            assert value == REDACTED
        else:
            assert value == ", ".join(v for n, v in pairs if n.lower() == name)
