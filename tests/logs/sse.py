"""Reads a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from otelbridge.logs import Subscription


def parse(data: bytes) -> list[dict[str, str]]:
    """The events of a piece of the stream, with comments left out."""
    found = []
    for block in data.decode().split("\n\n"):
        lines = [one for one in block.split("\n") if one and not one.startswith((":", "retry"))]
        if any(one.startswith("data:") for one in lines):
            found.append(dict(one.split(": ", 1) for one in lines))
    return found


async def read(chunks: AsyncIterator[bytes], count: int) -> list[dict[str, str]]:
    """The next events, at least so many."""
    found: list[dict[str, str]] = []
    while len(found) < count:
        found += parse(await anext(chunks))
    return found


async def started(subscription: Subscription) -> AsyncIterator[bytes]:
    """Its chunks, behind the first one, that says that it is connected."""
    chunks = aiter(subscription)
    assert (await anext(chunks)).startswith(b"retry:")
    return chunks


def texts(found: list[dict[str, str]]) -> list[str]:
    """The texts of records, and gaps as "missed n"."""
    return [f"missed {json.loads(e['data'])['missed']}" if e["event"] == "gap" else json.loads(e["data"])["text"] for e in found]
