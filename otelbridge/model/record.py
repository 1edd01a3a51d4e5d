"""Records: what a spool item says, line by line, as the logs API, live tail and sessions show it. Pure.

lines() is the form that the store keeps; records() the form that goes out. Whatever a guest wrote, a record can be
written as JSON: no lone surrogates, no NaN, nesting of 64 at most, and no NUL (SQL functions and terminals end there).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from otelbridge.model.part import End, Notice, SpoolItem, entries
from otelbridge.model.trace import Event, FetchEvent, QueueEvent, RpcEvent, ScheduledEvent, TraceException, TraceLog

__all__ = [
    "KINDS",
    "ExceptionInfo",
    "Line",
    "Record",
    "clean_json",
    "clean_text",
    "event_text",
    "invocation_level",
    "invocation_text",
    "lines",
    "log_line",
    "record_id",
    "records",
    "rfc3339",
    "split_url",
]

KINDS = ("log", "exception", "invocation", "bridge")

_MAX_DEPTH = 64
_LEFT = frozenset(("canceled", "responseStreamDisconnected"))  # the client went away: nobody's fault


class ExceptionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was thrown."""

    type: str
    message: str
    stack: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One record, see design.md, Contract details. Members without a value are left out of its JSON.

    `outcome` and `status` are known from the end of the invocation on; the last four stand on its own record only.
    `error_info`: of a console call with errors among its arguments, for each argument what is known of it, None for the others.
    """

    id: str
    time: str  # RFC 3339, nanoseconds, UTC
    time_unix_nano: str
    kind: str
    level: str
    text: str
    worker_id: str | None = None
    worker_version: str | None = None
    invocation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    sequence: int | None = None
    message: list[Any] | None = None
    fields: dict[str, Any] | None = None
    outcome: str | None = None
    method: str | None = None
    url: str | None = None
    path: str | None = None
    status: int | None = None
    exception: ExceptionInfo | None = None
    error_info: list[Any] | None = None
    wall_ms: float | None = None
    cpu_ms: float | None = None
    memory_bytes: int | None = None
    cold_start: bool | None = None

    @property
    def time_ns(self) -> int:
        """The time, ns since 1970."""
        return int(self.time_unix_nano)


class Line(msgspec.Struct, frozen=True):
    """One line of a spool item. `pieces`: per argument its text, and whether that is JSON; None for other kinds."""

    time_ns: int
    sequence: int | None
    kind: str
    level: str
    text: str
    span: int = 0
    message: list[Any] | None = None
    pieces: list[tuple[str, bool]] | None = None
    fields: dict[str, Any] | None = None
    exception: ExceptionInfo | None = None
    error_info: list[Any] | None = None


# ------------------------------------------------------------------------------------------------------------- reading


def lines(item: SpoolItem, found: Iterable[object] | None = None, *, end: bool = True) -> Iterator[Line]:
    """Log lines and exceptions in order, then, with `end`, one for the end of the invocation when the part has it.

    `found`: the part's entries(), from whoever has read them already.
    """
    if isinstance(item, Notice):
        text = clean_text(item.text)
        fields = clean_json(item.fields)[0] if item.fields else None
        yield Line(item.time_ns, None, "bridge", item.level, text, 0, [text], None, fields)
        return
    for entry in entries(item) if found is None else found:
        if isinstance(entry, TraceLog):
            yield log_line(entry)
        elif isinstance(entry, TraceException):
            stack = None if entry.stack is None else clean_text(entry.stack)
            info = ExceptionInfo(clean_text(entry.name), clean_text(entry.message), stack)
            yield Line(entry.time_ns, entry.sequence, "exception", "error", _exception_text(info), entry.span, exception=info)
    if end and item.end is not None:
        text = clean_text(invocation_text(item.event, item.end.status, item.end.outcome))
        yield Line(item.end.time_ns, None, "invocation", invocation_level(item.end.outcome, item.end.status), text)


def records(item: SpoolItem) -> list[Record]:
    """All records of a spool item."""
    return [_record(item, line) for line in lines(item)]


def _record(item: SpoolItem, line: Line) -> Record:
    time, nano = rfc3339(line.time_ns), str(line.time_ns)
    if isinstance(item, Notice):
        return Record(
            id=record_id(None, None, line.time_ns, line.text),
            time=time,
            time_unix_nano=nano,
            kind=line.kind,
            level=line.level,
            text=line.text,
            worker_id=item.worker_id,
            message=line.message,
            fields=line.fields,
        )
    event, end = item.event, item.end
    method = url = path = None
    if isinstance(event, FetchEvent):
        method, url = clean_text(event.method), clean_text(event.url)
        path = split_url(url)[1]
    own = end if line.kind == "invocation" else None
    return Record(
        id=record_id(item.invocation_id, line.sequence, line.time_ns, line.text),
        time=time,
        time_unix_nano=nano,
        kind=line.kind,
        level=line.level,
        text=line.text,
        worker_id=item.worker.worker_id,
        worker_version=item.worker.version,
        invocation_id=item.invocation_id,
        trace_id=item.trace_id,
        span_id=item.span_id,
        sequence=line.sequence,
        message=line.message,
        fields=line.fields,
        outcome=end.outcome if end else None,
        method=method,
        url=url,
        path=path,
        status=end.status if end else None,
        exception=line.exception,
        error_info=line.error_info,
        **_own(own),
    )


def _own(end: End | None) -> dict[str, Any]:
    if end is None:
        return {}
    cold = end.cold_start is not None
    return {"wall_ms": end.wall_ns / 1e6, "cpu_ms": end.cpu_ns / 1e6, "memory_bytes": end.memory_bytes, "cold_start": cold}


def log_line(entry: TraceLog) -> Line:
    """The line of a console call."""
    message = entry.message
    if len(message) == 1 and type(message[0]) is str:  # by far the most common
        text = clean_text(message[0])
        return Line(entry.time_ns, entry.sequence, "log", entry.level, text, entry.span, [text], None, None, None, _info(entry))
    pieces: list[tuple[str, bool]] = []
    clean: list[Any] = []
    for value in message:
        if type(value) is str:
            clean.append(clean_text(value))
            pieces.append((clean[-1], False))
        else:
            value, text = clean_json(value)
            clean.append(value)
            pieces.append((text, True))
    fields = clean[0] if len(clean) == 1 and isinstance(clean[0], dict) else None
    text = " ".join([piece for piece, _ in pieces])
    return Line(entry.time_ns, entry.sequence, "log", entry.level, text, entry.span, clean, pieces, fields, None, _info(entry))


def _info(entry: TraceLog) -> list[Any] | None:
    return None if entry.error_info is None else clean_json(entry.error_info)[0]


# ---------------------------------------------------------------------------------------------------------------- text


def record_id(invocation_id: str | None, sequence: int | None, time_ns: int, text: str) -> str:
    """The id of a record: its invocation and sequence; of a record of the bridge itself, its time and text."""
    if invocation_id is None:
        return f"bridge-{time_ns}-{zlib.crc32(text.encode()):08x}"
    return f"{invocation_id}-{'end' if sequence is None else sequence}"


def event_text(event: Event) -> str:
    """What an invocation was for, in a few words: Cloudflare's wording."""
    if isinstance(event, FetchEvent):
        return f"{event.method} {event.url}"
    if isinstance(event, RpcEvent):
        return event.method
    if isinstance(event, ScheduledEvent):
        return event.cron
    assert isinstance(event, QueueEvent)
    return event.queue


