"""What events, methods and outcomes are called in OpenTelemetry's semantic conventions. Pure, no I/O."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from otelbridge.model.part import End
from otelbridge.model.trace import Event, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent

__all__ = ["ROUTE", "event_attributes", "failed", "known_method", "trigger", "url_attributes"]

ROUTE: Final = "/w/{workerId}/{path}"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})


def failed(end: End | None) -> bool:
    """Whether an invocation counts as failed: any outcome but ok, and server errors."""
    return end is None or end.outcome != "ok" or (end.status is not None and end.status >= 500)


def trigger(event: Event) -> str:
    """faas.trigger."""
    if isinstance(event, FetchEvent):
        return "http"
    if isinstance(event, ScheduledEvent):
        return "timer"
    return "pubsub" if isinstance(event, QueueEvent) else "other"


def known_method(method: str) -> str:
    """The method, or _OTHER: a label must not have as many values as clients have ideas."""
    return method if method in _METHODS else "_OTHER"


def event_attributes(event: Event) -> tuple[str, Mapping[str, Any]]:
    """The span's name, of low cardinality, and the event's attributes: for who copies them."""
    if isinstance(event, FetchEvent):
        agent = event.headers.get("user-agent")
        short = len(event.url) + len(agent or "") <= _SHORT  # worth remembering: a client chooses both, and how long they are
        return (_request_attributes if short else _request_attributes.__wrapped__)(event.method, event.url, event.client_ip, agent)
    if isinstance(event, RpcEvent):
        return f"rpc {event.method}", {"rpc.method": event.method}
    if isinstance(event, ScheduledEvent):
        return "scheduled", {"faas.cron": event.cron, "faas.time": _iso(event.scheduled_time)}
    attributes = {"messaging.destination.name": event.queue, "messaging.batch.message_count": event.batch_size}
    return f"queue {event.queue}", attributes


_SHORT: Final = 512


@functools.lru_cache(maxsize=1024)
def _request_attributes(method: str, url: str, client_ip: str | None, agent: str | None) -> tuple[str, Mapping[str, Any]]:
    known = known_method(method)
    attributes: dict[str, Any] = {"http.request.method": known}
    if known != method:
        attributes["http.request.method_original"] = method
    attributes["http.route"] = ROUTE
    attributes.update(url_attributes(url))
    if client_ip is not None:
        attributes["client.address"] = client_ip
    if agent:
        attributes["user_agent.original"] = agent
    return f"{known if known != '_OTHER' else 'HTTP'} {ROUTE}", attributes


def url_attributes(url: str) -> dict[str, Any]:
    """What a URL says; of one that can't be read, as little as there must be."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return {"url.path": "/", "url.scheme": "http"}
    attributes: dict[str, Any] = {"url.path": parts.path or "/", "url.scheme": parts.scheme or "http"}
    if parts.query:
        attributes["url.query"] = parts.query
    if host:
        attributes["server.address"] = host
    if port is not None:
        attributes["server.port"] = port
    return attributes


def _iso(milliseconds: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
