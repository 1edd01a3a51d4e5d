"""What a spool item says as rows of the table `records`. Pure.

A console call becomes a row straight from the ring, but for one with an Error among its arguments; all others go by lines().
"""

from __future__ import annotations

from typing import Any

import msgspec

from otelbridge.logs.statements import NULL
from otelbridge.model.part import Notice, Part, SpanClose, SpanOpen, read_entry, timed_entries
from otelbridge.model.record import KINDS, Line, clean_json, clean_text, invocation_level, invocation_text, lines
from otelbridge.model.ring import DIAGNOSTIC, EXCEPTION, LEVELS, LOG
from otelbridge.model.trace import DiagnosticsEvent

__all__ = ["COLUMNS", "INVOCATION", "NUMBER", "SKEW", "WORKER", "Names", "Row", "notice_rows", "part_rows"]

# A row has all columns, with NULL for None, so that it goes to SQLite as it is. Worker, invocation and skew are for the writer to fill in.
COLUMNS = "number, skew, kind, level, sequence, span, text, layout, extra, worker, invocation"
NUMBER, SKEW, WORKER, INVOCATION = 0, 1, 9, 10
Row = list[Any]

# Members of logged objects that were seen, with their type and when.
Names = dict[str, tuple[str, int]]

_KIND = {name: number for number, name in enumerate(KINDS)}
_LEVEL = {name: number for number, name in enumerate(LEVELS)}
_INVOCATION_KIND = _KIND["invocation"]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_NAMES_PER_BATCH = 1_000
_NAME_DEPTH = 3
_MAX_NAME = 200


def notice_rows(item: Notice, names: Names) -> list[Row]:
    """The row of a record of the bridge itself."""
    return [_row(line, names) for line in lines(item)]


def part_rows(part: Part, names: Names, *, logs: bool) -> tuple[list[Row], list[SpanOpen | SpanClose], list[DiagnosticsEvent]]:
    """The rows of a part's lines and exceptions, then one of its end; and what else it holds. Without `logs` no rows."""
    rows: list[Row] = []
    spans: list[SpanOpen | SpanClose] = []
    diagnostics: list[DiagnosticsEvent] = []
    for time_ns, sequence, entry in timed_entries(part):
        kind = entry.kind
        if kind == LOG and logs and not entry.extra:
            try:
                message = _decode(entry.payload)
            except (ValueError, RecursionError):
                message = None
            if type(message) is list and len(message) == 1:
                value = message[0]
                if type(value) is str:
                    text = value if "\0" not in value else clean_text(value)
                    rows.append([time_ns, 0, 0, entry.level, sequence, entry.span, text, NULL, NULL, NULL, NULL])
                    continue
                if type(value) is dict:
                    value, text = clean_json(value)
                    _collect(value, time_ns, names, "", 1)
                    rows.append([time_ns, 0, 0, entry.level, sequence, entry.span, text, "j", NULL, NULL, NULL])
                    continue
            if type(message) is list:
                text, layout = _joined(message)
                rows.append([time_ns, 0, 0, entry.level, sequence, entry.span, text, layout, NULL, NULL, NULL])
                continue
        if kind == DIAGNOSTIC:
            diagnostics.append(read_entry(entry, time_ns, sequence))
        elif kind > EXCEPTION:
            spans.append(read_entry(entry, time_ns, sequence))
        elif logs:
            rows += [_row(line, names) for line in lines(part, [read_entry(entry, time_ns, sequence)], end=False)]
    end = part.end
    if end is not None and logs:
        text = clean_text(invocation_text(part.event, end.status, end.outcome))
        level = _LEVEL[invocation_level(end.outcome, end.status)]
        rows.append([end.time_ns, 0, _INVOCATION_KIND, level, NULL, 0, text, NULL, NULL, NULL, NULL])
    return rows, spans, diagnostics


def _joined(message: list[Any]) -> tuple[str, str]:
    """Text and layout of a console call of several arguments, or of none, or of one that is neither text nor object."""
    if len(message) == 1:
        return clean_json(message[0])[1], "j"
    texts: list[str] = []
    sizes: list[str] = []
    for value in message:
        if type(value) is str:
            text = clean_text(value)
            sizes.append(str(len(text)))
        else:
            text = clean_json(value)[1]
            sizes.append(f"-{len(text)}")
        texts.append(text)
    return " ".join(texts), ",".join(sizes)


def _row(line: Line, names: Names) -> Row:
    layout: str | float = NULL
    extra: str | float = NULL
    if line.fields is not None:
        _collect(line.fields, line.time_ns, names, "", 1)
    if line.kind == "log":
        if line.pieces is not None:
            layout = _layout(line.pieces)
        if line.error_info is not None:
            extra = _encode(line.error_info).decode()
    elif line.exception is not None:
        extra = _encode(line.exception).decode()
    elif line.fields is not None:
        extra = _encode(line.fields).decode()
    level = _LEVEL.get(line.level, 2)
    sequence = NULL if line.sequence is None else line.sequence
    return [line.time_ns, 0, _KIND[line.kind], level, sequence, line.span, line.text, layout, extra, NULL, NULL]


def _layout(pieces: list[tuple[str, bool]]) -> str:
    """How a text is cut into its arguments again: "j" for one JSON value, else their lengths, JSON ones negative."""
    if len(pieces) == 1 and pieces[0][1]:
        return "j"
    return ",".join([str(-len(text) if is_json else len(text)) for text, is_json in pieces])


def _collect(fields: dict[str, Any], time_ns: int, names: Names, head: str, depth: int) -> None:
    """Remember the names of members, for completion. A guest may invent any number of them: there are bounds."""
    for key, value in fields.items():
        name = head + key if head else key
        if type(value) is dict and depth < _NAME_DEPTH:
            _collect(value, time_ns, names, name + ".", depth + 1)
        elif name in names or (len(names) < _NAMES_PER_BATCH and len(name) <= _MAX_NAME):
            names[name] = (_TYPES.get(type(value), "string"), time_ns)


_TYPES = {bool: "boolean", int: "number", float: "number"}
