"""From the spool to a collector: parts become OTLP log records and spans, sent over HTTP until they are taken."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otelbridge.model.part import Notice, Part, SpanClose, SpanOpen, WorkerRef, decode, entries
from otelbridge.model.trace import DiagnosticsEvent, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent, TraceException, TraceLog
from otelbridge.spool import SpoolReader

__all__ = ["BasicExporter"]

_log = logging.getLogger("otelbridge.otel")

_SEVERITY = {"debug": 5, "log": 9, "info": 9, "warn": 13, "error": 17}
_RETRY = {429, 500, 502, 503, 504}
_MAX_DEPTH = 32


def span_id_of(invocation_id: str, number: int) -> bytes:
    """The id of a worker's own span: the guest gives it a number, the host makes an id of that and the invocation."""
    return hashlib.blake2b(f"{invocation_id}/{number}".encode(), digest_size=8).digest()


def put_value(to: Any, value: Any, depth: int = 0) -> None:
    """Any value a guest logged as an OTLP AnyValue."""
    kind = type(value)
    if kind is str:
        to.string_value = value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    elif kind is bool:
        to.bool_value = value
    elif kind is int:
        if -(1 << 63) <= value < 1 << 63:
            to.int_value = value
        else:
            to.string_value = str(value)
    elif kind is float:
        to.double_value = value
    elif value is None:
        pass
    elif depth >= _MAX_DEPTH:
        to.string_value = msgspec.json.encode(value).decode()
    elif kind is dict:
        to.kvlist_value.SetInParent()
        for key, item in value.items():
            pair = to.kvlist_value.values.add()
            pair.key = str(key)
            put_value(pair.value, item, depth + 1)
    elif kind is list:
        to.array_value.SetInParent()
        for item in value:
            put_value(to.array_value.values.add(), item, depth + 1)
    else:
        to.string_value = str(value)


def put(attributes: Any, **members: Any) -> None:
    """Attributes by name; "__" stands for a dot, None is left out."""
    for name, value in members.items():
        if value is not None:
            pair = attributes.add()
            pair.key = name.replace("__", ".")
            put_value(pair.value, value)


