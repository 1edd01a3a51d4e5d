"""Every setting with its type, default, bounds and one sentence. Names end in their unit; this file is the only list.

The reader, `otelbridge check` and docs/settings.md are all made from these structs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["Destination", "Section", "Tree"]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: frozen data, no unknown names."""


class ServerSettings(Section, frozen=True):
    """The HTTP service."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on. Anything but loopback needs `auth.token`.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8787
    processes: Annotated[
        int, Meta(ge=0, le=256, description="Loader processes of `serve`: 0 is one per core, 1 everything in one process.")
    ] = 0
    expose_errors: Annotated[
        bool | None, Meta(description="Show a worker's error message and stack to its HTTP client. Unset: only while bound to loopback.")
    ] = None
    reload: Annotated[Path | None, Meta(description="Directory of worker files to load, and to load again whenever one changes.")] = None
    max_body_bytes: Annotated[int, Meta(ge=0, description="Largest request body; a larger one gets 413.")] = 16 * MIB
    allow_inline_logs: Annotated[
        bool, Meta(description="Allow `otelbridge-logs: inline`, which returns an invocation's logs with its response.")
    ] = False
    isolate_pages: Annotated[
        bool,
        Meta(description="Web pages of workers get no origin in a browser, so that their scripts can't use this service's API or pages."),
    ] = True
    drain_seconds: Annotated[float, Meta(ge=0, description="How long a stop waits for running invocations and for telemetry to leave.")] = (
        10.0
    )
    hang_seconds: Annotated[
        float, Meta(ge=0, description="A loader or hub whose event loop stands still for so long is killed and started anew; 0: never.")
    ] = 30.0
    start_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="A loader or hub that needs longer to load its program, or then to serve, is killed and started anew; 0: never.",
        ),
    ] = 300.0  # the very first start, which compiles the engine, takes 3 s on two quiet cores: a machine has to be a hundred times slower


class AuthSettings(Section, frozen=True):
    """Who may use /v1."""

    token: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Bearer token that `/v1/*` asks for. Unset: no authentication.", extra={"secret": True}),
    ] = None


class OutboundSettings(Section, frozen=True):
    """Where a worker's fetch() may go."""

    allow_private: Annotated[bool, Meta(description="Let workers reach private, loopback and link-local addresses.")] = False
    allow: Annotated[list[str], Meta(description="Host patterns that workers may reach (`*.example.com`); empty: all.")] = []
    deny: Annotated[list[str], Meta(description="Host patterns that workers may not reach; wins over `allow`.")] = []
    timeout_seconds: Annotated[float, Meta(gt=0, description="How long one subrequest may take.")] = 30.0
    max_response_bytes: Annotated[int, Meta(ge=0, description="Largest body of a subrequest's response.")] = 64 * MIB


class LimitSettings(Section, frozen=True):
    """What an invocation may use when neither the worker's code nor the call says less."""

    cpu_ms: Annotated[int, Meta(ge=1, description="CPU time of one invocation.")] = 5_000
    wall_ms: Annotated[int, Meta(ge=1, description="Time from start to end of one invocation.")] = 30_000
    memory_mb: Annotated[int, Meta(ge=1, le=4096, description="Memory of one instance, in MiB.")] = 128
    subrequests: Annotated[int, Meta(ge=0, description="Subrequests of one invocation.")] = 50
    log_bytes: Annotated[int, Meta(ge=0, description="Log lines of one invocation, in bytes.")] = 256 * KIB


class MaximumSettings(Section, frozen=True):
    """What a worker's code or a call may ask for at most."""

    cpu_ms: Annotated[int, Meta(ge=1, description="Most that `limits.cpuMs` of a worker may ask for.")] = 60_000
    wall_ms: Annotated[int, Meta(ge=1, description="Most that `limits.wallMs` of a worker may ask for.")] = 300_000
    memory_mb: Annotated[int, Meta(ge=1, le=4096, description="Most that `limits.memoryMb` of a worker may ask for.")] = 512
    subrequests: Annotated[int, Meta(ge=0, description="Most that `limits.subRequests` of a worker may ask for.")] = 1_000
    log_bytes: Annotated[int, Meta(ge=0, description="Most that `limits.logBytes` of a worker may ask for.")] = 4 * MIB


