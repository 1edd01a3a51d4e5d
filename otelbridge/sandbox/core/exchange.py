"""Requests and responses of worker ABI 1: UTF-8 JSON in the guest's memory."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from otelbridge.model.http import check_headers
from otelbridge.sandbox.stop import Stop

__all__ = ["Answer", "check_answer", "decode", "encode"]

Answer = tuple[int, list[tuple[str, str]], bytes]


class _Request(msgspec.Struct, omit_defaults=True):
    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes = b""  # base64


class _Response(msgspec.Struct, rename="camel"):
    status: int
    headers: list[tuple[str, str]] | dict[str, str] = []
    body: str | None = None
    body_base64: bytes | None = None


_decode = msgspec.json.Decoder(_Response).decode
_encode = msgspec.json.Encoder().encode


def encode(method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """A request as the guest gets it."""
    return _encode(_Request(_clean(method), _clean(url), [(_clean(name), _clean(value)) for name, value in headers], body))


def _clean(text: str) -> str:
    # aiohttp keeps bytes that are not UTF-8 as lone surrogates, which JSON can't carry
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def decode(data: bytes) -> Answer:
    """A guest's response. Stop("exception", "TypeError") says what is wrong with it."""
    try:
        response = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(f"it is not the JSON of one: {error}") from None
    if response.body is not None and response.body_base64 is not None:
        raise _wrong("it has both body and bodyBase64")
    headers = response.headers
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    body = response.body.encode() if response.body is not None else response.body_base64
    return check_answer(response.status, pairs, body or b"")


def check_answer(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    """A response that HTTP allows. Stop("exception", "TypeError") for others: header injection, a status out of range."""
    if not 200 <= status <= 599:
        raise _wrong(f"the status {status} is not between 200 and 599")
    try:
        pairs = check_headers(headers)
    except ValueError as error:
        raise _wrong(str(error)) from None
    return status, pairs, body


def _wrong(why: str) -> Stop:
    return Stop("exception", "TypeError", f"The worker's response is not valid: {why}")
