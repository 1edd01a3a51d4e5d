"""Request bodies: read only when there is one, never more than allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.web_exceptions import HTTPException

from otelbridge.web.problem import Problem, bad_request

__all__ = ["body_chunks", "read_body"]


async def read_body(request: web.BaseRequest, limit: int) -> bytes | None:
    """The body as it came (content encodings are left alone), None when the request has none. Problem 413, 417 or 400."""
    if not request.body_exists:
        return None
    chunks = [chunk async for chunk in body_chunks(request, limit)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def body_chunks(request: web.BaseRequest, limit: int) -> AsyncIterator[bytes]:
    """The body in the pieces that come. Problem 413, 417 or 400."""
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    expected = request.headers.get("expect")
    if expected is not None:
        # aiohttp's router answers this; the low-level server leaves it to its handler.
        if expected.lower() != "100-continue":
            raise Problem(417, "expectation-failed", "Expectation failed", "Only `Expect: 100-continue` is understood.")
        if request.version >= (1, 1) and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    size = 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            yield chunk
    except (web.RequestPayloadError, HTTPException) as e:
        raise bad_request("The request body is not valid HTTP.") from e


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", "Content too large", f"The body is larger than server.max_body_bytes, which is {limit}.")