class BasicExporter:
    """Sends what the spool holds to OTEL_EXPORTER_OTLP_ENDPOINT. Without one it does nothing."""

    def __init__(self, *, directory: Path, environ: Mapping[str, str] = os.environ, service: Any = None) -> None:
        base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
        self._logs_url = environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") or (base and base + "/v1/logs")
        self._traces_url = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (base and base + "/v1/traces")
        off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        self.enabled = bool(self._logs_url or self._traces_url) and not off
        self._headers = dict(p.split("=", 1) for p in environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",") if "=" in p)
        self._common = dict(p.split("=", 1) for p in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",") if "=" in p)
        self._service = environ.get("OTEL_SERVICE_NAME") or getattr(service, "name", "dynamic-workers")
        self._directory = directory
        self._resources: OrderedDict[WorkerRef, Resource] = OrderedDict()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ledger: dict[str, dict[str, dict[str, int]]] = {}
        self._error: str | None = None
        self._idle = asyncio.Event()

    async def __aenter__(self) -> BasicExporter:
        if self.enabled:
            self._reader = SpoolReader(self._directory, "export")
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
            self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, timeout: float = 5.0) -> None:
        """Send what is there, for at most `timeout` seconds; the rest stays in the spool."""
        task, self._task = self._task, None
        if task is None:
            return
        self._idle.clear()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await self._session.close()
        self._reader.close()

    def wake(self) -> None:
        """There is something new in the spool."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            frames = await asyncio.to_thread(self._reader.read, 1 << 20, 2048)
            if not frames:
                self._idle.set()
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self._wake.wait()
                await asyncio.sleep(0.05)
                continue
            logs, traces = ExportLogsServiceRequest(), ExportTraceServiceRequest()
            for frame in frames:
                item = decode(frame.payload)
                if isinstance(item, Part):
                    self._add(item, logs, traces)
                elif isinstance(item, Notice):
                    continue
            if self._logs_url and logs.resource_logs:
                await self._send(self._logs_url, logs.SerializeToString(), ExportLogsServiceResponse)
            if self._traces_url and traces.resource_spans:
                await self._send(self._traces_url, traces.SerializeToString(), ExportTraceServiceResponse)
            await asyncio.to_thread(self._reader.commit, self._reader.position)

    async def _send(self, url: str, body: bytes, answer: Any) -> bool:
        wait = 0.2
        while True:
            try:
                headers = {"content-type": "application/x-protobuf", **self._headers}
                async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                    await response.read()
                    if response.status == 200:
                        self._error = None
                        return True
                    self._error = f"{url} answered {response.status}"
                    if response.status not in _RETRY:
                        _log.error("%s: %d bytes of telemetry were refused", self._error, len(body))
                        return False
            except (aiohttp.ClientError, TimeoutError) as e:
                self._error = f"{url}: {type(e).__name__}: {e}"
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, 5.0)

    def _resource(self, worker: WorkerRef) -> Resource:
        key = worker.worker_id + "\0" + worker.version
        found = self._resources.get(key)  # type: ignore[call-overload]
        if found is None:
            found = Resource()
            own = {
                "workerId": worker.worker_id,
                "service.name": self._service,
                "faas.name": worker.worker_id,
                "faas.version": worker.version,
                "faas.max_memory": worker.memory_bytes or None,
                "process.runtime.name": "wasmtime",
                "process.runtime.version": version("wasmtime"),
                "telemetry.sdk.name": "opentelemetry",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.version": version("opentelemetry-sdk"),
                "telemetry.distro.name": "otelbridge",
            }
            tags = {f"otelbridge.worker.tag.{k}": v for k, v in worker.tags.items()}
            for name, value in (self._common | tags | own).items():
                put(found.attributes, **{name: value})
            self._resources[key] = found  # type: ignore[index]
            if len(self._resources) > 10_000:
                self._resources.popitem(last=False)
        return found

    def _add(self, part: Part, logs: Any, traces: Any) -> None:
        records = None
        trace_id, root = bytes.fromhex(part.trace_id), bytes.fromhex(part.span_id)
        for entry in entries(part):
            if isinstance(entry, SpanOpen | SpanClose | DiagnosticsEvent):
                continue
            if records is None:
                resource_logs = logs.resource_logs.add()
                resource_logs.resource.CopyFrom(self._resource(part.worker))
                scope = resource_logs.scope_logs.add()
                scope.scope.name = "otelbridge"
                records = scope.log_records
            record = records.add()
            record.time_unix_nano = record.observed_time_unix_nano = entry.time_ns
            record.trace_id, record.flags = trace_id, part.trace_flags
            record.span_id = span_id_of(part.invocation_id, entry.span) if entry.span else root
            uid = f"{part.invocation_id}-{entry.sequence}"
            common = {
                "faas__invocation_id": part.invocation_id,
                "otelbridge__source": "dynamic-worker-tail",
                "otelbridge__sequence": entry.sequence,
                "log__record__uid": uid,
            }
            put(record.attributes, **common)
            if isinstance(entry, TraceLog):
                record.severity_number, record.severity_text = _SEVERITY[entry.level], entry.level
                put_value(record.body, entry.message[0] if len(entry.message) == 1 else entry.message)
            elif isinstance(entry, TraceException):
                record.severity_number, record.severity_text = 17, "error"
                record.event_name = "exception"
                put_value(record.body, f"{entry.name}: {entry.message}")
                put(record.attributes, exception__type=entry.name, exception__message=entry.message, exception__stacktrace=entry.stack)
        if part.end is not None:
            self._add_span(part, traces, trace_id, root)

    def _add_span(self, part: Part, traces: Any, trace_id: bytes, root: bytes) -> None:
        end, event = part.end, part.event
        assert end is not None
        resource_spans = traces.resource_spans.add()
        resource_spans.resource.CopyFrom(self._resource(part.worker))
        scope = resource_spans.scope_spans.add()
        scope.scope.name = "otelbridge"
        span = scope.spans.add()
        span.trace_id, span.span_id, span.kind = trace_id, root, 2
        if part.parent_span_id:
            span.parent_span_id = bytes.fromhex(part.parent_span_id)
        span.start_time_unix_nano, span.end_time_unix_nano = part.start_ns, end.time_ns
        failed = end.outcome != "ok"
        put(
            span.attributes,
            faas__invocation_id=part.invocation_id,
            faas__coldstart=end.cold_start is not None,
            otelbridge__outcome=end.outcome,
            otelbridge__cpu_time_ms=end.cpu_ns / 1e6,
            otelbridge__memory_bytes=end.memory_bytes,
            otelbridge__entrypoint=part.entrypoint,
            http__response__status_code=end.status,
            error__type=end.outcome if failed else str(end.status) if (end.status or 0) >= 500 else None,
        )
        if isinstance(event, FetchEvent):
            path = "/" + event.url.partition("://")[2].partition("/")[2].partition("?")[0]
            span.name = f"{event.method} /w/{{workerId}}/"
            put(
                span.attributes,
                faas__trigger="http",
                http__request__method=event.method,
                url__path=path,
                url__full=event.url,
                http__route="/w/{workerId}/",
            )
        elif isinstance(event, RpcEvent):
            span.name = event.method
            put(span.attributes, faas__trigger="other", rpc__method=event.method)
        elif isinstance(event, ScheduledEvent):
            span.name = "scheduled"
            put(span.attributes, faas__trigger="timer", faas__cron=event.cron)
        elif isinstance(event, QueueEvent):
            span.name = "queue"
            put(span.attributes, faas__trigger="pubsub")
        if failed or (end.status or 0) >= 500:
            span.status.code = 2
        if end.cold_start is not None:
            load = scope.spans.add()
            load.trace_id, load.span_id, load.parent_span_id = trace_id, span_id_of(part.invocation_id, -1), root
            load.name, load.kind = "load", 1
            load.start_time_unix_nano, load.end_time_unix_nano = end.cold_start.start_ns, end.cold_start.end_ns
        for sub in end.subrequests:
            child = scope.spans.add()
            child.trace_id, child.span_id, child.kind = trace_id, bytes.fromhex(sub.span_id), 3
            child.parent_span_id = span_id_of(part.invocation_id, sub.span) if sub.span else root
            child.name = sub.method
            child.start_time_unix_nano, child.end_time_unix_nano = sub.start_ns, sub.end_ns
            put(
                child.attributes,
                http__request__method=sub.method if sub.kind == "fetch" else None,
                url__full=sub.url or None,
                http__response__status_code=sub.status,
                error__type=sub.error,
            )
            if sub.error:
                child.status.code = 2

    def exports(self) -> dict[str, Any]:
        """The state of the destination."""
        state = "off" if not self.enabled else "failing" if self._error else "ok"
        return {
            "destinations": [{"name": "otlp", "protocol": "http/protobuf", "endpoint": self._logs_url or self._traces_url, "state": state, "lastError": self._error}] if self.enabled else [],
            "workers": [],
            "total": {},
        }

    def metrics_text(self) -> str:
        """Nothing yet."""
        return ""
