"""Routes over what workers left behind: search, query, live tail, the loss ledger; and the health of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from otelbridge.web.problems import Problem, problem_response
from otelbridge.web.workers import json_body, json_response

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge

__all__ = ["Telemetry"]


class Telemetry:
    """Handlers around the store, the live tail and the exporter."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    @property
    def _store(self) -> Any:
        if self._bridge.store is None:
            raise Problem(503, "store-disabled", "Store Disabled", "The log store is off: set store.enabled.")
        return self._bridge.store

    async def logs(self, request: web.Request) -> web.Response:
        """Records that match a query, newest first."""
        page = await self._store.logs(**_search(request))
        return json_response({"logs": page.logs, "nextCursor": page.next_cursor})

    async def invocations(self, request: web.Request) -> web.Response:
        """Invocations that match a query, newest first."""
        page = await self._store.invocations(**_search(request))
        return json_response({"invocations": page.logs, "nextCursor": page.next_cursor})

    async def invocation(self, request: web.Request) -> web.Response:
        """One invocation's trace item."""
        item = await self._store.invocation(request.match_info["invocationId"])
        if item is None:
            raise Problem(404, "not-found", "Not Found", "No invocation has this id.")
        return json_response(item)

    async def query(self, request: web.Request) -> web.Response:
        """The query builder."""
        return json_response(await self._store.query(await json_body(request)))

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """Live tail: events as they happen, filtered."""
        live = self._bridge.live
        if live is None:
            raise Problem(503, "store-disabled", "Live Tail Disabled", "The live tail is off.")
        subscription = live.subscribe(live.filter(request.query), request.headers.get("last-event-id"))
        stream = web.StreamResponse(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        stream.content_type = "text/event-stream"
        await stream.prepare(request)
        try:
            async for chunk in subscription:
                await stream.write(chunk)
        except ConnectionError:
            pass
        finally:
            await subscription.aclose()
        return stream

    async def exports(self, request: web.Request) -> web.Response:
        """The loss ledger and the state of each destination."""
        return json_response(self._bridge.exports())

    async def health(self, request: web.Request) -> web.Response:
        """The process lives."""
        return json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Ready to serve, or a problem that says what is missing."""
        ready, reasons = self._bridge.ready()
        if not ready:
            return problem_response(Problem(503, "not-ready", "Not Ready", "; ".join(reasons)))
        return json_response({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus text."""
        return web.Response(text=self._bridge.metrics_text(), content_type="text/plain", charset="utf-8")


def _search(request: web.Request) -> dict[str, Any]:
    query = request.query
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Problem(400, "invalid-query", "Invalid query", "order must be asc or desc.")
    limit = query.get("limit", "100")
    if not limit.isdigit() or not 1 <= int(limit) <= 1000:
        raise Problem(400, "invalid-query", "Invalid query", "limit must be a whole number from 1 to 1000.")
    return {
        "q": query.get("q", ""),
        "since": query.get("since"),
        "until": query.get("until"),
        "limit": int(limit),
        "cursor": query.get("cursor"),
        "order": order,
    }
