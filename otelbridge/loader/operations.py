"""Host operations: what a JavaScript guest asks for and awaits while other invocations run.

One method per operation. Arguments are a guest's: every member is checked; what is wrong becomes an error in the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgspec

from otelbridge.errors import BridgeError, WorkerError
from otelbridge.loader.compute import KINDS, Compute, ComputeError
from otelbridge.loader.outbound import EgressRefused, Outbound, network_words
from otelbridge.loader.values import decode, pack, unpack
from otelbridge.model.code import INHERIT
from otelbridge.model.http import Request, Response, check_headers, header
from otelbridge.model.ids import TraceParent, new_span_id
from otelbridge.model.redaction import redact_url
from otelbridge.model.trace import Subrequest
from otelbridge.sandbox import Meter

__all__ = ["Bindings", "OperationError", "Operations"]

NO_INTERNET = (
    "This worker is not permitted to access the internet via global functions like fetch(). It must use capabilities"
    " (such as bindings in 'env') to talk to the outside world."
)
WHOLE_BYTES = 1 << 20  # a response body up to this length, if announced, crosses in one piece
MAX_STREAMS = 64
# Both stand in the record of the invocation, once for each subrequest.
MAX_URL = 16 << 10
MAX_METHOD = 256


class OperationError(Exception):
    """An operation that fails in the worker, as an error of this name with this message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class Bindings:
    """What a worker may reach beside its own code: the network (over so many connections at a time), service bindings by
    name, its own entrypoints."""

    def __init__(
        self,
        *,
        outbound: Outbound,
        slots: asyncio.Semaphore,
        global_outbound: Any,
        services: dict[str, Any],
        own_entrypoint: Callable[[str, Any], Any],
    ) -> None:
        self.outbound = outbound
        self.slots = slots
        self.global_outbound = global_outbound
        self.services = services
        self.own_entrypoint = own_entrypoint

    def service(self, binding: Any) -> Any:
        """The object behind a stub's name."""
        if isinstance(binding, str) and binding in self.services:
            return self.services[binding]
        try:
            kind, name, props = msgspec.json.decode(binding)
        except (msgspec.DecodeError, TypeError, ValueError):
            kind = name = None
        if kind != "self" or not isinstance(name, str):
            raise OperationError("Error", "There is no such binding.")
        return self.own_entrypoint(name, unpack(props))


