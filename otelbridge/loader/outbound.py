"""Subrequests to the network: an HTTP client behind an egress policy that every connection and redirect must pass.

The policy looks at addresses after name resolution, on the very address that is connected to: checking the name
alone would let a name that resolves differently the second time reach the inside (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import fnmatch
import functools
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from otelbridge.model.http import Request, Response

__all__ = ["EgressRefused", "Outbound", "network_words"]

MAX_REDIRECTS = 20
DNS_THREADS = 16
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


class EgressRefused(OSError):
    """The egress policy refuses this destination; the text says which rule."""


def _is_private(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return True  # no address that could be judged
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if inner is not None and _is_private(str(inner)):
        return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved


class _Resolver(AbstractResolver):
    """Resolves names and leaves out private addresses. On threads of its own: a worker chooses the names, and thus how long
    they take, and the loop's default threads read and write telemetry."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._threads = ThreadPoolExecutor(DNS_THREADS, thread_name_prefix="otelbridge-dns")

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        ask = functools.partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        found = [(found_family, proto, str(address[0])) for found_family, _, proto, _, address in answers]
        allowed = [one for one in found if self._allow_private or not _is_private(one[2])]
        if found and not allowed:
            raise EgressRefused(f"{host} resolves to a private address; outbound.allow_private is off")
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address, port=port, family=found_family, proto=proto, flags=numeric)
            for found_family, proto, address in allowed
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


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

    def check(self, url: str | URL) -> URL:
        """The URL as it will be connected to. EgressRefused when the policy forbids its scheme, host or literal address.

        What is checked is what is used: two parsers that read a host differently would let a worker past the check.
        """
        try:
            target = URL(url) if isinstance(url, str) else url
            names = {(target.host or "").lower().rstrip("."), (target.raw_host or "").lower().rstrip(".")}
        except ValueError as e:
            raise EgressRefused(f"{str(url)[:200]!r} is not a URL that can be fetched: {e}") from e
        host = max(names)
        if target.scheme not in ("http", "https") or not host:
            raise EgressRefused(f"only http and https URLs can be fetched, not {str(url)[:200]!r}")
        if any(fnmatch.fnmatchcase(name, p) for p in self._deny for name in names):
            raise EgressRefused(f"{host} is denied by outbound.deny")
        if self._allow and not any(fnmatch.fnmatchcase(name, p) for p in self._allow for name in names):
            raise EgressRefused(f"{host} is not in outbound.allow")
        if not self._allow_private and any(_is_private_name(name) for name in names):
            raise EgressRefused(f"{host} is a private address; outbound.allow_private is off")
        return target

    async def fetch(self, request: Request, *, redirect: str = "follow", slots: asyncio.Semaphore | None = None) -> Response:
        """Send a request. `redirect`: follow, manual or error. Raises EgressRefused, aiohttp.ClientError, TimeoutError.

        `slots`: connections that whoever asks may have at a time; one is taken until the response's body is read or closed.
        """
        if slots is None:
            return await self._fetch(request, redirect, _nothing)
        await slots.acquire()
        held = [slots]

        def release() -> None:
            while held:
                held.pop().release()

        try:
            return await self._fetch(request, redirect, release)
        except BaseException:
            release()
            raise

    async def _fetch(self, request: Request, redirect: str, release: Callable[[], None]) -> Response:
        method, headers, body = request.method, request.headers, await request.bytes()
        url = self.check(request.url)
        headers = [(k, v) for k, v in headers if k.lower() not in _OURS]
        redirected = False
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._send(method, url, headers, body)
            location = answer.headers.get("location")
            if redirect == "manual" or answer.status not in (301, 302, 303, 307, 308) or location is None:
                return self._response(answer, url, redirected, release)
            answer.release()
            if redirect == "error":
                raise aiohttp.ClientError("a redirect was answered, and redirect is 'error'")
            try:
                target = url.join(URL(location))
            except ValueError as e:
                raise aiohttp.ClientError(f"a redirect to an invalid URL was answered: {e}") from e
            target = self.check(target)
            if target.origin() != url.origin():
                headers = [(k, v) for k, v in headers if k.lower() not in ("authorization", "cookie")]
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                headers = [(k, v) for k, v in headers if not k.lower().startswith("content-")]
            url, redirected = target, True
        raise aiohttp.ClientError("too many redirects")

    async def _send(self, method: str, url: URL, headers: list[tuple[str, str]], body: bytes) -> aiohttp.ClientResponse:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Resolver(self._allow_private), limit=1000, use_dns_cache=False, socket_factory=self._socket
            )
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

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for an address that is about to be connected to: the last place to refuse it, whatever led here."""
        family, kind, protocol, _, peer = address
        if not self._allow_private and _is_private(str(peer[0])):
            raise EgressRefused(f"{peer[0]} is a private address; outbound.allow_private is off")
        return socket.socket(family, kind, protocol)

    def _response(self, answer: aiohttp.ClientResponse, url: URL, redirected: bool, release: Callable[[], None]) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            total = 0
            try:
                async for chunk in answer.content.iter_chunked(65536):
                    total += len(chunk)
                    if total > self._max_response_bytes:
                        answer.close()
                        raise aiohttp.ClientError(f"the response is larger than {self._max_response_bytes} bytes")
                    yield chunk
            finally:
                release()

        async def close() -> None:
            answer.close()
            release()

        empty = answer.method == "HEAD" or answer.status in (204, 205, 304)
        if empty:
            answer.release()
            release()
        # Names and values come from the network and were checked by the client; a decoded body has another length.
        headers = [
            (k, v)
            for k, v in answer.headers.items()
            if k.lower() not in ("content-encoding", "content-length", "transfer-encoding", "connection")
        ]
        response = Response(None if empty else chunks(), answer.status, (), close=None if empty else close)
        response.headers = headers
        response.url, response.redirected = str(url), redirected
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


def network_words(error: BaseException) -> str:
    """What went wrong with a subrequest, for the worker: no name of a class of ours, and nothing of how we are made."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} can't be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
        return f"the certificate of {error.host} is refused: {reason}"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"there is no TLS with {error.host} port {error.port}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host} port {error.port} can't be reached: {_system(error.os_error)}"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body ended too early"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not valid HTTP"
    if isinstance(error, OSError):
        return _system(error)
    return str(error) if type(error) is aiohttp.ClientError or isinstance(error, ValueError) else "it failed"


def _system(error: OSError) -> str:
    """The system's own words; those of a failed connection name internals too."""
    return os.strerror(error.errno) if error.errno else str(error)


def _is_private_name(host: str) -> bool:
    """Whether a host is a private address in any spelling, or a name that stands for one everywhere."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        # inet_aton reads 127.1, 0x7f000001 and 2130706433, as the system's resolver would.
        literal = host if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return False
    return _is_private(literal)


def _nothing() -> None:
    """No slot was taken."""
