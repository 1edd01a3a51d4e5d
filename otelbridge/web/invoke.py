"""ANY /w/{workerId}/{path}: the hot path. The worker sees the client's request without the prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from otelbridge.errors import WorkerError
from otelbridge.model.http import Request, Response
from otelbridge.web.problems import Problem

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge

__all__ = ["Invoke"]

# Of this connection, not of the message; forwarding them would let one side speak about the other's connection.
_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OURS = _HOP | {"content-length", "date", "server"}
_NO_BODY = (204, 205, 304)


class Invoke:
    """Calls registered workers."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._inline = bridge.settings.server.allow_inline_logs

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer with what the worker answers."""
        worker_id, path = _split(request.raw_path)
        worker = self._bridge.worker(worker_id)
        pairs = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP]
        host = request.headers.get("host") or "localhost"
        body = await request.read() if request.body_exists else None
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        asked = Request(request.method, f"http://{host}{path}", pairs, body)
        entrypoint = worker.get_entrypoint()
        if self._inline and request.headers.get("otelbridge-logs") == "inline":
            return await self._with_logs(request, entrypoint, asked)
        answer = await entrypoint.fetch(asked, client_ip=peer[0] if peer else None)
        return await respond(request, answer)

    async def _with_logs(self, request: web.Request, entrypoint: Any, asked: Request) -> web.StreamResponse:
        """The answer of a call and its logs in one JSON document."""
        session = await self._bridge.log_session(entrypoint)
        response: dict[str, Any] = {}
        try:
            answer = await session.fetch(asked)
            response = {"status": answer.status, "headers": answer.headers, "body": await answer.text()}
        except WorkerError as e:
            response = {"error": {"name": e.name, "message": e.message, "outcome": e.outcome}}
        logs = await session.get_logs()
        document = {"response": response, "logs": logs.items, "exceptions": logs.exceptions, "logsState": logs.state}
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")


def _split(raw: str) -> tuple[str, str]:
    """The worker's id, decoded, and the rest of the path and the query exactly as the client sent them."""
    rest = raw[3:]  # behind "/w/"
    end = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    worker_id, path = unquote(rest[:end]), rest[end:]
    if not worker_id:
        raise Problem(404, "not-found", "Not Found", "The path names no worker: /w/{workerId}/")
    return worker_id, path if path.startswith("/") else "/" + path


async def respond(request: web.Request, answer: Response) -> web.StreamResponse:
    """Send a worker's response; a known body in one write, a stream chunk by chunk."""
    headers: list[tuple[str, str]] = [(k, v) for k, v in answer.headers if k.lower() not in _OURS]
    if answer.invocation_id is not None:
        headers.append(("otelbridge-invocation-id", answer.invocation_id))
    if answer.trace_id is not None:
        headers.append(("otelbridge-trace-id", answer.trace_id))
    whole = answer.whole
    if whole is not None or request.method == "HEAD" or answer.status in _NO_BODY:
        response = web.Response(status=answer.status, body=b"" if answer.status in _NO_BODY else whole or b"", headers=_multi(headers))
        if not any(k.lower() == "content-type" for k, _ in headers):
            response.headers.popall("content-type", None)
        if whole is None:
            await answer.aclose()
        return response
    stream = web.StreamResponse(status=answer.status, headers=_multi(headers))
    try:
        await stream.prepare(request)
        async for chunk in answer.body:
            await stream.write(chunk)
        await stream.write_eof()
    except (WorkerError, ConnectionError) as e:
        # A body that breaks must not look complete: the connection goes without the last chunk.
        if isinstance(e, WorkerError) and request.transport is not None:
            request.transport.close()
        await answer.aclose()
    except BaseException:
        await answer.aclose()
        raise
    return stream


def _multi(headers: list[tuple[str, str]]) -> Any:
    from multidict import CIMultiDict

    return CIMultiDict(headers)
