"""OTEL_LOGS_EXPORTER=console and its kin: records as lines on standard error, for a first look without a collector."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any, TextIO

from otelbridge.otel.request import Request
from otelbridge.otel.transport import Accepted, Verdict

__all__ = ["ConsoleTransport"]


class ConsoleTransport:
    """Prints each record as one line. Control characters are escaped: a guest must not write to the terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def send(self, request: Request, timeout_s: float) -> Verdict:
        lines = [line for group in _groups(request) for line in group]
        stream = self._stream or sys.stderr
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
        return Accepted()

    async def aclose(self) -> None:
        return


def _groups(request: Request) -> list[list[str]]:
    message = request.message
    if request.signal == "logs":
        return [[_log(_owner(g), r) for s in g.scope_logs for r in s.log_records] for g in message.resource_logs]
    if request.signal == "spans":
        return [[_span(_owner(g), r) for s in g.scope_spans for r in s.spans] for g in message.resource_spans]
    return [[_metric(m) for s in g.scope_metrics for m in s.metrics] for g in message.resource_metrics]


def _owner(group: Any) -> str:
    names = {a.key: a.value.string_value for a in group.resource.attributes}
    return str(names.get("workerId") or names.get("service.name", "?"))


def _log(owner: str, record: Any) -> str:
    level = record.severity_text.upper() or "-"
    body = _value(record.body)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return _plain(f"{_time(record.time_unix_nano)} {level:5} {owner}: {text}  trace={record.trace_id.hex()}")


def _span(owner: str, span: Any) -> str:
    took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    state = "ERROR" if span.status.code == 2 else "ok"
    return _plain(f"{_time(span.start_time_unix_nano)} SPAN  {owner}: {span.name} {took:.3f} ms {state}  trace={span.trace_id.hex()}")


def _metric(metric: Any) -> str:
    points = getattr(metric, metric.WhichOneof("data")).data_points
    shown = ", ".join(str(p.count) if hasattr(p, "count") else f"{p.as_double or p.as_int:g}" for p in points)
    return _plain(f"METRIC {metric.name} {shown} {metric.unit}".rstrip())


def _time(time_ns: int) -> str:
    at = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000 // 1_000_000:03}Z"


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    found = getattr(value, kind)
    return found.hex() if isinstance(found, bytes) else found


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
