"""Messages between the host and a JavaScript guest: frames of JSON and bytes (engine/worker.c, "messages")."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

__all__ = ["frame", "frames"]

_HEAD = struct.Struct("<II")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def frame(message: Any, blob: bytes = b"") -> bytes:
    """One message to the guest."""
    text = _encode(message)
    size = len(text) + len(blob)
    return b"%b%b%b%b" % (_HEAD.pack(len(text), len(blob)), text, blob, bytes(-size % 8))


def frames(data: bytes) -> list[tuple[list[Any], bytes]]:
    """The guest's messages, up to the first that is malformed: (a list that starts with its kind, bytes)."""
    out = []
    at = 0
    while at + 8 <= len(data):
        text, blob = _HEAD.unpack_from(data, at)
        start, middle = at + 8, at + 8 + text
        at = (middle + blob + 7) & -8
        if middle + blob > len(data):
            break
        try:
            message = _decode(data[start:middle])
        except (msgspec.DecodeError, RecursionError, ValueError):
            break
        if not isinstance(message, list) or not message or not isinstance(message[0], str):
            break
        out.append((message, data[middle : middle + blob]))
    return out