def invocation_text(event: Event, status: int | None, outcome: str) -> str:
    """The text of an invocation's own record."""
    return f"{event_text(event)} ({outcome})" if status is None else f"{event_text(event)} -> {status} ({outcome})"


def invocation_level(outcome: str, status: int | None) -> str:
    """error for a failed outcome and for a 5xx that nobody threw, warn when the client went away, else info."""
    if outcome == "ok":
        return "error" if status is not None and status >= 500 else "info"
    return "warn" if outcome in _LEFT else "error"


def _exception_text(info: ExceptionInfo) -> str:
    head = f"{info.type}: {info.message}" if info.message else info.type
    return f"{head}\n{info.stack}" if info.stack else head


def split_url(url: str) -> tuple[str, str, str]:
    """(origin, path, query with its "?"); the three joined give the URL again."""
    at = url.find("://")
    slash = url.find("/", at + 3 if at >= 0 else 0)
    origin, rest = (url, "") if slash < 0 else (url[:slash], url[slash:])
    if slash < 0 and (mark := min((i for i in (url.find("?"), url.find("#")) if i >= 0), default=-1)) >= 0:
        origin, rest = url[:mark], url[mark:]
    mark, fragment = rest.find("?"), rest.find("#")
    if fragment >= 0 and (mark < 0 or fragment < mark):
        mark = fragment
    return (origin, rest, "") if mark < 0 else (origin, rest[:mark], rest[mark:])


def rfc3339(time_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC; times that no calendar has are shown as its nearest end."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59.999999999Z" if time_ns > 0 else "0001-01-01T00:00:00.000000000Z"


# ----------------------------------------------------------------------------------------------------------- hostility

_encode = msgspec.json.Encoder().encode


def clean_text(text: str) -> str:
    """A text without NUL."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def clean_json(value: Any) -> tuple[Any, str]:
    """A JSON value that any encoder and reader takes, and its compact JSON."""
    try:
        raw = _encode(value)
    except RecursionError:
        raw = b""
    # More brackets than the greatest depth, an escaped NUL, or too deep to be written: only then it is walked.
    if not raw or b"\\u0000" in raw or (len(raw) > _MAX_DEPTH and raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH):
        value = _clean(value, 0)
        raw = _encode(value)
    return value, raw.decode()


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(k): _clean(v, depth + 1) for k, v in value.items()} if depth < _MAX_DEPTH else "{…}"
    if isinstance(value, list):
        return [_clean(v, depth + 1) for v in value] if depth < _MAX_DEPTH else "[…]"
    return value
