"""The standard OTEL_* variables, each with its source: endpoints, batches, limits, sampler, resource.

No endpoint and no explicit exporter means no export. Times are in milliseconds, as the specification says, also
OTEL_EXPORTER_OTLP_TIMEOUT, which the Python SDK reads as seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from otelbridge.otel.variables import Shown, Variables

__all__ = ["LOGS", "METRICS", "SIGNALS", "SPANS", "AttributeLimits", "BatchLimits", "Endpoint", "Environment", "MetricsOptions", "Signal"]

Signal = Literal["logs", "spans", "metrics"]
LOGS: Final = "logs"
SPANS: Final = "spans"
METRICS: Final = "metrics"
SIGNALS: Final[tuple[Signal, ...]] = (LOGS, SPANS, METRICS)

_WORD = {LOGS: "LOGS", SPANS: "TRACES", METRICS: "METRICS"}
_PATH = {LOGS: "v1/logs", SPANS: "v1/traces", METRICS: "v1/metrics"}
_PROTOCOLS = ("http/protobuf", "http/json", "grpc")
_SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where one signal goes and how. `url` is complete for HTTP; for gRPC it is scheme://host:port."""

    url: str
    protocol: str
    headers: dict[str, str] = {}
    gzip: bool = False
    timeout_ms: int = 10_000
    certificate: Path | None = None  # the authorities to trust, instead of the system's
    client_certificate: Path | None = None
    client_key: Path | None = None


class BatchLimits(msgspec.Struct, frozen=True):
    """How records of a signal are put together. `max_queue`: records in memory at a time; the rest waits in the spool."""

    delay_ms: int
    timeout_ms: int
    max_queue: int
    max_batch: int


class AttributeLimits(msgspec.Struct, frozen=True):
    """Limits of a record's attributes; None is no limit. `length` counts characters."""

    count: int | None = None
    length: int | None = None


class MetricsOptions(msgspec.Struct, frozen=True):
    """How metrics are made: `temporality` is cumulative, delta or lowmemory."""

    interval_ms: int = 60_000
    timeout_ms: int = 30_000
    temporality: str = "cumulative"
    exponential: bool = False
    exemplars: str = "trace_based"


