"""Subrequests to the network: an HTTP client behind an egress policy that every connection and redirect must pass.

The policy looks at addresses after name resolution, on the very address that is connected to: checking the name
alone would let a name that resolves differently the second time reach the inside (DNS rebinding).
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from otelbridge.model.http import Request, Response

__all__ = ["EgressRefused", "Outbound"]

MAX_REDIRECTS = 20
# Hop-by-hop, or set by the client from what is really sent: a worker that wrote them could smuggle a second request.
_OURS = {
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class EgressRefused(Exception):
    """The egress policy refuses this destination; the text says which rule."""


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if inner is not None and _is_private(str(inner)):
        return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved


class _Resolver(AbstractResolver):
    """Resolves names and refuses private addresses among the results."""

    def __init__(self, allow_private: bool) -> None:
        self._inner = ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [r for r in found if self._allow_private or not _is_private(r["host"])]
        if found and not allowed:
            raise EgressRefused(f"{host} resolves to a private address; outbound.allow_private is off")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


class Outbound:
    """The bridge's own network for workers. `allow`, `deny`: host patterns such as *.example.com; deny wins."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        timeout_seconds: float = 30.0,
        max_response_bytes: int = 64 << 20,
    ) -> None:
        self._allow_private = allow_private
        self._allow = [p.lower() for p in allow]
        self._deny = [p.lower() for p in deny]
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._max_response_bytes = max_response_bytes
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> None:
        """EgressRefused when the policy forbids this URL by its scheme, host or literal address."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower().rstrip(".")
        if parts.scheme not in ("http", "https") or not host:
            raise EgressRefused(f"only http and https URLs can be fetched, not {url[:200]!r}")
        if any(fnmatch.fnmatchcase(host, p) for p in self._deny):
            raise EgressRefused(f"{host} is denied by outbound.deny")
        if self._allow and not any(fnmatch.fnmatchcase(host, p) for p in self._allow):
            raise EgressRefused(f"{host} is not in outbound.allow")
        if self._allow_private:
            return
        try:
            # inet_aton reads 127.1, 0x7f000001 and 2130706433, as the system's resolver would.
            literal = host if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            literal = ""
        if (literal and _is_private(literal)) or host == "localhost" or host.endswith(".localhost"):
            raise EgressRefused(f"{host} is a private address; outbound.allow_private is off")

    async def fetch(self, request: Request, *, redirect: str = "follow") -> Response:
        """Send a request. `redirect`: follow, manual or error. Raises EgressRefused, aiohttp.ClientError, TimeoutError."""
        method, url, headers, body = request.method, request.url, request.headers, await request.bytes()
        headers = [(k, v) for k, v in headers if k.lower() not in _OURS]
        redirected = False
        for _ in range(MAX_REDIRECTS + 1):
            self.check(url)
            answer = await self._send(method, url, headers, body)
            location = answer.headers.get("location")
            if redirect == "manual" or answer.status not in (301, 302, 303, 307, 308) or location is None:
                return self._response(answer, url, redirected)
            answer.release()
            if redirect == "error":
                raise aiohttp.ClientError("a redirect was answered, and redirect is 'error'")
            target = urljoin(url, location)
            if urlsplit(target).netloc != urlsplit(url).netloc:
                headers = [(k, v) for k, v in headers if k.lower() not in ("authorization", "cookie")]
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                headers = [(k, v) for k, v in headers if not k.lower().startswith("content-")]
            url, redirected = target, True
        raise aiohttp.ClientError("too many redirects")

    async def _send(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> aiohttp.ClientResponse:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=_Resolver(self._allow_private), limit=1000, limit_per_host=100, use_dns_cache=False)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
                skip_auto_headers=["User-Agent", "Content-Type"],
                timeout=self._timeout,
            )
        try:
            return await self._session.request(method, url, headers=headers, data=body or None, allow_redirects=False)
        except aiohttp.ClientConnectorError as e:
            if isinstance(e.__cause__, EgressRefused):
                raise e.__cause__ from None
            raise

    def _response(self, answer: aiohttp.ClientResponse, url: str, redirected: bool) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            total = 0
            async for chunk in answer.content.iter_chunked(65536):
                total += len(chunk)
                if total > self._max_response_bytes:
                    answer.close()
                    raise aiohttp.ClientPayloadError(f"the response is larger than {self._max_response_bytes} bytes")
                yield chunk

        async def close() -> None:
            answer.close()

        # Names and values come from the network and were checked by the client; a decoded body has another length.
        headers = [
            (k, v)
            for k, v in answer.headers.items()
            if k.lower() not in ("content-encoding", "content-length", "transfer-encoding", "connection")
        ]
        response = Response(chunks(), answer.status, (), close=close)
        response.headers = headers
        response.url, response.redirected = url, redirected
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.aclose()
