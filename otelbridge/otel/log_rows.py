"""What a part's lines and exceptions mean as log records: plain rows (design.md, Contract 4). Pure, no I/O.

wire.py makes protobuf of the rows, model.py the SDK's own types; docs/telemetry.md lists every attribute. What changes here for a
plain console call has to change in encoder.c as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from otelbridge.model.part import Notice, Part, read_entry, timed_entries
from otelbridge.model.ring import DIAGNOSTIC, LEVELS, LOG, TEXT, Entry
from otelbridge.model.trace import DiagnosticsEvent
from otelbridge.otel.shape import TRUNCATED, Shape

__all__ = ["SEVERITY", "SOURCE", "LogRow", "common_attributes", "log_row", "log_rows", "notice_row"]

SOURCE: Final = "dynamic-worker-tail"

SEVERITY: Final = {"debug": 5, "log": 9, "info": 9, "warn": 13, "error": 17}
_PLAIN: Final = Shape()
_decode: Final = msgspec.json.Decoder().decode


class LogRow(msgspec.Struct, gc=False):
    """One log record. Its attributes are common_attributes() of its part, sequence, uid, and `extra`."""

    time_ns: int
    severity: int
    severity_text: str
    body: Any
    sequence: int
    span: int = 0  # the guest's span it was made in
    event_name: str = ""
    extra: dict[str, Any] | None = None
    left_out: int = 0  # attributes that did not fit


def common_attributes(part: Part) -> dict[str, Any]:
    """What all log records of a part have."""
    return {"faas.invocation_id": part.invocation_id, "otelbridge.source": SOURCE}


def log_rows(part: Part, *, shape: Shape = _PLAIN, structured: bool = False, lowest: int = 0) -> Iterator[LogRow]:
    """The log records of a part, in order. `structured`: members of a logged object become attributes as well;
    `lowest`: the severity below which records are left out."""
    for time_ns, sequence, packed in timed_entries(part):
        row = log_row(time_ns, sequence, packed, shape=shape, structured=structured, lowest=lowest)
        if row is not None:
            yield row


def log_row(
    time_ns: int, sequence: int, packed: Entry, *, shape: Shape = _PLAIN, structured: bool = False, lowest: int = 0
) -> LogRow | None:
    """The log record of one entry of timed_entries(), if it is one."""
    if packed.kind <= TEXT:
        level = LEVELS[packed.level]
        severity = SEVERITY[level]
        if severity < lowest:
            return None
        message, info = _arguments(packed), None
        if message is None:
            entry = read_entry(packed, time_ns, sequence)
            message, info = entry.message, entry.error_info
        body = message[0] if len(message) == 1 else message or ""
        row = LogRow(time_ns, severity, level, body, sequence, packed.span)
        if info is not None:
            row.extra = _error_info(info)
        if structured and type(body) is dict:
            row.extra = {**(row.extra or {}), **{f"log.field.{k}": v for k, v in body.items()}}
    elif packed.kind > DIAGNOSTIC or (packed.kind == DIAGNOSTIC and lowest > 5):
        return None
    elif isinstance(entry := read_entry(packed, time_ns, sequence), DiagnosticsEvent):
        extra: dict[str, Any] = {"otelbridge.diagnostics.channel": entry.channel}
        row = LogRow(entry.time_ns, 5, "debug", entry.message, entry.sequence, entry.span, "otelbridge.diagnostics", extra)
    else:
        extra = {"exception.type": entry.name, "exception.message": entry.message}
        if entry.stack:
            extra["exception.stacktrace"] = entry.stack
        text = f"{entry.name}: {entry.message}" if entry.message else entry.name
        row = LogRow(entry.time_ns, 17, "error", text, entry.sequence, entry.span, "exception", extra)
    if row.extra is not None or shape.body_bytes:
        _fit(row, shape)
    return row


def _arguments(entry: Entry) -> list[Any] | None:
    """The arguments of a usual console call: read_entry() would say the same, for a third more of a record's time. None: let
    that read it."""
    if entry.kind != LOG or entry.extra:
        return None
    try:
        message = _decode(entry.payload)
    except (ValueError, RecursionError):
        return None
    return message if type(message) is list else None


def notice_row(notice: Notice) -> tuple[LogRow, dict[str, Any]]:
    """A record of the bridge itself, and all of its attributes but the ones every record has."""
    attributes = {f"otelbridge.{k}": v for k, v in notice.fields.items() if k != "event"}
    if notice.worker_id is not None:
        attributes["otelbridge.worker_id"] = notice.worker_id
    level = notice.level if notice.level in SEVERITY else "info"
    event = notice.fields.get("event")
    row = LogRow(max(notice.time_ns, 0), SEVERITY[level], level, notice.text, 0, 0, event if isinstance(event, str) else "")
    return row, attributes


def _error_info(infos: list[Any]) -> dict[str, Any] | None:
    """The first native Error among a console call's arguments."""
    for info in infos:
        if isinstance(info, dict):
            out = {
                f"exception.{name}": value
                for name, key in (("type", "name"), ("message", "message"), ("stacktrace", "stack"))
                if isinstance(value := info.get(key), str) and value
            }
            return out or None
    return None


def _fit(row: LogRow, shape: Shape) -> None:
    row.body, was_cut = shape.body(row.body)
    if row.extra:
        row.extra, row.left_out, cut_too = shape.fit(row.extra, present=5)
        was_cut = was_cut or cut_too or row.left_out > 0
    if was_cut:
        row.extra = {**(row.extra or {}), TRUNCATED: True}
