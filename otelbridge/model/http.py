"""Request, Response and headers as they cross between callers, workers and bindings."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping

__all__ = ["HeadersLike", "Request", "Response", "check_headers", "header"]

HeadersLike = Iterable[tuple[str, str]] | Mapping[str, str]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# A line break or NUL in a value would let a worker write headers, or a whole response, of its own (RFC 9110, 5.5).
_BAD_VALUE = re.compile(r"[\r\n\0]")


def header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header, or None. `name` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def check_headers(headers: HeadersLike) -> list[tuple[str, str]]:
    """Pairs of name and value; ValueError for a name or value that HTTP does not allow."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    out = []
    for name, value in pairs:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"Invalid header name: {name!r}")
        if _BAD_VALUE.search(value):
            raise ValueError(f"Invalid value of header {name!r}: it holds a line break or NUL")
        out.append((name, value))
    return out


class Request:
    """An HTTP request. `url` is absolute; `body` is bytes, None, or an async iterable of bytes (read once). ValueError for a
    method or header that HTTP does not allow. `lower_case`: the names of its headers are known to be."""

    __slots__ = ("body", "cf", "headers", "lower_case", "method", "url")

    def __init__(
        self,
        method: str,
        url: str,
        headers: HeadersLike = (),
        body: bytes | str | AsyncIterable[bytes] | None = None,
        *,
        cf: object = None,
    ) -> None:
        if not _TOKEN.fullmatch(method):
            raise ValueError(f"Invalid HTTP method: {method!r}")
        self.method = method
        self.url = url
        self.headers = check_headers(headers)
        self.lower_case = False
        self.body = body.encode() if isinstance(body, str) else body
        self.cf = cf

    @classmethod
    def parsed(cls, method: str, url: str, headers: list[tuple[str, str]], body: bytes | AsyncIterable[bytes] | None) -> Request:
        """A request whose method and headers an HTTP parser has accepted: without checks, which cost 3 us. Header names are in
        lower case."""
        request = cls.__new__(cls)
        request.method, request.url, request.headers, request.body = method, url, headers, body
        request.cf, request.lower_case = None, True
        return request

    async def bytes(self) -> bytes:
        """The whole body."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return b"".join([chunk async for chunk in self.body])

    async def text(self) -> str:
        """The whole body, read as UTF-8."""
        return (await self.bytes()).decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.url!r})"


class Response:
    """An HTTP response. `body` iterates over chunks of bytes, once; `aclose()` leaves early and may be called twice."""

    __slots__ = ("_chunks", "_close", "_whole", "headers", "invocation_id", "redirected", "status", "trace_id", "url")

    def __init__(
        self,
        body: bytes | str | AsyncIterable[bytes] | None = None,
        status: int = 200,
        headers: HeadersLike = (),
        *,
        invocation_id: str | None = None,
        trace_id: str | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.status = status
        self.headers = check_headers(headers)
        if isinstance(body, str) and header(self.headers, "content-type") is None:
            self.headers.append(("content-type", "text/plain;charset=UTF-8"))  # as Response does in JavaScript
        self.invocation_id = invocation_id
        self.trace_id = trace_id
        self.url = ""  # where it came from in the end, when it is a subrequest's
        self.redirected = False
        self._whole = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else None
        self._chunks = None if body is None or self._whole is not None else body
        self._close = close

    @property
    def whole(self) -> bytes | None:
        """The body when it is known in full (also b"" for none), None when it is a stream."""
        return (self._whole or b"") if self._chunks is None else None

    @property
    def body(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        if self._chunks is None:
            if self._whole:
                yield self._whole
            return
        async for chunk in self._chunks:  # type: ignore[union-attr]
            yield chunk

    async def bytes(self) -> bytes:
        """The whole body. Raises what the stream raises, also when it breaks in the middle."""
        if self._chunks is None:
            return self._whole or b""
        return b"".join([chunk async for chunk in self._iterate()])

    async def text(self) -> str:
        """The whole body, read as UTF-8."""
        return (await self.bytes()).decode("utf-8", "replace")

    async def aclose(self) -> None:
        """Tell the worker that nobody reads on. Does nothing when the body is known in full or already read."""
        close, self._close = self._close, None
        if close is not None:
            await close()

    def __repr__(self) -> str:
        return f"Response(status={self.status})"