class Environment:
    """All of them, read once. `warnings` are sentences for the log; `shown` is for `otelbridge check`."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        variables = Variables(os.environ if environ is None else environ)
        self.sdk_disabled = variables.flag("OTEL_SDK_DISABLED")
        self.service_name = variables.text("OTEL_SERVICE_NAME")
        self.resource_attributes = variables.pairs("OTEL_RESOURCE_ATTRIBUTES", header=False)
        self.propagators = variables.words("OTEL_PROPAGATORS", allowed=("tracecontext", "baggage"), default="tracecontext,baggage")
        self.sampler = variables.choice("OTEL_TRACES_SAMPLER", allowed=_SAMPLERS, default="parentbased_always_on")
        self.sampler_set = variables.shown["OTEL_TRACES_SAMPLER"].source != "default"
        self.sampler_rate = variables.rate("OTEL_TRACES_SAMPLER_ARG")
        self.exporters: dict[Signal, tuple[str, ...]] = {s: _exporters(variables, s) for s in SIGNALS}
        self.endpoints: dict[Signal, Endpoint] = {s: _endpoint(variables, s) for s in SIGNALS}
        self.batches: dict[Signal, BatchLimits] = {
            LOGS: _batch(variables, "BLRP", delay=1_000),
            SPANS: _batch(variables, "BSP", delay=5_000),
            METRICS: BatchLimits(0, 30_000, 1, 1),
        }
        self.attribute_limits: dict[Signal, AttributeLimits] = {LOGS: _limits(variables, "LOGRECORD"), SPANS: _limits(variables, "SPAN")}
        self.metrics = _metrics(variables)
        if variables.text("OTEL_CONFIG_FILE"):
            variables.warnings.append("OTEL_CONFIG_FILE: configuration files of OpenTelemetry are not read; use otelbridge.toml.")
        self.warnings = variables.warnings
        self.shown: list[Shown] = list(variables.shown.values())

    def exports(self, signal: Signal) -> bool:
        """Whether this signal goes to the endpoint of the OTEL_* variables."""
        return not self.sdk_disabled and "otlp" in self.exporters[signal]

    def prints(self, signal: Signal) -> bool:
        """Whether this signal is printed."""
        return not self.sdk_disabled and "console" in self.exporters[signal]


def _exporters(variables: Variables, signal: Signal) -> tuple[str, ...]:
    # Without an endpoint the specification would send to localhost:4318; a bridge that nobody pointed anywhere sends nothing.
    word = _WORD[signal]
    endpoint = variables.text(f"OTEL_EXPORTER_OTLP_{word}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return variables.words(f"OTEL_{word}_EXPORTER", allowed=("otlp", "console"), default="otlp" if endpoint else "none")


def _endpoint(variables: Variables, signal: Signal) -> Endpoint:
    word = _WORD[signal]

    def names(field: str) -> tuple[str, str]:
        return f"OTEL_EXPORTER_OTLP_{word}_{field}", f"OTEL_EXPORTER_OTLP_{field}"

    protocol = variables.choice(*names("PROTOCOL"), allowed=_PROTOCOLS, default="http/protobuf")
    insecure = variables.flag(*names("INSECURE"))
    return Endpoint(
        url=_url(variables, signal, protocol, insecure),
        protocol=protocol,
        headers=variables.pairs(*names("HEADERS"), header=True),
        gzip=variables.choice(*names("COMPRESSION"), allowed=("gzip", "none"), default="none") == "gzip",
        timeout_ms=variables.number(*names("TIMEOUT"), default=10_000, at_least=1) or 10_000,
        certificate=variables.path(*names("CERTIFICATE")),
        client_certificate=variables.path(*names("CLIENT_CERTIFICATE")),
        client_key=variables.path(*names("CLIENT_KEY")),
    )


def _url(variables: Variables, signal: Signal, protocol: str, insecure: bool) -> str:
    """A signal's own endpoint is taken as it is; the common one is a base that the signal's path is added to."""
    own, common = f"OTEL_EXPORTER_OTLP_{_WORD[signal]}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    url = variables.text(own, common)
    shown = variables.shown[own]
    if protocol == "grpc":
        url = url or "http://localhost:4317"
        if "://" not in url:
            url = f"{'http' if insecure else 'https'}://{url}"
    elif url is None or not shown.source.endswith(own):
        url = f"{(url or 'http://localhost:4318').rstrip('/')}/{_PATH[signal]}"
    if not url.startswith(("http://", "https://")):
        variables.warnings.append(f"{shown.source.removeprefix('environment ')}: {url!r} must begin with http:// or https://.")
    variables.shown[own] = Shown(own, url, shown.source)
    return url


def _batch(variables: Variables, word: str, *, delay: int) -> BatchLimits:
    def number(field: str, default: int) -> int:
        return variables.number(f"OTEL_{word}_{field}", default=default, at_least=1) or default

    queue = number("MAX_QUEUE_SIZE", 2048)
    return BatchLimits(
        number("SCHEDULE_DELAY", delay), number("EXPORT_TIMEOUT", 30_000), queue, min(number("MAX_EXPORT_BATCH_SIZE", 512), queue)
    )


def _limits(variables: Variables, word: str) -> AttributeLimits:
    return AttributeLimits(
        variables.number(f"OTEL_{word}_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", default=128),
        variables.number(f"OTEL_{word}_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", default=None),
    )


def _metrics(variables: Variables) -> MetricsOptions:
    temporality = variables.choice(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", allowed=("cumulative", "delta", "lowmemory"), default="cumulative"
    )
    aggregation = variables.choice(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        allowed=("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
        default="explicit_bucket_histogram",
    )
    return MetricsOptions(
        interval_ms=variables.number("OTEL_METRIC_EXPORT_INTERVAL", default=60_000, at_least=1) or 60_000,
        timeout_ms=variables.number("OTEL_METRIC_EXPORT_TIMEOUT", default=30_000, at_least=1) or 30_000,
        temporality=temporality,
        exponential=aggregation == "base2_exponential_bucket_histogram",
        exemplars=variables.choice(
            "OTEL_METRICS_EXEMPLAR_FILTER", allowed=("always_on", "always_off", "trace_based"), default="trace_based"
        ),
    )