class SandboxSettings(Section, frozen=True):
    """Instances and their engine."""

    max_instances: Annotated[int, Meta(ge=1, le=100_000, description="Instances alive at once in one process.")] = 1_000
    max_per_worker: Annotated[int, Meta(ge=1, le=100_000, description="Instances of one worker alive at once.")] = 32
    queue_limit: Annotated[int, Meta(ge=0, description="Invocations that may wait for an instance; more get 503 `loadShed`.")] = 1_000
    queue_seconds: Annotated[
        float, Meta(gt=0, description="How long an invocation waits for an instance before it gets 503 `loadShed`.")
    ] = 5.0
    tick_ms: Annotated[int, Meta(ge=1, le=100, description="Length of a slice: how long a guest runs before others get their turn.")] = 2
    cache_dir: Annotated[Path | None, Meta(description="Where compiled code is kept. Unset: `cache` in `data_dir`.")] = None
    compile_seconds: Annotated[float, Meta(gt=0, description="How long compiling a worker's module may take.")] = 20.0


class SpoolSettings(Section, frozen=True):
    """The append-only file between workers and everything that reads their telemetry."""

    segment_bytes: Annotated[int, Meta(ge=64 * KIB, description="Size at which a spool segment is closed and a new one begun.")] = 16 * MIB
    max_bytes: Annotated[int, Meta(ge=MIB, description="Most that the spool may hold; beyond it records are dropped, and counted.")] = GIB
    sync_ms: Annotated[
        int, Meta(ge=0, description="Interval of fdatasync: what a power cut can take. A killed process loses nothing anyway. 0: never.")
    ] = 100


class StoreSettings(Section, frozen=True):
    """The embedded log store behind search and query."""

    enabled: Annotated[bool, Meta(description="Keep logs in the embedded store.")] = True
    segment_records: Annotated[int, Meta(ge=1_000, description="Records after which the store begins a new file.")] = 500_000
    retention_seconds: Annotated[int, Meta(ge=60, description="Age at which stored logs are removed.")] = 7 * 86_400
    max_bytes: Annotated[int, Meta(ge=MIB, description="Most that the store may hold; the oldest logs go first.")] = 5 * GIB
    query_seconds: Annotated[float, Meta(gt=0, description="How long a search or a query may take before it is stopped.")] = 10.0


class Destination(Section, frozen=True):
    """An OTLP destination beside the one of the OTEL_* variables: a table [[export.destinations]]."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9._-]+$")]
    endpoint: Annotated[str, Meta(pattern="^https?://")]
    protocol: Literal["http/protobuf", "http/json", "grpc"] = "http/protobuf"
    headers: Annotated[dict[str, str], Meta(extra={"secret": True})] = {}
    compression: Literal["gzip", "none"] = "gzip"
    timeout_ms: Annotated[int, Meta(ge=1)] = 10_000
    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    signals: tuple[Literal["logs", "traces", "metrics"], ...] = ("logs", "traces", "metrics")
    workers: tuple[str, ...] = ()  # patterns of worker ids; empty: all
    min_level: Literal["debug", "log", "info", "warn", "error"] | None = None


class ExportSettings(Section, frozen=True):
    """Export over OTLP. Endpoint, headers and the rest of the first destination come from the standard OTEL_* variables."""

    retry_500_seconds: Annotated[
        float, Meta(ge=0, description="How long a batch that gets status 500 is retried before it is set aside.")
    ] = 300.0
    dead_letter_bytes: Annotated[int, Meta(ge=0, description="Most that batches a destination refused may take on disk.")] = 256 * MIB
    structured_attributes: Annotated[
        bool, Meta(description="Give the top-level fields of a logged object as attributes too, below `log.`.")
    ] = False
    max_line_bytes: Annotated[int, Meta(ge=0, description="Cut the body of a log record at this length; 0: never.")] = 0
    max_attributes: Annotated[int, Meta(ge=0, description="Most attributes of a record; 0: no limit.")] = 0
    max_attribute_bytes: Annotated[int, Meta(ge=0, description="Cut attribute values at this length; 0: never.")] = 0
    destinations: Annotated[list[Destination], Meta(description="Further destinations, as tables `[[export.destinations]]`.")] = []


Rate = Annotated[float, Meta(ge=0, le=1)]


class LogsSettings(Section, frozen=True):
    """Log records, spelled as in wrangler's configuration."""

    enabled: Annotated[bool, Meta(description="Keep what workers log.")] = True
    head_sampling_rate: Annotated[
        Rate | None, Meta(description="Share of invocations whose logs are kept. Unset: `observability.head_sampling_rate`.")
    ] = None
    invocation_logs: Annotated[
        bool,
        Meta(
            description="Show a record of each invocation itself among the logs, in search and live; `/v1/invocations`, spans and metrics stay."
        ),
    ] = True
    persist: Annotated[bool, Meta(description="Keep logs in the embedded store; without it they are only exported and seen live.")] = True


