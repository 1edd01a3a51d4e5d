"""What events, methods and outcomes are called in OpenTelemetry's semantic conventions. Pure, no I/O."""

from __future__ import annotations

import datetime
import functools
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


def event_attributes(event: Event, attributes: dict[str, Any]) -> str:
    """Put the event's attributes; the span's name, of low cardinality."""
    if isinstance(event, FetchEvent):
        method = known_method(event.method)
        attributes["http.request.method"] = method
        if method != event.method:
            attributes["http.request.method_original"] = event.method
        attributes["http.route"] = ROUTE
        url_attributes(event.url, attributes)
        if event.client_ip is not None:
            attributes["client.address"] = event.client_ip
        if agent := event.headers.get("user-agent"):
            attributes["user_agent.original"] = agent
        return f"{method if method != '_OTHER' else 'HTTP'} {ROUTE}"
    if isinstance(event, RpcEvent):
        attributes["rpc.method"] = event.method
        return f"rpc {event.method}"
    if isinstance(event, ScheduledEvent):
        attributes["faas.cron"] = event.cron
        attributes["faas.time"] = _iso(event.scheduled_time)
        return "scheduled"
    attributes["messaging.destination.name"] = event.queue
    attributes["messaging.batch.message_count"] = event.batch_size
    return f"queue {event.queue}"


def url_attributes(url: str, attributes: dict[str, Any]) -> None:
    attributes.update(_url_attributes(url) if len(url) <= _SHORT else _url_attributes.__wrapped__(url))


_SHORT: Final = 256  # characters of a URL that is worth remembering


@functools.lru_cache(maxsize=1024)
def _url_attributes(url: str) -> dict[str, Any]:
    """For who copies it."""
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
