"""Connections to destinations: which transport an endpoint needs, and whether somebody is there who takes telemetry."""

from __future__ import annotations

import msgspec

from otelbridge.otel.console import ConsoleTransport
from otelbridge.otel.destination import CONSOLE, Destination
from otelbridge.otel.environment import SPANS, Endpoint
from otelbridge.otel.over_http import HttpTransport
from otelbridge.otel.request import Request
from otelbridge.otel.transport import Accepted, Transport

__all__ = ["Probed", "connect", "probe"]


class Probed(msgspec.Struct, frozen=True):
    """What goes where, and what the destination said; `answer` is "ok", an error, or None when it was not asked."""

    destination: str
    signal: str
    protocol: str
    endpoint: str
    answer: str | None = None


def connect(endpoint: Endpoint) -> Transport:
    """The transport of an endpoint. Nothing is opened yet."""
    if endpoint.protocol == CONSOLE:
        return ConsoleTransport()
    if endpoint.protocol == "grpc":
        from otelbridge.otel.over_grpc import GrpcTransport

        return GrpcTransport(endpoint)
    return HttpTransport(endpoint)


async def probe(destination: Destination, *, ask: bool, timeout_s: float = 5.0) -> list[Probed]:
    """A row for each signal of a destination. It is asked as it will be asked later, with protocol, headers and certificates,
    by an export without records."""
    rows = []
    for signal, endpoint in destination.endpoints.items():
        answer = None
        if ask:
            transport = connect(endpoint)
            try:
                verdict = await transport.send(Request(signal), timeout_s)
            finally:
                await transport.aclose()
            answer = "ok" if isinstance(verdict, Accepted) else verdict.error
        name = "traces" if signal == SPANS else signal
        rows.append(Probed(destination.name, name, endpoint.protocol, endpoint.url or "standard error", answer))
    return rows
