"""Destinations: where telemetry goes, from the OTEL_* variables and from [[export.destinations]]."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from otelbridge.errors import SettingsError
from otelbridge.otel.environment import LOGS, METRICS, SIGNALS, SPANS, Endpoint, Environment, Signal

if TYPE_CHECKING:
    from otelbridge.settings import Destination as DestinationSettings
    from otelbridge.settings import Settings

__all__ = ["CONSOLE", "OTLP", "Destination", "destinations", "takes"]

OTLP = "otlp"
CONSOLE = "console"

_SIGNAL: dict[str, Signal] = {"logs": LOGS, "traces": SPANS, "metrics": METRICS}
_PATHS = {LOGS: "v1/logs", SPANS: "v1/traces", METRICS: "v1/metrics"}
_SEVERITY = {"debug": 5, "log": 9, "info": 9, "warn": 13, "error": 17}


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One destination. `endpoints` has the signals it takes; CONSOLE's have no URL. `workers`: patterns, empty for all;
    `lowest`: the severity below which it takes no log records."""

    name: str
    endpoints: dict[Signal, Endpoint]
    workers: tuple[str, ...] = ()
    lowest: int = 0

    @property
    def protocol(self) -> str:
        return next(iter(self.endpoints.values())).protocol

    @property
    def endpoint(self) -> str:
        """For people: the URL that the signals have in common, or the first one."""
        urls = [e.url for e in self.endpoints.values()]
        bases = {re.sub(r"/v1/(logs|traces|metrics)$", "", url) for url in urls}
        return bases.pop() if len(bases) == 1 else urls[0]

    def takes(self, worker_id: str) -> bool:
        """Whether a worker's telemetry goes there."""
        return takes(self.workers, worker_id)


def takes(workers: tuple[str, ...], worker_id: str) -> bool:
    """Whether a worker is among those that these patterns mean; without patterns all are."""
    return not workers or any(fnmatch.fnmatchcase(worker_id, pattern) for pattern in workers)


def destinations(settings: Settings, environment: Environment) -> list[Destination]:
    """All destinations, that of the standard variables first. SettingsError for one that can't be used."""
    out = list(_standard(environment))
    if not environment.sdk_disabled:
        out += [_configured(one) for one in settings.export.destinations]
    names = [d.name for d in out]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"export.destinations: the name {name!r} is taken; {OTLP!r} and {CONSOLE!r} belong to the OTEL_* variables."
            )
    for one in out:
        for endpoint in one.endpoints.values():
            _check(one.name, endpoint)
    return out


def _standard(environment: Environment) -> Iterator[Destination]:
    sent: dict[Signal, Endpoint] = {s: environment.endpoints[s] for s in SIGNALS if environment.exports(s)}
    if sent:
        yield Destination(name=OTLP, endpoints=sent)
    printed: dict[Signal, Endpoint] = {s: Endpoint(url="", protocol=CONSOLE) for s in SIGNALS if environment.prints(s)}
    if printed:
        yield Destination(name=CONSOLE, endpoints=printed)


def _configured(one: DestinationSettings) -> Destination:
    base = one.endpoint.rstrip("/")
    return Destination(
        name=one.name,
        endpoints={
            signal: Endpoint(
                url=base if one.protocol == "grpc" else f"{base}/{_PATHS[signal]}",
                protocol=one.protocol,
                headers={k.lower(): v for k, v in one.headers.items()},
                gzip=one.compression == "gzip",
                timeout_ms=one.timeout_ms,
                certificate=one.certificate,
                client_certificate=one.client_certificate,
                client_key=one.client_key,
            )
            for signal in (_SIGNAL[s] for s in one.signals)
        },
        workers=one.workers,
        lowest=_SEVERITY.get(one.min_level or "", 0),
    )


def _check(name: str, endpoint: Endpoint) -> None:
    if endpoint.protocol != CONSOLE and not endpoint.url.startswith(("http://", "https://")):
        raise SettingsError(f"The endpoint of destination {name!r} must begin with http:// or https://, not {endpoint.url!r}.")
    if (endpoint.client_certificate is None) != (endpoint.client_key is None):
        raise SettingsError(f"Destination {name!r} needs both a client certificate and its key, or neither.")
    for path in (endpoint.certificate, endpoint.client_certificate, endpoint.client_key):
        if path is not None and not path.is_file():
            raise SettingsError(f"Destination {name!r}: there is no file {path}.")
