"""The service: sockets, the one handler that every request goes through, and the graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD

from otelbridge.processes.vitals import Row, Vitals
from otelbridge.web.accept import Acceptor
from otelbridge.web.invoke import PREFIX, invoke
from otelbridge.web.pages import PAGES, no_page
from otelbridge.web.problem import Problem, bad_request, problem_of
from otelbridge.web.reply import Reply
from otelbridge.web.route import Call, Route, Router, checked_query
from otelbridge.web.routes import ROUTES

if TYPE_CHECKING:
    from otelbridge.web.remote import Remote
    from otelbridge.web.route import Planes

__all__ = ["Service"]

_log = logging.getLogger("otelbridge.web")

_API: Final = "/v1/"
# aiohttp reads on for this long when a handler left a part of the body unread, so that its answer is not lost in a reset.
_LINGER_SECONDS: Final = 2.0


class Service:
    """HTTP over a started bridge; the bridge stays its owner's. `async with Service(bridge=bridge) as service`, then listen().

    Of a service in several processes: `remote` answers what needs the control plane, where the bridge has none. `trusted`:
    who can reach this service has been let in already, as with the hub, which only loaders reach.
    """

    def __init__(self, *, bridge: Planes, routes: Sequence[Route] = ROUTES, remote: Remote | None = None, trusted: bool = False) -> None:
        self._bridge = bridge
        self._data = bridge.data
        self._remote = remote
        self._trusted = trusted
        self._router = Router((*routes, *PAGES))
        settings = bridge.settings
        self._expose = settings.expose_errors
        self._token = settings.auth.token.encode() if settings.auth.token is not None else None
        self._local_only = settings.loopback and self._token is None
        self._running = 0
        self._idle = asyncio.Event()  # of a service that stops
        self._draining = False
        self._listeners: list[asyncio.Server | Acceptor] = []
        # A client that leaves must end its invocation: the handler is cancelled.
        self._server = _Server(
            self.handle, access_log=None, handler_cancellation=True, auto_decompress=False, lingering_time=_LINGER_SECONDS
        )

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def listen(self, host: str | None = None, port: int | None = None, *, sock: socket.socket | None = None) -> str:
        """Listen on an address, by default that of the settings, or on a bound socket; the URL. OSError when that fails."""
        server = self._bridge.settings.server
        loop = asyncio.get_running_loop()
        if sock is not None:
            listener = await loop.create_server(self._server, sock=sock, backlog=1024)
        else:
            listener = await loop.create_server(
                self._server, host or server.host, server.port if port is None else port, backlog=1024, reuse_address=True
            )
        self._listeners.append(listener)
        address = listener.sockets[0].getsockname()
        return f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}"

    async def listen_unix(self, sock: socket.socket) -> None:
        """Listen on a bound Unix socket."""
        self._listeners.append(await asyncio.get_running_loop().create_unix_server(self._server, sock=sock, backlog=1024))

    def share(self, sock: socket.socket, vitals: Vitals, row: Row) -> None:
        """Take connections off a listening socket that other processes have too."""
        self._server.row = row
        self._listeners.append(Acceptor(sock, self._server, vitals=vitals, row=row))

    async def aclose(self, seconds: float | None = None, *, linger_seconds: float = 0.0) -> None:
        """Stop: no new connections, live tails end, requests that run may end within `seconds`, by default server.drain_seconds.

        `linger_seconds`: how long connections may still bring a request, when another process has taken over: the answer
        says `connection: close`. Closed at once they could cross with a request, which their client would see fail.
        """
        if self._draining:
            return
        self._draining = True
        for listener in self._listeners:
            listener.close()
        self._bridge.stopping()
        limit = self._bridge.settings.server.drain_seconds if seconds is None else seconds
        linger = min(linger_seconds, limit)
        if linger and not self._server.empty.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger):
                    await self._server.empty.wait()
        # Idle connections end at once; the others with their answer, which says `connection: close`.
        self._server.pre_shutdown()
        try:
            async with asyncio.timeout(limit):
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            _log.warning("%d requests were still running after %g s and are cut off", self._running, limit)
        await self._server.shutdown(0.1)

    async def handle(self, request: web.BaseRequest) -> Reply:
        """Answer a request. Every error becomes a problem here, and nowhere else."""
        self._running += 1
        try:
            target = request.raw_path
            if target.startswith(PREFIX) and self._data is not None:
                reply = await invoke(self._data, request, target)
            else:
                reply = await self._route(request, target)
            reply.render(request, close=self._draining)
        except ConnectionError:
            raise  # the client is gone; aiohttp lets go of the connection
        except Exception as e:
            # The problem has no name here: with one, it, this frame and the request would wait for the collector of garbage.
            reply = problem_of(e, expose=self._expose).reply()
            if request.writer.output_size:
                raise ConnectionResetError("the response broke in the middle, and its connection with it") from e
            reply.render(request, close=self._draining)
        finally:
            self._running -= 1
            if self._draining:
                self._idle.set()
        return reply

    async def _route(self, request: web.BaseRequest, target: str) -> Reply:
        if not target.startswith("/"):
            target = _origin_form(target)
            if target.startswith(PREFIX) and self._data is not None:
                return await invoke(self._data, request, target)
        path, _, query = target.partition("?")
        if path.startswith(_API) and not self._trusted:
            self._authorize(request)
        if self._remote is not None and not self._is_local(request.method, path):
            return await self._remote.forward(request, target, self._bridge.settings.server.max_body_bytes)
        try:
            route, params = self._router.find(request.method, path)
        except Problem as e:
            page = no_page(request) if e.status == 404 and not path.startswith(_API) else None
            if page is None:
                raise
            return page
        checked = {} if route.query is None else checked_query(query, {parameter.name: parameter for parameter in route.query})
        call = Call(request, self._bridge, params, checked)
        return await route.handler(call)

    def _is_local(self, method: str, path: str) -> bool:
        """Whether the data plane of this process answers; what is not there at all, the hub has to say."""
        try:
            return self._router.find(method, path)[0].plane == "data"
        except Problem:
            return False

    def _authorize(self, request: web.BaseRequest) -> None:
        """Who may use /v1: whoever has the token; without one, programs of this machine, but no web page they show."""
        headers = request.headers
        if self._token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token):
                detail = "This path needs `Authorization: Bearer` with the service's auth.token."
                raise Problem(401, "unauthorized", "Unauthorized", detail, headers=[("www-authenticate", "Bearer")])
            return
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Problem(403, "cross-origin", "Forbidden", "Web pages of another origin may not use this API.")
        if self._local_only and not _is_local_name(host):
            # A name that was made to point to 127.0.0.1 (DNS rebinding) would make a foreign page same-origin.
            raise Problem(403, "cross-origin", "Forbidden", "Without auth.token, this API answers to localhost and IP addresses only.")


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname if host else ""
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _origin_form(target: str) -> str:
    """Path and query of an absolute request target, as a proxy sends it; Problem 400 for any other form."""
    for scheme in ("http://", "https://"):
        if target.startswith(scheme):
            at = target.find("/", len(scheme))
            return target[at:] if at >= 0 else "/"
    raise bad_request("The request target must be a path.")


class _Server(web.Server):
    """aiohttp's low-level server: against Application and its router it saves about 30 of 112 us per request (bench/web)."""

    def __init__(self, handler: Any, *, handler_cancellation: bool, **options: Any) -> None:
        super().__init__(handler, handler_cancellation=handler_cancellation)
        self._options = options
        self.row: Row | None = None  # where connections are counted, when other processes want to know
        self.empty = asyncio.Event()  # there is no connection
        self.empty.set()

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._options)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """One more."""
        super().connection_made(handler, transport)
        self.empty.clear()
        if self.row is not None:
            self.row.connections = len(self._connections)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """One less."""
        super().connection_lost(handler, exc)
        if not self._connections:
            self.empty.set()
        if self.row is not None:
            self.row.connections = len(self._connections)


