"""Identifiers: invocations, traces, spans, and the W3C traceparent header that carries two of them."""

from __future__ import annotations

import os
import re

import msgspec

__all__ = ["TraceParent", "new_ids", "new_span_id", "parse_traceparent"]

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")


class TraceParent(msgspec.Struct, frozen=True):
    """A caller's span: trace id (32 hex digits), span id (16), flags (0 to 255; bit 0 is "sampled")."""

    trace_id: str
    span_id: str
    flags: int

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parse_traceparent(header: str | None) -> TraceParent | None:
    """Read a traceparent header. Only version 00 in its exact form counts, and no id may be zero; else None."""
    found = _TRACEPARENT.match(header.strip()) if header else None
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return TraceParent(trace_id, span_id, int(flags, 16))


def new_ids() -> tuple[str, str, str]:
    """Ids of a new invocation, its span and, if it has no caller's, its trace: 32, 16 and 32 random hex digits."""
    value = os.urandom(40).hex()  # one system call for all three
    span_id, trace_id = value[32:48], value[48:]
    return value[:32], span_id if span_id != "0" * 16 else new_span_id(), trace_id if trace_id != "0" * 32 else "0" * 31 + "1"


def new_span_id() -> str:
    """16 hex digits, random and not zero."""
    value = os.urandom(8).hex()
    return value if value != "0" * 16 else "0000000000000001"
