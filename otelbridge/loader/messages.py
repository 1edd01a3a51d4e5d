"""Messages between the host and a JavaScript guest: frames of JSON and bytes (engine/worker.c, "messages")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from otelbridge.model.tolerant import read_json

__all__ = ["BadMessage", "frame", "frames", "key_of", "response_headers"]

MAX_HEADER_BYTES = 128 << 10  # of a response; clients and proxies stop reading far below
MAX_JSON_BYTES = 1 << 20  # [[],[],[],...] takes 25 times its length in Python; what may be long is sent as bytes


class BadMessage(ValueError):
    """Bytes of a guest that are no message; the text says why."""


_HEAD = struct.Struct("<II")
_encode = msgspec.json.Encoder().encode


def frame(message: Any, blob: bytes = b"") -> bytes:
    """One message to the guest."""
    text = _encode(message)
    size = len(text) + len(blob)
    return b"%b%b%b%b" % (_HEAD.pack(len(text), len(blob)), text, blob, bytes(-size % 8))


def frames(data: bytes) -> Iterator[tuple[list[Any], bytes]]:
    """The guest's messages: (a list that starts with its kind, bytes). BadMessage for what is none.

    Lazily, because a guest can write them faster than they are read: whoever reads them decides when it is enough.
    """
    at, size = 0, len(data)
    while at < size:
        start = at + 8
        if start > size:
            raise BadMessage("it breaks off")
        text, blob = _HEAD.unpack_from(data, at)
        middle = start + text
        end = middle + blob
        if end > size:
            raise BadMessage("it breaks off")
        if text > MAX_JSON_BYTES:
            raise BadMessage(f"it has {text} bytes beside its body; the limit is {MAX_JSON_BYTES}")
        try:
            message = read_json(data[start:middle])
        except ValueError as e:
            raise BadMessage("it is not JSON") from e
        if type(message) is not list or not message or type(message[0]) is not str:
            raise BadMessage("it has no kind")
        at = (end + 7) & -8
        yield message, data[middle:end]


def key_of(number: Any) -> int | float | str | None:
    """What a guest calls an operation by, or None for what can't be a name."""
    return number if isinstance(number, int | float | str) else None


def response_headers(status: Any, headers: Any) -> list[tuple[str, str]]:
    """The headers of a guest's response as pairs of texts. ValueError or TypeError for what can't be sent."""
    if type(status) is not int or not 200 <= status <= 599:
        raise ValueError(f"the status {status!r} is not between 200 and 599")
    pairs = [(str(k), str(v)) for k, v in headers]
    if (size := sum(len(k) + len(v) + 4 for k, v in pairs)) > MAX_HEADER_BYTES:
        raise ValueError(f"its headers have {size} bytes; the limit is {MAX_HEADER_BYTES}")
    return pairs