class _Connection(web.RequestHandler):
    """aiohttp's connection, whose answer to what is not HTTP is a problem too."""

    __slots__ = ()

    async def start(self) -> None:
        """Answer requests without a body, one after the other, in this task: aiohttp makes one for each, and looks for what
        only bodies, upgrades and errors need: a fifth of what a request of one connection costs, all included. From the first
        request that is not that plain, the connection is aiohttp's.
        """
        loop = self._loop
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages[0]
            if payload is not EMPTY_PAYLOAD or self._upgraded or self._buffer_paused or not isinstance(message, RawRequestMessage):
                return await super().start()
            self._messages.popleft()
            if not await self._answer(message, payload) or self._force_close or self._close:
                break
            self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()
        return None

    async def _answer(self, message: RawRequestMessage, payload: Any) -> bool:
        """Answer one request; whether the connection goes on."""
        manager, parser = self._manager, self._parser
        assert manager is not None
        if parser is not None:
            parser.message_consumed()
        manager.requests_count += 1
        request = manager.request_factory(message, payload, self, StreamWriter(self, self._loop), self._task_handler)  # type: ignore[arg-type]
        self._request_in_progress = True
        self._current_request = request
        self._keepalive = False
        try:
            reply = await manager.request_handler(request)
            await reply.prepare(request)
            self._keepalive = bool(reply.keep_alive)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as e:
            self.log_exception("a request was not answered", exc_info=e)
            self.force_close()
        finally:
            self._request_in_progress = False
            self._current_request = None
            request._task = None  # type: ignore[assignment]
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
        return self._keepalive

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> Any:
        """The response to a request that could not be parsed."""
        if request.writer.output_size:
            raise ConnectionResetError("a part of the response is sent already")
        failed = status >= 500
        problem = problem_of(exc or RuntimeError(message), expose=False) if failed else bad_request("The request is not valid HTTP.")
        reply = problem.reply()
        reply.render(request, close=True)
        return reply