class Operations:
    """The operations of one invocation, with its subrequest budget and the streams that are open."""

    def __init__(self, *, bindings: Bindings, limit: int, trace_id: str, trace_flags: int, meter: Meter, propagate: bool = True) -> None:
        self.subrequests: list[Subrequest] = []
        self._bindings = bindings
        self._left = limit
        self._limit = limit
        self._trace = (trace_id, trace_flags)
        self._propagate = propagate
        self._meter = meter
        self._compute: Compute | None = None  # made when needed, which is seldom
        self._streams: dict[int, AsyncIterator[bytes]] = {}
        self._closers: dict[int, Callable[[], Awaitable[None]]] = {}
        self._last_stream = 0
        self._reading: set[int] = set()

    def open_stream(
        self, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[None]] | None = None, *, stream: int | None = None
    ) -> int:
        """Let the guest read these chunks, by number. 0 is the body of the invocation's own request."""
        if stream is None:
            if len(self._streams) >= MAX_STREAMS:
                raise OperationError("Error", "Too many bodies are open at once.")
            self._last_stream += 1
            stream = self._last_stream
        self._streams[stream] = chunks
        if close is not None:
            self._closers[stream] = close
        return stream

    async def perform(self, kind: str, args: dict[str, Any], span: int, blob: bytes) -> tuple[Any, bytes]:
        """The operation's value and bytes. Raises OperationError for what the worker did wrong or the world refused."""
        if kind == "fetch":
            return await self._fetch(args, span, blob)
        if kind == "call":
            return await self._call(args, span, blob)
        if kind == "read":
            return await self._read(args)
        if kind not in KINDS:
            raise OperationError("Error", f"The host knows no operation {kind!r}.")
        try:
            if self._compute is None:
                self._compute = Compute(meter=self._meter)
            return await self._compute.perform(kind, args, blob)
        except ComputeError as e:
            raise OperationError(e.name, e.message) from e

    async def drop(self, stream: Any) -> None:
        """The guest reads this stream no further."""
        self._streams.pop(stream, None)
        close = self._closers.pop(stream, None)
        if close is not None:
            await close()

    @property
    def blocked(self) -> bool:
        """Whether the worker has no network."""
        return self._bindings.global_outbound is None

    @property
    def has_streams(self) -> bool:
        """Whether bodies are open that must be closed when the invocation ends: they hold connections."""
        return bool(self._closers)

    async def aclose(self) -> None:
        """Close what is still open."""
        for stream in [*self._closers]:
            await self.drop(stream)
        self._streams.clear()

    # ---------------------------------------------------------------------------------------------- subrequests

    def _spend(self) -> None:
        if self._left <= 0:
            raise OperationError("Error", f"Too many subrequests by a single Worker invocation: the limit is {self._limit}.")
        self._left -= 1

    async def _fetch(self, args: dict[str, Any], span: int, blob: bytes) -> tuple[Any, bytes]:
        self._spend()
        method, url = str(args.get("method", "GET"))[:MAX_METHOD], str(args.get("url", ""))
        if len(url) > MAX_URL:
            raise OperationError("TypeError", f"The URL has {len(url)} characters; the limit is {MAX_URL}.")
        started, span_id = time.time_ns(), new_span_id()
        status: int | None = None
        error: str | None = None
        try:
            pairs = check_headers([(str(k), str(v)) for k, v in args.get("headers") or []])
            if self._propagate and header(pairs, "traceparent") is None:
                pairs.append(("traceparent", str(TraceParent(self._trace[0], span_id, self._trace[1]))))
            body = blob if args.get("body") == "blob" else None
            response = await self._send(args.get("binding"), Request(method, url, pairs, body), str(args.get("redirect") or "follow"))
            status = response.status
            return await self._reply(response)
        except OperationError as e:
            error = e.name
            raise
        except EgressRefused as e:
            error = "EgressRefused"
            raise OperationError("Error", f"This worker is not permitted to reach this address: {e}") from e
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
            error = type(e).__name__
            raise OperationError(
                "TypeError" if isinstance(e, ValueError) else "Error", f"Network connection lost: {network_words(e)}"[:500]
            ) from e
        except WorkerError as e:
            error = e.name
            raise OperationError(e.name, e.message) from e
        except Exception as e:  # a service binding of the embedding program
            error = type(e).__name__
            raise OperationError("Error", f"{type(e).__name__}: {e}") from e
        finally:
            self.subrequests.append(Subrequest(span_id, "fetch", method, redact_url(url), started, time.time_ns(), status, error, span))

    async def _send(self, binding: Any, request: Request, redirect: str) -> Response:
        if binding is not None:
            target = self._bindings.service(binding)
        else:
            target = self._bindings.global_outbound
            if target is None:
                raise OperationError("Error", NO_INTERNET)
            if target is INHERIT:
                return await self._bindings.outbound.fetch(request, redirect=redirect, slots=self._bindings.slots)
        response = await getattr(target, "fetch", target)(request)
        if not isinstance(response, Response):
            raise OperationError("TypeError", "The service did not answer with a Response.")
        return response

    async def _reply(self, response: Response) -> tuple[Any, bytes]:
        whole = response.whole
        length = header(response.headers, "content-length")
        if whole is None and length is not None and length.isdigit() and int(length) <= WHOLE_BYTES:
            whole = await response.bytes()
        body: Any = "blob"
        if whole is None:
            try:
                body = self.open_stream(response.body, response.aclose)
            except OperationError:
                await response.aclose()
                raise
        elif not whole:
            body = None
        reply = {
            "status": response.status,
            "statusText": "",
            "headers": [[k.lower(), v] for k, v in response.headers],
            "url": response.url,
            "redirected": response.redirected,
            "body": body,
        }
        return reply, whole or b""

    async def _call(self, args: dict[str, Any], span: int, blob: bytes) -> tuple[Any, bytes]:
        self._spend()
        method = str(args.get("method"))[:MAX_METHOD]
        started, span_id = time.time_ns(), new_span_id()
        error: str | None = None
        try:
            target = self._bindings.service(args.get("binding"))
            given = decode(blob)
            if not isinstance(given, list):
                raise OperationError("TypeError", "The arguments of a call must be a list.")
            call = getattr(target, "call", None) if getattr(target, "is_entrypoint", False) else None
            if call is not None:
                result = await call(method, *given)
            else:
                handler = None if method.startswith("_") else getattr(target, method, None)
                if not callable(handler):
                    raise OperationError("TypeError", f'The RPC receiver does not implement the method "{method}".')
                result = handler(*given)
                if asyncio.iscoroutine(result) or isinstance(result, asyncio.Future):
                    result = await result
            return msgspec.json.encode(pack(result)).decode(), b""
        except OperationError as e:
            error = e.name
            raise
        except BridgeError as e:
            error = getattr(e, "name", "Error")
            raise OperationError(error or "Error", getattr(e, "message", str(e))) from e
        except Exception as e:  # the service's own fault: its text is for the worker, its traceback is not
            error = type(e).__name__
            raise OperationError("Error", f"{type(e).__name__}: {e}") from e
        finally:
            self.subrequests.append(Subrequest(span_id, "call", method, "", started, time.time_ns(), None, error, span))

    async def _read(self, args: dict[str, Any]) -> tuple[Any, bytes]:
        stream = args.get("stream")
        chunks = self._streams.get(stream) if type(stream) is int else None
        if type(stream) is not int or chunks is None:
            return True, b""
        if stream in self._reading:  # an iterator can't be asked twice at once
            raise OperationError("TypeError", "This body is being read already.")
        self._reading.add(stream)
        try:
            async for chunk in chunks:
                if chunk:
                    return False, bytes(chunk)
        except (aiohttp.ClientError, TimeoutError, OSError, WorkerError) as e:
            raise OperationError(
                "Error", f"The body broke off: {e.message if isinstance(e, WorkerError) else network_words(e)}"[:500]
            ) from e
        finally:
            self._reading.discard(stream)
        await self.drop(stream)
        return True, b""
