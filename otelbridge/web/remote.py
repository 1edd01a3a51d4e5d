"""The hub, as loaders reach it: a streaming reverse proxy over a Unix socket in the data directory.

Nothing is buffered: bodies pass in pieces as they come, events of the live tail at once, and a client that leaves ends
its request in the hub too. Who may ask has been decided when a request comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from otelbridge.web.body import body_chunks
from otelbridge.web.problem import Problem
from otelbridge.web.reply import Header, Reply, stream
from otelbridge.web.route import CLIENT_HEADER

__all__ = ["Remote"]

# A hub that has crashed is back in a second or two. Health checks are told at once.
_PATIENCE_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.05
# Longer than the hub takes for its slowest answer, if queries may not take longer still; a live tail sends a ping every 15 s,
# resending dead letters may take 600 s.
_SILENCE_SECONDS: Final = 60.0
_WORK_SECONDS: Final = 660.0
_SPARE_SECONDS: Final = 5.0
_MAX_REQUESTS: Final = 10_000  # live tails among them
_WHOLE_BYTES: Final = 64 << 10
_EVENTS: Final = "text/event-stream"
_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "expect")
)
# The token ends here. The host is the hub's own: what it makes of a request must not depend on it.
_NOT_FORWARDED: Final = _HOP | {"authorization", "host", "content-length", CLIENT_HEADER}


class Remote:
    """See the module's text. `path`: the hub's socket; `query_seconds`: how long its queries may take. Use as `async with Remote(path)`;
    stopping() ends live tails."""

    def __init__(self, path: str, *, query_seconds: float = 0.0) -> None:
        self._path = path
        self._silence = max(_SILENCE_SECONDS, query_seconds + _SPARE_SECONDS if query_seconds else 0.0)
        self._running = 0
        self._events: set[aiohttp.ClientResponse] = set()
        self._stopping = False

    async def __aenter__(self) -> Remote:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self._path, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def stopping(self) -> None:
        """This process ends, the hub does not: live tails end here, and go on where their clients connect next."""
        self._stopping = True
        for response in self._events:
            response.close()

    async def forward(self, request: web.BaseRequest, target: str, limit: int) -> Reply:
        """Have the hub answer. `limit`: largest body. Problem 503 while there is no hub, 413 for a larger body."""
        if self._running >= _MAX_REQUESTS:
            raise _unavailable("Too many requests to the hub are under way.")
        self._running += 1
        try:
            return await self._forward(request, target, limit)
        finally:
            self._running -= 1

    async def _forward(self, request: web.BaseRequest, target: str, limit: int) -> Reply:
        body = _Body(request, limit) if request.body_exists else None
        response = await self._ask(request, target, body)
        try:
            headers: list[Header] = [(name.lower(), value) for name, value in response.headers.items() if name.lower() not in _HOP]
            length = response.content_length
            if request.method == "HEAD" or response.status in (204, 304):
                return Reply(response.status, headers)
            if length is not None and length <= _WHOLE_BYTES:
                return Reply(response.status, headers, await response.read())
            if response.content_type == _EVENTS:
                self._events.add(response)
                return await stream(request, response.status, headers, self._event_chunks(response))
            return await stream(request, response.status, headers, response.content.iter_any())
        except aiohttp.ClientError as e:
            raise _unavailable("The hub ended while it answered.") from e
        finally:
            self._events.discard(response)
            response.close()  # of an answer that was read to its end, the connection is kept

    async def _event_chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Events until the hub ends, or this process: the client then comes again and says where it was."""
        with contextlib.suppress(aiohttp.ClientError):
            async for chunk in response.content.iter_any():
                yield chunk

    async def _ask(self, request: web.BaseRequest, target: str, body: _Body | None) -> aiohttp.ClientResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED]
        if request.protocol.peername:
            headers.append((CLIENT_HEADER, request.protocol.peername[0]))
        url = URL(f"http://hub{target}", encoded=True)
        silence = max(_WORK_SECONDS, self._silence) if request.method == "POST" else self._silence
        timeout = aiohttp.ClientTimeout(total=None, sock_read=silence)
        patience = _PATIENCE_SECONDS if target.startswith("/v1/") else 0.0
        while True:
            try:
                data = None if body is None else body.chunks()
                return await self._session.request(request.method, url, headers=headers, data=data, allow_redirects=False, timeout=timeout)
            except aiohttp.ClientConnectorError as e:
                if patience <= 0 or self._stopping:
                    raise _unavailable("The hub is not running; it is started anew.") from e
                patience -= _POLL_SECONDS
                await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError as e:
                raise _unavailable(f"The hub has not answered for {silence:g} s.") from e
            except aiohttp.ClientError as e:
                if body is not None and body.failure is not None:
                    raise body.failure from e
                raise _unavailable("The hub ended before it answered.") from e


class _Body:
    """A request's body on its way to the hub, in the pieces that come."""

    def __init__(self, request: web.BaseRequest, limit: int) -> None:
        self._request = request
        self._limit = limit
        self.failure: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in body_chunks(self._request, self._limit):
                yield chunk
        except Exception as e:
            self.failure = e
            raise


def _unavailable(detail: str) -> Problem:
    return Problem(503, "hub-unavailable", "The hub is unavailable", detail, headers=[("retry-after", "1")])
