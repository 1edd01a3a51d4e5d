"""What one invocation leaves behind: events, log lines, exceptions, outcome; Cloudflare's TraceItem and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

__all__ = [
    "OUTCOMES",
    "DiagnosticsEvent",
    "Dropped",
    "Event",
    "FetchEvent",
    "QueueEvent",
    "RpcEvent",
    "ScheduledEvent",
    "Subrequest",
    "TailWorker",
    "TraceException",
    "TraceItem",
    "TraceLog",
    "UserSpan",
]

OUTCOMES = (
    "ok",
    "exception",
    "exceededCpu",
    "exceededMemory",
    "exceededWallTime",
    "canceled",
    "responseStreamDisconnected",
    "loadShed",
    "scriptNotFound",
    "internalError",
    "unknown",
)


class FetchEvent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="fetch"):
    """An HTTP request. In telemetry `url` and `headers` are redacted; `client_ip` is the peer's address, if known."""

    method: str
    url: str
    headers: dict[str, str]
    client_ip: str | None = None


class RpcEvent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="rpc"):
    """A method called on an entrypoint."""

    method: str


class ScheduledEvent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="scheduled"):
    """A cron trigger; the time in milliseconds since 1970."""

    cron: str
    scheduled_time: int


class QueueEvent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="queue"):
    """A batch of messages of a queue."""

    queue: str
    batch_size: int


Event = FetchEvent | RpcEvent | ScheduledEvent | QueueEvent


class TraceLog(msgspec.Struct, frozen=True, gc=False):
    """A console call. `message` holds the arguments; `error_info` has an entry per argument, None for non-errors."""

    time_ns: int
    sequence: int
    level: str
    message: list[Any]
    error_info: list[Any] | None = None
    span: int = 0


class TraceException(msgspec.Struct, frozen=True, gc=False):
    """What was thrown. The stack has no leading "Name: message" line."""

    time_ns: int
    sequence: int
    name: str
    message: str
    stack: str | None = None
    span: int = 0


class DiagnosticsEvent(msgspec.Struct, frozen=True, gc=False):
    """A message published on a node:diagnostics_channel."""

    time_ns: int
    sequence: int
    channel: str
    message: Any
    span: int = 0


class Subrequest(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One subrequest: fetch() or a call of a binding. Times in ns; `span` is the guest's span it was made in."""

    span_id: str
    kind: str
    method: str
    url: str
    start_ns: int
    end_ns: int
    status: int | None = None
    error: str | None = None
    span: int = 0


class UserSpan(msgspec.Struct, frozen=True):
    """A span that the worker opened itself. `end_ns` is None when it was never closed."""

    number: int
    parent: int
    name: str
    start_ns: int
    end_ns: int | None
    attributes: dict[str, Any]


class Dropped(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What limits made the sandbox leave out of an invocation."""

    logs: int = 0
    exceptions: int = 0
    bytes: int = 0


class TraceItem(msgspec.Struct, frozen=True, kw_only=True):
    """All that one invocation left behind, handed to its tails."""

    worker_id: str
    worker_version: str
    invocation_id: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    event: Event
    raw_event: Event
    start_ns: int
    end_ns: int
    status: int | None
    logs: list[TraceLog]
    exceptions: list[TraceException]
    diagnostics: list[DiagnosticsEvent]
    spans: list[UserSpan]
    outcome: str
    truncated: bool
    cpu_ns: int
    wall_ns: int
    entrypoint: str | None
    cold_start: bool
    subrequests: Sequence[Subrequest]
    memory_bytes: int
    dropped: Dropped

    def get_unredacted(self) -> Event:
        """The event as it came, with the secrets that `event` and to_json() leave out."""
        return self.raw_event

    def to_json(self) -> dict[str, Any]:
        """Cloudflare's member names, times in milliseconds; ours beside them. Values fit json.dumps."""
        out: dict[str, Any] = {
            "event": _event_json(self.event, self.status),
            "eventTimestamp": self.start_ns // 1_000_000,
            "logs": [_log_json(log) for log in self.logs],
            "exceptions": [_exception_json(e) for e in self.exceptions],
            "diagnosticsChannelEvents": [
                {"timestamp": d.time_ns // 1_000_000, "channel": d.channel, "message": d.message} for d in self.diagnostics
            ],
            "outcome": self.outcome,
            "truncated": self.truncated,
            "cpuTime": self.cpu_ns // 1_000_000,
            "wallTime": self.wall_ns // 1_000_000,
            "executionModel": "stateless",
            "scriptName": None,
            "workerId": self.worker_id,
            "workerVersion": self.worker_version,
            "invocationId": self.invocation_id,
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "coldStart": self.cold_start,
            "subrequests": [_subrequest_json(s) for s in self.subrequests],
            "memoryBytes": self.memory_bytes,
            "dropped": {"logs": self.dropped.logs, "exceptions": self.dropped.exceptions, "bytes": self.dropped.bytes},
        }
        if self.entrypoint is not None:
            out["entrypoint"] = self.entrypoint
        return out


def _event_json(event: Event, status: int | None) -> dict[str, Any]:
    if isinstance(event, FetchEvent):
        out: dict[str, Any] = {"request": {"method": event.method, "url": event.url, "headers": event.headers}}
        if event.client_ip is not None:
            out["request"]["cf"] = {"clientIp": event.client_ip}
        if status is not None:
            out["response"] = {"status": status}
        return out
    if isinstance(event, RpcEvent):
        return {"rpcMethod": event.method}
    if isinstance(event, ScheduledEvent):
        return {"cron": event.cron, "scheduledTime": event.scheduled_time}
    return {"queue": event.queue, "batchSize": event.batch_size}


def _log_json(log: TraceLog) -> dict[str, Any]:
    out: dict[str, Any] = {"timestamp": log.time_ns // 1_000_000, "level": log.level, "message": log.message}
    if log.error_info is not None:
        out["errorInfo"] = log.error_info
    return out


def _exception_json(e: TraceException) -> dict[str, Any]:
    out: dict[str, Any] = {"timestamp": e.time_ns // 1_000_000, "name": e.name, "message": e.message}
    if e.stack is not None:
        out["stack"] = e.stack
    return out


def _subrequest_json(s: Subrequest) -> dict[str, Any]:
    out: dict[str, Any] = {
        "kind": s.kind,
        "method": s.method,
        "url": s.url,
        "timestamp": s.start_ns // 1_000_000,
        "durationMs": (s.end_ns - s.start_ns) / 1e6,
        "spanId": s.span_id,
    }
    if s.status is not None:
        out["status"] = s.status
    if s.error is not None:
        out["error"] = s.error
    return out


class TailWorker:
    """Base of tails: `tail()` is called once per invocation, after it ended, with the TraceItems in a list."""

    def __init__(self, props: Mapping[str, Any] | None = None) -> None:
        self.props: dict[str, Any] = dict(props or {})

    async def tail(self, events: Sequence[TraceItem]) -> None:
        """Receive the trace items of an invocation. What this raises reaches nobody but the bridge's own log."""
        raise NotImplementedError
