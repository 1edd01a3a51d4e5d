"""The fields that every record has, for queries: their names, what they hold, and where the store keeps them.

All other names are members of logged objects. Every piece of SQL that names a column comes from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from otelbridge.model.record import KINDS, Record
from otelbridge.model.ring import LEVELS

__all__ = ["FIELDS", "LEVELS", "TEXT", "Field", "Value", "field_name", "hex_of", "lookup", "rank_of_level"]

Value = str | int | float | bool | None


class Field(msgspec.Struct, frozen=True):
    """A known field. `sql`: its value in a row of records r, invocations i; `of`: whose property it is.

    Levels and kinds are stored as numbers, workers as numbers of the table `workers`.
    """

    name: str
    type: Literal["string", "number"]
    of: Literal["record", "worker", "invocation"]
    sql: str
    get: Callable[[Record], Value]
    text: str = ""  # one sentence, for docs and completion
    choices: tuple[str, ...] = ()


def hex_of(column: str) -> str:
    """An id as text, out of a column that holds it as bytes."""
    return f"CASE typeof({column}) WHEN 'blob' THEN lower(hex({column})) ELSE {column} END"


def _end(sql: str) -> str:
    """A value that stands on the invocation's own record only, so that averages count each invocation once."""
    return f"CASE WHEN r.kind = 2 THEN {sql} END"


# Not the bare column: from `r.text = ?` SQLite concludes what text holds elsewhere in the same WHERE, puts the value into what
# reads it as JSON, and fails where that is none.
TEXT = "CAST(r.text AS TEXT)"
_THROWN = "CASE WHEN r.kind = 1 THEN r.extra ->> '$.type' END"

_ALL = (
    Field("kind", "string", "record", "r.kind", lambda r: r.kind, "log, exception, invocation or bridge.", KINDS),
    Field("level", "string", "record", "r.level", lambda r: r.level, "debug, log, info, warn or error; ordered.", LEVELS),
    Field("text", "string", "record", TEXT, lambda r: r.text, "The rendered line."),
    Field("worker", "string", "worker", "w.worker_id", lambda r: r.worker_id, "Id of the worker."),
    Field("version", "string", "invocation", "v.version", lambda r: r.worker_version, "Version of the worker's code."),
    Field("invocation", "string", "invocation", hex_of("i.id"), lambda r: r.invocation_id, "Id of the invocation."),
    Field("trace", "string", "invocation", hex_of("i.trace_id"), lambda r: r.trace_id, "Id of the trace."),
    Field("outcome", "string", "invocation", "i.outcome", lambda r: r.outcome, "How the invocation ended."),
    Field("method", "string", "invocation", "i.method", lambda r: r.method, "HTTP method of the request."),
    Field("path", "string", "invocation", "i.path", lambda r: r.path, "Path of the request's URL."),
    Field("url", "string", "invocation", "i.origin || i.path || i.query", lambda r: r.url, "URL of the request, redacted."),
    Field("status", "number", "invocation", "i.status", lambda r: r.status, "Status of the response; 5xx is all of 500 to 599."),
    Field("exception", "string", "record", _THROWN, lambda r: r.exception.type if r.exception else None, "Name of the error thrown."),
    Field("wallMs", "number", "record", _end("i.wall_ns / 1e6"), lambda r: r.wall_ms, "Duration of the invocation, on its own record."),
    Field("cpuMs", "number", "record", _end("i.cpu_ns / 1e6"), lambda r: r.cpu_ms, "CPU time of the invocation, on its own record."),
    Field("memoryBytes", "number", "record", _end("i.memory_bytes"), lambda r: r.memory_bytes, "Memory in use when the invocation ended."),
)  # fmt: skip

FIELDS: Mapping[str, Field] = {field.name: field for field in _ALL}

_NAMES = {name.lower(): name for name in FIELDS} | {
    "workerid": "worker",
    "workerversion": "version",
    "invocationid": "invocation",
    "traceid": "trace",
    "wall": "wallMs",
    "duration": "wallMs",
    "cpu": "cpuMs",
    "memory": "memoryBytes",
}


def field_name(name: str) -> str | None:
    """The name of the known field that is meant, in any case and also by the name of its JSON member; None if none is."""
    return _NAMES.get(name.lower())


def rank_of_level(level: str) -> int:
    """Where a level stands in their order; -1 for an unknown one."""
    return LEVELS.index(level) if level in LEVELS else -1


def lookup(fields: Mapping[str, Any] | None, path: str) -> Any:
    """A member of a logged object: the one of exactly this name, else the one that the dots lead to. None: no value."""
    if fields is None:
        return None
    found = fields.get(path)
    if found is not None or "." not in path:
        return found
    value: Any = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
