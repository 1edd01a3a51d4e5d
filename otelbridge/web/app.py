"""The HTTP service: one table of routes over a bridge."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from otelbridge.web.invoke import Invoke
from otelbridge.web.problems import Problem, problems
from otelbridge.web.telemetry import Telemetry
from otelbridge.web.workers import Workers, json_response

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge

__all__ = ["ROUTES", "make_app"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# method, path, handler's name, what it does
ROUTES: tuple[tuple[str, str, str, str], ...] = (
    ("PUT", "/v1/workers/{workerId}", "workers.put", "Register a worker"),
    ("GET", "/v1/workers", "workers.list", "List workers"),
    ("GET", "/v1/workers/{workerId}", "workers.get", "Show a worker"),
    ("DELETE", "/v1/workers/{workerId}", "workers.delete", "Remove a worker"),
    ("POST", "/v1/run", "workers.run", "Run code once"),
    ("GET", "/v1/logs", "telemetry.logs", "Search the log store"),
    ("GET", "/v1/invocations", "telemetry.invocations", "List invocations"),
    ("GET", "/v1/invocations/{invocationId}", "telemetry.invocation", "One invocation's trace item"),
    ("POST", "/v1/query", "telemetry.query", "The query builder"),
    ("GET", "/v1/tail", "telemetry.tail", "Live tail (server-sent events)"),
    ("GET", "/v1/exports", "telemetry.exports", "The loss ledger"),
    ("GET", "/healthz", "telemetry.health", "Whether the process lives"),
    ("GET", "/readyz", "telemetry.ready", "Whether it can serve"),
    ("GET", "/metrics", "telemetry.metrics", "Metrics as Prometheus text"),
    ("GET", "/openapi.json", "openapi", "This table as OpenAPI"),
)


def make_app(bridge: Bridge) -> web.Application:
    """The application. The bridge must be started; closing it is the caller's."""
    settings = bridge.settings
    expose = settings.server.expose_errors
    if expose is None:
        expose = is_loopback(settings.server.host)
    app = web.Application(middlewares=[problems(expose), _auth(settings.auth.token)], client_max_size=settings.server.max_body_bytes)
    rooms: dict[str, Any] = {"workers": Workers(bridge), "telemetry": Telemetry(bridge)}
    # First in the table: the router looks at its resources in this order.
    app.router.add_route("*", "/w/{tail:.*}", Invoke(bridge))
    for method, path, name, _ in ROUTES:
        room, _, attribute = name.partition(".")
        handler = getattr(rooms[room], attribute) if attribute else _openapi
        app.router.add_route(method, path, handler)
    return app


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _auth(token: str | None) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is not None and request.path.startswith("/v1/"):
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
                raise Problem(401, "unauthorized", "Unauthorized", "This route needs `Authorization: Bearer <auth.token>`.")
        return await handler(request)

    return middleware


async def _openapi(request: web.Request) -> web.Response:
    """The routes as OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for method, path, name, summary in ROUTES:
        parameters = [
            {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}} for part in path.split("/") if part.startswith("{")
        ]
        problem = {"description": "Problem details", "content": {"application/problem+json": {"schema": {"type": "object"}}}}
        paths.setdefault(path, {})[method.lower()] = {
            "operationId": name.replace(".", "_"),
            "summary": summary,
            **({"parameters": parameters} if parameters else {}),
            "responses": {"2XX": {"description": "Success"}, "default": problem},
        }
    return json_response({"openapi": "3.1.0", "info": {"title": "otelbridge", "version": "1"}, "paths": paths})