class TracesSettings(Section, frozen=True):
    """Spans, spelled as in wrangler's configuration."""

    enabled: Annotated[bool, Meta(description="Make spans of invocations.")] = True
    head_sampling_rate: Annotated[
        Rate | None, Meta(description="Share of invocations whose spans are kept. Unset: `observability.head_sampling_rate`.")
    ] = None
    persist: Annotated[bool, Meta(description="Keep spans in the embedded store.")] = True


class ObservabilitySettings(Section, frozen=True):
    """What is kept of an invocation, spelled as in wrangler's configuration."""

    enabled: Annotated[bool, Meta(description="Observe workers at all. Off: they run, and nothing is recorded.")] = True
    head_sampling_rate: Annotated[
        float, Meta(ge=0, le=1, description="Share of invocations that are kept, whole; sampled-out ones are counted.")
    ] = 1.0
    keep_failed: Annotated[bool, Meta(description="Keep invocations that failed or logged an error, whatever the rate.")] = True
    slow_ms: Annotated[int, Meta(ge=0, description="Keep invocations that took at least this long, whatever the rate; 0: off.")] = 0
    logs: LogsSettings = LogsSettings()
    traces: TracesSettings = TracesSettings()


class ServiceSettings(Section, frozen=True):
    """The resource that all workers share."""

    name: Annotated[str, Meta(min_length=1, description="`service.name`; `OTEL_SERVICE_NAME` wins while this is unset.")] = (
        "dynamic-workers"
    )
    namespace: Annotated[str | None, Meta(description="`service.namespace`.")] = None
    version: Annotated[str | None, Meta(description="`service.version`.")] = None
    environment: Annotated[str | None, Meta(description="`deployment.environment.name`.")] = None


class TelemetrySettings(Section, frozen=True):
    """What the bridge tells of itself."""

    own_traces: Annotated[
        bool, Meta(description="Send spans of the bridge's own work too: export requests, index batches and loads of workers.")
    ] = False


class LogSettings(Section, frozen=True):
    """The service's own log on stderr."""

    format: Annotated[Literal["text", "json"], Meta(description="Lines of text, or one JSON object on each line.")] = "text"


class Tree(Section, frozen=True):
    """All settings."""

    data_dir: Annotated[Path, Meta(description="Where everything that lasts is kept: workers, spool, log store, compiled code.")] = Path(
        ".otelbridge"
    )
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    outbound: OutboundSettings = OutboundSettings()
    limits: LimitSettings = LimitSettings()
    limits_max: MaximumSettings = MaximumSettings()
    sandbox: SandboxSettings = SandboxSettings()
    spool: SpoolSettings = SpoolSettings()
    store: StoreSettings = StoreSettings()
    export: ExportSettings = ExportSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    service: ServiceSettings = ServiceSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log: LogSettings = LogSettings()
