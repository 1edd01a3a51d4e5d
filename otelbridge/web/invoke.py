"""ANY /w/{workerId}/{path}: the hot path. The worker sees the client's own request, with the prefix taken off its path."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from otelbridge.errors import WorkerError
from otelbridge.model.http import Request, Response
from otelbridge.web.body import read_body
from otelbridge.web.code import checked_worker_id
from otelbridge.web.problem import Problem, bad_request, not_found
from otelbridge.web.reply import Header, Reply, json_reply, stream
from otelbridge.web.route import decoded
from otelbridge.web.run import error_members, response_members

if TYPE_CHECKING:
    from otelbridge.planes.data import DataPlane

__all__ = ["PREFIX", "invoke"]

PREFIX: Final = "/w/"

# They speak about one connection, not about the message (RFC 9110, 7.6.1); forwarded they would be believed downstream.
_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_NOT_FORWARDED: Final = _HOP | {"expect"}
# A host is put into the URL that the worker sees: a slash or an @ in it would move the path (RFC 3986, 3.2.2).
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")


async def invoke(data: DataPlane, request: web.BaseRequest, target: str) -> Reply:
    """Have a registered worker answer. `target`: path and query as the client wrote them."""
    worker_id, path = _split(target)
    worker = data.worker(worker_id)
    settings = data.settings.server
    body = await read_body(request, settings.max_body_bytes) if request.body_exists else None
    peer = request.protocol.peername
    asked = Request.parsed(request.method, f"{request.scheme}://{_host(request)}{path}", _forwarded(request), body)
    entrypoint = worker.get_entrypoint()
    if settings.allow_inline_logs and request.headers.get("otelbridge-logs") == "inline":
        return await _with_logs(data, entrypoint, asked, peer[0] if peer else None)
    response = await entrypoint.fetch(asked, client_ip=peer[0] if peer else None)
    return await _answer(request, response, isolate=settings.isolate_pages and _opens_page(request))


def _split(target: str) -> tuple[str, str]:
    """The worker's id, decoded, and what follows it, untouched: encoded characters, double slashes, query."""
    segment, slash, path = target[len(PREFIX) :].partition("/")
    path = slash + path
    if "?" in segment:
        segment, mark, query = segment.partition("?")
        path = mark + query + path
    if not segment:
        raise not_found("The path names no worker: it should be /w/{workerId}/.")
    return _worker_id(segment), path if path.startswith("/") else "/" + path


@functools.lru_cache(maxsize=10_000)
def _worker_id(segment: str) -> str:
    """Decode and check an id; cached, because almost every request names one that was just seen."""
    return checked_worker_id(decoded(segment))


def _host(request: web.BaseRequest) -> str:
    hosts = request.headers.getall("host", [])
    if not hosts and request.version < (1, 1):
        return "localhost"
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise bad_request("A request has exactly one Host header, with a host name and perhaps a port.")
    return hosts[0]


def _forwarded(request: web.BaseRequest) -> list[Header]:
    """The client's headers without those of the connection. Values are bytes; as in fetch(), a character each."""
    headers = request.headers
    named = headers.get("connection")
    dropped = _NOT_FORWARDED | {n.strip().lower() for n in named.split(",")} if named else _NOT_FORWARDED
    return [
        (low, value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("latin-1"))
        for name, value in headers.items()
        if (low := name.lower()) not in dropped
    ]


# A page without an origin of its own: it works, but is a stranger to /v1, to the pages at / and to what they keep in the browser.
_NO_ORIGIN: Final = ("content-security-policy", "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts")


def _opens_page(request: web.BaseRequest) -> bool:
    """Whether a browser asks for a page or a frame, and not a program or a script for data."""
    goal = request.headers.get("sec-fetch-dest")
    # Over plain HTTP from another machine browsers leave that header out.
    return goal != "empty" if goal is not None else "text/html" in request.headers.get("accept", "")


async def _answer(request: web.BaseRequest, response: Response, *, isolate: bool) -> Reply:
    status = response.status
    if not 200 <= status <= 599:
        await response.aclose()
        raise _unusable(response, f"The worker's response has the status {status}.")
    headers = [(low, value) for name, value in response.headers if (low := name.lower()) not in _HOP]
    if response.invocation_id is not None:
        headers.append(("otelbridge-invocation-id", response.invocation_id))
    if response.trace_id is not None:
        headers.append(("otelbridge-trace-id", response.trace_id))
    if isolate:
        headers.append(_NO_ORIGIN)
    whole = response.whole
    if whole is not None:
        return Reply(status, headers, whole)
    if request.method == "HEAD" or status in (204, 304):
        await response.aclose()
        return Reply(status, headers)
    try:
        return await stream(request, status, headers, response.body)
    finally:
        # The client left, the body broke, or all was read, and then this does nothing.
        await response.aclose()


def _unusable(response: Response, detail: str) -> Problem:
    ids = (response.invocation_id, response.trace_id)
    return Problem(500, "invalid-response", "Invalid response", detail, invocation_id=ids[0], trace_id=ids[1])


async def _with_logs(data: DataPlane, entrypoint: Any, asked: Request, client_ip: str | None) -> Reply:
    """The response and the logs of a call in one JSON document, for a client that asked for `otelbridge-logs: inline`."""
    session = await data.log_session(entrypoint)
    document: dict[str, Any] = {"response": None}
    try:
        response = await session.fetch(asked, client_ip=client_ip)
        document["response"] = response_members(response, await response.bytes())
    except WorkerError as e:
        document["error"] = error_members(e)
    logs = await session.get_logs()
    ids = [("otelbridge-invocation-id", logs.invocation_id), ("otelbridge-trace-id", logs.trace_id)]
    headers = [(name, value) for name, value in ids if value is not None]
    return json_reply(document | {"logs": logs.items, "exceptions": logs.exceptions, "logsState": logs.state}, headers=headers)
